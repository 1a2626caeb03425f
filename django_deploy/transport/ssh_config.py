"""What the user's ``ssh_config`` says of a host, as OpenSSH itself reads it (``ssh -G``)."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from django_deploy.exceptions import ConnectionFailed
from django_deploy.target import Host
from django_deploy.transport._paramiko import paramiko
from django_deploy.transport.printable import printable

#: How long OpenSSH may take to read its files, in seconds: they can run programs ("Match exec").
READ_TIMEOUT = 20

#: Keys that OpenSSH tries where no IdentityFile is configured, and that paramiko can read.
DEFAULT_KEYS = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")

#: Option in lower case to its values, one for each time that it was given.
Options = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class HostConfig:
    """How to reach and to log in to one host.

    ``strict`` is ``"yes"`` (refuse unknown host keys), ``"ask"`` or ``"accept-new"``; a user's
    ``no`` counts as ``ask``. ``identity_agent`` is the agent's socket, None for no agent.
    ``connect_timeout`` is in seconds, None where nothing is configured. ``jumps`` are the hosts in
    between (ProxyJump), the nearest first.
    """

    hostname: str
    port: int
    user: str
    identity_files: tuple[Path, ...] = ()
    certificate_files: tuple[Path, ...] = ()
    identities_only: bool = False
    identity_agent: Path | None = None
    user_known_hosts: tuple[Path, ...] = ()
    global_known_hosts: tuple[Path, ...] = ()
    host_key_alias: str | None = None
    strict: str = "ask"
    hash_known_hosts: bool = False
    revoked_host_keys: Path | None = None
    connect_timeout: float | None = None
    address_family: socket.AddressFamily = socket.AF_UNSPEC
    jumps: tuple[Host, ...] = ()
    proxy_command: str | None = None


def read(host: Host, config_file: Path | None = None) -> HostConfig:
    """The configuration of ``host``; what the host itself names wins over the files.

    ``config_file`` is read instead of the user's and the system's file. Raises
    ``ConnectionFailed`` where the files cannot be read.
    """
    options = _ask_openssh(host, config_file) if shutil.which("ssh") else _read_files(host, config_file)
    return interpret(host, options)


def interpret(host: Host, options: Options) -> HostConfig:
    """The options of ``ssh -G`` as values, with ``~``, tokens and variables replaced."""
    first = {name: values[0] for name, values in options.items() if values}
    hostname = first.get("hostname", host.address)
    port = host.port or int(first.get("port", "22"))
    user = host.user or first.get("user") or getpass.getuser()
    tokens = _tokens(host.address, hostname, port, user, first)
    proxy_command = _unless_none(first.get("proxycommand"))
    identities = [host.key_file] if host.key_file else _without_none(options.get("identityfile", ()))
    return HostConfig(
        hostname=hostname,
        port=port,
        user=user,
        identity_files=_paths(identities or DEFAULT_KEYS, tokens),
        certificate_files=_paths(_without_none(options.get("certificatefile", ())), tokens),
        identities_only=bool(host.key_file) or _is_on(first.get("identitiesonly")),
        identity_agent=_agent_socket(first.get("identityagent", "SSH_AUTH_SOCK"), tokens),
        user_known_hosts=_files(first.get("userknownhostsfile", "~/.ssh/known_hosts"), tokens),
        global_known_hosts=_files(first.get("globalknownhostsfile", "/etc/ssh/ssh_known_hosts"), tokens),
        host_key_alias=_unless_none(first.get("hostkeyalias")),
        strict=_strictness(first.get("stricthostkeychecking", "ask")),
        hash_known_hosts=_is_on(first.get("hashknownhosts")),
        revoked_host_keys=next(iter(_files(first.get("revokedhostkeys", "none"), tokens)), None),
        connect_timeout=_seconds(first.get("connecttimeout")),
        address_family=_FAMILIES.get(first.get("addressfamily", "any"), socket.AF_UNSPEC),
        jumps=tuple(
            parse_jump(jump) for jump in (_unless_none(first.get("proxyjump")) or "").split(",") if jump
        ),
        proxy_command=_expand(proxy_command, tokens) if proxy_command else None,
    )


def parse_jump(text: str) -> Host:
    """A host as ProxyJump names it: ``[user@]host[:port]`` or ``ssh://[user@]host[:port]``."""
    user, _, place = text.strip().removeprefix("ssh://").rstrip("/").rpartition("@")
    found = _PLACE.fullmatch(place)
    address, port = (found["bracketed"] or found["bare"], found["port"]) if found else (place, None)
    return Host(address, user or None, int(port) if port else None)


_PLACE = re.compile(r"(?:\[(?P<bracketed>[^]]+)\]|(?P<bare>[^:]+))(?::(?P<port>\d+))?")

_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def _ask_openssh(host: Host, config_file: Path | None) -> Options:
    command = ["ssh", "-T", "-G"]
    command += ["-F", str(config_file)] if config_file else []
    command += ["-p", str(host.port)] if host.port else []
    command += ["-l", host.user] if host.user else []
    command += ["--", host.address]
    remedy = f"Try: {shlex.join(command)}"
    try:
        ssh = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=READ_TIMEOUT)
    except subprocess.TimeoutExpired:
        message = f"ssh did not read its configuration within {READ_TIMEOUT} s"
        raise ConnectionFailed(host.name, message, remedy=remedy) from None
    if ssh.returncode:
        message = f"ssh cannot read its configuration: {printable(ssh.stderr)}"
        raise ConnectionFailed(host.name, message, remedy=remedy)
    options: dict[str, list[str]] = {}
    for line in ssh.stdout.decode("utf-8", "surrogateescape").splitlines():
        name, _, value = line.partition(" ")
        options.setdefault(name.lower(), []).append(value)
    return options


def _read_files(host: Host, config_file: Path | None) -> Options:
    """Without OpenSSH: most of its language, but neither Include nor Match exec."""
    config = paramiko.SSHConfig()
    files = [config_file] if config_file else [Path.home() / ".ssh/config", Path("/etc/ssh/ssh_config")]
    try:
        for file in files:
            if file == config_file or file.exists():
                with file.open(encoding="utf-8") as lines:
                    config.parse(lines)
        found = config.lookup(host.address)
    except (OSError, ValueError, ImportError, paramiko.SSHException) as error:
        message = f"the ssh configuration cannot be read: {printable(str(error))}"
        remedy = "Install OpenSSH's client, which reads all of it."
        raise ConnectionFailed(host.name, message, remedy=remedy) from error
    options = {name: value for name, value in found.items() if value is not None}
    return {name: value if isinstance(value, list) else [value] for name, value in options.items()}


def _tokens(address: str, hostname: str, port: int, user: str, first: Mapping[str, str]) -> dict[str, str]:
    """The tokens of ssh_config(5) that file names and proxy commands use."""
    local = socket.gethostname()
    return {
        "%": "%",
        "d": str(Path.home()),
        "h": hostname,
        "i": str(os.getuid()),
        "k": first.get("hostkeyalias", address),
        "L": local.partition(".")[0],
        "l": local,
        "n": address,
        "p": str(port),
        "r": user,
        "u": getpass.getuser(),
    }


def _expand(text: str, tokens: Mapping[str, str]) -> str:
    return re.sub("%(.)", lambda found: tokens.get(found[1], found[0]), text)


def _paths(names: Iterable[str], tokens: Mapping[str, str]) -> tuple[Path, ...]:
    return tuple(Path(_expand(os.path.expandvars(name), tokens)).expanduser() for name in names)


def _files(value: str, tokens: Mapping[str, str]) -> tuple[Path, ...]:
    """File names from one line; ``ssh -G`` has dropped the quotes, so a space may be part of a name."""
    names: list[str] = []
    for word in value.split():
        if names and not word.startswith(("/", "~", "%", "$")):
            names[-1] += f" {word}"
        else:
            names.append(word)
    return _paths(_without_none(names), tokens)


def _agent_socket(value: str, tokens: Mapping[str, str]) -> Path | None:
    if value == "SSH_AUTH_SOCK":
        value = os.environ.get(value, "")
    name = _unless_none(os.path.expandvars(value))
    return _paths([name], tokens)[0] if name else None


def _strictness(value: str) -> str:
    if value in ("yes", "true"):
        return "yes"
    return "accept-new" if value == "accept-new" else "ask"


def _is_on(value: str | None) -> bool:
    return value in ("yes", "true")


def _seconds(value: str | None) -> float | None:
    return float(value) if value and value.isdecimal() else None


def _unless_none(value: str | None) -> str | None:
    return value if value and value != "none" else None


def _without_none(values: Iterable[str]) -> list[str]:
    return [value for value in values if value and value != "none"]
