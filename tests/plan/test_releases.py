"""Which release a rollback goes back to; whole deployments are in ``tests/test_local_deployment.py``."""

from __future__ import annotations

import pytest

from django_deploy.exceptions import DeployError
from django_deploy.plan.releases import choose_release

R1, R2, R3, R4 = (f"2026112{day}T174500Z-3f9c2a1" for day in (1, 2, 3, 4))


def facts(current, *releases):
    """``releases`` are ids, or pairs of an id and its other fields."""
    pairs = [release if isinstance(release, tuple) else (release, {}) for release in releases]
    return {
        "current": current,
        "releases": [
            {"id": id, "state": "live" if id == current else "retired", **fields} for id, fields in pairs
        ],
    }


def test_the_newest_that_is_older():
    assert choose_release([facts(R3, R1, R2, R3)], None) == R2
    assert choose_release([facts(R2, R1, R2, R3)], None) == R1


def test_nobody_goes_back_to_what_he_went_back_from():
    """R2 was bad; R1 was made live again, and then R3 was deployed."""
    assert choose_release([facts(R3, R1, (R2, {"given_up": True}), R3)], None) == R1
    with pytest.raises(DeployError, match=r"There is no earlier release to go back to\."):
        choose_release([facts(R3, (R2, {"given_up": True}), R3)], None)
    assert choose_release([facts(R3, (R2, {"given_up": True}), R3)], R2) == R2


def test_a_restart_makes_no_release_newer():
    """R3 was bad, and R2 made live again and restarted: nobody wants to go back to R3."""
    assert choose_release([facts(R4, R1, R3, (R4, {"same_as": R2}))], None) == R1


def test_forward_again_from_a_restart():
    """R3 was live, R2 was live again and restarted as R4, then R3 once more: back means R4."""
    renewed = (R2, {"state": "renewed"})
    assert choose_release([facts(R3, R1, renewed, R3, (R4, {"same_as": R2}))], None) == R4


def test_before_a_change_of_the_environment():
    assert choose_release([facts(R4, R1, R2, R3, (R4, {"made_of": R2}))], None) == R2


def test_before_a_change_of_the_environment_of_what_was_restarted_since():
    renewed, changed = (R2, {"state": "renewed"}), (R3, {"made_of": R2})
    assert choose_release([facts(R3, R1, renewed, changed, (R4, {"same_as": R2}))], None) == R4


def test_an_origin_that_is_gone():
    assert choose_release([facts(R4, R1, R3, (R4, {"made_of": R2}))], None) == R3


def test_only_what_every_host_has_and_what_was_live():
    assert choose_release([facts(R3, R1, R2, R3), facts(R3, R1, R3)], None) == R1
    with pytest.raises(DeployError) as caught:
        choose_release([facts(R2, (R1, {"state": "renewed"}), R2)], None)
    assert (
        str(caught.value) == "There is no earlier release to go back to.\ndeploy_status shows what there is."
    )
