from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from django_deploy.doctor.diagnosis import HOST_CHECKS, _check_security, _live_versions
from django_deploy.doctor.finding import Finding

from .subjects import FACTS, LIVE, TARGET, bare, subject

RELEASE = {
    "id": LIVE,
    "wheels": [{"name": "acme_shop-1.0-py3-none-any.whl", "sha256": "0"}],
    "distributions": {"acme-shop": "1.0", "django": "5.2.1", "gunicorn": "23.0.0"},
}


def versions(target=TARGET, **facts):
    asked = SimpleNamespace(facts={**FACTS, "releases": [RELEASE], **facts})
    return _live_versions(target, [(TARGET.hosts[0], asked)])


def test_versions_of_what_comes_from_indexes():
    assert versions() == {"django": "5.2.1", "gunicorn": "23.0.0"}
    assert versions(replace(TARGET, vendor=True)) == {"django": "5.2.1"}
    assert versions(releases=[{"id": LIVE}]) == {}
    assert versions(current=None) is None


def test_releases_that_nobody_could_be_asked_of():
    silent = (TARGET.hosts[0], SimpleNamespace(facts={}))

    assert _check_security(TARGET, [silent]) == Finding(
        "security releases", "not checked", "no host says what is live"
    )


@pytest.mark.parametrize("check", HOST_CHECKS)
def test_every_check_has_a_remedy_for_what_is_not_well(check):
    """And can be asked before the first deployment."""
    assert check(subject()).outcome == "ok"
    found = check(bare())
    assert found.outcome in ("ok", "not checked") or found.remedy
