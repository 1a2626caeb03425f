"""A real supervisord with programs of a few lines in place of a site."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from django_deploy.host.layout import Layout
from django_deploy.host.processes import ProcessState, wait_for_end
from django_deploy.host.protocol import Failure
from django_deploy.host.supervisor import Supervisor

RELEASE = "20261122T174500Z-3f9c2a1"
OTHER = "20261122T184500Z-1111111"

#: In place of the release's launch.py: what its processes do.
LAUNCH = """\
import os, signal, sys, time
name = sys.argv[1]
print(name, "says good morning", flush=True)
if name == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not os.fork():
        print("child", os.getpid(), flush=True)
if name == "weak":
    time.sleep(1.5)
    sys.exit("no coffee")
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def layout() -> Iterator[Layout]:
    # Not pytest's own folder: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="site-") as folder:
        layout = Layout(folder)
        layout.create()
        for id in (RELEASE, OTHER):
            release = layout.release(id)
            release.python.parent.mkdir(parents=True)
            release.python.symlink_to(sys.executable)
            (release.path / "launch.py").write_text(LAUNCH)
        yield layout


@pytest.fixture
def supervisor(layout: Layout) -> Iterator[Supervisor]:
    pytest.importorskip("supervisor")
    supervisor = Supervisor(layout, Path(sys.modules["supervisor"].__path__[0]).parent)
    yield supervisor
    pid = int((layout.private / "supervisor" / "supervisord.pid").read_text())
    supervisor.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def start(supervisor: Supervisor, *names: str, release: str = RELEASE) -> None:
    supervisor.start(release, [{"name": name, "stop_timeout": 1.0} for name in names])
    wait_until(lambda: all("ready" in supervisor.log(release, name) for name in names if name != "weak"))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def state(supervisor: Supervisor, name: str) -> ProcessState:
    (found,) = (state for state in supervisor.states() if state.name == name)
    return found


def test_what_does_not_stop_is_killed_with_what_it_started(supervisor: Supervisor) -> None:
    start(supervisor, "worker", "deaf")
    wait_until(lambda: any(line.startswith("child") for line in supervisor.log(RELEASE, "deaf")))
    child = next(line.split()[1] for line in supervisor.log(RELEASE, "deaf") if line.startswith("child"))

    supervisor.stop(RELEASE, ["worker", "deaf"])
    wait_until(lambda: state(supervisor, "deaf").state == "killed")
    killed, there = wait_for_end(supervisor, RELEASE, ["worker", "deaf"], time.monotonic() + 10)

    assert (killed, there) == (["deaf"], [])
    assert not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text()
    assert supervisor.states() == []


def test_how_often_a_process_fell(supervisor: Supervisor) -> None:
    start(supervisor, "weak", "worker.2")

    wait_until(lambda: state(supervisor, "weak").restarts >= 2)

    assert state(supervisor, "worker.2").restarts == 0
    assert "no coffee" in supervisor.log(RELEASE, "weak")


def test_what_a_user_killed_is_started_again_and_did_not_fail_to_stop(supervisor: Supervisor) -> None:
    start(supervisor, "worker")
    first = state(supervisor, "worker").pid

    os.kill(first, signal.SIGKILL)
    wait_until(lambda: state(supervisor, "worker").state == "running")

    assert state(supervisor, "worker").pid != first
    assert state(supervisor, "worker").restarts == 1


def test_logs_go_with_their_release(supervisor: Supervisor, layout: Layout) -> None:
    start(supervisor, "worker")
    start(supervisor, "worker", release=OTHER)
    (layout.private / "supervisor" / f"worker@{OTHER}.log.1").touch()

    supervisor.drop(OTHER)

    logs = {path.name for path in (layout.private / "supervisor").glob("*@*")}
    assert logs == {f"worker@{RELEASE}.log"}


def test_after_a_reboot_a_program_for_cron_starts_what_was_live(
    supervisor: Supervisor, layout: Layout
) -> None:
    start(supervisor, "worker")
    start(supervisor, "worker", release=OTHER)
    supervisor.stop(RELEASE, ["worker"])
    folder = layout.private / "supervisor"
    pids = [int((folder / "supervisord.pid").read_text()), *(state.pid for state in supervisor.states())]
    for pid in pids:
        with suppress(ProcessLookupError):  # the stopped one may have just ended
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: supervisor.states() == [])

    subprocess.run([str(folder / "start")], env={"PATH": os.defpath}, cwd="/", check=True)

    wait_until(lambda: state(supervisor, "worker").state == "running")
    assert state(supervisor, "worker").release == OTHER


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("@reboot {}/supervisor/start", []),
        ("#@reboot {}/supervisor/start", ["web"]),
        ("@reboot /srv/other/.deploy/supervisor/start", ["web"]),
        (None, ["web"]),
    ],
)
def test_who_starts_with_the_host(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str | None, left: list[str]
) -> None:
    if line is not None:
        program = tmp_path / "crontab"
        program.write_text(f"#!/bin/sh\n[ $1 = -l ] && echo '{line.format(layout.private)}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin" if line is not None else str(tmp_path))

    assert Supervisor(layout, None).left_to_hand("20261122T174500Z-3f9c2a1", ["web"]) == left


def test_a_supervisord_that_does_not_start_in_its_time(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = layout.root / "bin" / "supervisord"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho one moment >&2\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr("django_deploy.host.supervisor.START_TIMEOUT", 0.5)

    with pytest.raises(Failure) as caught:
        start(Supervisor(layout, None), "web")

    assert caught.value.type == "ProcessFailed"
    assert caught.value.message == "supervisord does not start within 0.5 s"
    assert caught.value.details["lines"] == ["one moment"]


def test_what_supervisord_refuses_is_told_in_its_words(supervisor: Supervisor, layout: Layout) -> None:
    start(supervisor, "web")
    foreign = layout.private / "supervisor" / "programs" / "foreign.conf"
    foreign.write_text("[program:foreign]\ncommand=x\nautostart=perhaps\n")

    with pytest.raises(Failure) as caught:
        start(supervisor, "worker")

    assert caught.value.type == "ProcessFailed"
    assert caught.value.message.startswith("supervisord refuses: CANT_REREAD: ")
    assert "foreign" in caught.value.message
