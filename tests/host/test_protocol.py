from __future__ import annotations

import pytest

from django_deploy.host.protocol import EVENTS, PulseMonitor


@pytest.mark.parametrize("kind", EVENTS)
def test_no_field_of_an_event_hides_what_all_of_them_have(kind):
    assert not {"event", "host", "at"}.intersection(EVENTS[kind].split())


def test_nothing_comes_for_as_many_looks_as_there_is_patience():
    pulse = PulseMonitor(3)

    assert [pulse.looks_in_vain() for _ in range(5)] == [False, False, False, True, True]


def test_what_comes_gives_all_the_patience_again():
    pulse = PulseMonitor(1)

    pulse.looks_in_vain()
    pulse.hear()

    assert [pulse.looks_in_vain(), pulse.looks_in_vain()] == [False, True]
