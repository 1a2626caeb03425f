"""What of a release can be compared with another one: its settings, its static files."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import global_settings, settings
from django.views.debug import get_default_exception_reporter_filter

from django_deploy.host.secret_words import SHORTEST, secret_words

#: Static files that are compared, at most.
MOST_STATIC_FILES = 20_000

#: Characters of a value that are told.
LONGEST_VALUE = 200

#: Shorter texts are not looked for in values of the environment, in characters: they are anywhere.
SHORTEST_PART = 6

#: Files of code beside the settings that are read for what stands in them, and the bytes of the largest.
MOST_FILES, LARGEST_FILE = 100, 1 << 20

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")

#: A text, a list of texts, or ``{"hidden": DIGEST}``, which is compared and never shown.
Leaf = Any


def settings_of_site() -> dict[str, Leaf]:
    """Every setting, those in dicts by their path (``DATABASES.default.HOST``).

    Hidden is what Django's debug page hides, also within lists, what has a password or a value of the site's
    environment in it, or is a part of one, and what is long. Of settings that are not Django's own only what
    stands in the code is told, for all else may be made of something secret. The release's own folder is told
    without its name, as each release has another one. DEPLOY_TARGETS is left out: no site goes by it.
    """
    view = _View()
    names = sorted(name for name in dir(settings) if name.isupper() and name != "DEPLOY_TARGETS")
    return {path: leaf for name in names for path, leaf in view.leaves(name, name, getattr(settings, name))}


class _View:
    def __init__(self) -> None:
        self._secrets = _secrets()
        self._in_code = frozenset(_constants())
        self._filter = get_default_exception_reporter_filter()
        names = ("DJANGO_DEPLOY_RELEASE_DIR", "DJANGO_DEPLOY_RELEASE")
        self._own = [os.environ[name] for name in names if os.environ.get(name)]

    def leaves(self, path: str, key: str, value: object) -> Iterator[tuple[str, Leaf]]:
        if isinstance(value, Mapping) and value and not self._hides(key):
            for name, item in value.items():
                yield from self.leaves(f"{path}.{name}", str(name), item)
        else:
            yield path, self._leaf(path, key, value)

    def _hides(self, key: str) -> bool:
        """Whether Django's debug page shows nothing of what has such a name."""
        return bool(self._filter.cleanse_setting(key, "some value") != "some value")

    def _hides_within(self, value: object) -> bool:
        """Whether it shows not all of what a value is made of."""
        if isinstance(value, Mapping):
            return any(self._hides(str(key)) or self._hides_within(item) for key, item in value.items())
        return isinstance(value, (list, tuple, set, frozenset)) and any(map(self._hides_within, value))

    def _leaf(self, path: str, key: str, value: object) -> Leaf:
        is_list = isinstance(value, (list, tuple))
        texts = [self._text(item) for item in (value if isinstance(value, (list, tuple)) else [value])]
        is_hidden = self._hides(key) or self._hides_within(value)
        is_known = hasattr(global_settings, path.partition(".")[0]) or self._is_in_code(value)
        if is_hidden or not is_known or any(map(self._is_private, (*texts, *_words_in(value)))):
            return {"hidden": hashlib.sha256("\0".join(texts).encode(errors="replace")).hexdigest()}
        return texts if is_list else texts[0]

    def _is_in_code(self, value: object) -> bool:
        if isinstance(value, (list, tuple, set, frozenset)):
            return all(map(self._is_in_code, value))
        return value is None or isinstance(value, bool) or not value or repr(value) in self._in_code

    def _text(self, value: object) -> str:
        is_set = isinstance(value, (set, frozenset))
        text = _ADDRESS.sub("", repr(sorted(value, key=repr) if is_set else value))  # type: ignore[call-overload]
        for own in self._own:
            text = text.replace(own, "RELEASE")
        return text

    def _is_private(self, text: str) -> bool:
        if len(text) > LONGEST_VALUE or _PASSWORD_IN_URL.search(text):
            return True
        said = text.strip("'\"")
        is_part = len(said) >= SHORTEST_PART and any(said in secret for secret in self._secrets)
        return is_part or any(secret in text for secret in self._secrets)


def _secrets() -> set[str]:
    """The words of what the target and the host have set: anything of it may be secret."""
    try:
        file = Path(os.environ["DJANGO_DEPLOY_RELEASE_DIR"]) / "environment.json"
        values = json.loads(file.read_text(encoding="utf-8", errors="surrogateescape")).values()
    except (KeyError, OSError, ValueError):
        return set()
    return {word for value in values for word in (value, *secret_words(value)) if len(word) >= SHORTEST}


def _words_in(value: object) -> Iterator[str]:
    """The texts of a value as they are, which its ``repr`` may write otherwise."""
    if isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif isinstance(value, Mapping):
        yield from (word for item in value.items() for word in _words_in(item))
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from (word for item in value for word in _words_in(item))
    else:
        yield str(value)


def _constants() -> Iterator[str]:
    """What stands in the code of the settings, and of the modules beside them, as ``repr`` writes it."""
    module = sys.modules.get(getattr(settings, "SETTINGS_MODULE", None) or "")
    folder = Path(getattr(module, "__file__", None) or "/nowhere/settings.py").parent
    for file in sorted(folder.glob("*.py"))[:MOST_FILES]:
        with suppress(OSError, SyntaxError, ValueError):
            if file.stat().st_size <= LARGEST_FILE:
                tree = ast.parse(file.read_bytes())
                yield from (repr(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant))


def static_files() -> dict[str, str] | None:
    """A digest of each file that ``collectstatic`` would collect; None where it is not known."""
    if not apps.is_installed("django.contrib.staticfiles"):
        return None
    from django.contrib.staticfiles.finders import get_finders

    ignored = getattr(apps.get_app_config("staticfiles"), "ignore_patterns", None)
    found: dict[str, str] = {}
    for finder in get_finders():
        for path, storage in finder.list(ignored):
            name = os.path.join(getattr(storage, "prefix", None) or "", path)
            if name not in found:
                with storage.open(path) as file:
                    found[name] = hashlib.blake2b(file.read(), digest_size=8).hexdigest()
            if len(found) > MOST_STATIC_FILES:
                return None
    return found
