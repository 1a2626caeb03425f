"""The frozen value that a ``DEPLOY_TARGETS`` entry becomes, and how one is read."""

from __future__ import annotations

import os
import re
import shlex
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from django_deploy.exceptions import ConfigError, DeployError, Issue

LOCAL = "local"

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Host:
    """One machine of a target; ``address`` is ``"local"`` for a folder of this one.

    ``user``, ``port`` and ``key_file`` are None where ``ssh_config`` and its defaults decide. ``roles`` are
    what processes and steps name that are not for all hosts. ``jump`` are the hosts in between, the nearest
    first; without any, ``ssh_config`` decides.
    """

    address: str
    user: str | None = None
    port: int | None = None
    key_file: str | None = None
    roles: tuple[str, ...] = ()
    jump: tuple[Host, ...] = ()

    @property
    def is_local(self) -> bool:
        return self.address == LOCAL

    @property
    def name(self) -> str:
        """As the user wrote it: ``user@address:port``."""
        address = f"[{self.address}]" if ":" in self.address and self.port else self.address
        user = f"{self.user}@" if self.user else ""
        return f"{user}{address}:{self.port}" if self.port else f"{user}{address}"

    def is_for(self, roles: Collection[str]) -> bool:
        """Whether what names these roles runs here: it has one of them, or there are none."""
        return not roles or not set(roles).isdisjoint(self.roles)


@dataclass(frozen=True)
class Step:
    """One ``manage.py`` command of a release.

    ``on`` is ``"each"`` (every host) or ``"once"`` (the first host only); of hosts that have one of its
    ``roles``, where it names any. A step with ``requires_app`` is left out where the site's INSTALLED_APPS
    lacks that app. ``timeout`` is in seconds; None waits for ever.
    """

    command: tuple[str, ...]
    on: str = "each"
    isolated: bool = False
    timeout: float | None = None
    requires_app: str = ""
    roles: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return " ".join(self.command)

    @property
    def is_migration(self) -> bool:
        return self.command[0] == "migrate"


#: What REQUIREMENTS may say, if it names no file.
REQUIREMENTS = ("environment", "closure", "freeze")

#: What a release runs when the target names no STEPS; each where the site has the app.
#: Seconds that a step may take that does not write to the database, when STEPS does not say. Whatever takes
#: longer hangs; a migration is not to be killed half-way on a guess.
STEP_TIMEOUT = 3600.0

DEFAULT_STEPS = (
    Step(("collectstatic", "--noinput"), timeout=STEP_TIMEOUT, requires_app="django.contrib.staticfiles"),
    Step(("migrate", "--noinput"), on="once"),
    Step(("fix_permissions",), timeout=STEP_TIMEOUT),
    Step(("compress", "--force"), timeout=STEP_TIMEOUT, requires_app="compressor"),
)


@dataclass(frozen=True)
class Process:
    """A long-running program of the site. ``{socket}`` in ``command`` makes it a web process.

    A ``singleton`` is stopped in the old release before it starts in the new one.
    ``instances`` of it run at once, each with a socket of its own. ``stop_timeout`` is in seconds, from
    SIGTERM to SIGKILL. It runs on the hosts that have one of its ``roles``, where it names any.
    """

    name: str
    command: tuple[str, ...]
    singleton: bool = False
    instances: int = 1
    stop_timeout: float = 30.0
    roles: tuple[str, ...] = ()

    @property
    def has_socket(self) -> bool:
        return any("{socket}" in word for word in self.command)

    def instance_names(self) -> tuple[str, ...]:
        """``worker``, ``worker.2``, ``worker.3``: the first keeps the name that it has when it is alone."""
        return (self.name, *(f"{self.name}.{number}" for number in range(2, self.instances + 1)))


@dataclass(frozen=True)
class HealthCheck:
    """What the site must answer before it gets traffic.

    ``path`` is asked on every process that has a socket; an ``http://`` address instead is asked
    as it stands, after the switch (for sites that others restart). ``host`` is the Host header;
    None takes one that the site's ALLOWED_HOSTS accepts. ``status`` None accepts anything below
    500. ``timeout`` is in seconds, for the whole check.
    """

    path: str = "/"
    host: str | None = None
    status: int | None = None
    timeout: float = 30.0
    headers: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True)
class Batch:
    """How many hosts are activated at a time, a number or a percentage (``"25%"``).

    ``pause`` is the time from one batch to the next, in seconds.
    """

    size: int | str
    pause: float = 0.0


#: What becomes of migrations that the code that runs could not bear.
MIGRATIONS = ("refuse", "allow", "phased")

#: The web servers and the databases that ``deploy_setup`` knows.
NGINX, CADDY = WEB_SERVERS = ("nginx", "caddy")
POSTGRESQL = "postgresql"

#: What TLS may say, if it names no files: Caddy is its own certificate authority.
INTERNAL = "internal"


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate, with its chain, and of its private key.

    What begins with ``host:`` is a path on the host; all else is a file of this machine, which is sent.
    """

    certificate: str
    key: str


@dataclass(frozen=True)
class Served:
    """A path of the site's (``/static/``), and the name of the folder that has its files on a host."""

    url: str
    folder: str


@dataclass(frozen=True)
class Target:
    """One entry of ``settings.DEPLOY_TARGETS``, validated.

    ``env`` is the environment of the site; its values are secrets and never in ``repr``.
    ``requirements`` is one of ``REQUIREMENTS`` or the path of a file. ``exclude`` None means the
    documented development tools. ``lock_file`` is the path of a file that must equal what is deployed.
    ``strict_environment`` refuses hosts that need more than is installed
    here. ``vendor`` sends every wheel: the hosts need no index. ``build_on_host`` sends sources of compiled
    code to hosts that cannot run what is compiled here.
    ``installer`` None lets the host choose (uv, else pip); ``process_manager`` None too (systemd, else
    supervisor). ``batch`` None is all hosts at once; ``canary_seconds`` is for how long the first batch must
    stay healthy before the others follow. ``lock_wait`` is in seconds. ``signing_key`` signs bundle files,
    and only those that one of ``trusted_keys`` has signed are deployed, if there are any. ``left_out`` are
    hosts of the settings that are no part of this for once. ``migrations`` is one of ``MIGRATIONS``;
    ``database_shared_with`` are targets that use the same database. ``backup`` True dumps a database ahead
    of each migration, ``"contract"`` ahead of those that take something away or do what nobody can look
    into; ``keep_backups`` of each database stay. ``data_folders`` are this machine's MEDIA_ROOT and
    STATIC_ROOT, which are no part of any source tree; ``asset_folders`` are those that settings read
    templates, static files, translations and fixtures from.

    For ``deploy_setup``: ``user`` is who the site belongs to, ``web`` one of ``WEB_SERVERS``, ``domain`` what
    visitors type, ``tls`` ``INTERNAL``, files or None, ``database`` ``POSTGRESQL`` or None. ``static`` and
    ``media`` are what the web server may serve by itself, None where this project has no path for them.
    """

    name: str
    hosts: tuple[Host, ...]
    root: PurePosixPath
    settings_module: str
    python: str = "python3"
    env: Mapping[str, str] = field(default_factory=lambda: NOTHING, repr=False)
    requirements: str = "environment"
    extras: tuple[str, ...] = ()
    exclude: tuple[str, ...] | None = None
    include: tuple[str, ...] = ()
    lock_file: str | None = None
    strict_environment: bool = False
    index_url: str | None = field(default=None, repr=False)
    vendor: bool = False
    build_on_host: bool = False
    installer: str | None = None
    steps: tuple[Step, ...] = DEFAULT_STEPS
    migrations: str = "refuse"
    database_shared_with: tuple[str, ...] = ()
    backup: bool | str = False
    keep_backups: int = 5
    processes: tuple[Process, ...] = ()
    process_manager: str | None = None
    restart: tuple[tuple[str, ...], ...] = ()
    health_check: HealthCheck | None = HealthCheck()
    batch: Batch | None = None
    canary_seconds: float = 0.0
    keep_releases: int = 5
    require_clean: bool = False
    lock_wait: float = 0.0
    project_include: tuple[str, ...] = ()
    project_exclude: tuple[str, ...] = ()
    signing_key: str | None = field(default=None, repr=False)
    trusted_keys: tuple[str, ...] = ()
    user: str | None = None
    web: str | None = None
    domain: str | None = None
    tls: str | Certificate | None = None
    database: str | None = None
    static: Served | None = None
    media: Served | None = None
    data_folders: tuple[str, ...] = ()
    asset_folders: tuple[str, ...] = ()
    left_out: tuple[Host, ...] = ()

    def limited_to(self, patterns: str) -> Target:
        """With only the hosts that ``patterns`` name, several separated by commas.

        A pattern (``fnmatch``) is of a host's name as the settings have it, or of its address. Raises
        ``ConfigError`` for one that names no host.
        """
        chosen: set[Host] = set()
        for pattern in (word.strip() for word in patterns.split(",")):
            found = {host for host in self.hosts if _is_named(host, pattern)}
            if not found:
                names = [host.name for host in self.hosts]
                remedy = did_you_mean(pattern, names) or f"There is: {', '.join(names)}."
                raise ConfigError(f"No host of {self.name!r} is named {pattern!r}.", remedy=remedy)
            chosen |= found
        return self.without([host for host in self.hosts if host not in chosen])

    def without(self, hosts: Collection[Host]) -> Target:
        """With these hosts left out."""
        rest = tuple(host for host in self.hosts if host not in hosts)
        return replace(self, hosts=rest, left_out=(*self.left_out, *hosts))

    def for_host(self, host: Host) -> Target:
        """With only the processes and steps that the host has the roles for."""
        return replace(
            self,
            processes=tuple(process for process in self.processes if host.is_for(process.roles)),
            steps=tuple(step for step in self.steps if host.is_for(step.roles)),
        )

    def batch_size(self) -> int:
        """How many hosts are activated at a time, at least 1."""
        if self.batch is None:
            return len(self.hosts)
        if isinstance(self.batch.size, str):
            return max(1, len(self.hosts) * int(self.batch.size.rstrip("%")) // 100)
        return self.batch.size

    @classmethod
    def from_mapping(
        cls,
        name: str,
        mapping: object,
        *,
        settings_module: str | None = None,
        resolve: Resolve | None = None,
    ) -> Target:
        """The target that an entry of ``DEPLOY_TARGETS`` describes.

        ``settings_module`` stands in where the entry names none. ``resolve`` calls a callable, or
        the dotted path of one, where HOSTS or ENV is that; without it they stay empty and are not
        judged. Raises ``ConfigError`` with every mistake in ``issues``.
        """
        place = _Place(setting_path(name), [], resolve)
        fields: dict[str, Any] = {}
        with place.gathering():
            required = ("HOSTS", "ROOT") if settings_module else ("HOSTS", "ROOT", "SETTINGS_MODULE")
            fields = _read_fields(place, mapping, _TARGET, required)
            fields.setdefault("settings_module", settings_module)
            _check_target(place, fields)
            fields["hosts"] = tuple(_with_user(host, fields.get("user")) for host in fields.get("hosts", ()))
        if place.issues:
            count = "a mistake" if len(place.issues) == 1 else f"{len(place.issues)} mistakes"
            raise ConfigError(f"The settings of the target {name!r} have {count}.", issues=place.issues)
        return cls(name=name, **fields)

    def warnings(self) -> tuple[Issue, ...]:
        """What is legal in the settings and yet hardly meant."""
        if not (self.processes or self.restart):
            message = "has neither PROCESSES nor RESTART: releases are installed, but nothing runs them."
            hint = "Name the site's programs in PROCESSES, or in RESTART the commands that restart them."
            return (Issue(setting_path(self.name), message, hint=hint, id=Kind.NOTHING_RUNS.value),)
        if self._is_unasked():
            message = "has no process with a {socket}: nobody asks whether a new release answers."
            hint = (
                "Where a web process listens, write unix:{socket}; else name an http:// address in"
                " HEALTH_CHECK, or None where there is nothing to ask."
            )
            return (Issue(setting_path(self.name), message, hint=hint, id=Kind.NOTHING_ASKED.value),)
        return ()

    def _is_unasked(self) -> bool:
        """The health check goes to sockets, and there is none."""
        asks_sockets = self.health_check is not None and self.health_check.path.startswith("/")
        return asks_sockets and not any(process.has_socket for process in self.processes)


class Kind(Enum):
    """Every kind of mistake in the settings, with its stable id."""

    SHAPE = "deploy.E001"  #: DEPLOY_TARGETS is not a dict, or a target's name is not fit for one
    UNKNOWN_KEY = "deploy.E002"  #: a key that no setting has
    MISSING_KEY = "deploy.E003"  #: a key that must be there
    TYPE = "deploy.E004"  #: a value of the wrong type
    CHOICE = "deploy.E005"  #: none of the values that are possible
    RANGE = "deploy.E006"  #: a number out of its range
    HOST = "deploy.E007"  #: not a host
    DUPLICATE = "deploy.E008"  #: the same host twice
    PATH = "deploy.E009"  #: not a path that is fit for a ROOT, an interpreter or a key file; not a pattern
    COMMAND = "deploy.E010"  #: not a command line
    ENVIRONMENT = "deploy.E011"  #: a name or value that no environment can hold
    CALLABLE = "deploy.E012"  #: a callable that cannot be found, or that failed
    PROCESS = "deploy.E013"  #: a process that could not run
    SOCKET = "deploy.E014"  #: the path of a process's socket is too long
    HEALTH_CHECK = "deploy.E015"  #: a health check that cannot be asked
    NAME = "deploy.E016"  #: not the name of a distribution, an extra or a module
    URL = "deploy.E017"  #: not the address of an index
    ROLE = "deploy.E018"  #: not a role, or one that no host has
    SETUP = "deploy.E019"  #: keys for ``deploy_setup`` that do not go together
    ROOT_TAKEN = "deploy.E020"  #: another target has this ROOT on the same host
    NOTHING_RUNS = "deploy.W001"  #: neither PROCESSES nor RESTART
    COMMAND_TAKEN = "deploy.W002"  #: another app has a command ``deploy``, too
    NOTHING_ASKED = "deploy.W003"  #: no health check, without having said so


#: Calls the callable, or the dotted path of one, that stands for a value in the settings.
Resolve = Callable[[object], object]

T = TypeVar("T")

#: sun_path of Linux is 108 bytes, with the NUL at its end (unix(7)).
_LONGEST_SOCKET = 107
_RELEASE_ID_LENGTH = len("20261122T174500Z-3f9c2a1")

#: Commands of Django's that write to the database: once for all hosts and for as long as it takes, when STEPS
#: does not say.
_ONCE = frozenset({"migrate", "createcachetable", "loaddata"})

_SHELL_WORDS = frozenset({"|", "||", "&", "&&", ";", ">", ">>", "<", "2>&1"})
_AWKWARD = re.compile(r"""[\s%;:*?\[\]{}'"\\$`]""")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

#: What the kernel takes as one word of a command line or one variable, in bytes (MAX_ARG_STRLEN, execve(2)),
#: and what is left to others of the 2 MB that all of it may have.
LONGEST_WORD = 128 * 1024 - 1
LARGEST_ENVIRONMENT = 1024 * 1024

#: Releases that are kept, at most: a host tells of all of them in one message.
MOST_RELEASES = 200

#: A year: nobody waits longer, and timers can wait so long.
LONGEST_TIME = 365 * 24 * 3600
MOST_HOSTS = 100_000

#: A limit that only mistakes reach; messages do not speak of it before.
OUT_OF_THOUGHT = 100_000
TARGET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ROLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_PROCESS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_DISTRIBUTION_NAME = re.compile(_NAME)
_INCLUDED = re.compile(rf"{_NAME}(\[{_NAME}(,{_NAME})*\])?")
_EXCLUDED = re.compile(r"[A-Za-z0-9*]([A-Za-z0-9._*-]*[A-Za-z0-9*])?")
_DOTTED_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_MODULE_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
#: Names of lock files as PEP 751 has them, and what makes one of the lock files of others.
_PYLOCK = r"pylock(\.[^.]+)?\.toml"
_EXPORTS = {
    "uv.lock": "uv export --format pylock.toml --output-file pylock.toml",
    "poetry.lock": "poetry export --output requirements.txt",
    "pdm.lock": "pdm export --output requirements.txt",
    "Pipfile.lock": "pipenv requirements --hash > requirements.txt",
}
_PERCENTAGE = re.compile(r"(100|[1-9][0-9]?)%")
# Neither may begin with "-": they end up in the argv of ssh.
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@\\-]*\$?")
_ADDRESS = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")
#: What useradd takes on every system, and what may stand in a configuration and in a shell as it is.
_NEW_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ON_HOST = re.compile(r"host:(/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")
_HOST = re.compile(
    r"(?:(?P<user>.*)@)?(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<address>[^\[\]:]*))(?::(?P<port>[0-9]+))?"
)


class _Unreadable(Exception):
    """No value can be made of this; what is wrong has been noted already."""


class _Mistake(_Unreadable):
    """No value can be made of this, and here is why."""

    def __init__(self, kind: Kind, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class _Place:
    """A place in the settings, and the list that gathers what is wrong there."""

    path: str
    issues: list[Issue]
    resolve: Resolve | None = None

    def __getitem__(self, key: object) -> _Place:
        return _Place(f"{self.path}[{key!r}]", self.issues, self.resolve)

    def note(self, mistake: _Mistake) -> None:
        self.issues.append(Issue(self.path, mistake.message, hint=mistake.hint, id=mistake.kind.value))

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Notes the mistake that ends the block, and goes on behind it."""
        try:
            yield
        except _Mistake as mistake:
            self.note(mistake)
        except _Unreadable:
            pass


_Reader = Callable[[_Place, object], T]


def setting_path(*keys: object) -> str:
    """``DEPLOY_TARGETS['staging']['ROOT']``: how messages name a place in the settings."""
    return "DEPLOY_TARGETS" + "".join(f"[{key!r}]" for key in keys)


def did_you_mean(word: object, known: Collection[str]) -> str:
    """``Did you mean 'HOSTS'?``, or nothing when no known word is near."""
    near = {name.casefold(): name for name in known}
    matches = get_close_matches(str(word).casefold(), near, n=1)
    return f"Did you mean {near[matches[0]]!r}?" if matches else ""


def _is_named(host: Host, pattern: str) -> bool:
    # An IPv6 address has brackets in its name, which are signs of a pattern, too.
    return any(word == pattern or fnmatchcase(word, pattern) for word in (host.name, host.address))


# Readers: a place and a value of the settings in, a value of ours out; they raise _Unreadable.


def _read_fields(
    place: _Place,
    value: object,
    readers: Mapping[str, _Reader[Any]],
    required: Collection[str] = (),
) -> dict[str, Any]:
    """Keyword arguments (``stop_timeout``) from a dict of the settings (``STOP_TIMEOUT``)."""
    mapping = _expect(value, Mapping, "a dict")
    for key in mapping:
        if key not in readers:
            hint = did_you_mean(key, readers)
            place[key].note(_Mistake(Kind.UNKNOWN_KEY, "is not a key that is known.", hint))
    for key in required:
        if key not in mapping:
            place.note(_Mistake(Kind.MISSING_KEY, f"needs the key {key!r}."))
    fields = {}
    for key, reader in readers.items():
        if key in mapping:
            with place[key].gathering():
                fields[key.lower()] = reader(place[key], mapping[key])
    return fields


def _read_all(
    place: _Place,
    value: object,
    readers: Mapping[str, _Reader[Any]],
    required: Collection[str] = (),
) -> dict[str, Any]:
    """As ``_read_fields``, for a dict that is of no use with a mistake in it."""
    before = len(place.issues)
    fields = _read_fields(place, value, readers, required)
    if len(place.issues) > before:
        raise _Unreadable
    return fields


def _list_of(reader: _Reader[T], expected: str) -> _Reader[tuple[T, ...]]:
    def read_list(place: _Place, value: object) -> tuple[T, ...]:
        if isinstance(value, str):
            raise _Mistake(Kind.TYPE, f"must be {expected}, not a string.", f"Write [{value!r}].")
        items = []
        for index, item in enumerate(_expect(value, (list, tuple), expected)):
            with place[index].gathering():
                items.append(reader(place[index], item))
        return tuple(items)

    return read_list


def _optional(reader: _Reader[T]) -> _Reader[T | None]:
    return lambda place, value: None if value is None else reader(place, value)


def _choice(*choices: str) -> _Reader[str]:
    *others, last = map(repr, choices)
    expected = f"{', '.join(others)} or {last}" if others else last

    def read_choice(place: _Place, value: object) -> str:
        word: str = _expect(value, str, expected)
        if word not in choices:
            hint = did_you_mean(word, choices)
            raise _Mistake(Kind.CHOICE, f"must be {expected}, not {word!r}.", hint)
        return word

    return read_choice


def _whole_number(least: int, most: int) -> _Reader[int]:
    def read_number(place: _Place, value: object) -> int:
        return int(_in_range(_expect(value, int, "a whole number"), least, most))

    return read_number


def _seconds(*, is_zero_allowed: bool = False) -> _Reader[float]:
    def read_seconds(place: _Place, value: object) -> float:
        seconds = _expect(value, (int, float), "a number of seconds")
        if not is_zero_allowed and seconds == 0:
            raise _Mistake(Kind.RANGE, "must be more than 0.")
        return float(_in_range(seconds, 0, LONGEST_TIME))

    return read_seconds


def _pattern(kind: Kind, pattern: re.Pattern[str], expected: str, *, is_shown: bool = True) -> _Reader[str]:
    def read_text(place: _Place, value: object) -> str:
        text: str = _expect(value, str, expected)
        if not pattern.fullmatch(text):
            raise _Mistake(kind, f"must be {expected}{f', not {text!r}' if is_shown else ''}.")
        return text

    return read_text


def _read_bool(place: _Place, value: object) -> bool:
    if not isinstance(value, bool):
        raise _Mistake(Kind.TYPE, f"must be True or False, not {_type_name(value)}.")
    return value


def _expect(value: object, type: type[Any] | tuple[type[Any], ...], expected: str) -> Any:
    """The value, when it is of that type. Never shows the value: it may be a secret."""
    if not isinstance(value, type) or isinstance(value, bool):
        raise _Mistake(Kind.TYPE, f"must be {expected}, not {_type_name(value)}.")
    return value


def _type_name(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    return _TYPE_NAMES.get(type(value), f"an instance of {type(value).__name__}")


_TYPE_NAMES: Mapping[type, str] = {
    str: "a string",
    bytes: "bytes",
    int: "a number",
    float: "a number",
    dict: "a dict",
    list: "a list",
    tuple: "a tuple",
    set: "a set",
}


def _in_range(number: float, least: int, most: int) -> float:
    if least <= number <= most:  # a NaN is not
        return number
    limits = f"between {least} and {most}"
    if most >= OUT_OF_THOUGHT:
        limits = f"at most {most}" if number > most and number != float("inf") else f"{least} or more"
    shown = "a number of many digits" if isinstance(number, int) and abs(number) > 10**20 else number
    raise _Mistake(Kind.RANGE, f"must be {limits}, not {shown}.")


def _resolved(place: _Place, value: object, instead: object, hint: str = "") -> object:
    """What a callable or the dotted path of one answers; ``instead`` when nothing shall be called."""
    if not callable(value) and not isinstance(value, str):
        return value
    if isinstance(value, str) and not _DOTTED_PATH.fullmatch(value):
        raise _Mistake(Kind.CALLABLE, "is a string, but not the dotted path of a callable.")
    if place.resolve is None:
        return instead
    try:
        return place.resolve(value)
    except DeployError:
        raise
    except ImportError as error:
        raise _Mistake(Kind.CALLABLE, f"names a callable that cannot be imported: {error}.", hint) from error
    except Exception as error:  # the user's code: anything may happen there
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"
        raise _Mistake(Kind.CALLABLE, f"is a callable that failed: {reason}.") from error


def _read_hosts(place: _Place, value: object) -> tuple[Host, ...]:
    if isinstance(value, str) and not _DOTTED_PATH.fullmatch(value):
        raise _Mistake(Kind.TYPE, "must be a list of hosts, not a string.", f"Write [{value!r}].")
    unknown: tuple[Host, ...] = ()
    hint = f"For a host of this name, write [{value!r}]." if isinstance(value, str) else ""
    answer = _resolved(place, value, instead=unknown, hint=hint)
    if answer is unknown:
        return unknown
    hosts = _list_of(_read_host, "a list of hosts")(place, answer)
    if not answer:
        raise _Mistake(Kind.HOST, "names no host.", "For a folder of this machine, write ['local'].")
    for index, host in enumerate(hosts):
        if host.name in [other.name for other in hosts[:index]]:
            place.note(_Mistake(Kind.DUPLICATE, f"names the host {host.name!r} twice."))
    return hosts


def _read_host(place: _Place, value: object) -> Host:
    if isinstance(value, str):
        host = _parse_host(value)
    else:
        fields = _read_all(place, value, _HOST_KEYS, required=("HOST",))
        host = Host(fields.pop("host"), **fields)
    if host.is_local and host != Host(LOCAL, roles=host.roles):
        raise _Mistake(Kind.HOST, "is this machine: 'local' takes no user, port, key file or jump host.")
    return host


def _read_jump(place: _Place, value: object) -> tuple[Host, ...]:
    """Hosts as ProxyJump names them: ``"user@host:port,host"``, or a list of them."""
    words = (
        value.split(",")
        if isinstance(value, str)
        else _expect(value, (list, tuple), "a host or a list of hosts")
    )
    hosts = []
    for word in words:
        host = _parse_host(_expect(word, str, "a host"))
        if host.is_local:
            raise _Mistake(Kind.HOST, "is this machine: 'local' is no host to jump through.")
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
        raise _Mistake(Kind.HOST, f"is not a host: {text!r}.", expected)
    address = parts["ipv6"] or parts.get("address") or ""
    if not _ADDRESS.fullmatch(address) or (parts["user"] is not None and not _USER.fullmatch(parts["user"])):
        raise _Mistake(Kind.HOST, f"is not a host: {text!r}.", expected)
    port = int(parts["port"][:20]) if parts["port"] else None
    if port is not None:
        _in_range(port, 1, 65535)
    return Host(address, user=parts["user"], port=port)


def _read_key_file(place: _Place, value: object) -> str:
    text = _read_file_name(place, value)
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        user = text.partition("/")[0]
        raise _Mistake(Kind.PATH, f"is in the home of {user!r}, and nobody has that name.") from None


def _read_signing_key(place: _Place, value: object) -> str:
    """A file, or the text of a private key; no text is ever shown."""
    text: str = _expect(value, str, "a path, or the text of a private key").strip()
    if text.startswith("-----BEGIN "):
        return text
    if "\n" in text:
        raise _Mistake(Kind.PATH, "is neither the path of a file nor the text of a private key.")
    return _read_key_file(place, text)


def _read_trusted_key(place: _Place, value: object) -> str:
    text: str = _expect(value, str, "a public key, or the path of a file of them").strip()
    return text if "ssh-ed25519 " in text else _read_key_file(place, text)


def _read_root(place: _Place, value: object) -> PurePosixPath:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    path = PurePosixPath(_read_file_name(place, text))
    if not path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        hint = "Write the whole path, say '/srv/shop'."
        raise _Mistake(Kind.PATH, f"must be an absolute path of a folder of its own, not {text!r}.", hint)
    if found := _AWKWARD.search(str(path)):
        message = (
            f"must not have {found[0]!r} in it, which process managers read as something else: {text!r}."
        )
        raise _Mistake(Kind.PATH, message, "Choose another path, say '/srv/shop'.")
    return path


def _read_file_name(place: _Place, value: object) -> str:
    text: str = _expect(value, str, "a path")
    if not text or text.startswith("-") or _CONTROL.search(text) or not _is_utf8(text):
        raise _Mistake(Kind.PATH, f"is not a path: {text!r:.200}.")
    return text


def _is_utf8(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)


def _size(text: str) -> int:
    """Its bytes on a host; what is not UTF-8 goes there as Python reads it here (surrogateescape)."""
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise _Mistake(Kind.TYPE, "has a character that no encoding can write (a lone surrogate).") from None


def _read_file_pattern(place: _Place, value: object) -> str:
    text: str = _expect(value, str, "a pattern of files")
    parts = text.strip("/").split("/")
    if not text.strip("/") or _CONTROL.search(text):
        raise _Mistake(Kind.PATH, f"is not a pattern of files: {text!r}.")
    if text.startswith("!"):
        raise _Mistake(Kind.PATH, f"must not begin with '!': {text!r}.", "PROJECT_INCLUDE always wins.")
    if ".." in parts or "." in parts or "" in parts:
        hint = "Patterns count from the folder of manage.py: write 'data/*.csv'."
        raise _Mistake(Kind.PATH, f"must be a path without '.', '..' and '//', not {text!r}.", hint)
    return text


def _read_env(place: _Place, value: object) -> Mapping[str, str]:
    env = _expect(_resolved(place, value, instead={}), Mapping, "a dict, or the dotted path of a callable")
    total = 0
    for name, content in env.items():
        with place[name].gathering():
            _check_variable(name, content)
            total += len(name) + _size(content)
    if total > LARGEST_ENVIRONMENT:
        message = f"is {total} bytes long, and {LARGEST_ENVIRONMENT} are possible."
        raise _Mistake(Kind.ENVIRONMENT, message, "Put what is long into a file.")
    return MappingProxyType(dict(env))


def check_variable(name: str, value: str) -> None:
    """Whether a host may set it; raises ``ConfigError``."""
    try:
        _check_variable(name, value)
    except _Mistake as mistake:
        raise ConfigError(f"{name} {mistake}", remedy=mistake.hint) from None


def _check_variable(name: object, value: object) -> None:
    if not isinstance(name, str) or not _ENVIRONMENT_NAME.fullmatch(name):
        raise _Mistake(Kind.ENVIRONMENT, "is not the name of an environment variable.")
    if name == "DJANGO_SETTINGS_MODULE":
        hint = "Write that key instead."
        raise _Mistake(Kind.ENVIRONMENT, "is set from the target's SETTINGS_MODULE.", hint)
    text: str = _expect(value, str, "a string")
    if "\0" in text:
        raise _Mistake(Kind.ENVIRONMENT, "must not contain a NUL character.")
    if (length := len(f"{name}=") + _size(text)) > LONGEST_WORD:
        message = f"is {length} bytes long, and {LONGEST_WORD} are possible, which is the kernel's limit."
        raise _Mistake(Kind.ENVIRONMENT, message, "Put it into a file, and name that.")


def _read_requirements(place: _Place, value: object) -> str:
    if isinstance(value, str) and value in REQUIREMENTS:
        return value
    words = ", ".join(map(repr, REQUIREMENTS))
    expected = f"{words}, or the path of a requirements.in, requirements.txt or pylock.toml"
    return _read_listing(value, re.compile(rf".*\.(in|txt)|{_PYLOCK}"), expected, REQUIREMENTS)


def _read_lock_file(place: _Place, value: object) -> str:
    expected = "the path of a requirements.txt or pylock.toml"
    return _read_listing(value, re.compile(rf".*\.txt|{_PYLOCK}"), expected)


def _read_listing(value: object, names: re.Pattern[str], expected: str, words: Collection[str] = ()) -> str:
    """The path of a file that lists distributions, by its name: it is read when it is used."""
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    text: str = _expect(path, str, expected)
    if not names.fullmatch(PurePosixPath(text).name) or _CONTROL.search(text):
        export = _EXPORTS.get(PurePosixPath(text).name)
        hint = f"`{export}` makes one of it." if export else did_you_mean(text, words)
        raise _Mistake(Kind.CHOICE, f"must be {expected}, not {text!r}.", hint)
    return text


def _read_index_url(place: _Place, value: object) -> str:
    url: str = _expect(value, str, "an address")
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    is_remote = parts.scheme in {"http", "https"} and parts.hostname and _has_port(parts)
    is_folder = parts.scheme == "file" and parts.path
    if not (is_remote or is_folder) or _CONTROL.search(url) or " " in url or not _is_utf8(url):
        # The address is not shown: it may hold a password.
        hint = "Write 'https://…', 'http://…' or 'file:///…'."
        raise _Mistake(Kind.URL, "is not the address of an index.", hint)
    return url


def _has_port(parts: SplitResult) -> bool:
    """Whether its port, where it names one, is one."""
    try:
        return parts.port != 0
    except ValueError:
        return False


def _read_command(place: _Place, value: object) -> tuple[str, ...]:
    words = _split(value) if isinstance(value, str) else _expect(value, (list, tuple), "a command line")
    if any(not isinstance(word, str) for word in words):
        raise _Mistake(Kind.TYPE, "must be a command line: a string, or a list of strings.")
    if not words or not words[0].strip():
        raise _Mistake(Kind.COMMAND, "is an empty command line.")
    if any(_CONTROL.search(word) for word in words):
        raise _Mistake(Kind.COMMAND, "has a control character in it.")
    if (length := max(map(_size, words))) > LONGEST_WORD:
        message = (
            f"has a word of {length} bytes, and {LONGEST_WORD} are possible, which is the kernel's limit."
        )
        raise _Mistake(Kind.COMMAND, message, "Put it into a file, and name that.")
    if isinstance(value, str) and (found := [word for word in words if word in _SHELL_WORDS]):
        hint = "Write one command a line, or ['sh', '-c', '…']."
        raise _Mistake(Kind.COMMAND, f"has {found[0]!r} in it, but runs without a shell.", hint)
    return tuple(words)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        message = f"cannot be split into words: {str(error).lower()}."
        raise _Mistake(Kind.COMMAND, message, "Or write a list of words.") from None


def _read_step(place: _Place, value: object) -> Step:
    if isinstance(value, Mapping):
        fields = _read_all(place, value, _STEP_KEYS, required=("COMMAND",))
    else:
        fields = {"command": _read_step_command(place, value)}
    writes = fields["command"][0] in _ONCE
    fields.setdefault("on", "once" if writes else "each")
    fields.setdefault("timeout", None if writes else STEP_TIMEOUT)
    return Step(**fields)


def _read_step_command(place: _Place, value: object) -> tuple[str, ...]:
    words = _read_command(place, value)
    if any(word.endswith("manage.py") for word in words[:2]):
        hint = "Leave out what stands before the command's name."
        raise _Mistake(Kind.COMMAND, "is run by manage.py: it must not name it.", hint)
    return words


def _read_processes(place: _Place, value: object) -> tuple[Process, ...]:
    processes = []
    for name, entry in _expect(value, Mapping, "a dict").items():
        with place[name].gathering():
            processes.append(_read_process(place[name], name, entry))
    return tuple(processes)


def _read_process(place: _Place, name: object, value: object) -> Process:
    if not isinstance(name, str) or not _PROCESS_NAME.fullmatch(name):
        expected = "letters, digits, '-' and '_', at most 40 of them"
        raise _Mistake(Kind.PROCESS, f"is not a name for a process: use {expected}.")
    if isinstance(value, Mapping):
        process = Process(name, **_read_all(place, value, _PROCESS_KEYS, required=("COMMAND",)))
    else:
        process = Process(name, _read_command(place, value))
    _check_process(process)
    return process


def _check_process(process: Process) -> None:
    for word in re.findall(r"\{(\w+)\}", " ".join(process.command)):
        if word != "socket" and did_you_mean(word, ["socket"]):
            raise _Mistake(Kind.PROCESS, f"has {{{word}}} in its command line.", "Did you mean {socket}?")
    if process.singleton and process.has_socket:
        raise _Mistake(
            Kind.PROCESS,
            "has a {socket} and is a SINGLETON: the new one must answer before the old one stops.",
        )
    if process.singleton and process.instances > 1:
        raise _Mistake(Kind.PROCESS, "is a SINGLETON, which runs once, and has INSTANCES.")


def _read_health_check(place: _Place, value: object) -> HealthCheck | None:
    if value is None:
        return None
    if isinstance(value, str):
        return HealthCheck(_read_check_path(place, value), status=200)
    fields = _read_all(place, value, _HEALTH_CHECK_KEYS)
    if "path" in fields:
        fields.setdefault("status", 200)
    return HealthCheck(**fields)


def _read_check_path(place: _Place, value: object) -> str:
    text: str = _expect(value, str, "a path or an address")
    is_sound = text.isascii() and text.isprintable() and " " not in text
    if not is_sound or not (text.startswith("/") or (text.startswith("http://") and _is_http_address(text))):
        hint = "Write '/healthz/', or 'http://127.0.0.1/healthz/'."
        raise _Mistake(Kind.HEALTH_CHECK, f"must be a path or an http:// address, not {text!r}.", hint)
    return text


def _is_http_address(text: str) -> bool:
    """``http://host:port/path``, without a user."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.hostname) and _has_port(parts) and "@" not in parts.netloc


def _read_headers(place: _Place, value: object) -> Mapping[str, str]:
    headers = _expect(value, Mapping, "a dict")
    for name, content in headers.items():
        with place[name].gathering():
            _check_header(name, content)
    return MappingProxyType(dict(headers))


def _check_header(name: object, value: object) -> None:
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise _Mistake(Kind.HEALTH_CHECK, "is not the name of a header.")
    text: str = _expect(value, str, "a string")
    if _CONTROL.search(text):
        raise _Mistake(Kind.HEALTH_CHECK, "must not contain a control character.")
    if not all(ord(letter) < 256 for letter in text):
        raise _Mistake(Kind.HEALTH_CHECK, "must be of characters that a header can have (Latin 1).")


def _read_backup(place: _Place, value: object) -> bool | str:
    if isinstance(value, bool) or value == "contract":
        return value
    if isinstance(value, str):
        hint = did_you_mean(value, ["contract"])
        raise _Mistake(Kind.CHOICE, f"must be True, False or 'contract', not {value!r}.", hint)
    raise _Mistake(Kind.TYPE, f"must be True, False or 'contract', not {_type_name(value)}.")


def _read_batch(place: _Place, value: object) -> Batch:
    if isinstance(value, Mapping):
        return Batch(**_read_all(place, value, _BATCH_KEYS, required=("SIZE",)))
    return Batch(_read_batch_size(place, value))


def _read_batch_size(place: _Place, value: object) -> int | str:
    if isinstance(value, str):
        return _pattern(Kind.RANGE, _PERCENTAGE, "a number of hosts or a percentage, say '25%'")(place, value)
    return _whole_number(1, MOST_HOSTS)(place, value)


def _read_tls(place: _Place, value: object) -> str | Certificate:
    if isinstance(value, Mapping):
        return Certificate(**_read_all(place, value, _TLS_KEYS, required=("CERTIFICATE", "KEY")))
    if value != INTERNAL:
        hint = "Or name files: {'CERTIFICATE': 'shop.pem', 'KEY': 'shop.key'}."
        raise _Mistake(Kind.CHOICE, f"must be {INTERNAL!r} or a dict.", hint)
    return INTERNAL


def _read_tls_file(place: _Place, value: object) -> str:
    """A file of this machine, or of the host, where it may be a link that changes."""
    text = _read_file_name(place, os.fspath(value) if isinstance(value, os.PathLike) else value)
    if not text.startswith("host:"):
        return _read_key_file(place, text)
    if not _ON_HOST.fullmatch(text):
        hint = "Write the whole path, say 'host:/etc/letsencrypt/live/shop.example.com/privkey.pem'."
        raise _Mistake(Kind.PATH, f"is not the path of a file on the host: {text!r}.", hint)
    return text


_read_roles = _list_of(
    _pattern(Kind.ROLE, _ROLE, "the name of a role: letters, digits, '-' and '_'"), "a list of roles"
)

_HOST_KEYS: Mapping[str, _Reader[Any]] = {
    "HOST": _pattern(Kind.HOST, _ADDRESS, "the name or address of a host"),
    "USER": _optional(_pattern(Kind.HOST, _USER, "the name of a user")),
    "PORT": _optional(_whole_number(1, 65535)),
    "KEY_FILE": _optional(_read_key_file),
    "JUMP": _read_jump,
    "ROLES": _read_roles,
}

_STEP_KEYS: Mapping[str, _Reader[Any]] = {
    "COMMAND": _read_step_command,
    "ON": _choice("each", "once"),
    "ISOLATED": _read_bool,
    "TIMEOUT": _optional(_seconds()),
    "ROLES": _read_roles,
}

_PROCESS_KEYS: Mapping[str, _Reader[Any]] = {
    "COMMAND": _read_command,
    "SINGLETON": _read_bool,
    "INSTANCES": _whole_number(1, 99),
    "STOP_TIMEOUT": _seconds(),
    "ROLES": _read_roles,
}

_BATCH_KEYS: Mapping[str, _Reader[Any]] = {
    "SIZE": _read_batch_size,
    "PAUSE": _seconds(is_zero_allowed=True),
}

_TLS_KEYS: Mapping[str, _Reader[Any]] = {"CERTIFICATE": _read_tls_file, "KEY": _read_tls_file}

_HEALTH_CHECK_KEYS: Mapping[str, _Reader[Any]] = {
    "PATH": _read_check_path,
    "HOST": _optional(_pattern(Kind.HEALTH_CHECK, re.compile(r"[!-~]+"), "a host name")),
    "STATUS": _optional(_whole_number(100, 599)),
    "TIMEOUT": _seconds(),
    "HEADERS": _read_headers,
}

_read_included = _pattern(Kind.NAME, _INCLUDED, "the name of a distribution, as in 'celery[redis]'")
_read_excluded = _pattern(Kind.NAME, _EXCLUDED, "the name of a distribution, as in 'pytest-*'")

#: Every key of a target; in lower case it is the field of ``Target``.
_TARGET: Mapping[str, _Reader[Any]] = {
    "HOSTS": _read_hosts,
    "ROOT": _read_root,
    "SETTINGS_MODULE": _pattern(Kind.NAME, _MODULE_NAME, "the dotted name of a module"),
    "PYTHON": _read_file_name,
    "ENV": _read_env,
    "REQUIREMENTS": _read_requirements,
    "EXTRAS": _list_of(_pattern(Kind.NAME, _DISTRIBUTION_NAME, "the name of an extra"), "a list of names"),
    "EXCLUDE": _optional(_list_of(_read_excluded, "a list of names")),
    "INCLUDE": _list_of(_read_included, "a list of names"),
    "LOCK_FILE": _optional(_read_lock_file),
    "STRICT_ENVIRONMENT": _read_bool,
    "INDEX_URL": _optional(_read_index_url),
    "VENDOR": _read_bool,
    "BUILD_ON_HOST": _read_bool,
    "INSTALLER": _optional(_choice("uv", "pip")),
    "STEPS": _list_of(_read_step, "a list of command lines"),
    "MIGRATIONS": _choice(*MIGRATIONS),
    "DATABASE_SHARED_WITH": _list_of(
        _pattern(Kind.NAME, TARGET_NAME, "the name of a target"), "a list of targets"
    ),
    "BACKUP": _read_backup,
    "KEEP_BACKUPS": _whole_number(1, MOST_RELEASES),
    "PROCESSES": _read_processes,
    "PROCESS_MANAGER": _optional(_choice("systemd", "supervisor")),
    "RESTART": _list_of(_read_command, "a list of command lines"),
    "HEALTH_CHECK": _read_health_check,
    "BATCH": _optional(_read_batch),
    "CANARY_SECONDS": _seconds(is_zero_allowed=True),
    "KEEP_RELEASES": _whole_number(1, MOST_RELEASES),
    "REQUIRE_CLEAN": _read_bool,
    "LOCK_WAIT": _seconds(is_zero_allowed=True),
    "PROJECT_INCLUDE": _list_of(_read_file_pattern, "a list of patterns"),
    "PROJECT_EXCLUDE": _list_of(_read_file_pattern, "a list of patterns"),
    "SIGNING_KEY": _optional(_read_signing_key),
    "TRUSTED_KEYS": _list_of(_read_trusted_key, "a list of keys"),
    "USER": _optional(
        _pattern(Kind.HOST, _NEW_USER, "the name of a user: small letters, digits, '-' and '_', at most 31")
    ),
    "WEB": _optional(_choice(*WEB_SERVERS)),
    "DOMAIN": _optional(
        _pattern(Kind.HOST, _DOMAIN, "the name that visitors type, as in 'shop.example.com'")
    ),
    "TLS": _optional(_read_tls),
    "DATABASE": _optional(_choice(POSTGRESQL)),
}


def _check_target(place: _Place, fields: Mapping[str, Any]) -> None:
    """The rules that concern more than one key."""
    if (hosts := fields.get("hosts")) and not place.issues:
        known = sorted({role for host in hosts for role in host.roles})
        for process in fields.get("processes", ()):
            _check_roles(place["PROCESSES"][process.name], process.roles, known)
        for index, step in enumerate(fields.get("steps", ())):
            _check_roles(place["STEPS"][index], step.roles, known)
    for process in fields.get("processes", ()):
        if process.has_socket and "root" in fields:
            with place["PROCESSES"][process.name].gathering():
                _check_socket(fields["root"], process)
    check = fields.get("health_check")
    is_served = any(process.has_socket for process in fields.get("processes", ()))
    if check and check.path.startswith("/") and not is_served and not place.issues:
        message = "is a path, which processes with a {socket} are asked for, and PROCESSES has none."
        hint = "Name an address, say 'http://127.0.0.1/healthz/'."
        place["HEALTH_CHECK"].note(_Mistake(Kind.HEALTH_CHECK, message, hint))
    if fields.get("vendor") and fields.get("build_on_host"):
        message = "needs an index on the hosts for what builds there, and with VENDOR they have none."
        place["BUILD_ON_HOST"].note(_Mistake(Kind.CHOICE, message, "Unset one of them."))
    _check_setup(place, fields)


def _check_setup(place: _Place, fields: Mapping[str, Any]) -> None:
    """The keys that say how a host is made ready."""
    web, tls, hosts, user = (fields.get(key) for key in ("web", "tls", "hosts", "user"))
    if web and not fields.get("domain"):
        hint = 'Name what visitors type, say "DOMAIN": "shop.example.com".'
        place["WEB"].note(_Mistake(Kind.SETUP, "serves a DOMAIN, and there is none.", hint))
    if web and not any(process.has_socket for process in fields.get("processes", ())):
        hint = "Where the web process listens, write unix:{socket}."
        message = "leads to a process with a {socket}, and PROCESSES has none."
        place["WEB"].note(_Mistake(Kind.SETUP, message, hint))
    if tls == INTERNAL and web != CADDY:
        message = "is of Caddy, which is its own authority then."
        hint = "For nginx name files: {'CERTIFICATE': 'shop.pem', 'KEY': 'shop.key'}."
        place["TLS"].note(_Mistake(Kind.SETUP, message, hint))
    if fields.get("database") and len(hosts or ()) > 1:
        message = f"is made on the host itself, and there are {len(hosts or ())} hosts."
        hint = "Have them share a database server, and name it in ENV or with deploy_env."
        place["DATABASE"].note(_Mistake(Kind.SETUP, message, hint))
    if user:
        others = [host.name for host in hosts or () if host.user not in (None, user)]
        if others:
            message = f"is {user!r}, and HOSTS logs in as another: {', '.join(others)}."
            place["USER"].note(_Mistake(Kind.SETUP, message, "Leave out one of them."))


def _with_user(host: Host, user: str | None) -> Host:
    return replace(host, user=user) if user and not host.user and not host.is_local else host


def _check_roles(place: _Place, roles: Collection[str], known: Collection[str]) -> None:
    for role in roles:
        if role not in known:
            hint = did_you_mean(role, known) or f"There is: {', '.join(known) or 'no role at all'}."
            place["ROLES"].note(_Mistake(Kind.ROLE, f"names {role!r}, a role that no host has.", hint))


def _check_socket(root: PurePosixPath, process: Process) -> None:
    """The kernel refuses longer ones (unix(7)), and only when the process starts."""
    name = process.instance_names()[-1]
    length = len(os.fsencode(root / "run" / f"{name}..sock")) + _RELEASE_ID_LENGTH
    if length > _LONGEST_SOCKET:
        message = f"has a socket whose path is {length} bytes long, and {_LONGEST_SOCKET} are possible."
        raise _Mistake(Kind.SOCKET, message, "Choose a shorter ROOT or name.")
