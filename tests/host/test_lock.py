from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from django_deploy.host.lock import Lock
from django_deploy.host.protocol import Failure

HOLDER = {"by": "ann@laptop", "since": 1_700_000_000.0}

HOLD = """
import sys, threading, time
from pathlib import Path
from django_deploy.host.lock import Lock
lock = Lock(Path(sys.argv[1]))
lock.acquire({"by": "bob@desk", "since": 1700000000.0}, 0.0, print, threading.Event())
lock.show_phase(sys.argv[2])
print("held", flush=True)
time.sleep(float(sys.argv[3]))
"""


@pytest.fixture
def hold(tmp_path):
    """Another process that holds the lock."""
    running = []

    def start(phase="running migrate", seconds=60.0):
        argv = [sys.executable, "-c", HOLD, str(tmp_path / "lock"), phase, str(seconds)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def acquire(lock, wait=0.0):
    waited = []
    lock.acquire(HOLDER, wait, waited.append, threading.Event())
    return waited


def test_the_holder_is_named(tmp_path, hold):
    process = hold()
    lock = Lock(tmp_path / "lock")

    with pytest.raises(Failure) as caught:
        acquire(lock)

    assert caught.value.type == "Locked"
    assert caught.value.message == (
        "another deployment is running: bob@desk, since 22:13:20 UTC, running migrate"
    )
    assert f"(process {process.pid} on the host)" in caught.value.remedy
    assert lock.holder()["by"] == "bob@desk"


def test_a_killed_holder_leaves_no_lock(tmp_path, hold):
    process = hold()
    process.send_signal(signal.SIGKILL)
    process.wait()
    lock = Lock(tmp_path / "lock")

    assert lock.holder() is None
    assert acquire(lock) == []


def test_it_waits_for_as_long_as_it_is_told(tmp_path, hold):
    hold(seconds=0.5)

    (holder,) = acquire(Lock(tmp_path / "lock"), wait=30.0)

    assert holder["by"] == "bob@desk"


@pytest.mark.parametrize("phase", ["reverting", "draining"])
def test_a_holder_that_is_nearly_done_is_waited_for(tmp_path, hold, phase):
    hold(phase=phase, seconds=0.5)

    assert len(acquire(Lock(tmp_path / "lock"))) == 1


def test_a_child_that_inherited_the_descriptor_keeps_the_lock(tmp_path):
    """A migration that outlives a killed host program must not meet a second one."""
    lock = Lock(tmp_path / "lock")
    acquire(lock)
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.descriptor]
    )
    os.close(lock.descriptor)
    try:
        other = Lock(tmp_path / "lock")
        assert other.holder()["by"] == "ann@laptop"
        child.communicate(b"\n")
        assert other.holder() is None
    finally:
        child.kill()
        child.wait()


def test_stop_ends_the_wait(tmp_path, hold):
    hold()
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()

    with pytest.raises(Failure, match="another deployment is running"):
        Lock(tmp_path / "lock").acquire(HOLDER, 600.0, lambda holder: None, stop)


def test_release_frees_it_and_says_nothing_more(tmp_path):
    lock = Lock(tmp_path / "lock")
    acquire(lock)
    lock.show_phase("activating")
    lock.release()

    assert lock.holder() is None
    assert (tmp_path / "lock").read_text() == ""
    assert not lock.is_held
