"""What uv and pip-tools know of hashes where we do not."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from django_deploy.bundle.index.hash_tools import ask_tools
from django_deploy.bundle.index.sources import Sources, read_sources
from tests.bundle.archives import make_wheel

A, B = ("a" * 64, "b" * 64)

needs_uv = pytest.mark.skipif(
    not shutil.which("uv", path=str(Path(sys.executable).parent)), reason="this environment has no uv"
)


@pytest.fixture
def sources(index, monkeypatch):
    monkeypatch.setenv("UV_NO_CACHE", "1")
    return read_sources(index.url)


@needs_uv
def test_uv_answers_for_all_at_once(index, sources):
    index.add("acme-x", {"acme_x-2024.1-py3-none-any.whl": B, "acme_x-2024.1.tar.gz": A})
    index.add("acme-y", {"acme_y-1.0rc1-py3-none-any.whl": A})

    found = ask_tools(["acme-x==2024.01", "acme-y==1.0rc1"], sources)

    assert found == {"acme-x==2024.01": (A, B), "acme-y==1.0rc1": (A,)}
    assert index.requests.count("/simple/acme-x/") == 1


@needs_uv
def test_what_uv_does_not_find_spoils_nothing(index, sources):
    index.add("acme-x", {"acme_x-1.0-py3-none-any.whl": A})

    assert ask_tools(["acme-x==1.0", "acme-gone==1.0"], sources) == {"acme-x==1.0": (A,)}


@needs_uv
def test_uv_tells_what_the_index_has_and_not_a_local_folder(index, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_NO_CACHE", "1")
    index.add("acme-x", {"acme_x-1.0-py3-none-any.whl": B, "acme_x-1.0.tar.gz": A})
    wheel = make_wheel(tmp_path / "links", "acme-x")
    page = tmp_path / "simple" / "acme-x" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f"<a href='{wheel.as_uri()}'>{wheel.name}</a>")
    places = ((tmp_path / "simple").as_uri(),), (str(tmp_path / "links"),)

    found = ask_tools(["acme-x==1.0"], Sources(index.url, *places))

    assert found == {"acme-x==1.0": (A, B)}


@pytest.mark.parametrize("has_uv", [pytest.param(True, marks=needs_uv), False])
def test_pip_tools_hash_what_no_page_tells(index, sources, tmp_path, monkeypatch, has_uv):
    if not has_uv:
        monkeypatch.setattr("django_deploy.bundle.index.hash_tools.find_uv", lambda: None)
    wheel = make_wheel(tmp_path, "acme-x", requires=("needs-nothing-of-this",))
    index.add_html("acme-x", f'<a href="/files/{wheel.name}">{wheel.name}</a>')
    index.pages[f"/files/{wheel.name}"] = (200, "application/octet-stream", wheel.read_bytes())

    found = ask_tools(["acme-x==1.0", "acme-gone==1.0"], sources)

    assert found == {"acme-x==1.0": (hashlib.sha256(wheel.read_bytes()).hexdigest(),)}


def test_an_index_that_is_gone_knows_nothing(index, sources, monkeypatch):
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    index.close()

    assert ask_tools(["acme-x==1.0"], sources) == {}
