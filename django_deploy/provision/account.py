"""Who the site belongs to, and where it lives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from shlex import quote

from django_deploy.provision.facts import Facts
from django_deploy.provision.pieces import Piece
from django_deploy.provision.site import Site

#: The exit status of the script where somebody else has the lock.
LOCKED = 75

#: Held by the script; there may be no ROOT yet.
HOST_LOCK = "/run/deploy_setup.lock"


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
        f"as {site.user} grep -q {blobs} ~{site.user}/.ssh/authorized_keys",
        act,
        needs_lock=False,
    )


def _folders(site: Site) -> Piece:
    """All below what belongs to the user is made as the user, who may have put links there."""
    user, root = site.user, site.root
    public = [root / "releases", root / "shared", root / "run", site.media_folder]
    modes = {**dict.fromkeys(public, "755"), root / ".deploy": "700"}
    folders = " ".join(map(str, [root, *modes]))
    check = f"""\
as {user} sh -c 'for folder; do test -d "$folder" && test -O "$folder" || exit 1; done' sh \\
    {folders}
"""
    way = " ".join(map(str, [*reversed(root.parents[:-1]), root]))
    act = f"""\
# As {user}, wherever {user} may: root would follow the links that are there.
folder() {{
    as {user} test -d "$2" -a -O "$2" ||
        as {user} install -d -m "$1" "$2" && as {user} test -O "$2"
}}
need() {{
    folder "$1" "$2" || stop "$2 does not belong to {user}. See where it leads: namei -l $2;" \\
        "and if it is a folder, then as root: chown -hR {user}: $2"
}}
if ! folder 755 {root} 2>/dev/null; then
    for part in {way}; do
        owner=$(stat -c %U "$part" 2>/dev/null) || continue
        [ "$owner" != {user} ] && {{ [ "$owner" = root ] || [ ! -L "$part" ]; }} ||
            stop "$part belongs to $owner, and {user} cannot make {root}: root makes nothing there."
    done
    mkdir -p {root.parent}
    cd -P {root.parent}
    [ ! -L {root.name} ] || stop "{root} is a link: name the folder that it leads to as ROOT."
    [ -d {root.name} ] || mkdir -m 755 {root.name}
    chown -h {user}:"$(id -gn {user})" {root.name}
    cd /
fi
"""
    act += "".join(f"need {mode} {folder}\n" for folder, mode in modes.items())
    return Piece(f"{root} and its folders, which belong to {user}", check, act, needs_lock=False)


def _lingering(site: Site) -> Piece:
    return Piece(
        f"services of {site.user} that need no login (lingering)",
        f"[ -e /var/lib/systemd/linger/{site.user} ]",
        f"loginctl enable-linger {site.user}",
    )


def host_lock(site: Site) -> str:
    """Shell that takes the host's lock until the script ends; status 75, and who holds it, if it cannot.

    ``text`` is then what is said of the script while it has a lock.
    """
    by, target = quote(json.dumps(site.deployer)), quote(json.dumps(site.target))
    holder = '{"phase": "setting up", "by": %s, "target": %s, "since": %s, "pid": %s}'
    return f"""\
# One setup of this host at a time. Services that are started do not get hold of the lock: 7>&-
text=$(printf '{holder}' \\
    {by} {target} "$(date +%s)" "$$")
umask 077
[ -w "$(dirname {HOST_LOCK})" ] || stop 'Only root may do this: sudo sh setup.sh'
exec 7<>{HOST_LOCK}
flock --wait {site.lock_wait:g} 7 || {{ cat {HOST_LOCK} >&2; exit {LOCKED}; }}
printf %s "$text" >{HOST_LOCK}
umask 022
"""


def lock(site: Site) -> str:
    """Shell that takes the site's lock in the same way; after ``host_lock``."""
    path = site.root / ".deploy/lock"
    return f"""\
# Nobody deploys meanwhile. A process of {site.user} holds the lock: root would follow a link that is there.
pipes=$(mktemp -d)
mkfifo "$pipes/end" "$pipes/said"
as {site.user} sh -c '
    umask 077
    true <>"$1" || exit
    exec 8<>"$1"
    flock --wait "$2" 8 || {{ cat "$1" >&2; exit {LOCKED}; }}
    printf %s "$3" >"$1"
    echo locked
    read -r end
    : >"$1"
' sh {path} {site.lock_wait:g} "$text" <"$pipes/end" >"$pipes/said" &
holder=$!
exec 9>"$pipes/end"
read -r said <"$pipes/said" || said=
rm -r "$pipes"
[ "$said" = locked ] || {{ wait "$holder" || exit; exit 1; }}
trap 'trap "" PIPE; echo >&9 || :; wait "$holder" || :' EXIT
"""


def environment_piece(site: Site) -> Piece:
    """The database's address: as ``deploy_env --set DATABASE_URL`` before a first deployment."""
    path = site.root / ".deploy/environment.json"
    check = f"""\
as {site.user} python3 -I -S -c 'import json, sys; sys.exit("DATABASE_URL" not in json.load(open("{path}")))'
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
