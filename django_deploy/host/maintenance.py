"""The maintenance page: a small server of its own, which the web server's sockets lead to while it is on.

``.deploy/maintenance.json`` says that it is on. It belongs to no release: whatever is deployed meanwhile,
the sockets lead to the page until it is off.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from pathlib import Path
from typing import Any, Optional

from . import maintenance_page
from .health import UnixConnection
from .layout import Layout, write_atomically
from .processes import ProcessManager
from .protocol import Failure
from .shape import Shape

#: What its server tells, and since when it is on, and by whom.
NOTICE: Shape = {"message": str, "retry_after": range(1, 1 << 31), "since": float, "by": str}

#: The name of its server, of its socket and of its files.
NAME = "maintenance"

#: Seconds in which the page must answer.
START_TIMEOUT = 15.0


def notice(layout: Layout) -> Optional[dict[str, Any]]:
    """``message``, ``since``, ``by``, ``manager`` while it is on, else None."""
    try:
        found = json.loads(_notice_file(layout).read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}  # damaged: it is on, until somebody says that it is off
    return found if isinstance(found, dict) else {}


def socket(layout: Layout) -> Path:
    """Where the page answers."""
    return layout.inside("run", f"{NAME}.sock")


def start(layout: Layout, manager: ProcessManager, text: dict[str, Any]) -> None:
    """Have the page answer on its socket, then say that it is on."""
    source = maintenance_page.__loader__.get_source(maintenance_page.__name__)  # type: ignore[union-attr]
    script = layout.private / f"{NAME}.py"
    write_atomically(script, source)
    draft = layout.private / f".{NAME}.new" if notice(layout) is None else _notice_file(layout)
    write_atomically(draft, json.dumps(text), 0o600)
    argv = [sys.executable, "-I", "-S", str(script), str(_notice_file(layout)), str(socket(layout))]
    manager.serve(NAME, argv)
    try:
        _wait_until_it_answers(str(socket(layout)))
    except Failure:
        manager.end(NAME)
        raise
    draft.replace(_notice_file(layout))


def say_that_it_is_off(layout: Layout) -> None:
    """From here on the sockets may lead to the site again."""
    _notice_file(layout).unlink(missing_ok=True)


def end(layout: Layout, manager: ProcessManager) -> None:
    """End its server; nothing leads there any more."""
    manager.end(NAME)
    socket(layout).unlink(missing_ok=True)
    (layout.private / f"{NAME}.py").unlink(missing_ok=True)


def _notice_file(layout: Layout) -> Path:
    return layout.private / f"{NAME}.json"


def _wait_until_it_answers(path: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        connection = UnixConnection(path, timeout=5)
        try:
            connection.request("GET", "/")
            status = connection.getresponse().status
            if status == 503:
                return
            answer = f"status {status}"
        except (OSError, http.client.HTTPException) as error:
            answer = str(error)
        finally:
            connection.close()
        if time.monotonic() > deadline:
            raise Failure("ProcessFailed", f"the maintenance page does not answer: {answer}")
        time.sleep(0.05)
