"""The migrations of a plan, for people: what each does, and what that means for the code that runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django_deploy.host.protocol import Event

#: The sign ahead of an operation.
_SIGNS = {"expand": "+", "contract": "-", "opaque": "?"}


def migration_lines(event: Event) -> Iterator[str]:
    """Of ``migrations.planned``. A database that nothing uses yet is told by the number of them alone."""
    if not event.fields.get("is_live"):
        return
    for migration in event.fields.get("migrations", ()):
        yield f"  {migration.get('name')}, {migration.get('when')}"
        for operation in migration.get("operations", ()):
            yield from _operation_lines(operation)


def reversal_lines(event: Event) -> Iterator[str]:
    """Of ``reversal.planned``: what is taken back, why, and what that loses; what stays."""
    for migration in event.fields.get("migrations", ()):
        yield f"  {migration.get('name')}, to be taken back"
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
    ending = "" if operation.get("reversible") else "; cannot be taken back"
    yield f"    {_SIGNS.get(operation.get('category', ''), '?')} {operation.get('words')}: {does}{ending}"
    if operation.get("hint"):
        yield f"      {operation['hint']}"
    for reason in operation.get("unsafe", ()):
        yield f"      unsafe now: {reason}"
