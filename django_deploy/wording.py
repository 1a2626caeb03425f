"""How long lists and sizes are told to people, everywhere in the same words."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str], most: int, count: int | None = None) -> str:
    """``a, b and 3 more``: at most ``most`` names; ``count`` are all, where ``names`` are not."""
    shown = names[:most]
    more = (len(names) if count is None else count) - len(shown)
    return f"{', '.join(shown)}{f' and {more} more' if more > 0 else ''}"


def first_of(lines: Sequence[str], most: int, indent: str = "") -> list[str]:
    """At most ``most`` of them, and then how many more there are; each behind ``indent``."""
    more = len(lines) - most
    return [f"{indent}{line}" for line in (*lines[:most], *([f"and {more} more"] if more > 0 else ()))]


def size_text(size: float) -> str:
    """``12 kB``, ``3.4 MB``, ``2.00 GB``: bytes in powers of ten, as disks and networks are sold."""
    if size < 999_500:
        return f"{size / 1000:.0f} kB" if size >= 1000 else f"{size:.0f} B"
    return f"{size / 1_000_000:.1f} MB" if size < 999_950_000 else f"{size / 1_000_000_000:.2f} GB"
