from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from django_deploy.host.protocol import EVENTS, Event
from django_deploy.reporters.board import Board
from django_deploy.reporters.choice import reporter_for
from django_deploy.reporters.live import LiveReporter, _View
from django_deploy.reporters.plain import JsonReporter, LineReporter
from django_deploy.reporters.secrets import Secrets
from django_deploy.reporters.sentences import sentence
from django_deploy.reporters.text import cut, duration, local_time, printable, size, wrapped
from django_deploy.target import HealthCheck, Host, Target


def event(kind, host="", **fields):
    return Event(kind, host, at=1_800_000_000.0, fields=fields)


def target(**env):
    return Target(
        "staging", (Host("web1.example.com"),), PurePosixPath("/srv/shop"), "shop.settings", env=env
    )


DEPLOYMENT = [
    event("phase.started", phase="bundle"),
    event("build.started", distribution="shop"),
    event("host.connected", "web1", address="192.0.2.1:22", seconds=0.31),
    event(
        "build.finished", distribution="shop", wheel="shop-1.0-py3-none-any.whl", cached=False, seconds=0.82
    ),
    event("build.finished", distribution="cart", wheel="cart-2.0-py3-none-any.whl", cached=True, seconds=0),
    event("bundle.ready", distributions=53, wheels=2, bytes=1_312_000, revision="git 3f9c2a1 (main)"),
    event("phase.finished", phase="bundle", seconds=1.23),
    event("phase.started", phase="prepare"),
    event("upload.progress", "web1", done=5_000_000, total=20_000_000),
    event("upload.progress", "web1", done=20_000_000, total=20_000_000),
    event("install.started", "web1", installer="uv", distributions=53),
    event("install.output", "web1", line="Resolved 53 packages"),
    event("install.finished", "web1", installer="uv", distributions=53, seconds=0.62),
    event("phase.finished", phase="prepare", seconds=3.8),
    event("phase.started", phase="steps"),
    event("step.skipped", "web1", step="compress --force", reason="the site has no compressor"),
    event("step.started", "web1", step="migrate --noinput"),
    event("step.output", "web1", step="migrate --noinput", stream="stdout", line="Applying shop.0002... OK"),
    event("step.finished", "web1", step="migrate --noinput", seconds=0.7, result={}),
    event("phase.finished", phase="steps", seconds=0.75),
    event("phase.started", phase="activate"),
    event("process.started", "web1", process="web", release="new"),
    event("health.checked", "web1", address="run/web.sock", status=200, seconds=0.042),
    event("switched", "web1", release="new", previous="old"),
    event("phase.finished", phase="activate", seconds=1.1),
    event(
        "rollout.finished",
        outcome="deployed",
        release="new",
        seconds=8.3,
        phases={"bundle": 1.23, "steps": 0.75},
    ),
]
FAILURE = [
    *DEPLOYMENT[:18],
    event("step.output", "web1", step="migrate --noinput", stream="stderr", line="no such table"),
    event("host.failed", "web1", message="the step failed", remedy="Look at it."),
    event("phase.started", phase="revert"),
    event("reverted", "web1", release="new", live="old", reason="aborted"),
    event("phase.finished", phase="revert", seconds=0.2),
]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ✓", "plain ✓"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ends", ""),
        ("a\x1b[2Jb\x1bcc\x1b(Bd", "abcd"),
        ("a\tb", "a   b"),
        ("a\nb\x00\x7f\x85c", "a bc"),
        ("\u202egnp.exe\u2069", "gnp.exe"),
        ("\udcff", "\ufffd"),
        ("\U000864ea", "\ufffd"),
        ("caf\xe9\xa0\U0001f469\u200d\U0001f4bb", "caf\xe9\xa0\U0001f469\u200d\U0001f4bb"),
        (None, "None"),
    ],
)
def test_nothing_but_text_is_printed(text, shown):
    assert printable(text) == shown


def test_a_line_is_bounded():
    assert printable("x" * 10_000) == "x" * 499 + "…"
    assert len(printable("\x1b[0m" * 1_000_000 + "x", 100)) <= 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0421, "42 ms"),
        (-1, "0 ms"),
        (0.94, "0.9 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (125, "2 min 5 s"),
        (11_400, "3 h 10 min"),
        (200_000, "2 days"),
        ("x", "?"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_times_are_those_of_this_machine_whatever_zone_the_site_has(monkeypatch):
    """Django sets TZ to the site's TIME_ZONE."""
    before = local_time(1795979005.0)
    monkeypatch.setenv("TZ", "America/Chicago")
    time.tzset()
    try:
        assert local_time(1795979005.0) == before
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (12_345, "12 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (3e8, "300.0 MB"),
        (4e9, "4.00 GB"),
        (None, "?"),
    ],
)
def test_size(count, text):
    assert size(count) == text


#: Of no repetition: a key on one line.
LONG = "".join(f"{number:05}" for number in range(1200))


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("hunter22", "password is hunter22!", "password is ****!"),
        ("xyz", "xyz stays: shorter than four characters", "xyz stays: shorter than four characters"),
        ("True", "DEBUG=True", "DEBUG=True"),
        ("5432", "port 5432", "port 5432"),
        ("123456", "pin 123456", "pin ****"),
        ("localhost", "at localhost", "at localhost"),
        ("web1.example.com", "host web1.example.com", "host web1.example.com"),
        ("/srv/shop", "in /srv/shop/media", "in /srv/shop/media"),
        (
            "postgres://shop:p%40ss@db/shop",
            "user shop, password p@ss or p%40ss",
            "user shop, password **** or ****",
        ),
        ("one line\nanother line", "x another line y", "x **** y"),
        ("it's", 'value is "it\'s"', 'value is "****"'),
        ("back\\slash", "ENV = 'back\\\\slash'", "ENV = '****'"),
        ("hunter22", "hun\x1b[0mter22", "****"),
        ("http://[", "http://[", "****"),
        ("hun\x1b[0mter22", "hun\x1b[0mter22", "****"),
        ("hun\x07ter22", "it is hunter22", "it is ****"),
        (LONG, f"key {LONG}", "key ****"),
        (LONG, f"key {LONG[:1000]}", "key " + "****" * 15 + LONG[960:1000]),
    ],
)
def test_secrets_are_masked(value, text, shown):
    assert Secrets(target(VARIABLE=value)).clean(text) == shown


def test_secrets_that_are_not_in_the_environment():
    shop = replace(
        target(A="value"),
        index_url="https://ann:p%40ssword@pypi.example.com/simple/",
        health_check=HealthCheck(headers={"Authorization": "Bearer t0ken"}),
        signing_key="-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n",
    )
    text = "p%40ssword, p@ssword, Bearer t0ken, b3BlbnNzaC1rZXk"

    assert Secrets(shop).clean(text) == "****, ****, ****, ****"


def test_the_longest_secret_is_masked_first():
    assert Secrets(target(A="hunter", B="hunter22")).mask("hunter22") == "****"


def test_values_that_are_no_part_of_a_target_are_masked_with_and_without_one():
    assert Secrets(target(), ["hunter22"]).mask("hunter22") == "****"
    assert Secrets(None, ["hunter22"]).mask("hunter22") == "****"


def test_a_secret_at_the_place_of_the_cut_is_not_shown_in_half():
    secrets = Secrets(target(A="hunter22"))

    assert secrets.clean("x" * 496 + "hunter22" + "y" * 20) == "x" * 496 + "***…"


def test_words_of_ours_are_not_masked_in_events():
    masked = Secrets(target(A="shop-new", B="migrate")).clean_event(
        event(
            "x",
            "shop-new",
            release="shop-new",
            step="migrate",
            line="migrate",
            result={"files": ["shop-new", 3]},
        )
    )

    assert masked.host == "shop-new"
    assert masked.fields == {
        "release": "shop-new",
        "step": "migrate",
        "line": "****",
        "result": {"files": ["****", 3]},
    }


def test_every_kind_of_event_has_a_sentence_and_may_lack_its_fields():
    for kind, names in EVENTS.items():
        numbers = dict.fromkeys({"seconds", "bytes", "done", "total", "sent"} & set(names.split()), 1)
        full = sentence(event(kind, **{**dict.fromkeys(names.split(), "word"), **numbers}))
        assert "word" in full or kind in {"upload.progress", "fetch.progress", "plan.ready", "interrupted"}, (
            kind
        )
        assert "?" not in full, kind
        assert sentence(event(kind)) != "", kind


def test_who_holds_the_lock():
    holder = {
        "by": "anna@laptop",
        "since": time.time() - 130,
        "target": "shop",
        "phase": "activating",
        "pid": 7,
    }
    waiting = "waiting for another deployment to end: "

    assert sentence(event("lock.waiting", "web1", holder=holder)) == (
        f"{waiting}by anna@laptop for 2 min 10 s: activating"
    )
    assert sentence(event("lock.waiting", "web1", holder={})) == f"{waiting}by somebody: starting"


def test_an_event_that_nobody_knows_is_shown():
    assert sentence(event("new.kind", a="b", c=1)) == "new.kind b, 1"


def lines_of(events, verbosity=1, secrets=None):
    stream = io.StringIO()
    with LineReporter(stream, secrets or Secrets(), verbosity) as reporter:
        for one in events:
            reporter(one)
    return stream.getvalue().splitlines()


def test_lines_of_a_deployment():
    assert lines_of(DEPLOYMENT) == [
        "bundle ...",
        "web1: connected to 192.0.2.1:22 in 0.3 s",
        "built shop-1.0-py3-none-any.whl in 0.8 s",
        "cart-2.0-py3-none-any.whl as before",
        "53 distributions, 2 wheels, 1.3 MB, git 3f9c2a1 (main)",
        "prepare ...",
        "web1: sent 20.0 MB of 20.0 MB",
        "web1: installed 53 distributions with uv in 0.6 s",
        "steps ...",
        "web1: compress --force: left out, the site has no compressor",
        "web1: migrate --noinput ...",
        "web1: migrate --noinput: 0.7 s",
        "activate ...",
        "web1: run/web.sock answered 200 in 42 ms",
        "web1: serves new",
        "new is live: deployed in 8.3 s",
        "bundle 1.2 s, steps 0.8 s",
    ]


def test_lines_of_a_failure_leave_the_output_to_the_error():
    """The error, on standard error, ends with what the step wrote: it need not be read twice."""
    assert lines_of(FAILURE)[-4:] == [
        "web1: migrate --noinput ...",
        "web1: failed: the step failed. Look at it.",
        "revert ...",
        "web1: reverted: serves old, as before",
    ]


def test_lines_of_an_interruption():
    events = [
        event("interrupted"),
        event("phase.started", phase="revert"),
        event("step.awaited", "web1", step="migrate --noinput"),
    ]
    assert lines_of(events) == [
        "interrupted: every host reverts; press Ctrl-C again to exit at once; they revert by themselves",
        "revert ...",
        "web1: waiting for the end of migrate --noinput, which is not stopped half-way",
    ]
    assert view(events, width=100)[-1] == (
        "     ⠋ web1  waiting for the end of migrate --noinput, which is not stopped half-way"
    )


def test_json_of_a_failure_has_the_lines_that_the_error_brings_along():
    failure = event("host.failed", "web1", message="web stopped.", lines=["\x1b[31mImportError\x1b[0m"])
    stream = io.StringIO()

    JsonReporter(stream, Secrets())(failure)

    assert json.loads(stream.getvalue())["lines"] == ["ImportError"]


def test_output_of_a_step_that_went_well_is_not_shown():
    failure = event("host.failed", "web1", message="no answer.")

    assert lines_of([*DEPLOYMENT[:19], failure])[-2:] == [
        "web1: migrate --noinput: 0.7 s",
        "web1: failed: no answer.",
    ]


def test_more_and_less_verbose():
    assert lines_of(DEPLOYMENT, verbosity=0) == ["new is live: deployed in 8.3 s"]
    end = event(
        "rollout.finished", outcome="deployed", release="new", seconds=8.3, url="https://shop.example.com"
    )
    assert lines_of([end], verbosity=0) == ["new is live at https://shop.example.com: deployed in 8.3 s"]
    assert "web1: | Applying shop.0002... OK" in lines_of(DEPLOYMENT, verbosity=2)
    assert lines_of(FAILURE, verbosity=2).count("web1: | no such table") == 1


def test_a_phase_of_several_stages_is_named_once():
    stage = [event("phase.started", phase="steps"), event("phase.finished", phase="steps", seconds=1)]

    assert lines_of([*stage, *stage, event("phase.started", phase="activate")]) == [
        "steps ...",
        "activate ...",
    ]
    assert len(lines_of([*stage, *stage], verbosity=2)) == 4


def test_lines_mask_secrets_and_control_characters():
    lines = lines_of(
        [event("warning", message="\x1b[31mhunter22\x1b[0m\nnext")], 1, Secrets(target(A="hunter22"))
    )

    assert lines == ["warning: **** next"]


def test_json_is_one_event_a_line():
    stream = io.StringIO()
    with JsonReporter(stream, Secrets(target(A="hunter22"))) as reporter:
        reporter(event("step.output", "web1", step="x", line="\x1b[1mhunter22"))
        reporter(event("plan.ready", plan={"hosts": [{"host": "web1", "bytes": 7}]}))
        reporter.show(["for people"])

    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "step.output", "host": "web1", "at": 1_800_000_000.0, "step": "x", "line": "****"},
        {
            "event": "plan.ready",
            "host": "",
            "at": 1_800_000_000.0,
            "plan": {"hosts": [{"host": "web1", "bytes": 7}]},
        },
    ]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "json", "verbosity", "term", "expected"),
    [
        (io.StringIO, False, 1, "xterm", LineReporter),
        (Terminal, False, 1, "xterm", LiveReporter),
        (Terminal, False, 1, "dumb", LineReporter),
        (Terminal, False, 0, "xterm", LineReporter),
        (Terminal, True, 1, "xterm", JsonReporter),
    ],
)
def test_the_reporter_fits_the_stream(stream, json, verbosity, term, expected, monkeypatch):
    monkeypatch.setenv("TERM", term)

    assert type(reporter_for(stream(), json=json, verbosity=verbosity, secrets=Secrets())) is expected


class Closed(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text):
        raise OSError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("kind", [LineReporter, JsonReporter, LiveReporter])
def test_a_reader_who_leaves_does_not_end_a_deployment(kind):
    with kind(Closed(), Secrets()) as reporter:
        for one in DEPLOYMENT:
            reporter(one)


def test_a_stream_that_lacks_a_character():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    LineReporter(stream, Secrets())(event("warning", message="naïve"))

    assert raw.getvalue() == b"warning: na?ve\n"


def view(events, width=80, height=24, encoding="utf-8", failed=None, now=100.0):
    """The lines of the live view after these events; ``failed`` is whether it ended, and how.

    An event may stand behind the seconds at which it came.
    """
    from rich.console import Console

    board = Board()
    for one in events:
        came, one = one if isinstance(one, tuple) else (100.0, one)
        board.take(one, came)
    if failed is not None:
        board.close(now, is_failed=failed)
    file = Terminal()
    file.encoding = encoding
    drawing = _View(board, Console(file=file, width=width, height=height))
    drawing._now = now
    return [line.plain for line in drawing.lines()]


def test_the_view_while_it_runs():
    assert view(DEPLOYMENT[:9]) == [
        " ✓ bundle         1.2 s  53 distributions, 2 wheels, 1.3 MB, git 3f9c2a1 (main)",
        " ⠋ prepare",
        "     ⠋ web1  ━━━━────────────  25 %  5.0 MB of 20.0 MB",
    ]
    assert view(DEPLOYMENT[:18])[-1] == "     ⠋ web1  migrate --noinput ...  Applying shop.0002... OK"


def test_a_reversal_is_no_step():
    step = event("step.finished", "web1", step="reverse shop.0002", seconds=0.1, result={})

    assert view(
        [event("phase.started", phase="steps"), step, event("phase.finished", phase="steps", seconds=1)]
    )[0].split() == ["✓", "steps", "1.0", "s"]


def test_the_view_at_the_end_is_the_summary():
    assert view(DEPLOYMENT, failed=False) == [
        " ✓ bundle         1.2 s  ━━━━          53 distributions, 2 wheels, 1.3 MB, git …",
        " ✓ prepare        3.8 s  ━━━━━━━━━━━━  20.0 MB sent",
        " ✓ steps          0.8 s  ━━            migrate",
        " ✓ activate       1.1 s  ━━━           1 answer to the health check",
        "",
        " ✓ new is live: deployed in 8.3 s.",
        "   run/web.sock answered 200 in 42 ms",
    ]


def test_the_view_of_a_failure_names_phase_and_host():
    assert view(FAILURE, failed=True) == [
        " ✓ bundle         1.2 s  ━━━━          53 distributions, 2 wheels, 1.3 MB, git …",
        " ✓ prepare        3.8 s  ━━━━━━━━━━━━  20.0 MB sent",
        " ✗ steps           0 ms",
        " ✓ revert         0.2 s  ━",
        "     ✗ web1  failed: the step failed. Look at it.",
    ]


def test_the_view_of_an_error_elsewhere():
    assert view(DEPLOYMENT[:1], failed=True) == [" ✗ bundle          0 ms"]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("height", [5, 24])
def test_the_view_fits_the_terminal(width, height):
    hosts = [f"deploy@web{number}.example.com" for number in range(30)]
    events = [
        *(event("phase.started", phase=f"phase {number}") for number in range(9)),
        *(event("upload.progress", host, done=1, total=2) for host in hosts),
        *(event("health.checked", host, address="x" * 300, status=200, seconds=1) for host in hosts),
    ]

    for failed in (None, False, True):
        lines = view(events, width, height, failed=failed)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


def sending(host, rate, seconds, total=200_000_000):
    """What a host is sent, ``rate`` bytes a second, with the seconds; from 100.0 on."""
    moments = [number / 10 for number in range(round(10 * seconds) + 1)]
    return [
        (100.0 + t, event("upload.progress", host, done=min(rate * t, total), total=total)) for t in moments
    ]


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (100, "     ⠋ web1  ━━━─────────────────────  15 %  30.0 MB of 200.0 MB  10.0 MB/s  17 s left"),
        (80, "     ⠋ web1  ━━──────────────  15 %  30.0 MB of 200.0 MB  10.0 MB/s  17 s left"),
        (50, "     ⠋ web1   15 %  10.0 MB/s  17 s left"),
        (40, "     ⠋ web1   15 %  10.0 MB/s  17 s left"),
        (30, "     ⠋ web1   15 %  17 s left"),
    ],
)
def test_rate_and_time_left_of_what_moves(width, line):
    assert view(sending("web1", 10_000_000, 3), width, now=103.0) == [line]


def test_time_left_is_not_told_before_one_can_know():
    begun = sending("web1", 10_000_000, 1.5)

    assert view(begun, now=101.5) == ["     ⠴ web1  ━───────────────   7 %  15.0 MB of 200.0 MB"]


def test_the_rate_is_that_of_the_last_seconds():
    slow = sending("web1", 1_000_000, 10)
    fast = [
        (110 + t, event("upload.progress", "web1", done=1e7 + 9e6 * t, total=200_000_000)) for t in range(7)
    ]

    assert view([*slow, *fast], now=116.0)[0].endswith("  9.0 MB/s  15 s left")
    assert view([*slow, *fast], now=119.0)[0].endswith("  3.6 MB/s  38 s left")
    assert view([*slow, *fast], now=140.0)[0].endswith("  64.0 MB of 200.0 MB  0 B/s")


def test_what_was_there_before_is_no_rate():
    fetched = [
        (100 + t, event("fetch.progress", "web1", done=5e8 + 1e6 * t, total=1_000_000_000)) for t in range(4)
    ]

    assert view(fetched, now=103.0)[0].endswith("  503.0 MB of 1.00 GB  1.0 MB/s  8 min left")


def test_what_moves_to_several_hosts_is_summed_up_beside_the_phase():
    phase = (100.0, event("phase.started", phase="prepare"))
    both = [*sending("web1", 10_000_000, 4, 40_000_000), *sending("web2", 5_000_000, 4, 40_000_000)]
    both.sort(key=lambda one: one[0])
    ended = sending("web2", 5_000_000, 8, 40_000_000)

    assert view([phase, *both], now=104.0) == [
        " ⠋ prepare        4.0 s  60.0 MB of 80.0 MB  5.0 MB/s  4 s left",
        "     · web1  sent 40.0 MB of 40.0 MB",
        "     ⠋ web2  ━━━━━━━━────────  50 %  20.0 MB of 40.0 MB  5.0 MB/s  4 s left",
    ]
    assert view([phase, *both], 40, now=104.0) == [
        " ⠋ prepare        4.0 s  4 s left",
        "     · web1  sent 40.0 MB of 40.0 MB",
        "     ⠋ web2   50 %  5.0 MB/s  4 s left",
    ]
    assert view([phase, *both, *ended], now=108.0)[0] == " ⠋ prepare        8.0 s  80.0 MB sent"


def test_the_sum_over_many_hosts():
    hosts = [f"web{number}" for number in range(1, 45)]
    phase = (100.0, event("phase.started", phase="prepare"))
    events = [one for host in hosts for one in sending(host, 1_000_000, 4, 10_000_000)]
    events.sort(key=lambda one: one[0])
    first = (104.0, event("upload.progress", "web1", done=10_000_000, total=10_000_000))

    lines = view([phase, *events, first], now=104.0)

    assert lines[0] == " ⠋ prepare        4.0 s  182.0 MB of 440.0 MB  43.0 MB/s  6 s left"
    assert lines[2].startswith("     ⠋ 43 hosts   ━━━━━━──────────  41 %  web2, web3,")


def test_what_a_rehearsal_sends_is_not_said_of_the_deployment():
    events = [
        event("phase.started", phase="rehearse"),
        event("upload.progress", "web1", done=18_200_000, total=18_200_000),
        event("phase.finished", phase="rehearse", seconds=2.0),
        event("phase.started", phase="prepare"),
    ]
    more = event("upload.progress", "web1", done=100_000, total=400_000)

    assert view(events)[:2] == [" ✓ rehearse       2.0 s  18.2 MB sent", " ⠋ prepare"]
    assert view([*events, more])[2].endswith("  25 %  100 kB of 400 kB")


def test_an_address_that_is_long_is_not_cut():
    url = "https://a-shop-of-a-long-name.staging.example.com"
    end = event(
        "rollout.finished", outcome="deployed", release="20261129-120000-abcdef", seconds=6.3, url=url
    )

    assert view([end], failed=False) == [
        "",
        " ✓ 20261129-120000-abcdef is live at",
        "   https://a-shop-of-a-long-name.staging.example.com: deployed in 6.3 s.",
    ]


def test_wheels_that_are_fetched_are_seen():
    begun = [event("phase.started", phase="plan"), event("vendor.started", distributions=58)]
    ended = event("vendor.finished", distributions=58, bytes=74_100_000, seconds=8.25)

    assert view(begun) == [" ⠋ plan                  fetching 58 wheels to send"]
    assert view([*begun, ended]) == [" ⠋ plan                  fetched 58 wheels, 74.1 MB, in 8.2 s"]


def test_a_bar_never_goes_back():
    percents = []
    for count in range(1, 12):
        done = [0, 3, 1, 9, 2, 10, 10, 0, 4, 10, 10][:count]
        lines = view([event("upload.progress", "web1", done=part, total=12) for part in done])
        percents.append(int(lines[-1].split("%")[0].split()[-1]))

    assert percents == sorted(percents)
    assert percents[-1] == 83


def test_what_is_fetched_is_seen():
    copying = event(
        "copy.started", "web1", database="default", place="postgresql shop on db1", bytes=9_000_000
    )
    moving = [
        event("fetch.progress", "web1", done=done, total=8_000_000) for done in (0, 4_000_000, 8_000_000)
    ]
    ended = event("fetch.finished", "web1", file="shop.dump", bytes=8_000_000, sent=4_000_000)
    phase = event("phase.started", phase="fetch")

    assert view([copying]) == ["     ⠋ web1  copying postgresql shop on db1, at most about 9.0 MB ..."]
    [line] = view([copying, *moving[:2]])
    assert line.startswith("     ⠋ web1  ━━━") and line.endswith("  50 %  4.0 MB of 8.0 MB")
    assert view([copying, *moving]) == ["     · web1  fetched 8.0 MB of 8.0 MB"]
    assert view([phase, *moving, ended])[0] == (
        " ⠋ fetch                 shop.dump is here, 8.0 MB; 4.0 MB of that came now"
    )


def test_many_hosts_are_grouped():
    hosts = [f"web{number}" for number in range(1, 21)]
    events = [event("host.connected", host, address="x", seconds=1) for host in hosts]
    events += [event("upload.progress", host, done=5, total=10) for host in hosts[:18]]
    events += [event("host.failed", "web3", message="no.")]

    assert view(events, height=24) == [
        "     ⠋ 17 hosts   ━━━━━━━─────────  45 %  web1, web2, web4, web5, web6, web7, w…",
        "     ✗ 1 host     failed  web3",
        "     · 2 hosts    connected  web19, web20",
    ]


def test_the_view_in_ascii():
    lines = view(FAILURE, encoding="ascii", failed=True)

    assert lines[1] == " + prepare        3.8 s  ############  20.0 MB sent"
    assert lines[-1] == "     x web1  failed: the step failed. Look at it."


def test_what_lasts_is_printed_above_the_view():
    stream = Terminal()
    with LiveReporter(stream, Secrets(target(A="hunter22")), color=False) as reporter:
        for one in FAILURE:
            reporter(one)
        reporter(event("warning", message="mind [red]hunter22[/red].", remedy="Do."))
        reporter.show(["a plan"])

    text = stream.getvalue()
    for line in ("warning: mind [red]****[/red]. Do.", "a plan"):
        assert line in text
    assert "hunter22" not in text


@pytest.mark.parametrize(
    ("line", "width", "parts"),
    [
        ("", 10, [""]),
        ("  web1: nothing to send", 80, ["  web1: nothing to send"]),
        ("  web1: nothing to send", 16, ["  web1: nothing", "    to send"]),
        ("files in /srv/shop/static/css", 12, ["files in", "  /srv/shop/static/css"]),
        ("left-to-right", 8, ["left-to-right"]),
    ],
)
def test_words_stay_whole(line, width, parts):
    assert wrapped(line, width) == parts


@pytest.mark.parametrize(
    ("line", "width", "shown"),
    [
        ("all of it", 9, "all of it"),
        ("all of it", 8, "all of …"),
        ("\x1b[31mred\x1b[0m and black", 13, "\x1b[31mred\x1b[0m and black"),
        ("\x1b[31mred\x1b[0m and black", 8, "\x1b[31mred\x1b[0m and…"),
        ("\x1b[31mred\x1b[0m", 2, "\x1b[31mr…\x1b[0m"),
        ("\x1b[31mred\x1b[0m and black", 3, "\x1b[31mre…\x1b[0m"),
    ],
)
def test_a_line_that_is_cut_keeps_its_colours(line, width, shown):
    assert cut(line, width) == shown


def test_a_plan_is_broken_between_words():
    stream = Terminal()
    with LiveReporter(stream, Secrets()) as reporter:
        reporter.console.width = 20
        reporter.show(["  web1: one distribution is new"])

    assert "  web1: one\n    distribution is\n    new\n" in stream.getvalue().replace("\r\x1b[2K", "")


def test_the_view_makes_way_for_a_question():
    stream = Terminal()
    with LiveReporter(stream, Secrets()) as reporter, reporter.paused():
        length = len(stream.getvalue())
        time.sleep(0.25)  # more than two redraws
        assert len(stream.getvalue()) == length


def test_events_come_from_many_threads():
    stream = Terminal()
    with LiveReporter(stream, Secrets()) as reporter:

        def send(host):
            for done in range(200):
                reporter(event("upload.progress", host, done=done, total=199))
                reporter(event("warning", message=f"{host} says {done}."))

        threads = [threading.Thread(target=send, args=(f"web{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    assert not any(thread.is_alive() for thread in threads)
    assert stream.getvalue().count(" says ") == 800


PROGRAM = """
import sys
from tests.test_reporters import DEPLOYMENT, reporter_for, Secrets
with reporter_for(sys.stdout, json=False, verbosity=1, secrets=Secrets()) as reporter:
    for event in DEPLOYMENT:
        reporter(event)
"""


def on_a_terminal(**environment):
    """What the program writes to a terminal of 80 columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
    environment = {**kept, "TERM": "xterm", **environment}
    command = [sys.executable, "-c", PROGRAM]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    written = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # the terminal's other side is closed
            break
        if not data:
            break
        written += data
    os.close(master)
    assert process.wait() == 0
    return written.decode()


def test_on_a_real_terminal():
    text = on_a_terminal()

    assert " new is live: deployed in 8.3 s." in text
    assert "\x1b[32m✓" in text
    assert text.rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_no_color():
    text = on_a_terminal(NO_COLOR="1")

    assert " ✓ new is live: deployed in 8.3 s." in text.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert "\x1b[32m" not in text
