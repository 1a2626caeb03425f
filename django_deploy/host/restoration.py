"""A backup is put back into the database of the live release."""

from __future__ import annotations

from typing import Any

from . import history
from .backups import Backups
from .context import Context


def compare_backup(context: Context, message: dict[str, Any]) -> dict[str, Any]:
    """What would be lost if a backup were put back now, as the live release sees it."""
    backups = Backups(context.layout, context.link)
    backup = backups.find(message["backup"])
    backups.verify(backup)
    _open_live(context)
    since = backups.compare(context.steps.ask, backup)
    owned = {**since, "database": backup["alias"]}
    context.migrations(message["target"]).check_owners(owned, message["shared_with"])
    return {"since": since}


def restore_backup(context: Context, message: dict[str, Any]) -> dict[str, Any]:
    """Back up what is there, then put the backup back; a deployer that is lost does not stop that."""
    context.link.stop_if_lost()
    backups = Backups(context.layout, context.link)
    backup = backups.find(message["backup"])
    _open_live(context)
    with context.migrations(message["target"]).guard(context.steps.ask, backup["alias"]):
        safe = backups.make(
            context.steps.ask_until_lost,
            backup["alias"],
            before=f"restoring {backup['name']}",
            target=message["target"],
            keep=message["keep"],
            spared=backup["name"],
        )
        backups.restore(context.steps.ask, backup)
    live = context.layout.live()
    entry = {"action": "restore", "release": live, "previous": live, "by": message["by"]}
    history.append(context.layout, {**entry, "left_out": [], "backup": backup["name"]})
    return {"safe": safe}


def _open_live(context: Context) -> None:
    """Start the live release's Django, unless it runs."""
    context.steps.name = "restore"
    if not context.steps.is_open:
        context.steps.open(context.layout.release(context.layout.live() or ""), "restore")
