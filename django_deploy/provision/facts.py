"""What a host is like before it is set up: the questions, and the answers as a value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from django_deploy.provision.other_sites import asking_for_others
from django_deploy.provision.site import MARK, Site
from django_deploy.target import CADDY, NGINX

#: Package managers; the first that is there is the host's.
MANAGERS = ("apt-get", "dnf", "yum", "zypper", "apk", "pacman")

#: Where certificates and their keys are put: nginx reads them as root, Caddy as its own user.
TLS_FOLDERS = {NGINX: PurePosixPath("/etc/nginx/tls"), CADDY: PurePosixPath("/etc/caddy/tls")}

_COMMANDS = (*MANAGERS, "python3", "nginx", "caddy", "ss", "runuser", "flock")


@dataclass(frozen=True)
class Facts:
    """A host as it was found.

    ``system`` is its name for people. ``manager`` is its package manager, empty where none is known.
    ``installed`` are those of the programs and packages asked for that are there. ``ports`` says which
    program listens on 80 and 443. ``root_owner`` is empty where there is no ROOT, and ``is_own`` is False
    where something in its ``.deploy`` is not the user's. ``shell`` is that of the user, empty where there is
    no such user.

    Of files: ``foreign`` are those where ours would be that are somebody's, and can stay; ``occupied`` are
    those that cannot. By ``others`` the web server has the domain already. ``former`` are ours, for this site
    and another domain.
    """

    system: str
    manager: str = ""
    installed: frozenset[str] = frozenset()
    has_systemd: bool = False
    has_ipv6: bool = False
    ports: tuple[tuple[int, str], ...] = ()
    root_owner: str = ""
    is_root_empty: bool = True
    is_own: bool = True
    foreign: frozenset[str] = frozenset()
    occupied: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    former: frozenset[str] = frozenset()
    shell: str = ""

    @property
    def is_debian(self) -> bool:
        """Debian or what is made of it, Ubuntu for one."""
        return self.manager == "apt-get"


def asking(site: Site) -> str:
    """The script that finds out; it changes nothing."""
    files, certificates = (" ".join(map(str, paths)) for paths in (site_files(site), sent_files(site)))
    return f"""\
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
(. /etc/os-release; echo "system=$PRETTY_NAME") 2>/dev/null
for command in {" ".join(_COMMANDS)}; do command -v $command >/dev/null && echo "installed=$command"; done
for program in /usr/lib/postgresql/*/bin/postgres /usr/bin/postgres; do
    [ -x "$program" ] && echo installed=postgresql
done
dpkg-query -W -f 'package=${{Package}} ${{db:Status-Status}}\\n' dbus-user-session libpam-systemd 2>/dev/null
[ -d /run/systemd/system ] && echo systemd=yes
[ -e /proc/net/if_inet6 ] && echo ipv6=yes
ss -Hltnp '( sport = :80 or sport = :443 )' 2>/dev/null | sed 's/^/port=/'
stat -c 'owner=%U' {site.root} 2>/dev/null
[ -n "$(ls -A {site.root} 2>/dev/null)" ] && echo full=yes
[ -n "$(find {site.root}/.deploy ! -user {site.user} -print -quit 2>/dev/null)" ] && echo alien=yes
for file in {files or "''"}; do
    [ -e "$file" ] && ! grep -q '^{MARK}' "$file" && echo "foreign=$file"
done
for file in {certificates or "''"}; do
    [ -e "$file" ] && ! grep -q '^{MARK}' "$file" && echo "occupied=$file"
done
{"".join(_asking_for_link(*pair) for pair in site_links(site).items())}\
{"".join(asking_for_others(site, file) for file in site_files(site))}\
getent passwd {site.user} | sed 's/.*:/shell=/'
true
"""


def read_facts(lines: Iterable[str]) -> Facts:
    """The answers to ``asking``; what says nothing of ours is passed over."""
    answers = [line.partition("=") for line in lines]
    found: dict[str, list[str]] = {}
    for name, _, value in answers:
        found.setdefault(name, []).append(value)
    installed = {*found.get("installed", ())}
    installed |= {
        value.split()[0] for value in found.get("package", ()) if value.split()[1:] == ["installed"]
    }
    return Facts(
        system="".join(filter(str.isprintable, found.get("system", ["an unknown system"])[0][:80])),
        manager=next((manager for manager in MANAGERS if manager in installed), ""),
        installed=frozenset(installed),
        has_systemd="systemd" in found,
        has_ipv6="ipv6" in found,
        ports=tuple(sorted({port for line in found.get("port", ()) for port in _listeners(line)})),
        root_owner=found.get("owner", [""])[0],
        is_root_empty="full" not in found,
        is_own="alien" not in found,
        foreign=frozenset(found.get("foreign", ())),
        occupied=frozenset(found.get("occupied", ())),
        others=frozenset(found.get("other", ())),
        former=frozenset(found.get("former", ())),
        shell=found.get("shell", [""])[0],
    )


def _listeners(line: str) -> Iterable[tuple[int, str]]:
    """Of a line of ``ss -Hltnp``: ``LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=1,fd=6))``."""
    port = re.search(r":(80|443)\s", line)
    if port is None:
        return []
    return [(int(port[1]), name) for name in re.findall(r'\("([^"]+)",pid=', line)]


def _asking_for_link(link: PurePosixPath, file: PurePosixPath) -> str:
    return f"""\
{{ [ -e {link} ] || [ -L {link} ]; }} && [ "$(readlink -f {link})" != "$(readlink -f {file})" ] &&
    echo occupied={link}
"""


def site_links(site: Site) -> Mapping[PurePosixPath, PurePosixPath]:
    """By which links the web server comes to read files of ``site_files``."""
    link = PurePosixPath("/etc/nginx/sites-enabled", site.domain)
    return {link: site_files(site)[0]} if site.web == NGINX else {}


def site_files(site: Site) -> tuple[PurePosixPath, ...]:
    """Where the site's configuration is on Debian; only of the web server that it has."""
    if site.web == "nginx":
        return (PurePosixPath("/etc/nginx/sites-available", site.domain),)
    if site.web == "caddy":
        return (PurePosixPath("/etc/caddy/sites", f"{site.domain}.caddy"),)
    return ()


def sent_files(site: Site) -> tuple[PurePosixPath, ...]:
    """Where the certificate and its key are put, if they are sent."""
    if site.web is None:
        return ()
    suffixes = [PurePosixPath(name).suffix for name, _ in site.sent]
    return tuple(TLS_FOLDERS[site.web] / f"{site.domain}{suffix}" for suffix in suffixes)
