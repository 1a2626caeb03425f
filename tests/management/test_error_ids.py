"""Behind what Django prints of an error stands its id, the phase that it ended, and what to type then."""

from __future__ import annotations

import io
import os
import signal
import time

import pytest
from django.core.management.base import CommandError

from django_deploy.clock import Clock
from django_deploy.exceptions import DeployError, HostLocked, RequestFailed, RolloutFailed
from django_deploy.host.protocol import ignore
from django_deploy.management.base import DeployCommand


class Command(DeployCommand):
    help = "Fails."
    raised: BaseException

    def add_arguments(self, parser):
        parser.add_argument("what", nargs="?")

    def handle(self, **options):
        raise self.raised


def run(error, *words):
    command = Command(stderr=io.StringIO())
    command.raised = error
    with pytest.raises(SystemExit) as leaving:
        command.run_from_argv(["manage.py", "fail", "--no-color", *words])
    return leaving.value.code, command.stderr.getvalue()


@pytest.mark.parametrize(
    ("error", "status", "printed"),
    [
        (DeployError("no", remedy="Do."), 1, "CommandError: no\nDo.\n[deploy-error]\n"),
        (
            RolloutFailed(
                "Nothing changed.",
                errors=[HostLocked("web1", "busy"), RequestFailed("web2", "full", type="NoSpace")],
            ),
            1,
            "CommandError: web1: busy\nweb2: full\nNothing changed.\n[host-locked, no-space]\n",
        ),
        (
            RolloutFailed("Nothing changed.", errors=[HostLocked("web1", "busy")], phase="lock"),
            1,
            "CommandError: web1: busy\nNothing changed.\n"
            "[host-locked] in phase lock; then: manage.py fail --no-color 'of all'\n",
        ),
        (
            RolloutFailed("Bad.", errors=[], unreverted=["web1"], phase="activate"),
            3,
            "CommandError: Bad.\n[rollout-failed] in phase activate\n",
        ),
        (
            RolloutFailed("Bad.", errors=[], phase="log in", remedy="Run manage.py deploy_setup."),
            1,
            "CommandError: Bad.\nRun manage.py deploy_setup.\n[rollout-failed] in phase log in\n",
        ),
        (KeyboardInterrupt(), 130, "CommandError: Interrupted.\n[interrupted]\n"),
        (CommandError("other"), 1, "CommandError: other\n"),
    ],
)
def test_what_is_printed(error, status, printed):
    words = ["of all"] if "of all" in printed else []

    assert run(error, *words) == (status, printed)


class Stopped(Command):
    done = ""

    def handle(self, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)


@pytest.mark.parametrize(
    ("done", "printed"),
    [("", "Interrupted."), ("new is live.", "Interrupted, but too late: new is live.")],
)
def test_sigterm_is_ctrl_c(done, printed):
    command = Stopped(stderr=io.StringIO())
    command.done = done
    with pytest.raises(SystemExit) as leaving:
        command.run_from_argv(["manage.py", "fail", "--no-color"])

    assert (leaving.value.code, command.stderr.getvalue()) == (
        130,
        f"CommandError: {printed}\n[interrupted]\n",
    )
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_error_is_of_the_phase_that_it_ended():
    clock = Clock(ignore)
    with pytest.raises(DeployError) as caught, clock.phase("plan"), clock.phase("bundle"):
        raise DeployError("no")

    assert caught.value.phase == "bundle"
