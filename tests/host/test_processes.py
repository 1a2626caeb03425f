"""Watching and waiting for real processes, through a manager of few lines."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from django_deploy.host import processes
from django_deploy.host.processes import Effort, ProcessState, Watch, wait_for_end
from django_deploy.host.protocol import Failure

RELEASE = "20261122T174500Z-3f9c2a1"

#: Loads for some seconds of processor time, as Django does.
LOAD = "import time\nwhile time.process_time() < {seconds}: pass\n"


class Programs:
    """A process manager that starts nothing again; SIGKILL comes after half a second."""

    name = "programs"

    def __init__(self) -> None:
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.killed: set[str] = set()
        self._kill_at: dict[str, float] = {}

    def run(self, name: str, program: str) -> None:
        argv = [sys.executable, "-S", "-c", program]
        self.running[name] = subprocess.Popen(argv, start_new_session=True)

    def start(self, release: str, processes: Sequence[dict[str, Any]]) -> None:
        raise NotImplementedError

    def stop(self, release: str, names: Sequence[str]) -> None:
        for name in names:
            self.running[name].terminate()
            self._kill_at[name] = time.monotonic() + 0.5

    def forget(self, release: str, names: Sequence[str]) -> None:
        for name in names:
            self.running.pop(name, None)

    def drop(self, release: str) -> None:
        raise NotImplementedError

    def left_to_hand(self, release: str, names: Sequence[str]) -> list[str]:
        raise NotImplementedError

    def enable(self, release: str, names: Sequence[str]) -> None:
        raise NotImplementedError

    def disable(self, release: str, names: Sequence[str]) -> None:
        raise NotImplementedError

    def states(self) -> list[ProcessState]:
        return [ProcessState(name, RELEASE, self._state(name), pid=p.pid) for name, p in self.running.items()]

    def _state(self, name: str) -> str:
        process = self.running[name]
        if process.poll() is not None:
            return "killed" if process.returncode == -9 else "stopped"
        if name not in self._kill_at:
            return "running"
        if time.monotonic() > self._kill_at[name]:
            process.kill()
        return "stopping"

    def close(self) -> None:
        raise NotImplementedError

    def log(self, release: str, name: str) -> list[str]:
        return [f"the last words of {name}"]


@pytest.fixture
def programs() -> Iterator[Programs]:
    programs = Programs()
    yield programs
    for process in programs.running.values():
        process.kill()
        process.wait()


def settle(programs: Programs, asked: Sequence[str] = ()) -> float:
    """Watch all until they count as up; the seconds that it took."""
    watch = Watch(programs, RELEASE, list(programs.running))
    watch.until_settled(asked, time.sleep)
    return time.monotonic() - watch.started


def test_a_process_that_waits_for_work_is_up(programs: Programs) -> None:
    programs.run("worker", "import time; time.sleep(60)")

    assert 1.0 <= settle(programs) < 3.0


def test_a_process_that_falls_when_it_has_loaded_was_never_up(programs: Programs) -> None:
    programs.run("worker", LOAD.format(seconds=1.5) + "raise SystemExit(1)")

    with pytest.raises(Failure) as caught:
        settle(programs)

    assert caught.value.message == "process 'worker' of the new release does not stay up"
    assert caught.value.details == {"process": "worker", "lines": ["the last words of worker"]}


def test_a_process_that_is_always_at_work_has_to_last(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "PROVEN_TIME", 2.5)
    programs.run("worker", LOAD.format(seconds=60))

    assert 2.5 <= settle(programs) < 5.0


def test_a_process_that_answered_its_health_check_need_not_wait(programs: Programs) -> None:
    programs.run("web", LOAD.format(seconds=60))

    assert settle(programs, asked=["web"]) < 0.5


def test_a_process_that_is_another_one_now_has_fallen(programs: Programs) -> None:
    programs.run("worker", "import time; time.sleep(60)")
    watch = Watch(programs, RELEASE, ["worker"])
    watch.look()
    first = programs.running["worker"]
    programs.run("worker", "import time; time.sleep(60)")
    first.kill()
    first.wait()

    with pytest.raises(Failure, match="process 'worker' of the new release does not stay up"):
        watch.look()


def test_what_a_process_started_counts_as_its_effort() -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LOAD.format(seconds=60)!r}])"
    with subprocess.Popen([sys.executable, "-c", child], start_new_session=True) as process:
        effort = Effort(process.pid)
        time.sleep(1.0)
        found = effort.is_idle()
        subprocess.run(["pkill", "--session", str(process.pid)], check=True)

    assert not found


def test_waiting_for_processes_to_end(programs: Programs) -> None:
    programs.run("worker", "import time; time.sleep(60)")
    programs.run("deaf", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    time.sleep(0.3)  # its handler is set
    programs.stop(RELEASE, ["worker", "deaf"])

    assert wait_for_end(programs, RELEASE, ["deaf", "gone"], 0.0) == ([], ["deaf"])
    later = time.monotonic() + 10
    assert wait_for_end(programs, RELEASE, ["worker", "deaf"], later) == (["deaf"], [])
    assert programs.running == {}
