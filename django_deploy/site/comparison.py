"""What of a release can be compared with another one: its settings, its static files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.views.debug import get_default_exception_reporter_filter

#: Static files that are compared, at most.
MOST_STATIC_FILES = 20_000

#: Characters of a value that are told.
LONGEST_VALUE = 200

#: Shorter values of the environment are not looked for in settings, in characters: they are anywhere.
SHORTEST_SECRET = 6

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
#: What targets set on their hosts, this one and the others: DEPLOY_TARGETS is a setting of the site as well.
_ENVIRONMENT = re.compile(r"DEPLOY_TARGETS\..*\bENV\b")

_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")

#: A text, a list of texts, or ``{"hidden": DIGEST}``, which is compared and never shown.
Leaf = Any


def settings_of_site() -> dict[str, Leaf]:
    """Every setting, those in dicts by their path (``DATABASES.default.HOST``).

    Hidden is what Django's debug page hides, also within lists, what has a password or a value of the site's
    environment in it, or is a part of one, the ``ENV`` of targets, and what is long. The release's own folder
    is told without its name, as each release has another one.
    """
    view = _View()
    names = sorted(name for name in dir(settings) if name.isupper())
    return {path: leaf for name in names for path, leaf in view.leaves(name, name, getattr(settings, name))}


class _View:
    def __init__(self) -> None:
        self._secrets = _environment_values()
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
        is_hidden = self._hides(key) or self._hides_within(value) or _ENVIRONMENT.match(path)
        if is_hidden or any(map(self._is_private, texts)):
            return {"hidden": hashlib.sha256("\0".join(texts).encode(errors="replace")).hexdigest()}
        return texts if is_list else texts[0]

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
        is_part = len(said) >= SHORTEST_SECRET and any(said in secret for secret in self._secrets)
        return is_part or any(secret in text for secret in self._secrets)


def _environment_values() -> list[str]:
    """What the target and the host have set: anything of it may be secret."""
    try:
        file = Path(os.environ["DJANGO_DEPLOY_RELEASE_DIR"]) / "environment.json"
        values = json.loads(file.read_text(encoding="utf-8", errors="surrogateescape")).values()
    except (KeyError, OSError, ValueError):
        return []
    return [value for value in values if len(value) >= SHORTEST_SECRET]


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
