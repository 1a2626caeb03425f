"""What wheels require, and what is deployed."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.manifest import Wheel
from django_deploy.bundle.wheels.builder import BuiltWheel
from django_deploy.bundle.wheels.requirements_check import check_requirements
from django_deploy.exceptions import BundleError


def built_wheel(name: str, *requires: str) -> BuiltWheel:
    return BuiltWheel(Wheel(name, "1.0", Path("/x.whl"), "", 0), requires)


def installed(**versions: str) -> list[Distribution]:
    return [Distribution(name, version, "index", (), Path("/")) for name, version in versions.items()]


def test_requirements_that_hold():
    wheel = built_wheel("x", "six>=1", 'gone; python_version < "3"', 'more; extra == "more"', "other")

    check_requirements([wheel, built_wheel("other")], installed(six="1.17"), installed(six="1.17"))


def test_extras_that_are_asked_for_count():
    """By the target, or by another wheel."""
    cache = built_wheel("x", 'redis; extra == "cache"', 'boto3; extra == "files"')

    with pytest.raises(BundleError) as of_target:
        check_requirements([cache], [], [], extras=[Requirement("X[Cache]")])
    with pytest.raises(BundleError) as of_wheel:
        check_requirements([cache, built_wheel("site", "x[files]", 'x[cache]; python_version < "3"')], [], [])

    message = "The environment is not what its sources now require: x 1.0 requires {}."
    assert of_target.value.message == message.format('redis; extra == "cache", which is not installed here')
    assert of_wheel.value.message == message.format('boto3; extra == "files", which is not installed here')


def test_new_version_counts_for_other_wheels():
    wheel, other = built_wheel("x", "other>=1"), built_wheel("other")

    check_requirements([wheel, other], installed(other="0.9"), installed(other="0.9"))


def test_deployers_requirements_of_django_deploy_do_not_count():
    check_requirements([built_wheel("django-deploy", "paramiko", "django")], installed(django="5.2"), [])


def test_pre_release_satisfies():
    check_requirements([built_wheel("x", "six>=1")], installed(six="2rc1"), [])
