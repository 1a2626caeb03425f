"""Without another release: processes of the live one are restarted, the maintenance page is shown."""

from __future__ import annotations

from typing import Any

from . import maintenance
from .context import Context
from .logs import is_meant
from .processes import Watch
from .protocol import Failure
from .serving import DRAIN_TIME, has_socket, names_with_sockets


def restart(context: Context, message: dict[str, Any]) -> dict[str, Any]:
    """Stop and start the instances of one ``process`` of the live release, one after the other."""
    link, serving = context.link, context.serving
    release = context.layout.release(context.layout.live() or "")
    wanted = [p for p in release.record["processes"] if is_meant(message["process"], p["name"])]
    for process in wanted:
        link.stop_if_lost()
        name = process["name"]
        if there := serving.end(release, [name]):
            raise Failure("ProcessFailed", f"process {there[0]!r} does not stop")
        manager = serving.manager_of(release)
        link.report("process.started", process=name, release=release.id)
        manager.start(release.id, [process])
        Watch(manager, release.id, [name]).until_settled([], link.pause)
    return {"processes": [process["name"] for process in wanted]}


def maintain(context: Context, message: dict[str, Any]) -> dict[str, Any]:
    """Have visitors see the maintenance page, or the site again; the live release runs on behind it."""
    layout, serving = context.layout, context.serving
    release = layout.release(layout.live() or "")
    processes = release.record["processes"]
    if not any(has_socket(process) for process in processes):
        remedy = "It takes the place of a process with {socket} in its command."
        raise Failure("BadRequest", "no process of the live release has a socket of ours", remedy)
    was, text = maintenance.notice(layout), message["notice"]
    name = (was or {}).get("manager") or release.record["manager"]
    if text is not None:
        maintenance.start(layout, serving.open_manager(release, name), {**text, "manager": name})
        serving.lead_sockets(names_with_sockets(processes), release.id)
    elif was is not None:
        maintenance.say_that_it_is_off(layout)
        serving.lead_sockets(names_with_sockets(processes), release.id)
        context.link.pause(DRAIN_TIME)
        maintenance.end(layout, serving.open_manager(release, name))
    return {"was": was is not None}
