"""The programs that a site needs, as packages of the host's distribution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django_deploy.provision.facts import Facts
from django_deploy.provision.pieces import Piece
from django_deploy.provision.site import Site

#: How each package manager is told to install.
INSTALL: Mapping[str, str] = {
    "apt-get": "apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 install",
    "dnf": "dnf -y install",
    "yum": "yum -y install",
    "zypper": "zypper --non-interactive install",
    "apk": "apk add",
    "pacman": "pacman -S --noconfirm --needed",
}

#: What packages are called where it is not their Debian name.
NAMES: Mapping[str, Mapping[str, str]] = {
    "postgresql": {"dnf": "postgresql-server", "yum": "postgresql-server", "zypper": "postgresql-server"},
    "python3": {"pacman": "python"},
    "runuser": {"apk": "runuser"},
}

#: Parts of Debian that a minimal one may lack, and that services of a user need.
_SESSIONS = ("dbus-user-session", "libpam-systemd")


def packages_piece(site: Site, facts: Facts) -> Piece | None:
    """What is not there, in the words of the host's system; None where all is."""
    packages = [NAMES.get(name, {}).get(facts.manager, name) for name in lacking(site, facts)]
    if not packages:
        return None
    install = f"{INSTALL.get(facts.manager, '# Install:')} {' '.join(packages)}"
    act = _APT.format(install=install) if facts.is_debian else install
    return Piece(f"the packages {', '.join(packages)}", _check(packages, facts), act, needs_lock=False)


def _check(packages: list[str], facts: Facts) -> str:
    """Only Debian is changed; there each of them has to be installed whole."""
    if not facts.is_debian:
        return "false"
    states = "installed " * len(packages)
    return f"""[ "$(dpkg-query -W -f '${{db:Status-Status}} ' {" ".join(packages)})" = '{states}' ]"""


_APT = """\
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
# Another apt may be at work, as on a new server: dpkg would not wait for it, and this does.
apt-get -q -o DPkg::Lock::Timeout=120 install >/dev/null 2>&1 || true
[ -z "$(dpkg --audit)" ] || dpkg --configure -a 7>&-
lists=old
for pause in 2 4 8 16 0; do
    if apt-get -q -o APT::Update::Error-Mode=any update; then lists=new; break; fi
    sleep "$pause"
done
# A source may be gone that nothing is needed of: the lists of the others do.
if ! {install} 7>&-; then
    [ "$lists" = new ] || stop 'The lists of packages cannot be fetched.'
    stop 'The packages cannot be installed.'
fi
"""


def lacking(site: Site, facts: Facts) -> Iterator[str]:
    """By their Debian names. uv is none of them: a deployment brings its own."""
    wanted = ["python3"]
    wanted += [site.web] if site.web else []
    wanted += ["postgresql"] if site.has_database else []
    wanted += _SESSIONS if facts.is_debian and facts.has_systemd else []
    wanted += ["runuser"] if facts.manager == "apk" else []
    return (name for name in wanted if name not in facts.installed)
