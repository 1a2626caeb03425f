"""How long is fuzzed: a fixed handful of examples, and new ones for DJANGO_DEPLOY_FUZZ_SECONDS in all."""

from __future__ import annotations

import os
import time
import warnings

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning

SECONDS = float(os.environ.get("DJANGO_DEPLOY_FUZZ_SECONDS", "0"))

#: Examples of one test where no time is set, and at a time where one is.
FEW, MANY = 40, 200

#: What fails is shown as it was made: to make it smaller takes minutes.
QUIET = settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)


@pytest.fixture
def fuzz(request, record_property):
    """``fuzz(check, strategy...)`` calls ``check`` with what the strategies make, again and again."""
    tests = [item for item in request.session.items if item.path.parent == request.path.parent]

    def run(check, *strategies):
        count, until = 0, time.monotonic() + SECONDS / len(tests)

        def some(how):
            @how
            @given(st.tuples(*strategies))
            def counted(values):
                nonlocal count
                count += 1
                check(*values)

            counted()

        warnings.simplefilter("ignore", HypothesisWarning)  # that what fails is long
        try:
            some(settings(QUIET, max_examples=FEW, derandomize=True))
            while time.monotonic() < until:
                some(settings(QUIET, max_examples=MANY))
        finally:
            record_property("fuzz examples", count)

    return run


def pytest_terminal_summary(terminalreporter):
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    counts = {
        report.nodeid.rpartition("::")[2]: (value, report.duration)
        for report in reports
        for name, value in report.user_properties
        if name == "fuzz examples"
    }
    if counts:
        total, seconds = sum(count for count, _ in counts.values()), sum(time for _, time in counts.values())
        terminalreporter.section(f"fuzzed: {total} examples in {seconds:.0f} s")
        for name, (count, seconds) in counts.items():
            terminalreporter.line(f"{count:9} in {seconds:5.1f} s  {name}")
