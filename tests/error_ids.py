"""What a command wrote to standard error, apart from the ids and the phase that its last line may have."""

from __future__ import annotations

import re

LINE = re.compile(
    r"\[([a-z]+(?:-[a-z]+)*(?:, [a-z]+(?:-[a-z]+)*)*)\](?: in phase [a-z ]+(?:; then: .+)?)?\n\Z"
)


def without_ids(err: str) -> str:
    """For tests of messages; that there are ids, tests of their own see."""
    return LINE.sub("", err)


def ids(err: str) -> list[str]:
    """Of the last line; none where it is another."""
    found = LINE.search(err)
    return found[1].split(", ") if found else []
