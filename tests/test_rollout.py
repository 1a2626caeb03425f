"""What is said of a rollout that came to nothing; whole ones are in ``tests/test_local_deployment.py``."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import pytest

from django_deploy.clock import Clock
from django_deploy.exceptions import Interrupted, RequestFailed, RolloutFailed
from django_deploy.host.protocol import ignore
from django_deploy.rollout import Rollout
from django_deploy.stages import Stage
from django_deploy.transport.fleet import Courier
from tests.test_stages import TARGET, A

OLD, NEW = "20261121T174500Z-1111111", "20261122T174500Z-3f9c2a1"
NOTHING = f"Nothing changed: the host serves {OLD}, as before."
AS_BEFORE = f"The host serves {OLD}, as before."
IN_VAIN = (
    f"{AS_BEFORE} These were reversed and applied again: shop.0003_c;"
    " data that only they had room for, as in columns that they add, is lost."
)


class Session:
    """A host that ends what it is at, and answers, before it undoes all."""

    def __init__(self, answer):
        self.host, self.end, self.reverted = A, None, None
        self.answer = answer
        self.asked = Future()

    def abort(self):
        if not self.asked.done():
            self.asked.set_result(self.answer)
        self.reverted = {"live": OLD}

    def wait_for_end(self, timeout=None):
        return True


def end(session):
    """What a rollout ends with whose one stage takes migrations back; Ctrl-C while it waits, if it does."""
    courier = Courier(A, lambda: session)
    fleet, target = SimpleNamespace(couriers=[courier]), replace(TARGET, hosts=(A,))
    rollout = Rollout(target, fleet, Clock(ignore), NEW, {A: OLD})

    def interrupt(event):
        if (event.kind, event.fields.get("phase")) == ("phase.started", "reverse"):
            rollout.sent[0].result()
            raise KeyboardInterrupt

    if not session.asked.done():
        rollout.clock.report = interrupt
    with pytest.raises((Interrupted, RolloutFailed)) as caught:
        rollout.run([Stage("reverse", (A,), lambda session: [session.asked])])
    return caught.value.message


@pytest.mark.parametrize(
    ("result", "said"),
    [
        pytest.param({"unapplied": []}, NOTHING, id="nothing"),
        pytest.param({"unapplied": ["shop.0003_c"]}, IN_VAIN, id="reversed"),
        pytest.param(
            {"applied": ["shop.0003_c"]},
            f"{AS_BEFORE} These migrations were applied and stay: shop.0003_c.",
            id="applied",
        ),
    ],
)
def test_a_step_that_had_to_end_first_has_changed_what_it_changed(result, said):
    assert end(Session({"result": result})) == f"Interrupted. {said}"


@pytest.mark.parametrize(
    ("details", "said"),
    [
        pytest.param({"unapplied": []}, NOTHING, id="nothing"),
        pytest.param({"unapplied": [], "torn": ["shop.0002_b"]}, AS_BEFORE, id="a part"),
        pytest.param({"unapplied": ["shop.0003_c"], "torn": ["shop.0002_b"]}, IN_VAIN, id="one before"),
    ],
)
def test_what_failed_has_changed_what_the_host_says(details, said):
    session = Session({})
    error = RequestFailed("a", "could not reverse shop.0002_b: no", type="StepFailed", details=details)
    session.asked.set_exception(error)

    assert end(session) == said


@pytest.mark.parametrize(
    ("details", "message", "remedy"),
    [
        (
            {"lines": ["Traceback"]},
            "a: it failed: no\n  | Traceback\nLook there.",
            "Fix it, and run this again: manage.py deploy staging.",
        ),
        ({"torn": ["shop.0002_b"]}, "shop.0002_b may be partly applied: a: it failed: no", "Look there."),
    ],
    ids=["as a whole", "in part"],
)
def test_what_followed_confirm_has_failed(details, message, remedy):
    events = []
    session = Session({})
    error = RequestFailed("a", "it failed: no", type="StepFailed", remedy="Look there.", details=details)
    session.asked.set_exception(error)
    fleet = SimpleNamespace(couriers=[Courier(A, lambda: session)])
    rollout = Rollout(replace(TARGET, hosts=(A,)), fleet, Clock(events.append), NEW, {A: OLD})

    rollout.finish([Stage("migrate", (A,), lambda session: [session.asked])])

    [warning] = [event for event in events if event.kind == "warning"]
    assert warning.fields == {
        "message": f"{NEW} is live, but its last migrations were not applied: {message}",
        "remedy": remedy,
    }
