"""A piece of the script, and the scripts that are made of several."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from shlex import quote

#: How a line of output begins that says which piece runs.
HEADING = "== "

#: ``deploy_setup`` has no terminal there; whoever runs the script by hand may have one.
TERMINAL = """\
# Another user's processes never get hold of root's terminal: they have a pipe, and a session of their own.
if [ -t 0 ] || [ -t 1 ] || [ -t 2 ]; then
    [ -f "$0" ] || { echo 'Save this as a file, and run that: sh setup.sh' >&2; exit 1; }
    exec 4>&1
    exit "$({ { sh "$0" </dev/null 2>&1 3>&- 4>&-; echo $? >&3; } | cat >&4; } 3>&1)"
fi
"""

PRELUDE = """\
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
say() { printf '\\n== %s\\n' "$*"; }
stop() { printf '%s\\n' "$*" >&2; exit 1; }
as() { user=$1; shift; (cd / && setsid runuser -u "$user" -- "$@" 7>&-); }
"""


@dataclass(frozen=True)
class Piece:
    """A part of what makes a host ready.

    ``title`` names what is there afterwards. ``check`` is shell that changes nothing and ends with 0 where it
    is there already, ``act`` is shell that makes it. Both may call ``functions``. ``needs_lock`` is False for
    what comes before there is anything to lock. ``files`` are those in ``$DEPLOY_FILES`` that ``act`` reads.
    """

    title: str
    check: str
    act: str
    needs_lock: bool = True
    functions: str = ""
    files: tuple[str, ...] = ()


def checking(pieces: Sequence[Piece]) -> str:
    """The script that says of each piece whether it is there: ``0 yes``, ``1 no``."""
    lines = [PRELUDE]
    for number, piece in enumerate(pieces):
        lines.append(f"{piece.functions}check_{number}() {{\n{piece.check.strip()}\n}}")
        lines.append(
            f"if check_{number} >/dev/null 2>&1; then echo '{number} yes'; else echo '{number} no'; fi"
        )
    return "\n".join(lines) + "\n"


def missing(pieces: Sequence[Piece], answers: Iterable[str]) -> tuple[Piece, ...]:
    """Those of the pieces that the answers to ``checking`` do not confirm."""
    confirmed = {line.split()[0] for line in answers if line.endswith(" yes")}
    return tuple(piece for number, piece in enumerate(pieces) if str(number) not in confirmed)


def script(
    about: Sequence[str], there: Sequence[Piece], to_do: Sequence[Piece], locks: tuple[str, str]
) -> str:
    """The script that makes what is missing (``to_do``); ``there`` is what it leaves alone.

    ``locks`` are shell that takes the host's lock, and the site's.
    """
    host_lock, site_lock = locks
    lines = ["#!/bin/sh", *_comment(about)]
    if there:
        titles = "; ".join(piece.title for piece in there)
        lines += _comment([f"There already: {titles}."])
    if not to_do:
        return "\n".join([*lines, *_comment(["Nothing is missing, and nothing is done."])]) + "\n"
    lines += [TERMINAL, "set -eu", PRELUDE]
    lines += [*(_arrived(name) for piece in to_do for name in piece.files), host_lock]
    is_locked = False
    for piece in to_do:
        if piece.needs_lock and not is_locked:
            lines.append(site_lock)
            is_locked = True
        lines += [f"say {quote(piece.title)}", _unless_there(piece), ""]
    return "\n".join(lines).rstrip() + "\n"


def _arrived(name: str) -> str:
    return f"""[ -s "${{DEPLOY_FILES:-}}/{name}" ] || stop 'DEPLOY_FILES names no folder with {name}.'"""


def _unless_there(piece: Piece) -> str:
    """Looked for once more: the script may run twice, or may have waited for another one."""
    return f"""\
{piece.functions}if {{
{textwrap.indent(piece.check.strip(), "    ")}
}} >/dev/null 2>&1; then
    echo There already.
else
{piece.act.strip()}
fi"""


def _comment(lines: Iterable[str]) -> list[str]:
    return [
        f"# {part}" for line in lines for part in textwrap.wrap(line, 105, break_on_hyphens=False) or [""]
    ]
