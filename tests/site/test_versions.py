from __future__ import annotations

from itertools import product

import pytest
from packaging.version import Version

from django_deploy.site.versions import is_downgrade

IN_ORDER = [
    *("0.9", "1.0.dev3", "1.0a1.dev1", "1.0a1", "1.0a1.post2", "1.0a2", "1.0b1", "1.0rc1", "1.0rc2"),
    *(
        "1.0",
        "1.0+abc",
        "1.0+2",
        "1.0+2.1",
        "1.0+10",
        "1.0.post1.dev4",
        "1.0.post1",
        "1.0.1",
        "1.10",
        "1!0.1",
    ),
]


@pytest.mark.parametrize(("before", "after"), list(product(IN_ORDER, IN_ORDER)))
def test_it_orders_as_packaging_does(before, after):
    old, new = Version(before), Version(after)

    assert is_downgrade(before, after) is (None if old == new else new < old)


def test_trailing_zeros_mean_nothing():
    assert is_downgrade("1.0", "1") is None
    assert is_downgrade("1.0.0", "1.1") is False


@pytest.mark.parametrize("odd", ["", "2004d", "r12", "1.0 ", "unknown"])
def test_what_is_no_version_is_not_compared(odd):
    assert is_downgrade("1.0", odd) is None
    assert is_downgrade(odd, "1.0") is None
