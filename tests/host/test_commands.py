"""Commands that take too long end with all that they started."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from django_deploy.host import commands
from django_deploy.host.protocol import Failure

#: Starts a child that does not hear SIGTERM, says its number, and waits; the parent leaves on SIGTERM.
STUBBORN = """
import signal, subprocess, sys, time
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('up', flush=True); time.sleep(60)"
)
process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True)
process.stdout.readline()
print(process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(commands, "TERM_PATIENCE", 0.5)


def is_there(pid):
    """Running, and not only waiting to be reaped."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid):
    deadline = time.monotonic() + 10
    while is_there(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_there(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_child_that_does_not_hear_is_killed_with_its_group():
    lines = []

    with pytest.raises(Failure) as caught:
        commands.run([sys.executable, "-c", STUBBORN], on_line=lambda _, line: lines.append(line), timeout=2)

    assert caught.value.type == "Timeout"
    assert caught.value.message.endswith(" took longer than 2 s")
    assert wait_until_gone(int(lines[0]))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_command_that_is_stopped_takes_its_children_along():
    lines, stop = [], threading.Event()

    def on_line(stream, line):
        lines.append(line)
        stop.set()

    with pytest.raises(Failure, match="was stopped"):
        commands.run([sys.executable, "-c", STUBBORN], on_line=on_line, stop=stop)

    assert wait_until_gone(int(lines[0]))


def test_one_that_hears_is_not_killed(tmp_path):
    note = tmp_path / "note"
    script = f"trap 'echo tidied up > {note}; exit' TERM; echo up; while :; do sleep 0.05; done"
    stop = threading.Event()

    with pytest.raises(Failure):
        commands.run(["sh", "-c", script], on_line=lambda *_: stop.set(), stop=stop)

    assert note.read_text() == "tidied up\n"


def test_one_that_is_gone_already():
    process = commands.subprocess.Popen(["true"], start_new_session=True)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    commands.end_group(process)

    assert process.returncode == 0
