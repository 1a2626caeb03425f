"""A web server in front of the site: its files are put there, judged by it, and put back if refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath
from shlex import quote

from django_deploy.provision.facts import sent_files
from django_deploy.provision.pieces import Piece
from django_deploy.provision.site import MARK, Site
from django_deploy.target import Certificate

#: File names of WhiteNoise, ManifestStaticFilesStorage and django-compressor that tell their content; and how
#: long a browser may keep those, other static files, and uploads.
HASHED = r"\.[0-9a-f]{12}\.[^/]+$"
FOR_EVER, FOR_A_MINUTE, FOR_AN_HOUR = (
    "public, max-age=31536000, immutable",
    "public, max-age=60",
    "max-age=3600",
)


@dataclass(frozen=True)
class Server:
    """A web server as Debian has it.

    ``user`` is who it runs as. ``judge`` and ``reload`` are shell: the one has it read its files, the other
    go on with them while it runs.
    """

    name: str
    user: str
    judge: str
    reload: str


@dataclass(frozen=True)
class Include:
    """Shell by which the server comes to read the site's file.

    ``check`` ends with 0 where it does; ``act`` has it do so, before it is asked to judge. ``confirm`` ends
    with 0 where it has read the file when it judged; ``refusal`` is said where it has not. ``prepare`` comes
    before anything else.
    """

    check: str
    act: str
    confirm: str = ""
    refusal: str = ""
    prepare: str = ""


@dataclass(frozen=True)
class File:
    """A file that the server reads: its text, or a first line and the name of one that is ``sent``.

    ``digest`` is the sha256 of what is sent, ``mode`` is as chmod takes it.
    """

    path: PurePosixPath
    text: str = ""
    sent: str = ""
    digest: str = ""
    mode: str = "644"
    group: str = "root"

    @property
    def check(self) -> str:
        """Shell that ends with 0 where it is there already."""
        digest = self.digest or sha256(self.text.encode()).hexdigest()
        content = f"sed 1d {self.path}" if self.sent else f"cat {self.path}"
        same = f"""[ "$({content} | sha256sum)" = '{digest}  -' ]"""
        return f'{same} &&\n[ "$(stat -L -c %a {self.path})" = {self.mode} ]'


#: Shell functions: ``keep`` puts a copy of what is there beside it, ``put`` replaces that, or what a link
#: leads to, by what it reads, after a first line if it is given one, and ``give_back`` undoes that. The file
#: ``$unfinished`` is there only meanwhile: it says what a script that was killed had replaced.
_PUT = """\
keep() {
    if [ -e "$1" ]; then cp -p "$1" "$1.before" && echo "replaced $1"; else echo "new $1"; fi >>"$unfinished"
}
give_back() {
    [ ! -e "$unfinished" ] || while read -r kind file; do
        if [ "$kind" = new ]; then
            rm -f "$file"
        elif [ -e "$file.before" ]; then
            mv "$file.before" "$file"
        fi
    done <"$unfinished"
    rm -f "$unfinished"
}
put() {
    install -d "$(dirname "$3")" && file=$(readlink -f "$3") && keep "$file" &&
    (
        umask 077
        { [ -z "${4-}" ] || printf '%s\\n' "$4"; cat; } >"$file.new" &&
            chgrp "$2" "$file.new" && chmod "$1" "$file.new"
    ) && mv "$file.new" "$file"
}
give_up() {
    give_back
    stop "$1: what was there before is back."
}
"""


def certificate_files(site: Site, group: str = "root") -> Iterator[File]:
    """Those of this machine's that are sent; the private key is only for root and ``group``."""
    modes = {".pem": "644", ".key": "600" if group == "root" else "640"}
    mark = f"{MARK} {site.target}."
    for path, (name, sent) in zip(sent_files(site), site.sent, strict=True):
        owner = group if path.suffix == ".key" else "root"
        yield File(path, mark, sent=name, digest=sent.sha256, mode=modes[path.suffix], group=owner)


def certificate_paths(site: Site, folder: PurePosixPath) -> tuple[str, str] | None:
    """Where the certificate and its key are on the host; None without files."""
    if not isinstance(site.tls, Certificate):
        return None
    return (
        _on_host(site.tls.certificate, folder / f"{site.domain}.pem"),
        _on_host(site.tls.key, folder / f"{site.domain}.key"),
    )


def _on_host(named: str, sent: PurePosixPath) -> str:
    return named.removeprefix("host:") if named.startswith("host:") else str(sent)


def web_piece(
    site: Site, server: Server, files: Iterable[File], *, include: Include, has_systemd: bool
) -> Piece:
    """Put the files there and have the server use them."""
    files = [*files]
    unfinished = f"{files[-1].path}.unfinished"
    check = [f"[ ! -e {unfinished} ]", *(file.check for file in files)]
    check += [include.check, *(f"as {server.user} test -x {folder}" for folder in _entered(site))]
    act = [
        _may_enter(site, server),
        f"unfinished={unfinished}",
        _PUT.rstrip(),
        "give_back",
        include.prepare,
        _still_sound(server),
    ]
    act += [f"install -d {files[-1].path.parent}", *(_put(file) for file in files), include.act.rstrip()]
    act += [_settle(server), include.confirm and f"{include.confirm} || give_up {quote(include.refusal)}"]
    act += [_start(server, has_systemd=has_systemd), 'rm -f "$unfinished"']
    if has_systemd:
        # One that hangs in a reload is "reloading", and as good as active to systemctl's exit status.
        check += [
            f'[ "$(systemctl is-active {server.name})" = active ]',
            f"systemctl is-enabled {server.name}",
        ]
    check += ["judge", include.confirm]
    sent = tuple(file.sent for file in files if file.sent)
    title = f"{site.domain}, served by {server.name}"
    judge = f"judge() {{\n    {server.judge}\n}}\n"
    return Piece(
        title, " &&\n".join(filter(None, check)), "\n".join(filter(None, act)), functions=judge, files=sent
    )


def _still_sound(server: Server) -> str:
    """What was refused before is no fault of ours, and not ours to fix."""
    message = f"{server.name} refuses its own configuration already, before anything is changed in it."
    return f"judge || stop {quote(message)}"


def _put(file: File) -> str:
    call = f"put {file.mode} {file.group} {file.path}"
    otherwise = f"give_up '{file.path} cannot be written'"
    if file.sent:
        return f'{call} {quote(file.text)} <"$DEPLOY_FILES/{file.sent}" || {otherwise}'
    return f"{call} <<'END_OF_FILE' || {otherwise}\n{file.text}END_OF_FILE"


def _settle(server: Server) -> str:
    return f"judge || give_up '{server.name} refuses this configuration'"


def _start(server: Server, *, has_systemd: bool) -> str:
    """A server that could not go on with it goes on with what was there before."""
    name = server.name
    if not has_systemd:
        return f"service {name} restart 7>&- || give_up '{name} does not start with this configuration'"
    return f"""\
systemctl enable --quiet {name}
go_on() {{
    if [ "$(systemctl is-active {name})" = active ]; then {server.reload}; else systemctl restart {name}; fi
}}
if ! go_on; then
    journalctl --unit {name} --lines 10 --output cat --no-pager
    (give_up '{name} does not work with this configuration') || true
    go_on || true
    exit 1
fi"""


def _entered(site: Site) -> list[str]:
    """What the server has to enter: to reach the site, and the files that it serves itself."""
    folders = [site.root / "run"]
    folders += [site.root / "releases"] if site.static else []
    folders += [site.media_folder] if site.media else []
    return [*map(str, folders)]


def _may_enter(site: Site, server: Server) -> str:
    """Modes are as somebody may have wanted them: they are told, and not changed."""
    return f"""\
for folder in {" ".join(_entered(site))}; do
    as {server.user} test -x "$folder" ||
        stop "{server.user}, the user of {server.name}, cannot enter $folder. See which part of the way" \
            "lacks an x: namei -m $folder; and as root, for that: chmod o+x"
done"""
