"""Where a value stands in the settings, and what is wrong with it there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from django_deploy.exceptions import Issue

#: Calls the callable, or the dotted path of one, that stands for a value in the settings.
Resolve = Callable[[object], object]

T = TypeVar("T")


class Kind(Enum):
    """Every kind of mistake in the settings, with its stable id."""

    SHAPE = "deploy.E001"  #: DEPLOY_TARGETS is not a dict, or a target's name is not fit for one
    UNKNOWN_KEY = "deploy.E002"  #: a key that no setting has
    MISSING_KEY = "deploy.E003"  #: a key that must be there
    TYPE = "deploy.E004"  #: a value of the wrong type
    CHOICE = "deploy.E005"  #: none of the values that are possible
    RANGE = "deploy.E006"  #: a number out of its range
    HOST = "deploy.E007"  #: not a host
    DUPLICATE = "deploy.E008"  #: the same host twice
    PATH = "deploy.E009"  #: not a path that is fit for a ROOT, an interpreter or a key file; not a pattern
    COMMAND = "deploy.E010"  #: not a command line
    ENVIRONMENT = "deploy.E011"  #: a name or value that no environment can hold
    CALLABLE = "deploy.E012"  #: a callable that cannot be found, or that failed
    PROCESS = "deploy.E013"  #: a process that could not run
    SOCKET = "deploy.E014"  #: the path of a process's socket is too long
    HEALTH_CHECK = "deploy.E015"  #: a health check that cannot be asked
    NAME = "deploy.E016"  #: not the name of a distribution, an extra or a module
    URL = "deploy.E017"  #: not the address of an index
    ROLE = "deploy.E018"  #: not a role, or one that no host has
    SETUP = "deploy.E019"  #: keys for ``deploy_setup`` that do not go together
    ROOT_TAKEN = "deploy.E020"  #: another target has this ROOT on the same host
    NOTHING_RUNS = "deploy.W001"  #: neither PROCESSES nor RESTART
    COMMAND_TAKEN = "deploy.W002"  #: another app has a command ``deploy``, too
    NOTHING_ASKED = "deploy.W003"  #: no health check, without having said so
    BROKEN_TEMPLATE = "deploy.W004"  #: of a release: found where it is (site/preflight.py)


class Unreadable(Exception):
    """No value can be made of this; what is wrong has been noted already."""


class Mistake(Unreadable):
    """No value can be made of this, and here is why."""

    def __init__(self, kind: Kind, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Place:
    """A place in the settings, and the list that gathers what is wrong there."""

    path: str
    issues: list[Issue]
    resolve: Resolve | None = None

    def __getitem__(self, key: object) -> Place:
        return Place(f"{self.path}[{key!r}]", self.issues, self.resolve)

    def note(self, mistake: Mistake) -> None:
        self.issues.append(Issue(self.path, mistake.message, hint=mistake.hint, id=mistake.kind.value))

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Notes the mistake that ends the block, and goes on behind it."""
        try:
            yield
        except Mistake as mistake:
            self.note(mistake)
        except Unreadable:
            pass


Reader = Callable[[Place, object], T]


def setting_path(*keys: object) -> str:
    """``DEPLOY_TARGETS['staging']['ROOT']``: how messages name a place in the settings."""
    return "DEPLOY_TARGETS" + "".join(f"[{key!r}]" for key in keys)
