"""Readers of plain values, and what readers are made of.

A reader takes a place and a value of the settings, and gives a value of ours; it raises
``Unreadable``.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import SplitResult

from django_deploy.exceptions import DeployError
from django_deploy.reading.places import Kind, Mistake, Place, Reader, T, Unreadable
from django_deploy.spelling import did_you_mean

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

DOTTED_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")

#: A year: nobody waits longer, and timers can wait so long.
LONGEST_TIME = 365 * 24 * 3600

#: A limit that only mistakes reach; messages do not speak of it before.
UNREASONABLE = 100_000


def read_fields(
    place: Place,
    value: object,
    readers: Mapping[str, Reader[Any]],
    required: Collection[str] = (),
) -> dict[str, Any]:
    """Keyword arguments (``stop_timeout``) from a dict of the settings (``STOP_TIMEOUT``)."""
    mapping = expect(value, Mapping, "a dict")
    for key in mapping:
        if key not in readers:
            hint = did_you_mean(key, readers)
            place[key].note(Mistake(Kind.UNKNOWN_KEY, "is not a key that is known.", hint))
    for key in required:
        if key not in mapping:
            place.note(Mistake(Kind.MISSING_KEY, f"needs the key {key!r}."))
    fields = {}
    for key, reader in readers.items():
        if key in mapping:
            with place[key].gathering():
                fields[key.lower()] = reader(place[key], mapping[key])
    return fields


def read_all(
    place: Place,
    value: object,
    readers: Mapping[str, Reader[Any]],
    required: Collection[str] = (),
) -> dict[str, Any]:
    """As ``read_fields``, for a dict that is of no use with a mistake in it."""
    before = len(place.issues)
    fields = read_fields(place, value, readers, required)
    if len(place.issues) > before:
        raise Unreadable
    return fields


def list_of(reader: Reader[T], expected: str) -> Reader[tuple[T, ...]]:
    """A reader of a list, each item of which ``reader`` reads; ``expected`` is for the error."""

    def read_list(place: Place, value: object) -> tuple[T, ...]:
        if isinstance(value, str):
            raise Mistake(Kind.TYPE, f"must be {expected}, not a string.", f"Write [{value!r}].")
        items = []
        for index, item in enumerate(expect(value, (list, tuple), expected)):
            with place[index].gathering():
                items.append(reader(place[index], item))
        return tuple(items)

    return read_list


def optional(reader: Reader[T]) -> Reader[T | None]:
    """A reader that lets None pass."""
    return lambda place, value: None if value is None else reader(place, value)


def choice(*choices: str) -> Reader[str]:
    """A reader of one of these words."""
    *others, last = map(repr, choices)
    expected = f"{', '.join(others)} or {last}" if others else last

    def read_choice(place: Place, value: object) -> str:
        word: str = expect(value, str, expected)
        if word not in choices:
            hint = did_you_mean(word, choices)
            raise Mistake(Kind.CHOICE, f"must be {expected}, not {word!r}.", hint)
        return word

    return read_choice


def whole_number(least: int, most: int) -> Reader[int]:
    """A reader of a whole number between the two, both included."""

    def read_number(place: Place, value: object) -> int:
        return int(in_range(expect(value, int, "a whole number"), least, most))

    return read_number


def seconds(*, is_zero_allowed: bool = False) -> Reader[float]:
    """A reader of a time in seconds."""

    def read_seconds(place: Place, value: object) -> float:
        seconds = expect(value, (int, float), "a number of seconds")
        if not is_zero_allowed and seconds == 0:
            raise Mistake(Kind.RANGE, "must be more than 0.")
        return float(in_range(seconds, 0, LONGEST_TIME))

    return read_seconds


def pattern(kind: Kind, pattern: re.Pattern[str], expected: str) -> Reader[str]:
    """A reader of a text that matches as a whole; ``expected`` is for the error."""

    def read_text(place: Place, value: object) -> str:
        text: str = expect(value, str, expected)
        if not pattern.fullmatch(text):
            raise Mistake(kind, f"must be {expected}, not {text!r}.")
        return text

    return read_text


def read_bool(place: Place, value: object) -> bool:
    """True or False, and nothing that only counts as one."""
    if not isinstance(value, bool):
        raise Mistake(Kind.TYPE, f"must be True or False, not {type_name(value)}.")
    return value


def expect(value: object, type: type[Any] | tuple[type[Any], ...], expected: str) -> Any:
    """The value, when it is of that type. Never shows the value: it may be a secret."""
    if not isinstance(value, type) or isinstance(value, bool):
        raise Mistake(Kind.TYPE, f"must be {expected}, not {type_name(value)}.")
    return value


def type_name(value: object) -> str:
    """How an error names the type of a value."""
    if value is None or isinstance(value, bool):
        return str(value)
    return _TYPE_NAMES.get(type(value), f"an instance of {type(value).__name__}")


_TYPE_NAMES: Mapping[type, str] = {
    str: "a string",
    bytes: "bytes",
    int: "a number",
    float: "a number",
    dict: "a dict",
    list: "a list",
    tuple: "a tuple",
    set: "a set",
}


def in_range(number: float, least: int, most: int) -> float:
    """The number, when it is between the two, both included."""
    if least <= number <= most:  # a NaN is not
        return number
    limits = f"between {least} and {most}"
    if most >= UNREASONABLE:
        limits = f"at most {most}" if number > most and number != float("inf") else f"{least} or more"
    shown = "a number of many digits" if isinstance(number, int) and abs(number) > 10**20 else number
    raise Mistake(Kind.RANGE, f"must be {limits}, not {shown}.")


def resolved(place: Place, value: object, instead: object, hint: str = "") -> object:
    """What a callable or the dotted path of one answers; ``instead`` when nothing shall be called."""
    if not callable(value) and not isinstance(value, str):
        return value
    if isinstance(value, str) and not DOTTED_PATH.fullmatch(value):
        raise Mistake(Kind.CALLABLE, "is a string, but not the dotted path of a callable.")
    if place.resolve is None:
        return instead
    try:
        return place.resolve(value)
    except DeployError:
        raise
    except ImportError as error:
        raise Mistake(Kind.CALLABLE, f"names a callable that cannot be imported: {error}.", hint) from error
    except Exception as error:  # the user's code: anything may happen there
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"
        raise Mistake(Kind.CALLABLE, f"is a callable that failed: {reason}.") from error


def read_file_name(place: Place, value: object) -> str:
    """The path of a file, as a text; whether there is such a file is not asked."""
    text: str = expect(value, str, "a path")
    if not text or text.startswith("-") or CONTROL.search(text) or not is_utf8(text):
        raise Mistake(Kind.PATH, f"is not a path: {text!r:.200}.")
    return text


def is_utf8(text: str) -> bool:
    """Whether it can be written in UTF-8, as Python reads names that cannot (surrogateescape)."""
    return not re.search("[\ud800-\udfff]", text)


def size_of(text: str) -> int:
    """Its bytes on a host; what is not UTF-8 goes there as Python reads it here (surrogateescape)."""
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise Mistake(Kind.TYPE, "has a character that no encoding can write (a lone surrogate).") from None


def has_port(parts: SplitResult) -> bool:
    """Whether its port, where it names one, is one."""
    try:
        return parts.port != 0
    except ValueError:
        return False
