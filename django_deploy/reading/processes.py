"""Readers of commands, steps, processes and of how these are asked for their health."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from django_deploy.reading.environment import LONGEST_WORD
from django_deploy.reading.hosts import read_roles
from django_deploy.reading.places import Kind, Mistake, Place, Reader
from django_deploy.reading.values import (
    CONTROL,
    choice,
    expect,
    has_port,
    optional,
    pattern,
    read_all,
    read_bool,
    seconds,
    size_of,
    whole_number,
)
from django_deploy.spelling import did_you_mean
from django_deploy.target import STEP_TIMEOUT, HealthCheck, Process, Step

#: Commands of Django's that write to the database: once for all hosts and for as long as it takes, when STEPS
#: does not say.
_ONCE = frozenset({"migrate", "createcachetable", "loaddata"})

_SHELL_WORDS = frozenset({"|", "||", "&", "&&", ";", ">", ">>", "<", "2>&1"})

_PROCESS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")

#: The name of the maintenance page's own socket (``host/maintenance.py``, which Django need not load).
_PAGE = "maintenance"

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def read_command(place: Place, value: object) -> tuple[str, ...]:
    """The words of a command line, which no shell will see."""
    words = _split(value) if isinstance(value, str) else expect(value, (list, tuple), "a command line")
    if any(not isinstance(word, str) for word in words):
        raise Mistake(Kind.TYPE, "must be a command line: a string, or a list of strings.")
    if not words or not words[0].strip():
        raise Mistake(Kind.COMMAND, "is an empty command line.")
    if any(CONTROL.search(word) for word in words):
        raise Mistake(Kind.COMMAND, "has a control character in it.")
    if (length := max(map(size_of, words))) > LONGEST_WORD:
        message = (
            f"has a word of {length} bytes, and {LONGEST_WORD} are possible, which is the kernel's limit."
        )
        raise Mistake(Kind.COMMAND, message, "Put it into a file, and name that.")
    if isinstance(value, str) and (found := [word for word in words if word in _SHELL_WORDS]):
        hint = "Write one command a line, or ['sh', '-c', '…']."
        raise Mistake(Kind.COMMAND, f"has {found[0]!r} in it, but runs without a shell.", hint)
    return tuple(words)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        message = f"cannot be split into words: {str(error).lower()}."
        raise Mistake(Kind.COMMAND, message, "Or write a list of words.") from None


def read_step(place: Place, value: object) -> Step:
    """A command of ``manage.py``, with what is usual for such a one where nothing is said."""
    if isinstance(value, Mapping):
        fields = read_all(place, value, STEP_KEYS, required=("COMMAND",))
    else:
        fields = {"command": _read_step_command(place, value)}
    writes = fields["command"][0] in _ONCE
    fields.setdefault("on", "once" if writes else "each")
    fields.setdefault("timeout", None if writes else STEP_TIMEOUT)
    return Step(**fields)


def _read_step_command(place: Place, value: object) -> tuple[str, ...]:
    words = read_command(place, value)
    if any(word.endswith("manage.py") for word in words[:2]):
        hint = "Leave out what stands before the command's name."
        raise Mistake(Kind.COMMAND, "is run by manage.py: it must not name it.", hint)
    return words


STEP_KEYS: Mapping[str, Reader[Any]] = {
    "COMMAND": _read_step_command,
    "ON": choice("each", "once"),
    "ISOLATED": read_bool,
    "TIMEOUT": optional(seconds()),
    "ROLES": read_roles,
}


def read_processes(place: Place, value: object) -> tuple[Process, ...]:
    """The long-running processes of the site, by their names."""
    processes = []
    for name, entry in expect(value, Mapping, "a dict").items():
        with place[name].gathering():
            processes.append(_read_process(place[name], name, entry))
    return tuple(processes)


def _read_process(place: Place, name: object, value: object) -> Process:
    if not isinstance(name, str) or not _PROCESS_NAME.fullmatch(name):
        expected = "letters, digits, '-' and '_', at most 40 of them"
        raise Mistake(Kind.PROCESS, f"is not a name for a process: use {expected}.")
    if isinstance(value, Mapping):
        process = Process(name, **read_all(place, value, PROCESS_KEYS, required=("COMMAND",)))
    else:
        process = Process(name, read_command(place, value))
    _check_process(process)
    return process


def _check_process(process: Process) -> None:
    for word in re.findall(r"\{(\w+)\}", " ".join(process.command)):
        if word != "socket" and did_you_mean(word, ["socket"]):
            raise Mistake(Kind.PROCESS, f"has {{{word}}} in its command line.", "Did you mean {socket}?")
    if process.singleton and process.has_socket:
        raise Mistake(
            Kind.PROCESS,
            "has a {socket} and is a SINGLETON: the new one must answer before the old one stops.",
        )
    if process.has_socket and process.name == _PAGE:
        message = f"has a {{socket}}, and run/{_PAGE}.sock is where the maintenance page answers."
        raise Mistake(Kind.PROCESS, message, "Give it another name.")
    if process.singleton and process.instances > 1:
        raise Mistake(Kind.PROCESS, "is a SINGLETON, which runs once, and has INSTANCES.")


PROCESS_KEYS: Mapping[str, Reader[Any]] = {
    "COMMAND": read_command,
    "SINGLETON": read_bool,
    "INSTANCES": whole_number(1, 99),
    "STOP_TIMEOUT": seconds(),
    "ROLES": read_roles,
}


def read_health_check(place: Place, value: object) -> HealthCheck | None:
    """What a new release is asked before it gets visitors; None asks nothing."""
    if value is None:
        return None
    if isinstance(value, str):
        return HealthCheck(_read_check_path(place, value), status=200)
    fields = read_all(place, value, HEALTH_CHECK_KEYS)
    if "path" in fields:
        fields.setdefault("status", 200)
    return HealthCheck(**fields)


def _read_check_path(place: Place, value: object) -> str:
    text: str = expect(value, str, "a path or an address")
    is_sound = text.isascii() and text.isprintable() and " " not in text
    if not is_sound or not (text.startswith("/") or (text.startswith("http://") and _is_http_address(text))):
        hint = "Write '/healthz/', or 'http://127.0.0.1/healthz/'."
        raise Mistake(Kind.HEALTH_CHECK, f"must be a path or an http:// address, not {text!r}.", hint)
    return text


def _is_http_address(text: str) -> bool:
    """``http://host:port/path``, without a user."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.hostname) and has_port(parts) and "@" not in parts.netloc


def _read_headers(place: Place, value: object) -> Mapping[str, str]:
    headers = expect(value, Mapping, "a dict")
    for name, content in headers.items():
        with place[name].gathering():
            _check_header(name, content)
    return MappingProxyType(dict(headers))


def _check_header(name: object, value: object) -> None:
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise Mistake(Kind.HEALTH_CHECK, "is not the name of a header.")
    text: str = expect(value, str, "a string")
    if CONTROL.search(text):
        raise Mistake(Kind.HEALTH_CHECK, "must not contain a control character.")
    if not all(ord(letter) < 256 for letter in text):
        raise Mistake(Kind.HEALTH_CHECK, "must be of characters that a header can have (Latin 1).")


HEALTH_CHECK_KEYS: Mapping[str, Reader[Any]] = {
    "PATH": _read_check_path,
    "HOST": optional(pattern(Kind.HEALTH_CHECK, re.compile(r"[!-~]+"), "a host name")),
    "STATUS": optional(whole_number(100, 599)),
    "TIMEOUT": seconds(),
    "HEADERS": _read_headers,
}
