"""The script as a whole; what it does is in ``tests/hosts/test_setup.py``."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from django_deploy.host.lock import HOLDER
from django_deploy.host.shape import check
from django_deploy.provision import account, pieces
from django_deploy.provision.facts import asking
from django_deploy.provision.whole import all_pieces, doubts, obstacles
from django_deploy.target import Certificate

from .sites import DEBIAN, SENT, SERVED, SITE

KINDS = {
    "nothing": SITE,
    "database": replace(SITE, has_database=True),
    "caddy": replace(SERVED, web="caddy"),
    "caddy of its own": replace(SERVED, web="caddy", tls="internal"),
    "caddy with files": replace(SERVED, web="caddy", tls=Certificate("a.pem", "a.key"), sent=SENT),
    "nginx": replace(SERVED, web="nginx"),
    "nginx with files": replace(SERVED, web="nginx", tls=Certificate("a.pem", "a.key"), sent=SENT),
    "nginx with files of the host": replace(
        SERVED, web="nginx", tls=Certificate("host:/a.pem", "host:/a.key")
    ),
    "a name to be careful with": replace(SITE, deployer='o\'neill \\ "%s"@laptop'),
}


@pytest.fixture(params=KINDS)
def site(request):
    return KINDS[request.param]


def titles(site, facts=DEBIAN):
    return [piece.title for piece in all_pieces(site, facts)]


def script(site, facts=DEBIAN):
    return pieces.script(["About."], (), all_pieces(site, facts), account.lock(site))


def test_a_shell_can_read_it(site):
    for text in (asking(site), pieces.checking(all_pieces(site, DEBIAN)), script(site)):
        read = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True)

        assert (read.returncode, read.stderr) == (0, "")


def test_pieces_in_their_order():
    site = replace(SERVED, web="nginx", has_database=True)

    assert titles(site) == [
        "the packages nginx, postgresql",
        "the user shop",
        "your key ssh-ed25519 SHA256:abc for shop",
        "/srv/shop and its folders, which belong to shop",
        "services of shop that need no login (lingering)",
        "the PostgreSQL role shop, without a password",
        "the PostgreSQL database shop, which belongs to shop",
        "DATABASE_URL in the environment of the site",
        "shop.example.com, served by nginx",
    ]


def test_a_host_that_has_all_programs_gets_no_packages():
    facts = replace(DEBIAN, installed=DEBIAN.installed | {"nginx", "postgresql"})

    assert titles(replace(SERVED, web="nginx", has_database=True), facts)[0] == "the user shop"


def test_without_systemd_nothing_lingers():
    facts = replace(DEBIAN, has_systemd=False, installed=frozenset({"apt-get", "python3"}))

    assert titles(SITE, facts) == [
        "the user shop",
        "your key ssh-ed25519 SHA256:abc for shop",
        "/srv/shop and its folders, which belong to shop",
    ]


def test_the_whole_text():
    assert script(SITE) == (
        r"""#!/bin/sh
# About.
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
say() { printf '\n== %s\n' "$*"; }
stop() { printf '%s\n' "$*" >&2; exit 1; }
as() { user=$1; shift; (cd / && runuser -u "$user" -- "$@"); }

say 'the user shop'
group=--user-group
! getent group shop >/dev/null || group='--gid shop'
useradd --create-home $group --shell /bin/bash --password '*' shop

say 'your key ssh-ed25519 SHA256:abc for shop'
# ssh-ed25519 SHA256:abc (agent: emma@laptop)
as shop sh -c 'umask 077; cd ~shop; mkdir -p .ssh; cd .ssh
    [ ! -s authorized_keys ] || [ -z "$(tail -c 1 authorized_keys)" ] || echo >>authorized_keys
    printf "%s\n" "$1" >>authorized_keys' sh 'ssh-ed25519 AAAAC3Nz+a/b= emma@laptop'

say '/srv/shop and its folders, which belong to shop'
folder() {
    [ "$(stat -c %U "$2" 2>/dev/null)" = shop ] ||
        install -d -m "$1" -o shop -g "$(id -gn shop)" "$2"
}
folder 755 /srv/shop
folder 755 /srv/shop/releases
folder 755 /srv/shop/shared
folder 755 /srv/shop/run
folder 755 /srv/shop/shared/media
folder 700 /srv/shop/.deploy

# Nobody deploys meanwhile.
[ -e /srv/shop/.deploy/lock ] || install -m 600 -o shop -g "$(id -gn shop)" /dev/null /srv/shop/.deploy/lock
exec 9<>/srv/shop/.deploy/lock
flock --wait 0 9 || { cat /srv/shop/.deploy/lock >&2; exit 75; }
"""
        """printf '{"by": %s, "target": %s, "phase": "setting up", "since": %s, "pid": %s}' """
        r"""'"emma@laptop"' '"staging"' "$(date +%s)" "$$" >/srv/shop/.deploy/lock
trap ': >/srv/shop/.deploy/lock' EXIT

say 'services of shop that need no login (lingering)'
loginctl enable-linger shop
"""
    )


def test_what_is_there_is_left_out_and_named():
    wanted = all_pieces(SITE, DEBIAN)

    assert pieces.script(["About."], wanted, (), "lock") == (
        "#!/bin/sh\n"
        "# About.\n"
        "# There already: the user shop; your key ssh-ed25519 SHA256:abc for shop; "
        "/srv/shop and its folders, which\n"
        "# belong to shop; services of shop that need no login (lingering).\n"
        "# Nothing is missing, and nothing is done.\n"
    )


def test_answers_to_the_checks(tmp_path):
    (tmp_path / "there").touch()
    wanted = [pieces.Piece(name, f"[ -e {tmp_path / name} ]", "") for name in ("there", "missing")]

    run = subprocess.run(["sh"], input=pieces.checking(wanted), capture_output=True, text=True, check=True)

    assert run.stdout == "0 yes\n1 no\n"
    assert pieces.missing(wanted, run.stdout.splitlines()) == (wanted[1],)


def test_the_lock_says_who_has_it(tmp_path):
    site = replace(KINDS["a name to be careful with"], root=tmp_path)
    [line] = [line for line in account.lock(site).splitlines() if line.startswith("printf")]
    (tmp_path / ".deploy").mkdir()

    subprocess.run(["sh", "-c", line], check=True)

    holder = json.loads((tmp_path / ".deploy/lock").read_text())
    check(holder, HOLDER, "holder")
    assert (holder["by"], holder["phase"]) == ('o\'neill \\ "%s"@laptop', "setting up")


@pytest.mark.parametrize(
    ("root", "database"),
    [("/srv/shop", "shop"), ("/srv/staging/my-shop", "staging_my_shop"), ("/shop", "shop")],
)
def test_names_of_databases(root, database):
    site = replace(SITE, root=PurePosixPath(root))

    assert site.database == database
    assert site.database_url == f"postgresql://shop@%2Fvar%2Frun%2Fpostgresql/{database}"


def test_obstacles():
    site = replace(SERVED, web="caddy")
    facts = replace(
        DEBIAN, root_owner="root", is_root_empty=False, shell="/usr/sbin/nologin", ports=((80, "apache2"),)
    )

    assert [*obstacles(site, facts)] == [
        (
            "/srv/shop is there already, belongs to root and is not empty.",
            "Choose another ROOT, or give it away there, as root: chown -R shop: /srv/shop",
        ),
        (
            "The user shop may not log in: its shell is /usr/sbin/nologin.",
            "Choose another USER, or change it there, as root: usermod -s /bin/bash shop",
        ),
        (
            "apache2 listens on port 80, which is to be for caddy.",
            "Stop it there, as root: systemctl disable --now apache2; or have WEB name it.",
        ),
    ]
    assert [*obstacles(SITE, replace(facts, root_owner="shop", shell="/bin/sh"))] == []


def test_a_configuration_of_somebody_else_is_left_alone():
    site = replace(SERVED, web="nginx")
    facts = replace(DEBIAN, foreign=frozenset({"/etc/nginx/sites-available/shop.example.com"}))

    assert not [title for title in titles(site, facts) if "served by" in title]
    assert [*doubts(site, facts)] == [
        "/etc/nginx/sites-available/shop.example.com is not ours and was left alone:"
        " nginx serves shop.example.com as it says.",
        "nginx serves shop.example.com without TLS, as the target names no certificate:"
        " see TLS in the documentation of the settings.",
    ]


@pytest.mark.parametrize(
    ("manager", "title", "command"),
    [
        ("dnf", "the packages nginx, postgresql-server", "dnf -y install nginx postgresql-server"),
        (
            "zypper",
            "the packages nginx, postgresql-server",
            "zypper --non-interactive install nginx postgresql-server",
        ),
        ("apk", "the packages nginx, postgresql, runuser", "apk add nginx postgresql runuser"),
        ("pacman", "the packages nginx, postgresql", "pacman -S --noconfirm --needed nginx postgresql"),
        ("", "the packages nginx, postgresql", "# Install: nginx postgresql"),
    ],
)
def test_packages_in_the_words_of_other_systems(manager, title, command):
    site = replace(SERVED, web="nginx", has_database=True)
    facts = replace(DEBIAN, manager=manager, installed=frozenset({"python3"}))

    [piece, *_] = all_pieces(site, facts)

    assert (piece.title, piece.act) == (title, command)
