"""Bundles of a real environment: every way to install, seen from inside of it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

BUILT = (
    "acme-site acme-src acme-hatch acme-flit acme-poetry acme-pdm acme-legacy acme-local acme-vcs acme-wheel"
).split()


@pytest.fixture(scope="module")
def bundle(workshop):
    return workshop.bundle()


def test_all_that_no_index_has_is_shipped(bundle):
    names = {wheel["name"] for wheel in bundle["wheels"]}

    assert names == {*BUILT, "django-deploy"}
