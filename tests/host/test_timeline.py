from __future__ import annotations

import time

import pytest

from django_deploy.host.protocol import Failure
from django_deploy.host.timeline import Timeline


def test_it_notes_when_each_part_began_and_what_it_took():
    timeline, began = Timeline(), time.time()

    timeline.measure({"request": "prepare"}, lambda: time.sleep(0.02) or {})
    timeline.measure({"request": "step", "command": ["migrate", "--noinput"]}, lambda: {"ok": True})

    prepare, migrate = timeline.as_dict()["phases"]
    assert (prepare["phase"], "step" in prepare) == ("prepare", False)
    assert began - 0.001 <= prepare["at"] <= time.time()
    assert 0.02 <= prepare["seconds"] < 5
    assert (migrate["phase"], migrate["step"]) == ("steps", "migrate --noinput")
    assert migrate["at"] >= prepare["at"] + prepare["seconds"] - 0.002


def test_one_phase_may_take_several_requests():
    timeline = Timeline()

    for request in ("preflight", "plan_migrations"):
        timeline.measure({"request": request}, lambda: time.sleep(0.02) or {})
    for name in ("migrate", "compress"):
        timeline.measure({"request": "step", "command": [name]}, dict)

    phases = timeline.as_dict()["phases"]
    assert [(phase["phase"], phase.get("step")) for phase in phases] == [
        ("preflight", None),
        ("steps", "migrate"),
        ("steps", "compress"),
    ]
    assert 0.04 <= phases[0]["seconds"] < 5


def test_it_collects_the_migrations_of_all_parts():
    timeline = Timeline()

    timeline.measure({"request": "reverse"}, lambda: {"result": {"unapplied": ["shop.0002_b"]}})
    for name in ("shop.0003_c", "auth.0001_a"):
        request = {"request": "step", "command": ["migrate"]}
        timeline.measure(request, lambda name=name: {"result": {"applied": [name]}})

    found = timeline.as_dict()
    assert (found["applied"], found["unapplied"]) == (["shop.0003_c", "auth.0001_a"], ["shop.0002_b"])


@pytest.mark.parametrize("request_", [{"request": "confirm"}, {"request": "hold", "seconds": 0.0}])
def test_what_takes_no_time_is_no_part(request_):
    timeline = Timeline()

    assert timeline.measure(request_, lambda: {"live": "r1"}) == {"live": "r1"}

    assert timeline.as_dict()["phases"] == []


def test_a_step_that_is_skipped_is_no_part():
    timeline = Timeline()

    timeline.measure({"request": "step", "command": ["compress"]}, lambda: {"skipped": "no such app"})

    assert timeline.as_dict()["phases"] == []


def test_a_clock_that_is_set_back_meanwhile(monkeypatch):
    timeline = Timeline()
    for now in (1000.0, 10.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        timeline.measure({"request": "preflight"}, dict)

    assert timeline.as_dict()["phases"] == [{"phase": "preflight", "at": 1000.0, "seconds": 0.0}]


def test_a_part_that_fails_is_none():
    def fail():
        raise Failure("StepFailed", "bang")

    timeline = Timeline()
    with pytest.raises(Failure):
        timeline.measure({"request": "step", "command": ["explode"]}, fail)

    assert timeline.as_dict()["phases"] == []
