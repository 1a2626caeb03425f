"""Readers of hosts, of their place for the site, and of how many are updated at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from django_deploy.reading.places import Kind, Mistake, Place, Reader
from django_deploy.reading.values import (
    DOTTED_PATH,
    expect,
    in_range,
    list_of,
    optional,
    pattern,
    read_all,
    read_file_name,
    resolved,
    seconds,
    whole_number,
)
from django_deploy.target import LOCAL, Batch, Host

_ROLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

_PERCENTAGE = re.compile(r"(100|[1-9][0-9]?)%")

MOST_HOSTS = 100_000

# Neither may begin with "-": they end up in the argv of ssh.
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@\\-]*\$?")

_ADDRESS = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")

_HOST = re.compile(
    r"(?:(?P<user>.*)@)?(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<address>[^\[\]:]*))(?::(?P<port>[0-9]+))?"
)

_AWKWARD = re.compile(r"""[\s%;:*?\[\]{}'"\\$`]""")


def read_hosts(place: Place, value: object) -> tuple[Host, ...]:
    """Hosts, from a list or a callable."""
    if isinstance(value, str) and not DOTTED_PATH.fullmatch(value):
        raise Mistake(Kind.TYPE, "must be a list of hosts, not a string.", f"Write [{value!r}].")
    unknown: tuple[Host, ...] = ()
    hint = f"For a host of this name, write [{value!r}]." if isinstance(value, str) else ""
    answer = resolved(place, value, instead=unknown, hint=hint)
    if answer is unknown:
        return unknown
    hosts = list_of(_read_host, "a list of hosts")(place, answer)
    if not answer:
        raise Mistake(Kind.HOST, "names no host.", "For a folder of this machine, write ['local'].")
    for index, host in enumerate(hosts):
        if host.name in [other.name for other in hosts[:index]]:
            place.note(Mistake(Kind.DUPLICATE, f"names the host {host.name!r} twice."))
    return hosts


def _read_host(place: Place, value: object) -> Host:
    if isinstance(value, str):
        host = _parse_host(value)
    else:
        fields = read_all(place, value, HOST_KEYS, required=("HOST",))
        host = Host(fields.pop("host"), **fields)
    if host.is_local and host != Host(LOCAL, roles=host.roles):
        raise Mistake(Kind.HOST, "is this machine: 'local' takes no user, port, key file or jump host.")
    return host


def _read_jump(place: Place, value: object) -> tuple[Host, ...]:
    """Hosts as ProxyJump names them: ``"user@host:port,host"``, or a list of them."""
    words = (
        value.split(",")
        if isinstance(value, str)
        else expect(value, (list, tuple), "a host or a list of hosts")
    )
    hosts = []
    for word in words:
        host = _parse_host(expect(word, str, "a host"))
        if host.is_local:
            raise Mistake(Kind.HOST, "is this machine: 'local' is no host to jump through.")
        hosts.append(host)
    return tuple(hosts)


def _parse_host(text: str) -> Host:
    """``user@host:port``; an IPv6 address with a port is in brackets (``[::1]:22``)."""
    expected = "Write 'user@host:port', where the user and the port may be left out."
    if text.count(":") > 1 and "[" not in text:
        user, at, address = text.rpartition("@")
        parts = {"user": user if at else None, "ipv6": address, "port": None}
    elif match := _HOST.fullmatch(text):
        parts = match.groupdict()
    else:
        raise Mistake(Kind.HOST, f"is not a host: {text!r}.", expected)
    address = parts["ipv6"] or parts.get("address") or ""
    if not _ADDRESS.fullmatch(address) or (parts["user"] is not None and not _USER.fullmatch(parts["user"])):
        raise Mistake(Kind.HOST, f"is not a host: {text!r}.", expected)
    port = int(parts["port"][:20]) if parts["port"] else None
    if port is not None:
        in_range(port, 1, 65535)
    return Host(address, user=parts["user"], port=port)


def read_key_file(place: Place, value: object) -> str:
    """The path of a file of this machine; ``~`` is somebody's home."""
    text = read_file_name(place, value)
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        user = text.partition("/")[0]
        raise Mistake(Kind.PATH, f"is in the home of {user!r}, and nobody has that name.") from None


def read_root(place: Place, value: object) -> PurePosixPath:
    """An absolute path that process managers, too, read as it is written."""
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    path = PurePosixPath(read_file_name(place, text))
    if not path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        hint = "Write the whole path, say '/srv/shop'."
        raise Mistake(Kind.PATH, f"must be an absolute path of a folder of its own, not {text!r}.", hint)
    if found := _AWKWARD.search(str(path)):
        message = (
            f"must not have {found[0]!r} in it, which process managers read as something else: {text!r}."
        )
        raise Mistake(Kind.PATH, message, "Choose another path, say '/srv/shop'.")
    return path


read_roles = list_of(
    pattern(Kind.ROLE, _ROLE, "the name of a role: letters, digits, '-' and '_'"), "a list of roles"
)

HOST_KEYS: Mapping[str, Reader[Any]] = {
    "HOST": pattern(Kind.HOST, _ADDRESS, "the name or address of a host"),
    "USER": optional(pattern(Kind.HOST, _USER, "the name of a user")),
    "PORT": optional(whole_number(1, 65535)),
    "KEY_FILE": optional(read_key_file),
    "JUMP": _read_jump,
    "ROLES": read_roles,
}


def read_batch(place: Place, value: object) -> Batch:
    """How many hosts are updated at a time, and how long it takes until the next ones are."""
    if isinstance(value, Mapping):
        return Batch(**read_all(place, value, BATCH_KEYS, required=("SIZE",)))
    return Batch(_read_batch_size(place, value))


def _read_batch_size(place: Place, value: object) -> int | str:
    if isinstance(value, str):
        return pattern(Kind.RANGE, _PERCENTAGE, "a number of hosts or a percentage, say '25%'")(place, value)
    return whole_number(1, MOST_HOSTS)(place, value)


BATCH_KEYS: Mapping[str, Reader[Any]] = {
    "SIZE": _read_batch_size,
    "PAUSE": seconds(is_zero_allowed=True),
}
