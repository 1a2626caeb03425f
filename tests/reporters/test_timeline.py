from __future__ import annotations

from django_deploy.host.protocol import Event
from django_deploy.reporters.timeline import HERE, Span, Timeline, timeline_lines


def take(timeline, now, kind, host="", **fields):
    timeline.take(Event(kind, host, at=0.0, fields=fields), now)


def test_phases_are_of_this_machine_and_come_first():
    timeline = Timeline()
    take(timeline, 100.0, "phase.started", phase="bundle")
    take(timeline, 100.5, "host.connected", "web1", seconds=0.25)
    take(timeline, 102.0, "phase.finished", phase="bundle", seconds=2.0)

    assert timeline.spans == (Span(HERE, "bundle", 0.0, 2.0), Span("web1", "connect", 0.25, 0.5))


def test_what_is_fetched():
    timeline = Timeline()
    for now, done in ((1.0, 0), (2.0, 5), (4.0, 9)):
        take(timeline, now, "fetch.progress", "web1", done=done, total=9)

    assert timeline.spans == (Span("web1", "fetch", 0.0, 3.0),)


def test_what_a_host_does():
    timeline = Timeline()
    for now, kind, fields in (
        (10.0, "upload.progress", {"done": 1, "total": 9}),
        (11.0, "upload.progress", {"done": 5, "total": 9}),
        (12.0, "upload.progress", {"done": 9, "total": 9}),
        (12.0, "install.started", {}),
        (13.0, "install.finished", {}),
        (13.0, "step.started", {"step": "migrate --noinput"}),
        (14.0, "step.finished", {"step": "migrate --noinput"}),
        (14.0, "process.started", {"process": "web"}),
        (15.0, "process.started", {"process": "worker"}),
        (16.0, "switched", {}),
    ):
        take(timeline, now, kind, "web1", **fields)

    assert [(span.name, span.began, span.ended) for span in timeline.spans] == [
        ("upload", 0.0, 2.0),
        ("install", 2.0, 3.0),
        ("migrate --noinput", 3.0, 4.0),
        ("start", 4.0, 6.0),
    ]


def test_hosts_stand_in_the_order_of_their_numbers():
    timeline = Timeline()
    for host in ("web10", "db1", "web2"):
        take(timeline, 1.0, "host.connected", host, seconds=1.0)

    assert [span.host for span in timeline.spans] == ["db1", "web2", "web10"]


def test_a_host_waits_until_it_does_something():
    timeline = Timeline()
    take(timeline, 0.0, "lock.waiting", "web1", holder={})
    take(timeline, 5.0, "install.started", "web1")

    assert timeline.spans == (Span("web1", "wait", 0.0, 5.0),)


def test_what_was_under_way_on_a_host_that_failed_is_failed():
    timeline = Timeline()
    take(timeline, 0.0, "phase.started", phase="steps")
    take(timeline, 1.0, "step.started", "web1", step="migrate")
    take(timeline, 1.0, "step.started", "web2", step="migrate")
    take(timeline, 2.0, "host.failed", "web1")
    take(timeline, 3.0, "phase.started", phase="revert")
    take(timeline, 4.0, "phase.finished", phase="revert")
    timeline.close(5.0, is_failed=True)

    assert timeline.spans == (
        Span(HERE, "steps", 0.0, 3.0, is_failed=True),
        Span(HERE, "revert", 3.0, 4.0),
        Span("web1", "migrate", 1.0, 2.0, is_failed=True),
        Span("web2", "migrate", 1.0, 3.0, is_failed=True),
    )


def test_what_never_ended_ends_with_all():
    timeline = Timeline()
    take(timeline, 0.0, "phase.started", phase="bundle")

    timeline.close(1.5, is_failed=False)

    assert timeline.spans == (Span(HERE, "bundle", 0.0, 1.5),)


def test_lines_have_a_scale_for_all():
    spans = (Span(HERE, "bundle", 0.0, 5.0), Span("web1", "install", 5.0, 10.0, is_failed=True))

    assert [*timeline_lines(spans, width=51, bar="#")] == [
        "  this machine  bundle   #####        5.0 s",
        "  web1          install       #####   5.0 s  failed",
    ]


def test_a_host_is_named_once_and_the_shortest_span_is_seen():
    spans = (Span("web1", "connect", 0.0, 0.0), Span("web1", "install", 9.99, 10.0))

    assert [*timeline_lines(spans, width=35, bar="#")] == [
        "  web1  connect  #             0 ms",
        "        install           #   10 ms",
    ]


def test_without_spans_there_are_no_lines():
    assert [*timeline_lines((), width=80, bar="#")] == []


def test_a_narrow_terminal_has_no_bars_and_short_names():
    spans = (Span("deploy@web1.example.com", "connect", 0.0, 1.0), Span(HERE, "bundle", 1.0, 2.0))

    assert [*timeline_lines(spans, width=34, bar="#")] == [
        "  deploy@web1…  connect    1.0 s",
        "  this machine  bundle     1.0 s",
    ]


def test_stages_that_follow_each_other_are_one_phase():
    timeline = Timeline()
    for now, kind in enumerate(["started", "finished", "started", "finished"]):
        take(timeline, now, f"phase.{kind}", phase="lock")
    take(timeline, 3, "phase.started", phase="prepare")
    take(timeline, 4, "phase.finished", phase="prepare")

    assert timeline.spans == (Span(HERE, "lock", 0, 3), Span(HERE, "prepare", 3, 4))
