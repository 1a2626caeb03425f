from __future__ import annotations

import queue
from datetime import datetime

import pytest

from django_deploy.exceptions import ConfigError
from django_deploy.host.protocol import Event
from django_deploy.logs import _report_in_order, parse_since

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7200), ("1.5d", 129_600), (" 10m ", 600)]
)
def test_ages(text, seconds):
    assert parse_since(text, NOW) == NOW - seconds


def test_times():
    assert parse_since("2026-11-28T22:40:00Z", NOW) == 1_795_905_600
    assert parse_since("2026-11-28T22:40:00+01:00", NOW) == 1_795_902_000
    assert parse_since("2026-11-28 22:40", NOW) == datetime(2026, 11, 28, 22, 40).timestamp()


@pytest.mark.parametrize("text", ["yesterday", "10", "-5m", ""])
def test_no_time(text):
    with pytest.raises(ConfigError) as caught:
        parse_since(text, NOW)

    assert str(caught.value) == (
        f"--since {text!r} is no time.\nSay 30s, 10m, 2h or 1d, or 2026-11-28T22:40."
    )


def test_lines_of_hosts_are_merged_and_those_of_one_keep_their_order():
    arrived, shown = queue.SimpleQueue(), []
    for host, at, line in [("a", 2.0, "x"), ("a", 2.0, "y"), ("b", 1.0, "z"), ("b", 3.0, "w")]:
        arrived.put(Event("log.line", host, at, {"line": line}))
    arrived.put(Event("host.connected", "a", 0.0))

    _report_in_order(arrived, shown.append)

    assert [event["line"] for event in shown] == ["z", "x", "y", "w"]
