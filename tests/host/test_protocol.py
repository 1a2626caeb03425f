from __future__ import annotations

from django_deploy.host.protocol import PulseMonitor


def test_nothing_comes_for_as_many_looks_as_there_is_patience():
    pulse = PulseMonitor(3)

    assert [pulse.looks_in_vain() for _ in range(5)] == [False, False, False, True, True]


def test_what_comes_gives_all_the_patience_again():
    pulse = PulseMonitor(1)

    pulse.looks_in_vain()
    pulse.hear()

    assert [pulse.looks_in_vain(), pulse.looks_in_vain()] == [False, True]
