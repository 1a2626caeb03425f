"""The frozen value that a ``DEPLOY_TARGETS`` entry becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType

LOCAL = "local"

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Host:
    """One machine of a target; ``address`` is ``"local"`` for a folder of this one.

    ``user``, ``port`` and ``key_file`` are None where ``ssh_config`` and its defaults decide.
    """

    address: str
    user: str | None = None
    port: int | None = None
    key_file: str | None = None

    @property
    def is_local(self) -> bool:
        return self.address == LOCAL

    @property
    def name(self) -> str:
        """As the user wrote it: ``user@address:port``."""
        address = f"[{self.address}]" if ":" in self.address and self.port else self.address
        user = f"{self.user}@" if self.user else ""
        return f"{user}{address}:{self.port}" if self.port else f"{user}{address}"


@dataclass(frozen=True)
class Step:
    """One ``manage.py`` command of a release.

    ``on`` is ``"each"`` (every host) or ``"once"`` (the first host only). A step with
    ``requires_app`` is left out where the site's INSTALLED_APPS lacks that app. ``timeout`` is in
    seconds; None waits for ever.
    """

    command: tuple[str, ...]
    on: str = "each"
    isolated: bool = False
    timeout: float | None = None
    requires_app: str = ""

    @property
    def name(self) -> str:
        return " ".join(self.command)


#: What a release runs when the target names no STEPS; each where the site has the app.
DEFAULT_STEPS = (
    Step(("collectstatic", "--noinput"), requires_app="django.contrib.staticfiles"),
    Step(("migrate", "--noinput"), on="once"),
    Step(("fix_permissions",)),
    Step(("compress", "--force"), requires_app="compressor"),
)


@dataclass(frozen=True)
class Process:
    """A long-running program of the site. ``{socket}`` in ``command`` makes it a web process.

    A ``singleton`` is stopped in the old release before it starts in the new one.
    ``stop_timeout`` is in seconds, from SIGTERM to SIGKILL.
    """

    name: str
    command: tuple[str, ...]
    singleton: bool = False
    stop_timeout: float = 30.0

    @property
    def has_socket(self) -> bool:
        return any("{socket}" in word for word in self.command)


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
class Target:
    """One entry of ``settings.DEPLOY_TARGETS``, validated.

    ``env`` is the environment of the site; its values are secrets and never in ``repr``.
    ``requirements`` is ``"environment"``, ``"closure"`` or ``"freeze"``. ``exclude`` None means the
    documented development tools. ``installer`` None lets the host choose (uv, else pip);
    ``process_manager`` None too (systemd, else supervisor). ``batch`` is a number of hosts or a
    percentage (``"25%"``); None is all at once. ``lock_wait`` is in seconds.
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
    index_url: str | None = field(default=None, repr=False)
    installer: str | None = None
    steps: tuple[Step, ...] = DEFAULT_STEPS
    processes: tuple[Process, ...] = ()
    process_manager: str | None = None
    restart: tuple[tuple[str, ...], ...] = ()
    health_check: HealthCheck | None = HealthCheck()
    batch: int | str | None = None
    keep_releases: int = 5
    require_clean: bool = False
    lock_wait: float = 0.0

    def batch_size(self) -> int:
        """How many hosts are activated at a time, at least 1."""
        if self.batch is None:
            return len(self.hosts)
        if isinstance(self.batch, str):
            return max(1, len(self.hosts) * int(self.batch.rstrip("%")) // 100)
        return self.batch
