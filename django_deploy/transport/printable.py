"""Text that came from elsewhere, made fit for a message and a terminal."""

from __future__ import annotations

#: Of what a server says, the most that is repeated, in characters.
LIMIT = 1000


def printable(text: str | bytes, limit: int = LIMIT) -> str:
    """The first ``limit`` characters, without control and invisible ones; line breaks stay."""
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode("utf-8", "replace")
    text = text[:limit].replace("\r\n", "\n")
    kept = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
    return kept.strip()
