"""Patterns of PROJECT_INCLUDE and PROJECT_EXCLUDE, which name files and folders of a plain project."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Patterns:
    """Some patterns, written as in ``.gitignore``, without its ``!`` and comments.

    ``*``, ``?`` and ``[…]`` match within a name, ``**`` any number of folders. A pattern without a slash
    names a file or folder at any depth; one with a slash, other than at its end, counts from the project's
    folder. A slash at the end names folders only. Whoever matches a folder means all that is in it: that is
    for the one who walks to do.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self.texts = tuple(patterns)
        parsed = [_parse(pattern) for pattern in self.texts]
        self._names = [(parts[0], is_folder) for parts, is_folder, is_anchored in parsed if not is_anchored]
        self._paths = [(parts, is_folder) for parts, is_folder, is_anchored in parsed if is_anchored]

    def match(self, path: str, *, is_folder: bool) -> bool:
        """Whether one of them names this path, which is relative to the project's folder."""
        if not self.texts:
            return False
        name = path.rpartition("/")[2]
        return any(
            fnmatchcase(name, pattern) for pattern, folders_only in self._names if is_folder >= folders_only
        ) or self.match_place(path, is_folder=is_folder)

    def match_place(self, path: str, *, is_folder: bool) -> bool:
        """The same, by those patterns only that count from the project's folder."""
        parts = path.split("/")
        return any(
            _match(pattern, parts) for pattern, folders_only in self._paths if is_folder >= folders_only
        )

    def may_match_below(self, folder: str) -> bool:
        """Whether a pattern that counts from the project's folder could name something in this folder."""
        parts = folder.split("/")
        return any(_match_start(pattern, parts) for pattern, _ in self._paths)


def _parse(pattern: str) -> tuple[list[str], bool, bool]:
    """Its parts; whether it names folders only; whether it counts from the project's folder."""
    inner = pattern.rstrip("/")
    return inner.lstrip("/").split("/"), inner != pattern, "/" in inner


def _match(pattern: Sequence[str], path: Sequence[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_match(pattern[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _match(pattern[1:], path[1:])


def _match_start(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Whether a path that begins with ``path`` could match."""
    if not pattern:
        return False
    if not path or pattern[0] == "**":
        return True
    return fnmatchcase(path[0], pattern[0]) and _match_start(pattern[1:], path[1:])
