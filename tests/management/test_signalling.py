"""Which signals are sent when, with what, and what becomes of receivers that fail."""

from __future__ import annotations

from unittest import mock

import pytest
from django.dispatch import Signal

from django_deploy import signals
from django_deploy.exceptions import DeployError
from django_deploy.management.commands import deploy, deploy_rollback
from django_deploy.target import Target
from tests.management.test_deploy import Deployment, run, targets

__all__ = ["targets"]

SIGNALS = {name: signal for name, signal in vars(signals).items() if isinstance(signal, Signal)}


@pytest.fixture
def sent():
    """What was sent: ``(name, fields)``."""
    found, receivers = [], []
    for name, signal in SIGNALS.items():

        def receive(sender, signal, name=name, **fields):
            assert sender is Target
            found.append((name, fields))

        signal.connect(receive)
        receivers.append((signal, receive))
    yield found
    for signal, receive in receivers:
        signal.disconnect(receive)


@pytest.fixture
def failing():
    """Connects a receiver that fails to a signal."""
    connected = []

    def connect(signal, error):
        def receive(**fields):
            raise error

        signal.connect(receive)
        connected.append((signal, receive))

    yield connect
    for signal, receive in connected:
        signal.disconnect(receive)


def names(sent):
    return [name for name, _ in sent]


def test_of_a_deployment(sent):
    assert run(deploy.Command, "staging", "--yes")[0] == 0

    (_, before), (_, after) = sent
    assert names(sent) == ["pre_deploy", "post_deploy"]
    assert (before["target"].name, before["plan"].release) == ("staging", "new")
    assert (after["target"].name, after["outcome"].release) == ("staging", "new")


def test_of_a_failure(sent):
    error = DeployError("No room.")

    assert run(deploy.Command, "staging", "--yes", deployment=Deployment(error))[0] == 1

    fields = {"target": sent[0][1]["target"], "error": error, "action": "deploy"}
    assert sent == [("deploy_failed", fields)]
    assert sent[0][1]["target"].name == "staging"


def test_of_a_failure_before_anything_is_built(sent, tmp_path):
    options = ["--bundle", str(tmp_path / "none.zip")]

    with mock.patch.object(deploy.Command, "find_origin", side_effect=DeployError("There is no such file.")):
        assert run(deploy.Command, "staging", "--yes", *options)[0] == 1

    assert names(sent) == ["deploy_failed"]


def test_of_a_rollback_that_fails(sent):
    error = DeployError("There is no earlier release to go back to.")

    assert run(deploy_rollback.Command, "staging", deployment=Deployment(error))[0] == 1

    [(name, fields)] = sent
    assert (name, fields["error"], fields["action"]) == ("deploy_failed", error, "rollback")


def test_of_a_rollback(sent):
    assert run(deploy_rollback.Command, "staging")[0] == 0

    assert names(sent) == ["post_rollback"]
    assert sent[0][1]["outcome"].release == "old"


def test_a_plan_sends_nothing(sent):
    assert run(deploy.Command, "staging", "--plan")[0] == 0

    assert sent == []


def test_a_receiver_can_stop_a_deployment_before_it_begins(sent, failing):
    failing(signals.pre_deploy, DeployError("Not on a Friday.", remedy="Wait."))

    status, _, err = run(deploy.Command, "staging", "--yes")

    assert (status, err) == (1, "CommandError: Not on a Friday.\nWait.\n")
    assert names(sent) == ["pre_deploy", "deploy_failed"]


def test_a_receiver_that_fails_later_is_a_warning(sent, failing):
    failing(signals.post_deploy, ValueError("no such channel"))

    status, out, err = run(deploy.Command, "staging", "--yes")

    assert (status, err) == (0, "")
    who = "tests.management.test_signalling.failing.<locals>.connect.<locals>.receive"
    warning = f"warning: {who}, a receiver of post_deploy, failed: ValueError: no such channel"
    assert f"{warning}. What was deployed is as it was.\n" in out


def test_a_receiver_that_fails_hides_no_error(failing):
    failing(signals.deploy_failed, ValueError("no such channel"))

    status, _, err = run(deploy.Command, "staging", "--yes", deployment=Deployment(DeployError("No room.")))

    assert (status, err) == (1, "CommandError: No room.\n")
