from __future__ import annotations

from django_deploy.host.protocol import Ear


def test_an_ear_hears_nothing_for_as_many_looks_as_it_has_patience():
    ear = Ear(3)

    assert [ear.looks_in_vain() for _ in range(5)] == [False, False, False, True, True]


def test_an_ear_that_hears_has_all_its_patience_again():
    ear = Ear(1)

    ear.looks_in_vain()
    ear.hear()

    assert [ear.looks_in_vain(), ear.looks_in_vain()] == [False, True]
