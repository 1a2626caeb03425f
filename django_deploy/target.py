"""The frozen value that an entry of ``settings.DEPLOY_TARGETS`` becomes; ``reading`` is how."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from types import MappingProxyType

from django_deploy.exceptions import ConfigError
from django_deploy.spelling import did_you_mean

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

#: Seconds that a step may take that does not write to the database, when STEPS does not say. Whatever takes
#: longer hangs; a migration is not to be killed half-way on a guess.
STEP_TIMEOUT = 3600.0

#: What a release runs when the target names no STEPS; each where the site has the app.
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
    ``strict_environment`` refuses hosts that need more than is installed here; ``allow_altered`` are
    distributions whose files may differ here from what the index has. ``vendor`` sends every wheel: the
    hosts need no index. ``build_on_host`` sends sources of compiled code to hosts that cannot run what is
    compiled here. ``installer`` None lets the host choose (uv, else pip); ``process_manager`` None too
    (systemd, else supervisor). ``batch`` None is all hosts at once; ``canary_seconds`` is for how long the
    first batch must stay healthy before the others follow. ``lock_wait`` is in seconds. ``signing_key``
    signs bundle files, and only those that one of ``trusted_keys`` has signed are deployed, if there are
    any. ``left_out`` are hosts of the settings that are no part of this for once. ``migrations`` is one of
    ``MIGRATIONS``; ``database_shared_with`` are targets that use the same database. ``backup`` True dumps a
    database ahead of each migration, ``"contract"`` ahead of those that take something away or do what
    nobody can look into; ``keep_backups`` of each database stay. ``data_folders`` are this machine's
    MEDIA_ROOT and STATIC_ROOT, which are no part of any source tree; ``asset_folders`` are those that
    settings read templates, static files, translations and fixtures from.

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
    allow_altered: tuple[str, ...] = ()
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

    @property
    def url(self) -> str:
        """What visitors type; empty where the target does not say that."""
        if not self.domain or self.web is None:
            return ""
        is_secure = self.web == "caddy" or self.tls is not None
        return f"http{'s' if is_secure else ''}://{self.domain}"

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

    def batches(self) -> list[tuple[Host, ...]]:
        """The hosts that are activated together, one after the other."""
        size = self.batch_size()
        return [self.hosts[start : start + size] for start in range(0, len(self.hosts), size)]

    def time_to_watch(self, activated: int) -> float:
        """Seconds for which the first ``activated`` hosts must stay healthy, before the next or confirm."""
        is_first, is_last = activated <= self.batch_size(), activated >= len(self.hosts)
        pause = self.batch.pause if self.batch is not None and not is_last else 0.0
        return max(pause, self.canary_seconds if is_first else 0.0)

    def batch_size(self) -> int:
        """How many hosts are activated at a time, at least 1."""
        if self.batch is None:
            return len(self.hosts)
        if isinstance(self.batch.size, str):
            return max(1, len(self.hosts) * int(self.batch.size.rstrip("%")) // 100)
        return self.batch.size


def _is_named(host: Host, pattern: str) -> bool:
    # An IPv6 address has brackets in its name, which are signs of a pattern, too.
    return any(word == pattern or fnmatchcase(word, pattern) for word in (host.name, host.address))
