"""Tools for hosts, and when the index is asked."""

from __future__ import annotations

import hashlib
import json

import pytest

from django_deploy.bundle.platforms import HostPlatform
from django_deploy.bundle.tools import GOOD_FOR, fetch_tool
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel

DEBIAN = HostPlatform((3, 11, 2), machine="x86_64", glibc="2.36")


@pytest.fixture
def offer(index, tmp_path):
    """Puts a version of pip on the index."""

    def add(version: str, sha256: str = "") -> str:
        wheel = make_wheel(tmp_path / "files", "pip", version)
        sha256 = sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest()
        index.pages[f"/files/{wheel.name}"] = (200, "application/octet-stream", wheel.read_bytes())
        index.add("pip", {wheel.name: sha256})
        return sha256

    return add


def fetch(index, tmp_path):
    return fetch_tool("pip", DEBIAN, index_url=index.url, cache=tmp_path / "cache")


def age(tmp_path, seconds: float) -> None:
    """Makes what is kept older."""
    for file in (tmp_path / "cache" / "tools").glob("*.json"):
        record = json.loads(file.read_text())
        file.write_text(json.dumps({**record, "checked": record["checked"] - seconds}))


def test_tool_is_fetched_once(index, offer, tmp_path):
    sha256 = offer("1.0")

    wheel = fetch(index, tmp_path)
    asked = len(index.requests)

    assert (wheel.name, wheel.version, wheel.sha256) == ("pip", "1.0", sha256)
    assert hashlib.sha256(wheel.path.read_bytes()).hexdigest() == sha256
    assert wheel.path.name == "pip-1.0-py3-none-any.whl"
    assert wheel.size == wheel.path.stat().st_size
    assert fetch(index, tmp_path) == wheel
    assert len(index.requests) == asked


def test_index_is_asked_again_after_a_while(index, offer, tmp_path):
    offer("1.0")
    fetch(index, tmp_path)
    offer("2.0")

    age(tmp_path, GOOD_FOR - 60)
    assert fetch(index, tmp_path).version == "1.0"
    age(tmp_path, 120)
    assert fetch(index, tmp_path).version == "2.0"


def test_without_the_index_the_old_one_serves(index, offer, tmp_path):
    offer("1.0")
    wheel = fetch(index, tmp_path)
    age(tmp_path, 2 * GOOD_FOR)
    index.close()

    assert fetch(index, tmp_path) == wheel


def test_damaged_download_is_refused(index, offer, tmp_path):
    offer("1.0", sha256="0" * 64)

    with pytest.raises(BundleError) as caught:
        fetch(index, tmp_path)

    assert caught.value.message == (
        "pip cannot be fetched: pip-1.0-py3-none-any.whl is damaged: its sha256 is not what was announced."
    )
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_nothing_that_fits(index, tmp_path):
    with pytest.raises(BundleError) as caught:
        fetch(index, tmp_path)

    assert caught.value.message == "No index has a wheel of pip for Python 3.11.2 on x86_64."
    assert caught.value.remedy == "Install pip on the host."


def test_no_index(index, tmp_path):
    index.close()

    with pytest.raises(BundleError) as caught:
        fetch(index, tmp_path)

    assert caught.value.message.startswith(f"pip cannot be fetched: {index.url}/pip/ cannot be read: ")
