"""The fields of what a deployer may ask for; what they mean is said in ``__main__.py``, where it is done."""

from __future__ import annotations

import re

from . import backups, history, maintenance
from .judgement import POLICIES
from .layout import RECORD, RELEASE_ID, SHA256
from .logs import MAX_LINES
from .shape import Shape
from .store import FILE_NAME

_FILE: Shape = {"sha256": SHA256, "name": FILE_NAME}
_OFFSET = range(1 << 40)

# What is asked of any host

#: One of several kinds of file.
FETCH: Shape = (
    {"sha256": str, "file": str, "offset": _OFFSET},
    {"copy": backups.NAME, "offset": _OFFSET},
    {"media": str, "offset": _OFFSET},
    {"release": RELEASE_ID, "offset": _OFFSET},
)
COPY: Shape = {"copy": backups.NAME}
COPY_DATABASE: Shape = {
    "database": str,
    "backup": (None, backups.NAME),
    "anonymize": (None, backups.CALLABLE),
}
HISTORY: Shape = {"lines": range(1, history.MAX_ENTRIES + 1)}
EXAMINE: Shape = {
    "index_url": (None, str),
    "default_index": str,
    "distribution": str,
    "web": (None, str),
}
LOGS: Shape = {
    "release": (None, RELEASE_ID),
    "process": (None, str),
    "lines": range(MAX_LINES + 1),
    "since": (None, float),
}
TOOLS: Shape = {"tools": {str: _FILE}}

# A release is made

LOCK: Shape = {"holder": {str: object}, "wait": float}
BEGIN: Shape = {"expect_live": (None, str)}
PREPARE: Shape = {
    "release": {**RECORD, "id": RELEASE_ID},
    "lock": str,
    "distributions": {str: [object]},
    "artifacts": [_FILE],
    **TOOLS,
    "installer": {"name": str, "index_url": (None, str), "vendored": bool, "offline_first": bool},
    "python": str,
    "environment": {str: str},
}
CHANGES: Shape = {"set": {str: str}, "unset": [str]}
RENEW: Shape = {"release": RELEASE_ID, "environment": (None, CHANGES)}

_CHECKS: Shape = {
    "commands": [str],
    "required": [str],
    "identify": (None, {"commands": [[str]], "salt": str}),
}
PREFLIGHT: Shape = {**_CHECKS, "compare": bool}
MIGRATIONS: Shape = {
    "commands": [[str]],
    "policy": re.compile("|".join(POLICIES)),
    "target": str,
    "shared_with": [str],
    "others": [{"name": str, "tables": (None, {str: object}), "stays": bool}],
    "asks": bool,
    "backup": backups.WANTED,
}
REHEARSE: Shape = {**PREPARE, **_CHECKS, "migrations": MIGRATIONS}

# It becomes live, or an earlier one does

STEP: Shape = {"command": [str], "isolated": bool, "timeout": (None, float), "requires_app": str}
PLAN_ROLLBACK: Shape = {**MIGRATIONS, "release": RELEASE_ID}
REVERSE: Shape = {"backup": backups.WANTED}
ACTIVATE: Shape = {"release": RELEASE_ID}
HOLD: Shape = {"seconds": float}
CONFIRM: Shape = {"by": str, "action": str, "left_out": [str], "keep": int}
MIGRATE_DEFERRED: Shape = {"target": str, "backup": backups.WANTED}

# Without a new release

RESTART: Shape = {"process": str}
MAINTAIN: Shape = {"notice": (None, maintenance.NOTICE)}
COMPARE_BACKUP: Shape = {"backup": backups.NAME, "target": str, "shared_with": [str]}
RESTORE_BACKUP: Shape = {"backup": backups.NAME, "target": str, "by": str, "keep": range(1, 10_000)}
