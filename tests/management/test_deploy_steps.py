"""The real command in a real process, as the host program starts it."""

import json
import os
from contextlib import ExitStack, closing

import pytest

from tests.step_process import StepProcess


@pytest.fixture
def start(tmp_path):
    """Starts the command, with more environment."""
    with ExitStack() as stack:
        place = {"DJANGO_SETTINGS_MODULE": "tests.settings", "TESTSITE_FOLDER": str(tmp_path)}
        yield lambda **environment: stack.enter_context(closing(StepProcess(**place, **environment)))


@pytest.fixture
def steps(start):
    return start()


def test_a_whole_deployment_in_one_process(steps, tmp_path):
    assert steps.ask(do="preflight")["errors"] == []
    assert steps.ask(do="describe")["static_root"] == str(tmp_path / "static")
    collected = steps.run("collectstatic", "--noinput")
    migrated = steps.run("migrate", "--noinput")
    fixed = steps.run("fix_permissions")

    status, out, err = steps.end()

    assert (status, err) == (0, "")
    assert collected["result"] == {"copied": 1, "unmodified": 0, "post_processed": 0}
    assert migrated["result"]["applied"][-1] == "testapp.0002_note_is_read"
    assert fixed["result"]["skipped"] == []
    assert "Applying testapp.0001_initial... OK" in out


def test_a_failing_step_leaves_the_process_up(start):
    steps = start(TESTAPP_MIGRATION_FAILS="1")

    failed = steps.run("migrate", "--noinput")
    next_one = steps.run("behave", "talk")
    status, _, err = steps.end()

    assert failed["error"] == "RuntimeError: this migration was told to fail"
    assert "testapp.0001_initial" in failed["result"]["applied"]
    assert next_one["ok"] is True
    assert status == 0
    assert "Traceback (most recent call last):" in err


def test_output_is_there_before_the_reply(steps):
    steps.run("behave", "talk")

    os.set_blocking(steps.process.stdout.fileno(), False)
    os.set_blocking(steps.process.stderr.fileno(), False)
    assert os.read(steps.process.stdout.fileno(), 1000) == b"said on stdout\nno line end"
    assert os.read(steps.process.stderr.fileno(), 1000) == b"said on stderr\n"


def test_commands_and_their_children_find_an_empty_input(steps):
    """``cat`` would swallow the requests, or wait for ever."""
    assert steps.run("behave", "read_input")["ok"] is True
    assert steps.run("behave", "run_a_program")["ok"] is True

    status, out, err = steps.end()

    assert status == 0
    assert out == "read ''\nfrom a program\n"
    assert err == "and its stderr\n"


def test_a_command_that_asks_is_told_that_nobody_is_there(steps):
    reply = steps.run("behave", "ask")

    assert reply["error"] == (
        "EOFError: EOF when reading a line. "
        "The command asked a question, and nobody can answer: use --noinput"
    )


def test_requests_may_be_sent_ahead(steps):
    for how in ("leave_0", "leave_4"):
        steps.process.stdin.write(json.dumps({"do": "run", "command": ["behave", how]}) + "\n")
    steps.process.stdin.flush()

    assert [json.loads(steps.replies.readline())["ok"] for _ in range(2)] == [True, False]


def test_no_request_at_all(steps):
    assert steps.end() == (0, "", "")


def test_reply_descriptor_is_not_for_children(steps):
    """A daemon that a step leaves behind must not keep the reply pipe open."""
    reply = steps.run("behave", "leave_a_daemon")
    steps.process.stdin.close()

    assert reply["ok"] is True
    assert steps.replies.readline() == ""
