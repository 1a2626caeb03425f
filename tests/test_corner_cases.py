"""The table of corner cases names tests that exist, and counts what they showed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import corner_cases

HERE = Path(__file__).parent


@pytest.mark.parametrize("case", corner_cases.CASES)
def test_tests_of_the_case_exist(case):
    for name in corner_cases.tests_of(case):
        file, _, function = name.partition("::")

        assert function.partition("[")[0] in corner_cases.functions((HERE / file).read_text()), name


@pytest.fixture
def table(monkeypatch):
    cases = {"one": "a.py::test_a", "two": "a.py::test_b[x] a.py::test_a", "three": "b.py::test_c"}
    monkeypatch.setattr(corner_cases, "CASES", cases)


def test_cases_count_when_all_their_tests_passed(table):
    passed = ["tests/a.py::test_a", "tests/a.py::test_b[y-x]"]

    assert list(corner_cases.summary(passed, [])) == [
        "2 of 3 corner cases of packaging were shown by tests that passed",
        "corner cases whose tests did not run: three",
    ]


def test_cases_with_a_failed_test_are_named(table):
    passed = ["tests/a.py::test_a", "tests/a.py::test_b[x]", "tests/a.py::test_b[y]"]
    failed = ["tests/a.py::test_b[x-y]"]

    assert list(corner_cases.summary(passed, failed)) == [
        "1 of 3 corner cases of packaging were shown by tests that passed",
        "corner cases with tests that failed: two",
    ]


def test_other_parameters_show_nothing(table):
    assert list(corner_cases.summary(["tests/a.py::test_a", "tests/a.py::test_b[y]"], [])) == [
        "1 of 3 corner cases of packaging were shown by tests that passed",
    ]


def test_nothing_is_said_where_nothing_ran(table):
    assert list(corner_cases.summary(["tests/x.py::test_x"], [])) == []
