from __future__ import annotations

import hashlib
import io
import os
import time

import pytest

from django_deploy.host.layout import Layout
from django_deploy.host.link import BlobReader
from django_deploy.host.protocol import Failure
from django_deploy.host.store import Store

DATA = b"wheel " * 100_000
SHA = hashlib.sha256(DATA).hexdigest()
NAME = "shop-1.0+local-py3-none-any.whl"


@pytest.fixture
def store(tmp_path):
    layout = Layout(str(tmp_path / "site"))
    layout.create()
    return Store(layout)


def receive(store, data=DATA, sha=SHA, name=NAME, behind=b""):
    source = io.BufferedReader(io.BytesIO(data + behind))
    store.receive({"blob": sha, "size": len(data), "name": name}, BlobReader(source, len(data), lambda: None))
    return source


def test_a_file_is_kept_under_its_hash(store):
    receive(store)

    assert store.path(SHA, NAME).read_bytes() == DATA
    assert store.names() == [SHA]
    assert os.listdir(store.folder / SHA) == [NAME]


def test_a_file_that_was_not_asked_for_is_kept_too(store):
    receive(store)
    assert store.names() == []

    store.keep_arrived()

    assert store.names() == [SHA]
    assert store.path(SHA, NAME).read_bytes() == DATA


def test_a_damaged_file_is_not_kept_unasked(store):
    receive(store, data=DATA[:-1] + b"!")

    store.keep_arrived()

    assert store.names() == []
    assert os.listdir(store.folder / SHA) == []


def test_a_damaged_file_is_refused_and_not_kept(store):
    receive(store, data=DATA[:-1] + b"!")

    with pytest.raises(Failure, match=f"{NAME.replace('+', '.')} arrived damaged"):
        store.path(SHA, NAME)
    assert store.names() == []


def test_it_is_accepted_when_it_comes_again(store):
    receive(store, data=DATA[:-1] + b"!")
    receive(store)

    assert store.path(SHA, NAME).read_bytes() == DATA


def test_the_bytes_of_a_refused_file_are_read_away(store):
    source = receive(store, name="../../evil", behind=b'{"next": 1}\n')

    assert source.readline() == b'{"next": 1}\n'
    with pytest.raises(Failure, match="not an artifact"):
        store.path(SHA, "../../evil")
    assert not (store.layout.root.parent / "evil").exists()


def test_a_file_that_was_damaged_on_the_disk_is_removed(store):
    receive(store)
    store.path(SHA, NAME).write_bytes(b"bits rot")

    with pytest.raises(Failure) as caught:
        store.path(SHA, NAME)

    assert caught.value.message == f"{NAME} was damaged on the host's disk and removed"
    assert caught.value.remedy == "Deploy again."
    assert store.names() == []


def test_a_missing_file_is_named(store):
    with pytest.raises(Failure, match="is not in the store"):
        store.path(SHA, NAME)


def test_a_file_that_is_cut_short_ends_the_link(store):
    source = io.BufferedReader(io.BytesIO(DATA[:10]))

    with pytest.raises(EOFError):
        store.receive(
            {"blob": SHA, "size": len(DATA), "name": NAME}, BlobReader(source, len(DATA), lambda: None)
        )

    assert store.names() == []


def test_prune_keeps_what_is_wanted_or_young(store):
    """A file that is being sent for the next deployment must survive the end of the one before."""
    shas = []
    for name in ("wanted", "young", "old"):
        shas.append(hashlib.sha256(name.encode()).hexdigest())
        receive(store, data=name.encode(), sha=shas[-1], name=f"{name}.whl")
    store.keep_arrived()
    yesterday = time.time() - 25 * 3600
    for sha in (shas[0], shas[2]):
        os.utime(store.folder / sha, (yesterday, yesterday))

    store.prune(shas[:1])

    assert sorted(store.names()) == sorted(shas[:2])


def test_prune_removes_what_a_killed_program_left(store):
    folder = store.folder / SHA
    folder.mkdir(parents=True)
    (folder / ".part-4711").write_bytes(DATA[:10])
    receive(store, data=b"young", sha=hashlib.sha256(b"young").hexdigest())
    yesterday = time.time() - 25 * 3600
    os.utime(folder, (yesterday, yesterday))

    store.prune([])

    assert os.listdir(store.folder) == [hashlib.sha256(b"young").hexdigest()]
