"""The report of a deployment: one HTML page that needs nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from django_deploy.reporters.sentences import sentence
from django_deploy.reporters.text import duration
from django_deploy.reporters.timeline import Span

if TYPE_CHECKING:
    from django_deploy.reporters.record import Record


def render(record: Record) -> str:
    """The page. Everything that comes from a host or the settings is text in it."""
    body = "\n".join(
        [
            *_heading(record),
            *_section("Warnings", [f'<p class="warn">{escape(text)}</p>' for text in record.warnings]),
            *_section("Timeline", [*_timeline(record.timeline.spans)]),
            *_section("Plan", [f"<pre>{escape(chr(10).join(record.plan))}</pre>"] if record.plan else []),
            *_section("Everything that happened", [*_log(record)]),
        ]
    )
    style = files(__package__).joinpath("report.css").read_text()
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(record.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n"
        "</body>\n</html>\n"
    )


def _heading(record: Record) -> Iterator[str]:
    yield f"<h1>{escape(record.title)}</h1>"
    if record.error:
        yield f'<p class="bad">It failed after {duration(record.seconds)}.</p>'
        yield f'<pre class="bad">{escape(record.error)}</pre>'
    elif record.end is not None:
        yield f'<p class="good">{escape(sentence(record.end))}.</p>'
    began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(record.began))
    yield f'<p class="dim">Begun {began}, {duration(record.seconds)} in all.</p>'


def _section(title: str, content: Sequence[str]) -> list[str]:
    return [f"<section>\n<h2>{title}</h2>", *content, "</section>"] if content else []


def _timeline(spans: Sequence[Span]) -> Iterator[str]:
    if not spans:
        return
    whole = max(max(span.ended for span in spans), 0.001)
    yield "<table>"
    shown = ""
    for span in spans:
        host, shown = span.host if span.host != shown else "", span.host
        left, width = (f"{100 * part / whole:.2f}%" for part in (span.began, span.seconds))
        kind = ' class="failed"' if span.is_failed else ""
        bar = f'<span{kind} style="left: {left}; width: {width}"></span>'
        yield (
            f'<tr><th scope="row">{escape(host)}</th><td>{escape(span.name)}</td>'
            f'<td class="wide"><div class="track">{bar}</div></td>'
            f'<td class="number">{duration(span.seconds)}{" failed" if span.is_failed else ""}</td></tr>'
        )
    yield "</table>"


def _log(record: Record) -> Iterator[str]:
    if not record.lines:
        return
    yield f"<details>\n<summary>{len(record.lines)} lines</summary>\n<table>"
    for at, host, line in record.lines:
        clock = time.strftime("%H:%M:%S", time.gmtime(at)) if 0 <= at < 1e11 else ""
        cells = f'<td class="dim">{clock}</td><td>{escape(host)}</td><td class="wide">{escape(line)}</td>'
        yield f"<tr>{cells}</tr>"
    yield "</table>\n</details>"
