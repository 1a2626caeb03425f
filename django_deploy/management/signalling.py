"""Sends the signals of ``django_deploy.signals`` around a deployment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django_deploy.exceptions import DeployError
from django_deploy.host.protocol import Event, Report
from django_deploy.signals import deploy_failed, post_deploy, post_rollback, pre_deploy
from django_deploy.target import Target

if TYPE_CHECKING:
    from django.dispatch import Signal

    from django_deploy.plan.model import Plan
    from django_deploy.undertaking import Outcome


def announce(plan: Plan) -> None:
    """``pre_deploy``; raises whatever a receiver raises."""
    pre_deploy.send(sender=Target, target=plan.target, plan=plan)


def tell_of(outcome: Outcome, target: Target, report: Report) -> None:
    """``post_deploy`` or ``post_rollback``, where a release became live."""
    if outcome.outcome == "deployed":
        _send("post_deploy", post_deploy, target, report, outcome=outcome)
    elif outcome.outcome == "rolled back":
        _send("post_rollback", post_rollback, target, report, outcome=outcome)


@contextmanager
def telling_of_failure(target: Target, report: Report, *, action: str) -> Iterator[None]:
    """``deploy_failed`` when the block raises a ``DeployError``, which goes on."""
    try:
        yield
    except DeployError as error:
        _send("deploy_failed", deploy_failed, target, report, error=error, action=action)
        raise


def _send(name: str, signal: Signal, target: Target, report: Report, **fields: Any) -> None:
    for receiver, result in signal.send_robust(sender=Target, target=target, **fields):
        if isinstance(result, Exception):
            who = f"{receiver.__module__}.{getattr(receiver, '__qualname__', type(receiver).__qualname__)}"
            message = f"{who}, a receiver of {name}, failed: {type(result).__name__}: {result}"
            remedy = "What was deployed is as it was."
            report(Event("warning", fields={"message": message, "remedy": remedy}))
