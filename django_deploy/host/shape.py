"""What a value from elsewhere must look like: checked once, where it comes in."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from .protocol import ProtocolError

#: What a shape may be:
#:
#: ``object``, ``str``, ``bool``, ``int`` (no bool), ``float`` (an int, too), ``None``
#: a compiled pattern: a text that is fully like it
#: a ``range``: a whole number in it
#: ``[shape]``: a list of such; ``[shape, shape]``: a list of exactly these
#: ``{str: shape}``: an object whose values are such
#: ``{"name": shape, "other?": shape}``: an object that has ``name`` and may have ``other``, and any more
#: ``(shape, shape)``: one of these
Shape = Any

WORDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number", None: "null"}


def check(value: Any, shape: Shape, place: str) -> None:
    """Raises ``ProtocolError`` that names the place (``releases[0].id``) where the value is not so."""
    if isinstance(shape, tuple):
        _check_one_of(value, shape, place)
    elif isinstance(shape, list):
        _check_list(value, shape, place)
    elif isinstance(shape, dict):
        _check_object(value, shape, place)
    elif not _is_plain(value, shape):
        _refuse(value, shape, place)


def _is_plain(value: Any, shape: Shape) -> bool:
    if isinstance(shape, re.Pattern):
        return isinstance(value, str) and shape.fullmatch(value) is not None
    if isinstance(shape, range):
        return type(value) is int and value in shape
    if shape is float:
        return type(value) in (int, float)
    return shape is object or type(value) is (type(None) if shape is None else shape)


def _check_one_of(value: Any, shapes: tuple[Shape, ...], place: str) -> None:
    *others, last = shapes
    if not any(_fits(value, shape, place) for shape in others):
        check(value, last, place)


def _fits(value: Any, shape: Shape, place: str) -> bool:
    try:
        check(value, shape, place)
    except ProtocolError:
        return False
    return True


def _check_list(value: Any, shape: list[Shape], place: str) -> None:
    if not isinstance(value, list) or (len(shape) > 1 and len(value) != len(shape)):
        _refuse(value, shape, place)
    for index, item in enumerate(value):
        check(item, shape[index % len(shape)], f"{place}[{index}]")


def _check_object(value: Any, shape: dict[Any, Shape], place: str) -> None:
    if not isinstance(value, dict):
        _refuse(value, shape, place)
    if str in shape:
        for name, item in value.items():
            check(item, shape[str], f"{place}.{name[:40]}")
        return
    for name, wanted in shape.items():
        key = name.rstrip("?")
        if key in value:
            check(value[key], wanted, f"{place}.{key}")
        elif key == name:
            raise ProtocolError(f"{place} must have {key!r}")


def _refuse(value: Any, shape: Shape, place: str) -> NoReturn:
    raise ProtocolError(f"{place} must be {describe(shape)}, not {shown(value)}")


def describe(shape: Shape) -> str:
    """For people."""
    if isinstance(shape, re.Pattern):
        return f"a text like {shape.pattern}"
    if isinstance(shape, range):
        return f"a whole number from {shape.start} to {shape.stop - 1}"
    if isinstance(shape, list):
        return "a list" if len(shape) == 1 else f"a list of {len(shape)} items"
    return "an object" if isinstance(shape, dict) else WORDS[shape]


def shown(value: Any) -> str:
    """The start of a value, in ASCII and on one line."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)} items"
    return ascii(value[:60] if isinstance(value, str) else value)
