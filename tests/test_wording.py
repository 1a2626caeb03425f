"""How long lists and sizes are told."""

from __future__ import annotations

import pytest

from django_deploy.wording import first_of, listed, size_text


@pytest.mark.parametrize(
    ("names", "count", "text"),
    [
        ([], None, ""),
        (["a"], None, "a"),
        (["a", "b"], None, "a, b"),
        (["a", "b", "c"], None, "a, b and 1 more"),
        (["a", "b"], 9, "a, b and 7 more"),
    ],
)
def test_names(names, count, text):
    assert listed(names, 2, count) == text


def test_lines():
    assert first_of(["a", "b"], 2) == ["a", "b"]
    assert first_of(["a", "b", "c", "d"], 2, "  ") == ["  a", "  b", "  and 2 more"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (79_000, "79 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (2_000_000, "2.0 MB"),
        (1_994_000_000, "1.99 GB"),
    ],
)
def test_sizes(size, text):
    assert size_text(size) == text
