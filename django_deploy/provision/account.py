"""Who the site belongs to, and where it lives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from shlex import quote

from django_deploy.provision.facts import Facts
from django_deploy.provision.pieces import Piece
from django_deploy.provision.site import Site


def account_pieces(site: Site, facts: Facts) -> Iterator[Piece]:
    """The user, our key, the folders, and services that run without a login."""
    yield _user(site, facts)
    yield _key(site)
    yield _folders(site)
    if facts.has_systemd:
        yield _lingering(site)


def _user(site: Site, facts: Facts) -> Piece:
    # The password is "*": none ever fits, and yet the account is not locked, which would refuse keys, too.
    act = (
        "group=--user-group\n"
        f"! getent group {site.user} >/dev/null || group='--gid {site.user}'\n"
        f"useradd --create-home $group --shell /bin/bash --password '*' {site.user}"
    )
    if facts.manager == "apk":
        act = f"adduser -D -s /bin/sh {site.user}\nadduser {site.user} {site.user} || true\n"
        act += f"sed -i 's/^{site.user}:!:/{site.user}:*:/' /etc/shadow"
    return Piece(f"the user {site.user}", f"id -u {site.user}", act, needs_lock=False)


def _key(site: Site) -> Piece:
    key = site.keys[0]
    blobs = " ".join(f"-e {quote('^[^#]*' + key.blob)}" for key in site.keys)
    act = f"""\
# {key.label} ({key.origin})
as {site.user} sh -c 'umask 077; cd ~{site.user}; mkdir -p .ssh; cd .ssh
    [ ! -s authorized_keys ] || [ -z "$(tail -c 1 authorized_keys)" ] || echo >>authorized_keys
    printf "%s\\n" "$1" >>authorized_keys' sh {quote(key.line)}
"""
    return Piece(
        f"your key {key.label} for {site.user}",
        f"grep -q {blobs} ~{site.user}/.ssh/authorized_keys",
        act,
        needs_lock=False,
    )


def _folders(site: Site) -> Piece:
    root = site.root
    public = [root, root / "releases", root / "shared", root / "run", site.media_folder]
    modes = {**dict.fromkeys(map(str, public), "755"), str(root / ".deploy"): "700"}
    check = " &&\n".join(f'[ "$(stat -c %U {folder})" = {site.user} ]' for folder in modes)
    act = f"""\
folder() {{
    [ "$(stat -c %U "$2" 2>/dev/null)" = {site.user} ] ||
        install -d -m "$1" -o {site.user} -g "$(id -gn {site.user})" "$2"
}}
"""
    act += "".join(f"folder {mode} {folder}\n" for folder, mode in modes.items())
    return Piece(f"{root} and its folders, which belong to {site.user}", check, act, needs_lock=False)


def _lingering(site: Site) -> Piece:
    return Piece(
        f"services of {site.user} that need no login (lingering)",
        f"[ -e /var/lib/systemd/linger/{site.user} ]",
        f"loginctl enable-linger {site.user}",
    )


def lock(site: Site) -> str:
    """Shell that takes the site's lock until the script ends; status 75, and who holds it, if it cannot."""
    path = site.root / ".deploy/lock"
    by, target = quote(json.dumps(site.deployer)), quote(json.dumps(site.target))
    holder = '{"by": %s, "target": %s, "phase": "setting up", "since": %s, "pid": %s}'
    return f"""\
# Nobody deploys meanwhile.
[ -e {path} ] || install -m 600 -o {site.user} -g "$(id -gn {site.user})" /dev/null {path}
exec 9<>{path}
flock --wait {site.lock_wait:g} 9 || {{ cat {path} >&2; exit 75; }}
printf '{holder}' {by} {target} "$(date +%s)" "$$" >{path}
trap ': >{path}' EXIT
"""


def environment_piece(site: Site) -> Piece:
    """The database's address: as ``deploy_env --set DATABASE_URL`` before a first deployment."""
    path = site.root / ".deploy/environment.json"
    check = f"""\
python3 -I -S -c 'import json, sys; sys.exit("DATABASE_URL" not in json.load(open("{path}")))'
"""
    act = f"""\
as {site.user} python3 -I -S - <<'END_OF_PROGRAM'
import json, os
path, values = {str(path)!r}, {{}}
if os.path.exists(path):
    with open(path) as file:
        values = json.load(file)
values["DATABASE_URL"] = {site.database_url!r}
with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
    json.dump(values, file)
os.replace(path + ".new", path)
END_OF_PROGRAM
"""
    return Piece("DATABASE_URL in the environment of the site", check, act)
