from __future__ import annotations

from dataclasses import replace

import pytest

from django_deploy.plan.estimate import Estimate, PastDeployment
from django_deploy.target import Batch

from .test_making import ONE, TARGET, TWO, live, plan

FAST = [{"made": 8.0, "activated": 2.0}, {"made": 12.0, "activated": 1.0}, {"made": 10.0, "activated": 3.0}]


def time_line(found):
    return [line for line in found.lines() if line.startswith("  time: ")]


def test_nobody_knows_before_the_first_deployment():
    found = plan()

    assert found.estimate is None and found.as_dict()["estimate"] is None
    assert time_line(found) == []


def test_it_is_the_median_of_the_last_deployments():
    found = plan(durations=FAST)

    assert found.estimate == Estimate(12.0, 3)
    assert found.as_dict()["estimate"] == {"seconds": 12.0, "deployments": 3}
    assert time_line(found) == ["  time: about 12 s once all is sent, by the last 3 deployments"]


def test_one_deployment_is_called_so():
    assert time_line(plan(durations=[{"made": 90.0, "activated": 2.4}])) == [
        "  time: about 1 min 32 s once all is sent, by the last deployment"
    ]


def test_nothing_takes_no_time_when_nothing_changes():
    assert plan(**live(plan()), durations=FAST).estimate is None


def test_what_is_there_already_is_not_made_again():
    before = plan()
    facts = {**live(before), "live": None, "releases": [{**live(before)["releases"][0], "state": "retired"}]}
    found = plan(durations=FAST, **facts)

    installed = replace(found.hosts[0], is_installed=True)
    assert replace(found, hosts=(installed,)).estimate == Estimate(2.0, 3)


def test_batches_follow_one_another_and_are_watched():
    target = replace(TARGET, hosts=(ONE, TWO), batch=Batch(1, pause=30.0), canary_seconds=60.0)
    found = plan(target, durations=FAST)
    slow = replace(found.hosts[1], durations=(PastDeployment(40.0, 5.0),))

    assert replace(found, hosts=(found.hosts[0], slow)).estimate == Estimate(40 + 2 + 60 + 5, 1)


@pytest.mark.parametrize("seconds", [-1.0, 1e300, 10**400])
def test_a_host_may_say_what_it_likes(seconds):
    found = plan(durations=[{"made": seconds, "activated": seconds}])

    assert 0 <= found.estimate.seconds <= 2 * 24 * 3600
    assert len(time_line(found)) == 1
