"""The phases of a deployment, each with what holds a deployment there until a test lets it go."""

from __future__ import annotations

import fcntl
import shutil
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .site import Site, live

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.hosts.deployer import Deployer, Result
    from tests.hosts.visitor import Visitor

#: Seconds for which a release that has been switched to is watched before it is confirmed.
WATCHED = 3

#: Bytes a second, while an upload is held.
TRICKLE = 150_000.0


@dataclass(frozen=True)
class Phase:
    """``event`` tells that a deployment is there; ``gate`` is where the site itself waits then.

    ``is_safe``: whatever happens here, the old release stays.
    """

    name: str
    event: tuple[str, Mapping[str, str]]
    gate: str = ""
    is_safe: bool = True


PHASES = (
    Phase("connect", ("phase.started", {"phase": "connect"})),
    Phase("lock", ("lock.waiting", {})),
    Phase("upload", ("upload.progress", {})),
    Phase("install", ("install.started", {}), gate="install"),
    Phase("preflight", ("phase.started", {"phase": "preflight"}), gate="preflight"),
    Phase("steps", ("step.started", {"step": "gate"}), gate="step"),
    Phase("start", ("process.started", {"process": "worker"}), gate="start"),
    Phase("switched", ("switched", {})),
    Phase("confirm", ("confirmed", {}), is_safe=False),
    Phase("drain", ("confirmed", {}), is_safe=False),
)
NAMES = tuple(phase.name for phase in PHASES)


@dataclass
class Scene:
    """A deployment that is in one phase now, and does not leave it before ``release()``."""

    site: Site
    phase: Phase
    old: str
    deployer: Deployer
    visitor: Visitor
    held: ExitStack = field(default_factory=ExitStack)
    ended: Result | None = None

    def release(self) -> None:
        """Let it go on; safe to repeat."""
        self.held.close()

    def end(self) -> Result:
        """Let it go on, and wait until it has ended."""
        self.release()
        if self.ended is None:
            self.ended = self.deployer.end()
        return self.ended

    def plan(self) -> str:
        """The release that is being deployed."""
        ready: str = self.deployer.wait_for("plan.ready")["plan"]["release"]
        return ready


@contextmanager
def reached(site: Site, phase: Phase, visitor: Visitor, *words: str, **changes: Any) -> Iterator[Scene]:
    """Start a deployment and hold it in that phase."""
    old = live(site)
    with ExitStack() as stack:
        held = ExitStack()
        stack.callback(held.close)
        held.enter_context(holding(site, phase))
        if phase.name == "lock":
            words = (*words, "--wait", "100")
        if phase.name == "switched":
            changes.setdefault("CANARY_SECONDS", WATCHED)
        deployer = stack.enter_context(site.start(*words, **changes))
        scene = Scene(site, phase, old, deployer, visitor, held)
        kind, fields = phase.event
        deployer.wait_for(kind, **fields)
        if phase.gate and "INSTALLER" not in changes:
            wait_at_gate(site, phase.gate, deployer)
        if phase.name == "drain":
            scene.end()
        yield scene


def wait_at_gate(site: Site, gate: str, deployer: Deployer) -> None:
    deadline = time.monotonic() + 60
    while not site.has_reached(gate):
        assert deployer.is_running and time.monotonic() < deadline, f"nobody came to the gate {gate!r}"
        time.sleep(0.01)


@contextmanager
def holding(site: Site, phase: Phase) -> Iterator[None]:
    """Whoever comes to that phase stays there."""
    if phase.name == "connect":
        site.link.silence()
        yield
        site.link.restore()
    elif phase.name == "lock":
        with (site.root / ".deploy/lock").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    elif phase.name == "upload":
        [project] = [path for path in site.store_entries() if path.name.startswith("kiosk-")]
        shutil.rmtree(project.parent)
        site.link.rate = TRICKLE
        yield
        site.link.rate = 0.0
    elif phase.gate:
        site.shut(phase.gate)
        yield
        site.open(phase.gate)
    else:
        yield
