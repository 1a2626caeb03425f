"""Commands of the live release in a folder of this machine; over SSH: ``tests/hosts/test_daily.py``."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import PurePosixPath

import pytest

from django_deploy.running import INTERRUPTED, CommandLink, CommandOnHosts, start
from django_deploy.target import Host, Target
from django_deploy.transport.ssh import no_prompts

LOCAL = Host("local")

#: A release's manage.py: it does what its first word says.
MANAGE = """\
import os, sys
print(os.getcwd(), *sys.argv[1:], sep="|", flush=True)
print("trouble", file=sys.stderr)
if "read" in sys.argv:
    print(len(sys.stdin.buffer.read()))
if "wait" in sys.argv:
    import time
    time.sleep(60)
sys.exit(7)
"""


@pytest.fixture
def target(tmp_path):
    release = tmp_path / "site/releases/20261122T174500Z-3f9c2a1"
    (release / "venv/bin").mkdir(parents=True)
    (release / "venv/bin/python").symlink_to(sys.executable)
    (release / "manage.py").write_text(MANAGE)
    (tmp_path / "site/current").symlink_to("releases/20261122T174500Z-3f9c2a1")
    return Target("demo", (LOCAL,), PurePosixPath(tmp_path / "site"), settings_module="shop.settings")


class Sink:
    def __init__(self):
        self.data = {"stdout": b"", "stderr": b""}
        self.has_news = threading.Event()

    def __call__(self, stream, data):
        self.data[stream] += data
        self.has_news.set()


def attend(target, *words, source=None):
    sink = Sink()
    execution = start(LOCAL, target, words, prompts=no_prompts)
    return CommandLink(execution, sink, source).run(), sink.data


def test_words_status_and_streams(target):
    status, data = attend(target, "dump", "a b", "$HOME `id` 'q'", "--all")

    folder = os.path.realpath(target.root / "current")
    assert status == 7
    assert data["stdout"].decode() == f"{folder}|dump|a b|$HOME `id` 'q'|--all\n"
    assert data["stderr"] == b"trouble\n"


def test_folder_of_a_plain_project(target):
    project = target.root / "current/venv/app"
    os.mkdir(project)
    open(project / "manage.py", "w").close()

    _, data = attend(target)

    assert data["stdout"].decode() == f"{os.path.realpath(project)}\n"


def test_input_is_passed_on_to_its_end(target, tmp_path):
    file = tmp_path / "input"
    file.write_bytes(b"\xff\n" * 200_000)

    with file.open("rb") as source:
        _, data = attend(target, "read", source=source.fileno())

    assert data["stdout"].splitlines()[-1] == b"400000"


def test_interrupt(target):
    sink = Sink()
    link = CommandLink(start(LOCAL, target, ["wait"], prompts=no_prompts), sink)
    thread = threading.Thread(target=lambda: (sink.has_news.wait(30), link.interrupt()))
    thread.start()

    status = link.run()

    thread.join()
    assert status in (1, INTERRUPTED)
    assert b"KeyboardInterrupt" in sink.data["stderr"]


def test_nothing_is_live(target):
    os.unlink(target.root / "current")

    status, data = attend(target, "check")

    assert status == 255
    assert data["stderr"].decode() == f"No release is live in {target.root}: deploy first.\n"


def test_lines_of_several_hosts(target):
    lines = []

    statuses = CommandOnHosts(target, ["check"], lambda *line: lines.append(line), lines.append).run()

    folder = os.path.realpath(target.root / "current")
    assert statuses == {LOCAL: 7}
    assert sorted(lines, key=lambda line: line[1]) == [
        (LOCAL, "stderr", "trouble"),
        (LOCAL, "stdout", f"{folder}|check"),
    ]
