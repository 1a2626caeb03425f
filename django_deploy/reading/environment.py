"""The reader of ENV, and what an environment can hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from django_deploy.exceptions import ConfigError
from django_deploy.reading.places import Kind, Mistake, Place
from django_deploy.reading.values import expect, resolved, size_of

#: What the kernel takes as one word of a command line or one variable, in bytes (MAX_ARG_STRLEN, execve(2)),
#: and what is left to others of the 2 MB that all of it may have.
LONGEST_WORD = 128 * 1024 - 1

LARGEST_ENVIRONMENT = 1024 * 1024

#: What each release is given about itself (docs/reference/environment.rst).
OF_THE_RELEASE = frozenset(f"DJANGO_DEPLOY_{name}" for name in ("ROOT", "SHARED", "RELEASE", "RELEASE_DIR"))

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_env(place: Place, value: object) -> Mapping[str, str]:
    """The environment of the site, from a dict or a callable; values are never shown."""
    env = expect(resolved(place, value, instead={}), Mapping, "a dict, or the dotted path of a callable")
    total = 0
    for name, content in env.items():
        with place[name].gathering():
            _check_variable(name, content)
            total += len(name) + size_of(content)
    if total > LARGEST_ENVIRONMENT:
        message = f"is {total} bytes long, and {LARGEST_ENVIRONMENT} are possible."
        raise Mistake(Kind.ENVIRONMENT, message, "Put what is long into a file.")
    return MappingProxyType(dict(env))


def check_variable(name: str, value: str) -> None:
    """Whether a host may set it; raises ``ConfigError``."""
    try:
        _check_variable(name, value)
    except Mistake as mistake:
        raise ConfigError(f"{name} {mistake}", remedy=mistake.hint) from None


def _check_variable(name: object, value: object) -> None:
    if not isinstance(name, str) or not _ENVIRONMENT_NAME.fullmatch(name):
        raise Mistake(Kind.ENVIRONMENT, "is not the name of an environment variable.")
    if name == "DJANGO_SETTINGS_MODULE":
        hint = "Write that key instead."
        raise Mistake(Kind.ENVIRONMENT, "is set from the target's SETTINGS_MODULE.", hint)
    if name in OF_THE_RELEASE:
        hint = "Use another name for what you mean."
        raise Mistake(Kind.ENVIRONMENT, "is set for each release, and says where that is.", hint)
    text: str = expect(value, str, "a string")
    if "\0" in text:
        raise Mistake(Kind.ENVIRONMENT, "must not contain a NUL character.")
    if (length := len(f"{name}=") + size_of(text)) > LONGEST_WORD:
        message = f"is {length} bytes long, and {LONGEST_WORD} are possible, which is the kernel's limit."
        raise Mistake(Kind.ENVIRONMENT, message, "Put it into a file, and name that.")
