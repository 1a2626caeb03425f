"""Which of two versions is the later one. On servers there need not be ``packaging``."""

from __future__ import annotations

import re
from typing import Any

#: A version as the metadata of wheels has it (PEP 440, normalized).
VERSION = re.compile(
    r"(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:(?P<pre>a|b|rc)(?P<pre_number>\d+))?(?:\.post(?P<post>\d+))?(?:\.dev(?P<dev>\d+))?"
    r"(?:\+[a-z0-9]+(?:[._-][a-z0-9]+)*)?",
    re.IGNORECASE,
)

#: Before and after every number.
FIRST, LAST = -1, 1 << 62

Key = tuple[Any, ...]


def is_downgrade(before: str, after: str) -> bool | None:
    """None where one of them is no version, or they differ at most in their local part: it may be a hash."""
    old, new = _key(before), _key(after)
    return None if old is None or new is None or old == new else new < old


def _key(version: str) -> Key | None:
    found = VERSION.fullmatch(version)
    if found is None:
        return None
    part = found.groupdict()
    release = [int(number) for number in part["release"].split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    is_final = part["pre"] is None and part["post"] is None
    return (
        int(part["epoch"] or 0),
        release,
        # 1.0.dev1 comes before 1.0a1, and 1.0 after all of them.
        _pre(part) if part["pre"] else ("", 0) if is_final and part["dev"] else ("z", 0),
        FIRST if part["post"] is None else int(part["post"]),
        LAST if part["dev"] is None else int(part["dev"]),
    )


def _pre(part: dict[str, str | None]) -> tuple[str, int]:
    return (part["pre"] or "").lower(), int(part["pre_number"] or 0)
