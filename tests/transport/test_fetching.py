"""Files that are fetched from the real host program, in a folder of this machine, and from one that lies."""

from __future__ import annotations

import base64
import hashlib
import os
from concurrent.futures import Future
from pathlib import PurePosixPath

import pytest

from django_deploy.exceptions import HostError, RequestFailed
from django_deploy.host.protocol import ignore
from django_deploy.host.store import FETCHED
from django_deploy.target import Host, Target
from django_deploy.transport.fetching import MAX_LOCK, fetch_file, fetch_lock
from django_deploy.transport.session import open_session
from django_deploy.transport.ssh import no_prompts

RELEASE = "20261122T174500Z-3f9c2a1"
NAME = "shop-1.0-py3-none-any.whl"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "site"


@pytest.fixture
def session(root):
    target = Target("demo", (Host("local"),), PurePosixPath(root), settings_module="shop.settings")
    session = open_session(target.hosts[0], target, report=ignore, prompts=no_prompts)
    yield session
    session.close()


def store(root, data):
    folder = root / ".deploy" / "store" / sha256(data)
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(data)
    return folder / NAME


@pytest.mark.parametrize("size", [0, 1, FETCHED - 1, FETCHED, FETCHED + 1, 7 * FETCHED + 5])
def test_files_of_the_store(session, root, tmp_path, size):
    data = os.urandom(size)
    store(root, data)
    before = sorted(root.rglob("*"))

    fetch_file(session, sha256(data), NAME, size, tmp_path / "fetched" / NAME)

    assert (tmp_path / "fetched" / NAME).read_bytes() == data
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("text", ["", "django==5.2 --hash=sha256:00\n", "x" * (2 * FETCHED + 7)])
def test_the_lock_of_a_release(session, root, text):
    folder = root / "releases" / RELEASE
    folder.mkdir(parents=True)
    (folder / "requirements.lock").write_text(text)

    assert fetch_lock(session, RELEASE) == text


def test_what_is_not_there(session, root, tmp_path):
    with pytest.raises(RequestFailed) as caught:
        fetch_file(session, "a" * 64, NAME, 5, tmp_path / NAME)
    assert caught.value.message == f"No such file or directory: {root}/.deploy/store/{'a' * 64}/{NAME}"

    with pytest.raises(RequestFailed) as caught:
        fetch_lock(session, RELEASE)
    assert caught.value.message.startswith("No such file or directory: ")
    assert list(tmp_path.glob("*.whl")) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"sha256": "../../..", "file": NAME},
        {"sha256": "a" * 64, "file": "../../lock"},
        {"sha256": "a" * 64, "file": "/etc/passwd"},
        {"sha256": "a" * 64, "file": ".part-1"},
        {"release": "../.deploy"},
        {"release": RELEASE + "/.."},
    ],
)
def test_nothing_else_is_given(session, fields):
    with pytest.raises(RequestFailed) as caught:
        session.request("fetch", offset=0, **fields).result()

    assert caught.value.type == "BadRequest"


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[::-1]]
)
def test_a_file_that_is_damaged_there(session, root, tmp_path, change):
    data = os.urandom(FETCHED + 99)
    store(root, data).write_bytes(change(data))

    with pytest.raises(HostError) as caught:
        fetch_file(session, sha256(data), NAME, len(data), tmp_path / "fetched" / NAME)

    assert str(caught.value) == f"local: {NAME} is damaged there.\nDeploy there again."
    assert not list((tmp_path / "fetched").iterdir())


class Liar:
    """A session whose host answers as it likes."""

    host = Host("web1")

    def __init__(self, answer):
        self.answer = answer
        self.asked = 0

    def request(self, name, **fields):
        self.asked += 1
        future = Future()
        future.set_result(self.answer)
        return future


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"data": 5},
        {"data": "not base64!"},
        {"data": base64.b64encode(b"x" * (2 * FETCHED)).decode()},
        {"data": ""},
    ],
)
def test_a_host_that_lies(tmp_path, answer):
    with pytest.raises(HostError, match="is damaged there"):
        fetch_file(Liar(answer), "a" * 64, NAME, 2 * FETCHED, tmp_path / NAME)


@pytest.mark.parametrize("size", [None, "5", -1, MAX_LOCK + 1])
def test_a_host_that_tells_an_odd_size(size):
    with pytest.raises(HostError, match=f"the lock of {RELEASE} is damaged there"):
        fetch_lock(Liar({"size": size, "data": ""}), RELEASE)


def test_few_pieces_are_under_way(tmp_path):
    liar = Liar({"data": "eA=="})

    with pytest.raises(HostError):
        fetch_file(liar, "a" * 64, NAME, 1000 * FETCHED, tmp_path / NAME)

    assert liar.asked == 4
