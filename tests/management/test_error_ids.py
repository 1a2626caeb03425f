"""Behind what Django prints of an error stands its id."""

from __future__ import annotations

import io

import pytest
from django.core.management.base import CommandError

from django_deploy.exceptions import DeployError, HostLocked, RequestFailed, RolloutFailed
from django_deploy.management.base import DeployCommand


class Command(DeployCommand):
    help = "Fails."
    error: BaseException

    def handle(self, **options):
        raise self.error


def run(error, *words):
    command = Command(stderr=io.StringIO())
    command.error = error
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
        (KeyboardInterrupt(), 130, "CommandError: Interrupted.\n[interrupted]\n"),
        (CommandError("other"), 1, "CommandError: other\n"),
    ],
)
def test_what_is_printed(error, status, printed):
    assert run(error) == (status, printed)
