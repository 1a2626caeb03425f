from __future__ import annotations

import pytest

from django_deploy.host.protocol import EVENTS, Ear


@pytest.mark.parametrize("kind", EVENTS)
def test_no_field_of_an_event_hides_what_all_of_them_have(kind):
    assert not {"event", "host", "at"}.intersection(EVENTS[kind].split())


def test_an_ear_hears_nothing_for_as_many_looks_as_it_has_patience():
    ear = Ear(3)

    assert [ear.looks_in_vain() for _ in range(5)] == [False, False, False, True, True]


def test_an_ear_that_hears_has_all_its_patience_again():
    ear = Ear(1)

    ear.looks_in_vain()
    ear.hear()

    assert [ear.looks_in_vain(), ear.looks_in_vain()] == [False, True]
