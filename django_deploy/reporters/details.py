"""What people read below the line of an event: what migrations do, what else would change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django_deploy.host.protocol import Event
from django_deploy.plan.comparison import comparison_lines

#: The sign ahead of an operation.
_SIGNS = {"expand": "+", "contract": "-", "opaque": "?"}


def detail_lines(event: Event) -> Iterator[str]:
    """Most events have none."""
    write = _DETAILS.get(event.kind)
    return write(event) if write else iter(())


def _change_lines(event: Event) -> Iterator[str]:
    """Of ``changes.found``."""
    lines = list(comparison_lines(event.fields))
    yield from (f"  {line}" for line in lines or ["nothing: variables, settings and static files stay"])


def _migration_lines(event: Event) -> Iterator[str]:
    """Of ``migrations.planned``. A database that nothing uses yet is told by the number of them alone."""
    if not event.fields.get("is_live"):
        return
    for migration in event.fields.get("migrations", ()):
        yield f"  {migration.get('name')}, {migration.get('when')}"
        for operation in migration.get("operations", ()):
            yield from _operation_lines(operation)


def _reversal_lines(event: Event) -> Iterator[str]:
    """Of ``reversal.planned``: what is taken back, why, and what that loses; what stays."""
    for migration in event.fields.get("migrations", ()):
        yield f"  {migration.get('name')}, to be reversed"
        for reason in migration.get("reasons", ()):
            yield f"    as it {reason}"
        for loss in migration.get("losses", ()):
            if what := loss.get("what"):
                rows = loss.get("rows")
                number = "" if rows is None else f", {rows} of them"
                yield f"    {loss.get('words')}: {what}{number}"
    if kept := event.fields.get("kept"):
        yield f"  stays as it is: {', '.join(map(str, kept))}"


def _operation_lines(operation: Mapping[str, Any]) -> Iterator[str]:
    does = "; ".join(operation.get("does", ())) or "leaves the database as it is"
    ending = "" if operation.get("reversible") else "; cannot be reversed"
    yield f"    {_SIGNS.get(operation.get('category', ''), '?')} {operation.get('words')}: {does}{ending}"
    if operation.get("hint"):
        yield f"      {operation['hint']}"
    for reason in operation.get("unsafe", ()):
        yield f"      unsafe now: {reason}"


_DETAILS: Mapping[str, Callable[[Event], Iterator[str]]] = {
    "changes.found": _change_lines,
    "migrations.planned": _migration_lines,
    "reversal.planned": _reversal_lines,
}
