from __future__ import annotations

from datetime import datetime, timezone

import pytest

from django_deploy.site.bars import bars, duration, legend
from django_deploy.site.deployments import Deployment, Phase


def deployment(*phases):
    return Deployment(
        **dict.fromkeys(("action", "release", "by", "version", "previous_version", "backup"), ""),
        **dict.fromkeys(("previous", "revision", "previous_revision", "changes")),
        **dict.fromkeys(("left_out", "applied", "unapplied"), ()),
        key=1,
        at=datetime.now(timezone.utc),
        phases=phases,
        seconds=sum(phase.seconds for phase in phases),
        is_live=False,
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3725, "1 h 2 min"),
    ],
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text


def test_a_bar_lies_where_its_phase_was():
    made = deployment(Phase("prepare", "", 0.0, 4.0), Phase("steps", "migrate --noinput", 5.0, 5.0))

    first, second = bars(made, longest=20.0)

    assert (first.x, first.width, first.label) == ("0.0", "200.0", "prepare: 4.0 s")
    assert (second.x, second.width) == ("250.0", "250.0")
    assert (second.label, second.began, second.took) == ("steps (migrate --noinput): 5.0 s", "5.0 s", "5.0 s")


def test_no_bar_is_too_short_to_be_seen_or_outside_of_the_drawing():
    phases = [Phase("activate", "", 1e6, 1.0), Phase("hold", "", -3.0, 0.0), Phase("dance", "", 0.0, 1e9)]

    found = bars(deployment(*phases), longest=10.0)

    assert [(bar.x, bar.width) for bar in found] == [("900.0", "100.0"), ("0.0", "4.0"), ("0.0", "1000.0")]
    assert found[2].colour == "#777777"


def test_nothing_took_any_time():
    (bar,) = bars(deployment(Phase("prepare", "", 0.0, 0.0)), longest=0.0)

    assert (bar.x, bar.width) == ("0.0", "4.0")


def test_the_legend_has_what_is_there_in_the_order_of_a_deployment():
    found = legend([deployment(Phase("activate", "", 0, 1)), deployment(Phase("prepare", "", 0, 1))])

    assert list(found) == ["prepare", "activate"]
