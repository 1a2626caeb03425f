"""Words that somebody may have meant."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def did_you_mean(word: object, known: Collection[str]) -> str:
    """``Did you mean 'HOSTS'?``, or nothing when no known word is near."""
    near = {name.casefold(): name for name in known}
    matches = get_close_matches(str(word).casefold(), near, n=1)
    return f"Did you mean {near[matches[0]]!r}?" if matches else ""
