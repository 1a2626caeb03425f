"""The faults: what strikes a deployment, and what may become of it then."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tests.hosts.inspection import visit_when_up
from tests.hosts.network import ip

from .phases import NAMES

Found = TypeVar("Found", int, list[int])

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.hosts.deployer import Result

    from .phases import Scene
    from .site import Site

#: Outcomes: the old release stays, the new one is live, or one of the two, as the deployer says.
OLD, NEW, EITHER = "old", "new", "either"

#: Of the target: longer than either side waits for the other, so that there is somebody to miss.
WATCHED_LONG: Mapping[str, Any] = {"CANARY_SECONDS": 25}

DEPLOYER_IS_GONE = dict.fromkeys(("drain",), "the deployer has left, and no link is there any more")
FULL = "No space left on device"
YEAR = 365 * 24 * 3600


class Fault:
    """One row of the matrix.

    ``not_in`` says of phases why the fault has no meaning there.
    """

    name: ClassVar[str]
    not_in: ClassVar[Mapping[str, str]] = {}
    #: Visitors may find nobody for a while: the host itself goes down.
    is_deadly: ClassVar[bool] = False

    def prepare(self, site: Site) -> None:
        """Before the deployment."""

    def changes(self, phase: str) -> dict[str, Any]:
        """Of the target."""
        return {}

    def strike(self, scene: Scene) -> None:
        """While the deployment is held in the phase."""

    def lift(self, scene: Scene) -> None:
        """The deployer has ended: what the fault did to the world is fixed, but nothing of ours."""

    def outcome(self, phase: str) -> str:
        return NEW if phase in ("confirm", "drain") else OLD

    def status(self, phase: str) -> set[int]:
        return {0} if self.outcome(phase) == NEW else {1}

    def says(self, scene: Scene) -> str:
        """What the deployer says then, as a pattern; {host}, {old} and {new} are filled in."""
        return ""

    def leaves(self, phase: str) -> bool:
        """Whether all is in order on the host before the next deployment."""
        return True

    def check(self, scene: Scene, result: Result) -> None:
        """What else must be so."""


def elsewhere(phases: Sequence[str], why: str) -> dict[str, str]:
    """Why a fault is in these phases only."""
    return {name: why for name in NAMES if name not in phases}


SERVED = "Nothing changed: the host serves {old}, as before.\n"
LINK = "CommandError: {host}: the link to the host %s\nThe host reverts by itself; deploy again.\n" + SERVED
#: How it is: the watchdog of links and that of sessions wait for the same time.
SILENT = "broke: ({address}|the host program) has been silent for 15 s"
CUT = "broke: {address} cut the connection"

MISSED = "CommandError: {host}: no sign of the deployer for 15 s\nDeploy again.\n" + SERVED


class Killed(Fault):
    name = "deployer: SIGKILL"
    not_in = DEPLOYER_IS_GONE

    def strike(self, scene: Scene) -> None:
        scene.deployer.kill()

    def status(self, phase: str) -> set[int]:
        return {-9}


class Stopped(Fault):
    name = "deployer: SIGSTOP for 60 s"
    not_in = DEPLOYER_IS_GONE

    def changes(self, phase: str) -> dict[str, Any]:
        return {**WATCHED_LONG} if phase == "switched" else {}

    def strike(self, scene: Scene) -> None:
        scene.deployer.signal(signal.SIGSTOP)
        time.sleep(20)
        scene.release()
        time.sleep(40)
        scene.deployer.signal(signal.SIGCONT)

    def outcome(self, phase: str) -> str:
        return EITHER if phase == "connect" else super().outcome(phase)

    def status(self, phase: str) -> set[int]:
        return {0, 1} if phase == "connect" else super().status(phase)

    def says(self, scene: Scene) -> str:
        if scene.phase.name == "connect":
            return "(.*\n)*"
        if scene.phase.name == "confirm":
            return ""
        lost = LINK % f"(ended|{SILENT}|{CUT})"
        return f"({lost}|{MISSED})"


class Interrupted(Fault):
    name = "deployer: SIGINT once"
    not_in = DEPLOYER_IS_GONE

    def strike(self, scene: Scene) -> None:
        scene.deployer.interrupt()

    def status(self, phase: str) -> set[int]:
        return {0, 130} if phase == "confirm" else {130}

    def says(self, scene: Scene) -> str:
        if scene.phase.name == "connect":
            return "CommandError: Interrupted. Nothing was changed.\n"
        if scene.phase.name == "confirm":
            return "(CommandError: Interrupted, but too late: {new} had been confirmed: it is live.\n)?"
        return "CommandError: Interrupted. " + SERVED


class InterruptedTwice(Interrupted):
    """While a step runs, the first one waits for its end, and the second does not."""

    name = "deployer: SIGINT twice"

    def strike(self, scene: Scene) -> None:
        scene.deployer.interrupt()
        if scene.phase.name == "steps":
            scene.deployer.wait_for("phase.started", phase="revert")
        else:
            time.sleep(0.1)
        if scene.deployer.is_running:
            scene.deployer.interrupt()
        if scene.phase.name == "steps":
            scene.ended = scene.deployer.end()

    def status(self, phase: str) -> set[int]:
        # The second may come when all is said, and Python is about to leave.
        return {*super().status(phase), -signal.SIGINT}

    def says(self, scene: Scene) -> str:
        left = (
            "CommandError: Interrupted twice: left at once."
            " Every host reverts by itself within 20 s, or as soon as its running step has ended.\n"
        )
        return left if scene.phase.name == "steps" else f"({super().says(scene)}|{left})"


class Cut(Fault):
    name = "link: cut with RST"
    not_in = DEPLOYER_IS_GONE

    def strike(self, scene: Scene) -> None:
        scene.site.link.sever()
        scene.site.link.restore()

    def outcome(self, phase: str) -> str:
        return NEW if phase == "connect" else super().outcome(phase)

    def says(self, scene: Scene) -> str:
        return LINK % "broke: {address} cut the connection" if self.outcome(scene.phase.name) == OLD else ""


class Silent(Fault):
    name = "link: silent cut"
    not_in = DEPLOYER_IS_GONE

    def changes(self, phase: str) -> dict[str, Any]:
        return {**WATCHED_LONG} if phase == "switched" else {}

    def strike(self, scene: Scene) -> None:
        scene.site.link.silence()
        if scene.phase.name == "connect":
            scene.ended = scene.deployer.end()
        elif scene.phase.is_safe:
            scene.deployer.wait_for("host.failed")
        scene.site.link.restore()

    def says(self, scene: Scene) -> str:
        if scene.phase.name == "connect":
            late = "CommandError: {host}: .* did not finish the handshake within 10 s\n"
            return late + "Try: ssh .*\nNothing was changed.\n"
        if not scene.phase.is_safe:
            return ""
        return LINK % f"(ended|{SILENT})"


class Reboot(Fault):
    name = "host: reboot"
    is_deadly = True

    def strike(self, scene: Scene) -> None:
        scene.site.machine.crash()
        scene.site.machine.boot()

    def outcome(self, phase: str) -> str:
        return EITHER if phase == "connect" else super().outcome(phase)

    def status(self, phase: str) -> set[int]:
        return {0, 1} if phase == "connect" else super().status(phase)

    def lift(self, scene: Scene) -> None:
        visit_when_up(scene.site.machine)

    def says(self, scene: Scene) -> str:
        if not scene.phase.is_safe:
            return ""
        if scene.phase.name == "connect":
            return ".*"
        return LINK % f"(ended|{SILENT}|{CUT})"

    def leaves(self, phase: str) -> bool:
        return phase not in ("confirm", "drain")


class HostProgramKilled(Fault):
    name = "host program: SIGKILL"

    def strike(self, scene: Scene) -> None:
        if scene.phase.name == "connect":
            scene.release()
            scene.deployer.wait_for("host.connected")
        for pid in scene.site.host_programs():
            os.kill(pid, signal.SIGKILL)

    def says(self, scene: Scene) -> str:
        return LINK % "ended" if scene.phase.is_safe else ""

    def leaves(self, phase: str) -> bool:
        return phase not in ("confirm", "drain")


class Disk(Fault):
    """ROOT's disk takes no more: until the deployer has ended, and then somebody has made room."""

    refusal = FULL
    #: What a deployment finds before it begins.
    unfit = ""

    def outcome(self, phase: str) -> str:
        return NEW if phase in ("confirm", "drain") else OLD

    def says(self, scene: Scene) -> str:
        if not scene.phase.is_safe:
            return ""
        if scene.phase.name == "connect":
            return f"CommandError: {{host}}: {self.unfit}\n.*\nNothing was changed.\n"
        return f"CommandError: {{host}}: (.*\n)*.*{self.refusal}.*\n(.*\n)*{SERVED}"

    def leaves(self, phase: str) -> bool:
        return False


class DiskFull(Disk):
    name = "disk: full"
    unfit = r"\d+ k?B are free under /srv/site, and this takes up to .*"

    def strike(self, scene: Scene) -> None:
        fill(scene, "size", lambda used: used.f_blocks - used.f_bfree, 4096)

    def lift(self, scene: Scene) -> None:
        scene.site.remount("size=1g")


class NoInodes(Disk):
    name = "disk: no inodes"
    unfit = r"0 inodes are free under /srv/site, and this takes up to \d+."

    def strike(self, scene: Scene) -> None:
        fill(scene, "nr_inodes", lambda used: used.f_files - used.f_ffree, 1)

    def lift(self, scene: Scene) -> None:
        scene.site.remount("nr_inodes=1m")


def fill(scene: Scene, option: str, used: Any, unit: int) -> None:
    """Make the disk as small as what is on it, which may grow meanwhile."""
    deadline = time.monotonic() + 10
    while True:
        try:
            scene.site.remount(f"{option}={used(os.statvfs(scene.site.root)) * unit}")
        except subprocess.CalledProcessError:
            assert time.monotonic() < deadline
        else:
            return


class ReadOnly(Disk):
    """Once the links have been switched, they cannot be switched back: the status says so."""

    name = "disk: read-only"
    refusal = "Read-only file system"
    unfit = "cannot write to /srv/site: Read-only file system"

    def outcome(self, phase: str) -> str:
        return NEW if phase == "switched" else super().outcome(phase)

    def status(self, phase: str) -> set[int]:
        return {3} if phase == "switched" else super().status(phase)

    def says(self, scene: Scene) -> str:
        if scene.phase.name != "switched":
            return super().says(scene)
        return (
            "CommandError: {host}: Read-only file system: .*\n"
            "The host's disk is mounted read-only, as after an error of the disk: have it checked.\n"
            "Not reverted, as far as can be seen: {host} \\(unknown\\).\n"
            "Look with: manage.py deploy_status staging. Then deploy again: that first fixes what this"
            " deployment left.\n"
        )

    def strike(self, scene: Scene) -> None:
        machine = scene.site.machine
        machine.enter("mount", "--bind", machine.root, machine.root, user="root")
        machine.enter("mount", "-o", "remount,bind,ro", machine.root, user="root")

    def lift(self, scene: Scene) -> None:
        scene.site.machine.enter("umount", "--lazy", scene.site.machine.root, user="root")


class Damaged(Fault):
    """Files of the store are not what they were: the next who needs them gets them anew.

    In the phase install this happens after they were checked, and before uv reads them.
    """

    def outcome(self, phase: str) -> str:
        return OLD if phase == "install" else NEW

    def says(self, scene: Scene) -> str:
        failed = "CommandError: {host}: uv could not install the release \\(exit \\d\\)\n"
        return f"{failed}(  \\| .*\n)+.*\n{SERVED}" if scene.phase.name == "install" else ""

    def strike(self, scene: Scene) -> None:
        for path in [*scene.site.store_entries(), *scene.site.root.glob(".deploy/store/*/.part-*")]:
            self.damage(path)

    def damage(self, path: Path) -> None:
        raise NotImplementedError


class FlippedByte(Damaged):
    name = "store: a byte flipped"

    def damage(self, path: Path) -> None:
        wait_for(lambda: path.stat().st_size)  # one that is just being sent may be empty still
        with path.open("r+b") as file:
            place = min(1000, path.stat().st_size - 1)
            file.seek(place)
            [byte] = file.read(1)
            file.seek(place)
            file.write(bytes([byte ^ 1]))


class Truncated(Damaged):
    name = "store: truncated entry"

    def damage(self, path: Path) -> None:
        os.truncate(path, path.stat().st_size // 2)


class CurrentIsAFolder(Fault):
    name = "`current` is a folder"

    def outcome(self, phase: str) -> str:
        return NEW

    def strike(self, scene: Scene) -> None:
        current: Path = scene.site.root / "current"
        current.unlink()
        current.mkdir()
        (current / "notes.txt").write_text("somebody's own")
        for path in (current, current / "notes.txt"):
            scene.site.own(path)

    def leaves(self, phase: str) -> bool:
        return phase not in ("confirm", "drain")

    def check(self, scene: Scene, result: Result) -> None:
        """It is said, and nothing of it is lost."""
        if not scene.phase.is_safe:
            return
        current: Path = scene.site.root / "current"
        aside = current.with_name("current.aside-1")
        warnings = [event["message"] for event in result.all("warning")]
        path = f"{scene.site.machine.root}/current"
        assert f"{path} was not made by django-deploy; it was renamed to {path}.aside-1" in warnings
        assert (aside / "notes.txt").read_text() == "somebody's own"
        shutil.rmtree(aside)


def delete(folder: Path) -> None:
    """All of it, also where programs write into it meanwhile."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


class LiveFolderDeleted(Fault):
    """In the phase steps, a step fails then: the old release goes on from memory."""

    name = "live release deleted"

    def changes(self, phase: str) -> dict[str, Any]:
        return {"STEPS": ["gate", "migrate nothing"]} if phase == "steps" else {}

    def outcome(self, phase: str) -> str:
        return OLD if phase == "steps" else NEW

    def says(self, scene: Scene) -> str:
        if scene.phase.name != "steps":
            return ""
        failed = "CommandError: {host}: step 'migrate nothing' failed: .*\n"
        return f"{failed}(  \\| .*\n)*Fix it and deploy again.\n{SERVED}"

    def leaves(self, phase: str) -> bool:
        return phase != "steps"

    def strike(self, scene: Scene) -> None:
        delete(scene.site.root / "releases" / scene.old)


class NewFolderDeleted(Fault):
    name = "new release deleted"
    not_in = dict.fromkeys(NAMES[:3], "there is none yet")

    def strike(self, scene: Scene) -> None:
        delete(scene.site.root / "releases" / scene.plan())

    def says(self, scene: Scene) -> str:
        if not scene.phase.is_safe:
            return ""
        gone = "CommandError: {host}: somebody has deleted the release {new} on the host meanwhile\n"
        return f"{gone}(  \\| .*\n)*Deploy again.\n{SERVED}"

    def leaves(self, phase: str) -> bool:
        return phase not in ("confirm", "drain")


class UnknownState(Fault):
    name = "unknown state file"

    def outcome(self, phase: str) -> str:
        return NEW

    def strike(self, scene: Scene) -> None:
        for state in scene.site.root.glob("releases/*/state"):
            state.write_text("sideways\n")

    def check(self, scene: Scene, result: Result) -> None:
        """Who finds it at the beginning says it; later it is put right without a word, or by the next one."""
        if scene.phase.name in ("connect", "lock"):
            warnings = [event["message"] for event in result.all("warning")]
            assert f"the state of {scene.old} cannot be read: it counts as live" in warnings


class IndexUnreachable(Fault):
    """From the beginning; in the phase install something is needed that the host has not had yet."""

    name = "index: unreachable"
    not_in = elsewhere(("connect", "install"), "only uv asks the index, while it installs")

    def prepare(self, site: Site) -> None:
        self._rule(site, "add")

    def lift(self, scene: Scene) -> None:
        self._rule(scene.site, "delete")

    def _rule(self, site: Site, verb: str) -> None:
        port = str(site.developer.index.server.server_port)
        rule = ["preference", "100", "ipproto", "tcp", "dport", port, "unreachable"]
        ip("-n", site.machine.name, "rule", verb, *rule)

    def changes(self, phase: str) -> dict[str, Any]:
        return {} if phase == "connect" else {"extra": ("six==1.17.0",)}

    def outcome(self, phase: str) -> str:
        return NEW if phase == "connect" else OLD

    def says(self, scene: Scene) -> str:
        if scene.phase.name == "connect":
            return ""
        return (
            "CommandError: {host}: uv could not install the release \\(exit \\d\\)\n(  \\| .*\n)+"
            "The host cannot reach its package index: set INDEX_URL to one that it can reach, or VENDOR.\n"
        ) + SERVED


class UvKilled(Fault):
    name = "uv: killed"
    not_in = elsewhere(("install",), "it runs only there")
    program = "uv"

    def strike(self, scene: Scene) -> None:
        for pid in wait_for(lambda: scene.site.pids(f"/{self.program} ")):
            os.kill(pid, signal.SIGKILL)

    def says(self, scene: Scene) -> str:
        failed = f"CommandError: {{host}}: {self.program} could not install the release \\(exit -9\\)\n"
        return f"{failed}(  \\| .*\n)*The lines above say why. Fix it and deploy again.\n{SERVED}"


class PipKilled(UvKilled):
    name = "pip: killed"
    program = "pip"

    def changes(self, phase: str) -> dict[str, Any]:
        return {"INSTALLER": "pip"}


def wait_for(look: Callable[[], Found]) -> Found:
    deadline = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


class Flood(Fault):
    name = "step: 10 MiB on both streams"
    not_in = elsewhere(("steps",), "steps run only there")

    def changes(self, phase: str) -> dict[str, Any]:
        return {"STEPS": ["migrate", "gate", "flood"]}

    def outcome(self, phase: str) -> str:
        return NEW

    def check(self, scene: Scene, result: Result) -> None:
        lines = [event for event in result.all("step.output") if event["step"] == "flood"]
        for stream, letter in (("stdout", "o"), ("stderr", "e")):
            whole = [event for event in lines if event["stream"] == stream and event["line"] == letter * 1023]
            assert len(whole) == 10 * 1024


class Hang(Fault):
    name = "step: hangs, deaf to SIGTERM"
    not_in = elsewhere(("steps",), "steps run only there")

    def changes(self, phase: str) -> dict[str, Any]:
        return {"STEPS": ["migrate", "gate", {"COMMAND": "hang", "TIMEOUT": 2}]}

    def says(self, scene: Scene) -> str:
        return (
            "CommandError: {host}: step 'hang' failed: took longer than its TIMEOUT, 2 s\n"
            "It was ended with all that it had started. Give it a longer TIMEOUT in STEPS, or None.\n"
        ) + SERVED


class ClockAhead(Fault):
    """For all that the deployment starts on the host, but not for its file system.

    It is right again for the next one.
    """

    name = "host's clock: a year ahead"
    wrong_by = YEAR
    not_in: ClassVar[Mapping[str, str]] = {
        **elsewhere(("connect",), "a clock is wrong from the beginning: see connect"),
        **({} if shutil.which("cc") else {"connect": "needs a C compiler"}),
    }

    def prepare(self, site: Site) -> None:
        library = site.machine.inner / "tmp/clock.so"
        if not library.exists():
            source = Path(__file__).with_name("clock.c")
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
            library.chmod(0o755)
        lines = f"LD_PRELOAD=/tmp/clock.so\nCLOCK_WRONG_BY={self.wrong_by}\n"
        site.machine.put("/etc/environment", lines, owner="root")
        told = float(site.machine.run("date", "+%s").stdout)
        assert abs(told - time.time() - self.wrong_by) < 60

    def outcome(self, phase: str) -> str:
        return NEW

    def lift(self, scene: Scene) -> None:
        scene.site.machine.put("/etc/environment", "", owner="root")

    def check(self, scene: Scene, result: Result) -> None:
        assert scene.old < result.release < time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + 60))
        history = (scene.site.root / ".deploy/history.jsonl").read_text().splitlines()
        told = json.loads(history[-1])["at"]
        assert abs(told - time.time() - self.wrong_by) < 60


class ClockBehind(ClockAhead):
    name = "host's clock: a year behind"
    wrong_by = -YEAR


FAULTS: dict[str, Fault] = {
    fault.name: fault()
    for fault in (
        Killed,
        Stopped,
        Interrupted,
        InterruptedTwice,
        Cut,
        Silent,
        Reboot,
        HostProgramKilled,
        DiskFull,
        ReadOnly,
        NoInodes,
        FlippedByte,
        Truncated,
        CurrentIsAFolder,
        LiveFolderDeleted,
        NewFolderDeleted,
        UnknownState,
        IndexUnreachable,
        UvKilled,
        PipKilled,
        Flood,
        Hang,
        ClockAhead,
        ClockBehind,
    )
}
