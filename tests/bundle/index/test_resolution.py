"""What a host needs more is found where hosts can get it."""

from __future__ import annotations

import hashlib

import pytest

from django_deploy.bundle.index.resolution import resolve
from django_deploy.bundle.index.sources import Sources
from django_deploy.bundle.platforms import HostPlatform
from tests.bundle.archives import make_wheel

DEBIAN = HostPlatform((3, 11, 2), glibc="2.36")


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch):
    monkeypatch.setenv("UV_NO_CACHE", "1")


def test_hashes_are_those_of_the_index_and_not_of_a_local_folder(index, tmp_path):
    wheel = make_wheel(tmp_path / "shelf", "acme-x")
    index.pages[f"/files/{wheel.name}"] = (200, "application/octet-stream", wheel.read_bytes())
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    index.add("acme-x", {wheel.name: sha256})
    make_wheel(tmp_path / "links", "acme-x", files={"acme_x.py": "another = 1\n"})
    sources = Sources(index.url, find_links=(str(tmp_path / "links"),))

    (pin,) = resolve(["acme-x"], [], DEBIAN, sources, cache=tmp_path / "cache")

    assert (pin.name, pin.version, pin.hashes) == ("acme-x", "1.0", (sha256,))
