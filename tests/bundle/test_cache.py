from __future__ import annotations

import pytest

from django_deploy.bundle.cache import default_cache
from django_deploy.exceptions import ConfigError


def test_the_users_cache_is_made(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    assert default_cache().is_dir()


def test_a_cache_that_cannot_be_made_is_told(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(ConfigError) as caught:
        default_cache()

    assert str(caught.value) == (
        f"The cache folder {tmp_path}/file/django-deploy cannot be made: Not a directory.\n"
        "Name one that you may write to in the variable XDG_CACHE_HOME."
    )
