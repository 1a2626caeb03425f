from __future__ import annotations

from itertools import product

import pytest
from packaging.version import Version

from django_deploy.site.versions import is_downgrade

IN_ORDER = [
    *("0.9", "1.0.dev3", "1.0a1.dev1", "1.0a1", "1.0a1.post2", "1.0a2", "1.0b1", "1.0rc1", "1.0rc2"),
    *("1.0", "1.0.post1.dev4", "1.0.post1", "1.0.1", "1.10", "1!0.1"),
]


@pytest.mark.parametrize(("before", "after"), list(product(IN_ORDER, IN_ORDER)))
def test_it_orders_as_packaging_does(before, after):
    old, new = Version(before), Version(after)

    assert is_downgrade(before, after) is (None if old == new else new < old)


@pytest.mark.parametrize("after", ["0+9f3c2a1", "0"])
def test_of_two_hashes_none_is_the_later_one(after):
    """A plain project's version is a hash of its files, and so are those that name a revision."""
    assert is_downgrade("0+c4d2e71", after) is None
    assert is_downgrade("0+c4d2e71", "1.0+0a1") is False


def test_trailing_zeros_mean_nothing():
    assert is_downgrade("1.0", "1") is None
    assert is_downgrade("1.0.0", "1.1") is False


@pytest.mark.parametrize("odd", ["", "2004d", "r12", "1.0 ", "unknown"])
def test_what_is_no_version_is_not_compared(odd):
    assert is_downgrade("1.0", odd) is None
    assert is_downgrade(odd, "1.0") is None
