"""Caddy in front of the site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from django_deploy.provision.down_page import DOWN_PAGE
from django_deploy.provision.facts import TLS_FOLDERS, Facts, site_files
from django_deploy.provision.pieces import Piece
from django_deploy.provision.site import MARK, Site
from django_deploy.provision.web import (
    FOR_A_MINUTE,
    FOR_AN_HOUR,
    FOR_EVER,
    HASHED,
    File,
    Include,
    Server,
    certificate_files,
    certificate_paths,
    web_piece,
)
from django_deploy.target import CADDY, INTERNAL

CADDYFILE = PurePosixPath("/etc/caddy/Caddyfile")

#: As its own user: what it makes while it looks must not be root's.
_JUDGE = rf"""# With the variables that its service has, of which a Caddyfile may name some.
    environ=/proc/$(systemctl show --property MainPID --value caddy)/environ
    [ -r "$environ" ] || environ=/dev/null
    as caddy python3 -I -S -c '
import os, sys
os.environ["HOME"] = "/var/lib/caddy"
lines = os.fsdecode(sys.stdin.buffer.read()).split("\0")
os.environ.update(line.split("=", 1) for line in lines if "=" in line)
os.environ.pop("NOTIFY_SOCKET", None)
os.execvp(sys.argv[1], sys.argv[1:])
' caddy validate --config {CADDYFILE} --adapter caddyfile <"$environ" 2>&1"""

#: How long Caddy may take to go on with a new configuration, in seconds. One that does not says nothing, and
#: systemd, which has the variables, would wait for a minute and a half.
RELOAD_TIMEOUT = 30
_RELOAD = f"timeout {RELOAD_TIMEOUT} systemctl reload caddy"
SERVER = Server("caddy", "caddy", _JUDGE, _RELOAD)


#: Ends the script where Caddy could not read more than it does, and would only say what came of it.
_LOOK = rf"""if grep -Eqs '^[[:space:]]*admin[[:space:]]+off' {CADDYFILE}; then
    stop 'With "admin off" in {CADDYFILE} caddy reads no file again: remove that, and restart caddy.'
fi
if grep -Eqsv '^[[:space:]]*(#|import |$)' {CADDYFILE} && ! grep -Eq '\{{[[:space:]]*$' {CADDYFILE}; then
    stop 'The site in {CADDYFILE} has no braces, so it can be the only one: put {{ }} around it.'
fi"""


def caddy_piece(site: Site, facts: Facts) -> Piece:
    """The site's configuration in a file of its own, which the Caddyfile imports."""
    [file] = site_files(site)
    imported = f"grep -Eq '^import (/etc/caddy/)?sites/[*]' {CADDYFILE}"
    act = f"""\
if ! {imported}; then
    caddyfile=$(readlink -f {CADDYFILE})
    {{ keep "$caddyfile" && printf '\\nimport sites/*.caddy\\n' >>"$caddyfile"; }} ||
        give_up '{CADDYFILE} cannot be written'
fi
"""
    include = Include(check=imported, act=act, prepare=_LOOK)
    files = [*certificate_files(site, "caddy"), File(file, site_configuration(site))]
    return web_piece(site, SERVER, files, include=include, has_systemd=facts.has_systemd)


def site_configuration(site: Site) -> str:
    """The whole file."""
    snippet = f"site_{site.identifier}"
    return "\n".join(
        [
            f"{MARK} {site.target}, which replaces it when the settings change.",
            "# To keep a file of your own here, remove these two lines: then it is left alone.",
            "",
            *_block(f"({snippet})", _proxy(site)),
            "",
            *_block(site.domain, _site(site, snippet)),
            "",
        ]
    )


def _proxy(site: Site) -> Iterator[str]:
    sockets = " ".join(f"unix/{socket}" for socket in site.sockets)
    words = [*_block("transport http", ["keepalive off"])]
    if len(site.sockets) > 1:
        words += ["lb_try_duration 1s", "fail_duration 1s"]
    yield from _block(f"reverse_proxy {sockets}", words)


def _site(site: Site, snippet: str) -> Iterator[str]:
    if site.tls == INTERNAL:
        yield "tls internal"
    elif (paths := certificate_paths(site, TLS_FOLDERS[CADDY])) is not None:
        yield f"tls {' '.join(paths)}"
    yield from _block("request_body", [f"max_size {site.max_body_mb}MB"])
    if site.static:
        yield from _folder(site.static.url, str(site.static_folder), [*_static_caching()], snippet)
    if site.media:
        caching = [f'header Cache-Control "{FOR_AN_HOUR}"']
        yield from _folder(site.media.url, str(site.media_folder), caching, snippet)
    yield from _block("handle", [f"import {snippet}"])
    yield ""
    yield "# No process of the site answers."
    yield from _block("handle_errors", _down())


def _static_caching() -> Iterator[str]:
    yield f"@hashed path_regexp `{HASHED}`"
    yield f'header @hashed Cache-Control "{FOR_EVER}"'
    yield from _block("@plain", [f"not path_regexp `{HASHED}`"])
    yield f'header @plain Cache-Control "{FOR_A_MINUTE}"'


def _folder(url: str, folder: str, caching: list[str], snippet: str) -> Iterator[str]:
    """Files that are there are served from there; of all others the site is asked."""
    serve = [*caching, "header X-Content-Type-Options nosniff"]
    serve += _block("file_server", ["precompressed br gzip"])
    inside = [f"root * {folder}", "@there file", *_block("handle @there", serve)]
    inside += _block("handle", [f"rewrite * {url.rstrip('/')}{{uri}}", f"import {snippet}"])
    yield from _block(f"handle_path {url}*", inside)


def _down() -> Iterator[str]:
    yield "@down expression `{http.error.status_code} in [502, 503, 504]`"
    words = [
        "header Content-Type `text/html; charset=utf-8`",
        "header Retry-After 60",
        "header Cache-Control no-store",
        f"respond `{DOWN_PAGE}` 503",
    ]
    yield from _block("handle @down", words)


def _block(head: str, words: list[str] | Iterator[str]) -> Iterator[str]:
    yield f"{head} {{"
    yield from (f"    {word}".rstrip() for word in words)
    yield "}"
