"""Passwords of indexes: in no file of the cache, in no manifest or lock, in no event and in no error."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.index.hash_tools import ask_tools
from django_deploy.bundle.index.lock import lock
from django_deploy.bundle.index.resolution import resolve
from django_deploy.bundle.index.sources import Sources, read_sources
from django_deploy.bundle.manifest import Pin
from django_deploy.bundle.platforms import HostPlatform
from django_deploy.bundle.tools import fetch_tool
from django_deploy.bundle.vendor import vendor
from django_deploy.bundle.wheels.backend import CommandFailed, provide_environment
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel

#: Each form in which the password could be found.
PASSWORD = "m4rked-p@ss"
QUOTED = "m4rked-p%40ss"
FORMS = (PASSWORD, QUOTED, b64encode(f"me:{PASSWORD}".encode()).decode(), "m4rked")

DEBIAN = HostPlatform((3, 11, 2), glibc="2.36")
#: Answers as keyring's command does, for its option ``--output=json`` and without.
KEYRING = f"""#!/bin/sh
case "$1" in
--*) echo '{{"username": "me", "password": "{PASSWORD}"}}' ;;
*) echo '{PASSWORD}' ;;
esac
"""

NETRC = "machine 127.0.0.1 login me password {}\n"


@pytest.fixture
def shelf(index, tmp_path):
    """An index that wants a password, with tools and distributions."""
    for name in ("acme-x", "acme-build", "pip"):
        wheel = make_wheel(tmp_path / "shelf", name)
        index.pages[f"/files/{wheel.name}"] = (200, "application/octet-stream", wheel.read_bytes())
        index.add(name, {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest()})
    index.user = f"me:{PASSWORD}"
    return index


@pytest.fixture(params=["address", "netrc", "keyring"])
def sources(request, shelf, tmp_path, monkeypatch) -> Sources:
    """The index and who we are, in each place where that can be said."""
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    user = {"address": f"me:{QUOTED}@", "netrc": "", "keyring": "me@"}[request.param]
    if request.param == "netrc":
        (tmp_path / "netrc").write_text(NETRC.format(PASSWORD))
    if request.param == "keyring":
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "keyring").write_text(KEYRING)
        (tmp_path / "bin" / "keyring").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        monkeypatch.setenv("PIP_KEYRING_PROVIDER", "subprocess")
    return read_sources(f"http://{user}{shelf.address}/simple")


def assert_kept(cache: Path, *said: object) -> None:
    """Something was written, and no form of the password anywhere, in names and contents."""
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert files
    told = [str(path.relative_to(cache)) for path in files] + [repr(item) for item in said]
    texts = [*(text.encode() for text in told), *(path.read_bytes() for path in files)]
    assert [form for form in FORMS for text in texts if form.encode() in text] == []


def test_hashes_and_wheels(sources, tmp_path):
    cache, events = tmp_path / "cache", []
    wanted = Distribution("acme-x", "1.0", "index", (), Path("/nowhere"))

    pins = lock([wanted], sources, cache=cache).pins
    wheels = vendor(pins, DEBIAN, sources, cache=cache, report=events.append)
    tool = fetch_tool("pip", DEBIAN, index_url=sources.index_url, cache=cache)
    added = resolve(["acme-build"], pins, DEBIAN, sources, cache=cache)

    bundle = HostBundle((*pins, *added), wheels)
    assert [pin.name for pin in bundle.pins] == ["acme-x", "acme-build"]
    lock_text = bundle.lock({wheel.sha256: wheel.path.as_uri() for wheel in wheels})
    told = json.dumps([event.as_dict() for event in events])
    assert_kept(cache, pins, wheels, tool, bundle, lock_text, told, sources.identity)


@pytest.mark.parametrize("has_uv", [True, False])
def test_back_ends_are_from_the_index_of_the_target(sources, tmp_path, monkeypatch, has_uv):
    if not has_uv:
        monkeypatch.setattr("django_deploy.bundle.wheels.backend.find_uv", lambda: None)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")

    python = provide_environment(["acme-build"], tmp_path / "cache", sources)

    assert list(python.parents[1].glob("lib/python*/site-packages/acme_build.py"))
    assert_kept(tmp_path / "cache")


@pytest.mark.parametrize("has_uv", [True, False])
def test_tools_that_find_hashes(sources, shelf, monkeypatch, has_uv):
    if not has_uv:
        monkeypatch.setattr("django_deploy.bundle.index.hash_tools.find_uv", lambda: None)

    found = ask_tools(["acme-x==1.0"], sources)

    assert [len(sha256) for sha256 in found["acme-x==1.0"]] == [64]


def test_errors(shelf, tmp_path, monkeypatch):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("PIP_RETRIES", "0")
    shelf.user = "somebody:else"
    sources = read_sources(f"http://me:{QUOTED}@{shelf.address}/simple")
    wanted = Distribution("acme-x", "1.0", "index", (), Path("/nowhere"))
    pin = Pin("acme-x", "1.0", ("0" * 64,))
    cache = tmp_path / "cache"

    errors = [
        failure(lambda: lock([wanted], sources, cache=cache)),
        failure(lambda: vendor([pin], DEBIAN, sources, cache=cache)),
        failure(lambda: fetch_tool("pip", DEBIAN, index_url=sources.index_url, cache=cache)),
        failure(lambda: resolve(["acme-x"], [], DEBIAN, sources, cache=cache)),
        failure(lambda: provide_environment(["acme-x"], cache, sources)),
    ]

    assert_kept(cache, *errors)
    assert all("401" in error or "Unauthorized" in error for error in errors), errors


def failure(action) -> str:
    with pytest.raises((BundleError, CommandFailed)) as caught:
        action()
    return str(caught.value)
