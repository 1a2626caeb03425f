from __future__ import annotations

from dataclasses import replace

from django_deploy.provision.facts import Facts, asking, read_facts

from .sites import SENT, SERVED, SITE

ANSWERS = """\
motd of somebody
system=Debian GNU/Linux 12 (bookworm)
installed=apt-get
installed=python3
installed=postgresql
package=dbus-user-session installed
package=libpam-systemd config-files
systemd=yes
ipv6=yes
port=LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=12,fd=6),("nginx",pid=11,fd=6))
port=LISTEN 0 4096 *:443 *:* users:(("caddy",pid=434,fd=3))
owner=root
full=yes
alien=yes
foreign=/etc/nginx/sites-available/shop.example.com
occupied=/etc/nginx/tls/shop.example.com.key
other=/etc/nginx/sites-enabled/oldshop
former=/etc/nginx/sites-enabled/old.example.com
shell=/usr/sbin/nologin
"""


def test_answers():
    assert read_facts(ANSWERS.splitlines()) == Facts(
        system="Debian GNU/Linux 12 (bookworm)",
        manager="apt-get",
        installed=frozenset({"apt-get", "python3", "postgresql", "dbus-user-session"}),
        has_systemd=True,
        has_ipv6=True,
        ports=((80, "nginx"), (443, "caddy")),
        root_owner="root",
        is_root_empty=False,
        is_own=False,
        foreign=frozenset({"/etc/nginx/sites-available/shop.example.com"}),
        occupied=frozenset({"/etc/nginx/tls/shop.example.com.key"}),
        others=frozenset({"/etc/nginx/sites-enabled/oldshop"}),
        former=frozenset({"/etc/nginx/sites-enabled/old.example.com"}),
        shell="/usr/sbin/nologin",
    )


def test_a_host_that_says_nothing():
    assert read_facts([]) == Facts("an unknown system")


def test_control_characters_of_a_host_are_not_shown():
    assert read_facts(["system=Debian \x1b[31m12"]).system == "Debian [31m12"


def test_our_files_are_looked_for_where_the_web_server_has_them():
    assert asking(SITE).count("for file in '';") == 2
    assert "for file in /etc/caddy/sites/shop.example.com.caddy;" in asking(replace(SERVED, web="caddy"))
    assert "for file in /etc/nginx/sites-available/shop.example.com;" in asking(replace(SERVED, web="nginx"))
    certificates = "/etc/nginx/tls/shop.example.com.pem /etc/nginx/tls/shop.example.com.key"
    assert f"for file in {certificates};" in asking(replace(SERVED, web="nginx", sent=SENT))
