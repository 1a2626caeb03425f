"""Deployments to hosts that lie: a message, or success; memory and the terminal stay as they are."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from django_deploy import rollout
from django_deploy.exceptions import RolloutFailed
from django_deploy.reporters.plain import LineReporter
from django_deploy.reporters.secrets import Secrets
from django_deploy.transport import local, program
from tests.lies import liar
from tests.lies.deploying import deploy, lie_on_this_machine
from tests.lies.test_session import no_other_errors

CHECKOUT = Path(__file__).parents[2]

#: MB that a deployment may grow by, whatever its host says: one message of 4 MB may be so large in memory.
BOUND = 200


@pytest.fixture
def deploying(tmp_path, monkeypatch):
    """Deploys to the liar; gives what was printed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(rollout, "ASK_AGAIN_TIMEOUT", 0.5)
    monkeypatch.setattr(local, "LEAVE_TIMEOUT", 0.5)
    monkeypatch.setattr(program, "command", program.command)

    def run(lie):
        lie_on_this_machine(lie)
        stream = io.StringIO()
        with no_other_errors(), LineReporter(stream, Secrets(), 2) as reporter:
            deploy(tmp_path, reporter)
        return stream.getvalue()

    return run


@pytest.mark.parametrize("lie", ["is honest", "reports escapes"])
def test_lies_that_change_nothing(deploying, lie):
    printed = deploying(lie)

    assert "is live: deployed in" in printed
    assert printed.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ("fails with escapes", "local: no \x1b]0;owned"),
        ("fails at length", "local: no\nno\n"),
        ("fails with odd lines", "error 3.details.lines[0] must be a text, not 1"),
        ("applied a number", "reply 3.result.result.applied must be a list, not 5"),
        ("applied a number and failed", "error 3.details.applied must be a list, not 5"),
        ("tore a number and failed", "error 3.details.torn[0] must be a text, not 5"),
        ("checked a number", ".result.checked must be a list, not 5"),
        ("wants files", "it asks for a file that was not offered"),
        ("leaves", "local: the link to the host ended"),
    ],
)
def test_lies_that_end_a_deployment(deploying, lie, message):
    with pytest.raises(RolloutFailed) as caught:
        deploying(lie)

    assert message in str(caught.value)
    assert len(str(caught.value)) < 100_000


def test_a_reply_that_comes_twice(deploying):
    """Whichever request waits then is told."""
    with pytest.raises(RolloutFailed) as caught:
        deploying("says it twice")

    assert "local: the host program was not understood: a reply to 3, which nobody asked\n" in str(
        caught.value
    )


@contextmanager
def deployer(lie, folder):
    command = [sys.executable, "-m", "tests.lies.deploying", lie, folder]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "deploying\n", process.stderr.read()
        yield process
        process.kill()


def measured(lie, folder):
    """How a deployment in a process of its own ended."""
    with deployer(lie, folder) as process:
        out, err = process.communicate(timeout=240)
    assert err == ""
    return json.loads(out)


def test_more_output_than_is_shown(tmp_path):
    found = measured("has very much output", tmp_path)

    assert found["ended"] == "deployed"
    assert found["warnings"] == ["There was more than 67.1 MB of output: the rest is not shown."]
    assert found["grown"] < 50, found


def test_a_million_events(tmp_path):
    found = measured("has very many events", tmp_path)

    assert "the host program was not understood: more than 10000 events\n" in found["ended"]
    assert found["grown"] < 50, found


@pytest.mark.parametrize(
    ("lie", "ended"), [("has a large event", "an event of 3.9 MB"), ("has a large result", "deployed")]
)
def test_the_largest_messages_that_there_are(tmp_path, lie, ended):
    found = measured(lie, tmp_path)

    assert ended in found["ended"]
    assert found["grown"] < BOUND, found


def test_ctrl_c_when_the_host_only_beats(tmp_path):
    with deployer("beats for ever", tmp_path) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):  # its step might take long
            process.wait(2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert err == ""
    assert json.loads(out)["ended"].startswith("Interrupted twice: left at once.")


def test_every_lie_is_told():
    source = Path(__file__).read_text()

    assert [lie for lie in liar.ANSWERS if f'"{lie}"' not in source] == []
