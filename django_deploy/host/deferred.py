"""After confirm: earlier releases have ended, then the migrations run that they could not have borne."""

from __future__ import annotations

import time
from typing import Any

from . import history
from .context import Context
from .layout import Release
from .migrations import Migrations, Planned
from .processes import KILL_TIME
from .protocol import Failure
from .serving import DRAIN_TIME, processes_of


def drain(context: Context, live: Release) -> dict[str, Any]:
    """No code but the live release's runs here any more: migrations follow that it could not bear."""
    time.sleep(DRAIN_TIME)
    times = [process["stop_timeout"] for r in context.layout.all_releases() for process in processes_of(r)]
    left = context.serving.stop_all_but(live.id, patience=max(times, default=0.0) + KILL_TIME)
    context.serving.remove_sockets(live.id, left)
    if left:
        there = ", ".join(f"{name} of {release}" for name, release in left)
        raise Failure("ProcessFailed", f"processes of earlier releases do not stop: {there}")
    return {}


class DeferredMigrations:
    """Those that waited until nobody but the ``live`` release uses the database."""

    def __init__(self, context: Context, live: Release) -> None:
        self._context = context
        self._live = live
        #: What was done so far: names, and how long each step took.
        self._applied: list[str] = []
        self._phases: list[dict[str, Any]] = []

    def run(self, message: dict[str, Any], by: str) -> dict[str, Any]:
        """Run them; the history names those that were applied, and ``by`` whom, also where one fails."""
        try:
            self._run(message)
        except Failure as failure:
            self._applied = failure.details.get("applied", self._applied)
            if torn := failure.details.get("torn"):
                with self._context.tidying("a migration may be partly applied, but"):
                    self._live.tear(torn)
            raise
        finally:
            if self._applied:
                self._record(by)
        return {"result": {"applied": self._applied}}

    def _run(self, message: dict[str, Any]) -> None:
        steps, link = self._context.steps, self._context.link
        steps.close()
        steps.open(self._live, "migrate")
        migrations = self._context.migrations(message["target"])
        for step in self._live.deferred:
            name = steps.name = " ".join(step["command"])
            link.report("step.started", step=name)
            at, started = round(time.time(), 3), time.monotonic()
            with migrations.guard(steps.ask, step["database"]):
                if message["backup"] is not None:
                    self._back_up_again(migrations, step, message["backup"]["keep"])
                result = Planned.of_deferred(step).run(steps.run, step, self._applied).get("result", {})
            self._applied += step["migrations"] if step["isolated"] else result.get("applied", ())
            seconds = round(time.monotonic() - started, 3)
            self._phases.append({"phase": "migrate", "step": name, "at": at, "seconds": seconds})
            link.report("step.finished", step=name, seconds=seconds, result=result)
        self._live.defer(None)

    def _back_up_again(self, migrations: Migrations, step: dict[str, Any], keep: int) -> None:
        """What waited takes something away, and the site has been written to since the switch."""
        before = f"migrating {', '.join(step['migrations'][:3])}"
        migrations.dump(self._context.steps.ask_until_lost, step["database"], before, keep)

    def _record(self, by: str) -> None:
        """The history has noted the release by then, without these."""
        live = self._live.id
        entry = {"action": "migrate", "release": live, "previous": live, "by": by, "left_out": []}
        with self._context.tidying("the migrations were applied, but"):
            history.append(self._context.layout, {**entry, "applied": self._applied, "phases": self._phases})
