from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import pytest

from django_deploy.exceptions import DeployError
from django_deploy.reporters.plain import LineReporter
from django_deploy.reporters.record import KEPT_LINES, Record, RecordingReporter
from django_deploy.reporters.secrets import Secrets
from tests.test_reporters import DEPLOYMENT, FAILURE, event, target


def record(tmp_path, events, *, plan=(), error=None, secrets=None, timings=False):
    """What was written to the stream, and the report."""
    stream, file = io.StringIO(), tmp_path / "report.html"
    inner = LineReporter(stream, secrets or Secrets(), 0)
    with RecordingReporter(inner, "Deployment of staging", timings=timings, report=file) as reporter:
        reporter.show(plan)
        for each in events:
            reporter(each)
        if error:
            raise error
    return stream.getvalue(), file.read_text()


class Page(HTMLParser):
    """The text of a page, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text = [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert not {"src", "href"} & {name for name, value in attributes}  # it needs nothing else
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_report_tells_all(tmp_path):
    out, page = record(tmp_path, DEPLOYMENT, plan=["shop 1.0: 53 distributions", "  + six 1.17.0"])

    text = Page(page).text
    assert f"The report is in {tmp_path / 'report.html'}.\n" in out
    assert "new is live: deployed in 8.3 s." in text
    assert "shop 1.0: 53 distributions\n  + six 1.17.0" in text
    assert "migrate --noinput" in text
    assert "| Applying shop.0002... OK" in text
    assert page.count('class="track"') == 9


def test_a_report_of_a_failure(tmp_path):
    with pytest.raises(DeployError):
        record(tmp_path, FAILURE, error=DeployError("web1: it failed\n  | <b>why</b>", remedy="Look."))

    page = (tmp_path / "report.html").read_text()
    text = Page(page).text
    assert re.search(r"It failed after \d+ ms\.", text)
    assert "web1: it failed\n  | <b>why</b>\nLook." in text
    assert "<b>" not in page
    assert 'class="failed"' in page


def test_a_report_has_no_secrets_and_is_for_its_owner(tmp_path):
    secrets = Secrets(target(TOKEN="hush-hush"))
    events = [
        event("warning", message="hush-hush", remedy="hush-hush"),
        event("step.output", "web1", step="x", stream="stdout", line="hush-hush"),
    ]

    with pytest.raises(DeployError):
        record(tmp_path, events, plan=["hush-hush"], secrets=secrets, error=DeployError("hush-hush"))

    file = tmp_path / "report.html"
    assert "hush-hush" not in file.read_text()
    assert file.read_text().count("****") == 5
    assert file.stat().st_mode & 0o777 == 0o600


def test_timings_are_shown_at_the_end(tmp_path):
    out, _ = record(tmp_path, DEPLOYMENT, timings=True)

    head, _, timings = out.partition("Timings\n")
    assert head == "new is live: deployed in 8.3 s\n\n"
    assert re.match(r"  this machine  bundle +━+", timings)
    assert re.search(r"(?m)^  web1 +connect", timings)


def test_endless_output_does_not_fill_the_memory():
    kept = Record("Deployment of staging")

    for number in range(2 * KEPT_LINES):
        kept.take(event("step.output", "web1", step="x", stream="stdout", line=str(number)), float(number))

    assert len(kept.lines) == KEPT_LINES
    assert (kept.lines[0][2], kept.lines[-1][2]) == ("| 0", f"| {2 * KEPT_LINES - 1}")
