"""The secrets of a target, and how they are masked in all that is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django_deploy.host.protocol import Event
from django_deploy.host.secret_words import passwords, secret_words
from django_deploy.reporters.text import LONGEST_LINE, printable
from django_deploy.target import Target

MASK = "****"

#: Fields that hold words of the settings or of the bundle, and never a line of output.
_OWN_WORDS = frozenset(
    {"address", "distribution", "installer", "live", "outcome", "phase", "phases"}
    | {"previous", "process", "release", "releases", "step", "wheel"}
)

#: Of a longer secret each piece of this length is masked by itself, too: whoever shows it may have cut it.
PIECE = 64
MOST_PIECES = 256


class Secrets:
    """Masks the values of a target's ENV in text, its INDEX_URL's password and its health check's headers.

    Not masked, because they are no secret and would make output unreadable: values of fewer than four
    characters, true and false and their like, port numbers, and what the target's other settings say
    in the clear (its hosts, ROOT, SETTINGS_MODULE, DOMAIN). Of a value with several lines each line is
    masked, of an address its password, too.
    """

    def __init__(self, target: Target | None = None, more: Iterable[str] = ()) -> None:
        """``more`` are values that are no part of the target."""
        own, public = ((), []) if target is None else (_secret_values(target), _public_words(target))
        words = {word for value in (*own, *more) for word in _hidden_words(value)}
        words = {word for word in words if not any(word in shown for shown in public)}
        longest_first = sorted(words, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if words else None

    def mask(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text

    def clean(self, text: object, longest: int = LONGEST_LINE) -> str:
        """One printable line without secrets."""
        # Cut last: half a secret would not be recognised.
        return printable(self.mask(printable(self.mask(str(text)), 4 * longest)), longest)

    def clean_text(self, text: str) -> str:
        """The same for a text of several lines."""
        return "\n".join(self.clean(line) for line in self.mask(text).split("\n"))

    def clean_event(self, event: Event, longest: int = LONGEST_LINE) -> Event:
        fields = {str(name): self._clean_value(name, value, longest) for name, value in event.fields.items()}
        return Event(event.kind, printable(event.host), event.at, fields)

    def _clean_value(self, name: object, value: Any, longest: int) -> Any:
        if isinstance(value, str):
            return printable(value, longest) if name in _OWN_WORDS else self.clean(value, longest)
        if isinstance(value, Mapping):
            return {printable(key): self._clean_value(key, item, longest) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean_value(name, item, longest) for item in value]
        return value


def _public_words(target: Target) -> list[str]:
    hosts = [host.name for host in target.hosts]
    return [target.name, str(target.root), target.settings_module, target.python, target.domain or "", *hosts]


def _secret_values(target: Target) -> Iterator[str]:
    yield from target.env.values()
    yield from target.health_check.headers.values() if target.health_check else ()
    yield from passwords(target.index_url or "")
    yield from target.signing_key.splitlines() if target.signing_key else ()


def _hidden_words(value: str) -> Iterator[str]:
    """What of a secret must not be shown, also as a terminal shows it, and cut."""
    for word in secret_words(value):
        yield word
        yield printable(word, len(word) + 1)
        if len(word) > 2 * PIECE:
            yield from (word[at : at + PIECE] for at in range(0, min(len(word), MOST_PIECES * PIECE), PIECE))
