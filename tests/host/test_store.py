from __future__ import annotations

import hashlib
import io
import os
import threading
import time
import zlib

import pytest

from django_deploy.host.delta import COPY, INSERT, INSTRUCTION
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


#: What became of DATA, and how.
NEW = DATA[:5000] + b"changed" + DATA[6000:]
NEW_SHA = hashlib.sha256(NEW).hexdigest()
RECIPE = zlib.compress(
    INSTRUCTION.pack(COPY, 0, 5000)
    + INSTRUCTION.pack(INSERT, 0, 7)
    + b"changed"
    + INSTRUCTION.pack(COPY, 6000, len(DATA) - 6000)
)


def receive(store, data=DATA, sha=SHA, name=NAME, behind=b""):
    source = io.BufferedReader(io.BytesIO(data + behind))
    store.receive({"blob": sha, "size": len(data), "name": name}, BlobReader(source, len(data), lambda: None))
    return source


def receive_recipe(store, data=RECIPE, behind=b"", **header):
    """Gives why the whole file is wanted, and what is left of the stream."""
    source = io.BufferedReader(io.BytesIO(data + behind))
    message = {"blob": NEW_SHA, "size": len(data), "name": NAME, "base": SHA, "whole": len(NEW), **header}
    return store.receive(message, BlobReader(source, len(data), lambda: None)), source.read()


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
    store = Store(store.layout)

    with pytest.raises(Failure) as caught:
        store.path(SHA, NAME)

    assert caught.value.message == f"{NAME} was damaged on the host's disk and removed"
    assert caught.value.remedy == "Deploy again."
    assert store.names() == []


def test_a_missing_file_is_named(store):
    with pytest.raises(Failure, match="cannot be read in the host's store: No such file or directory"):
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


def test_a_file_is_made_of_its_base_and_a_recipe(store):
    receive(store)
    store.path(SHA, NAME)

    assert receive_recipe(store) == ("", b"")

    assert store.path(NEW_SHA, NAME).read_bytes() == NEW
    assert sorted(store.names()) == sorted((SHA, NEW_SHA))
    assert os.listdir(store.folder / NEW_SHA) == [NAME]


def test_a_file_that_was_made_is_kept_unasked(store):
    receive(store)
    store.keep_arrived()
    receive_recipe(store)

    store.keep_arrived()

    assert store.path(NEW_SHA, NAME).read_bytes() == NEW


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"base": "0" * 64}, "the base is not in the store"),
        ({"base": "../" + "0" * 61}, "the base is not in the store"),
        ({"base": "../../../.."}, "the base is not in the store"),
        ({"whole": 10}, "the recipe is not for this file"),
        ({"whole": len(NEW) + 1}, "the recipe ends too early"),
        ({"blob": SHA[::-1]}, "what came out is not the file"),
        (
            {"data": b"PK"},
            "the recipe cannot be read: Error -3 while decompressing data: incorrect header check",
        ),
    ],
    ids=repr,
)
def test_a_recipe_that_leads_to_nothing_asks_for_the_file(store, header, why):
    receive(store)
    store.path(SHA, NAME)
    behind = b'{"next": 1}\n'

    assert receive_recipe(store, behind=behind, **header) == (why, behind)

    assert store.names() == [SHA]
    assert not any(path.name.startswith(".part-") for path in store.folder.rglob("*"))


def test_a_damaged_base_is_removed_and_the_file_asked_for(store):
    receive(store)
    store.path(SHA, NAME).write_bytes(DATA.replace(b"w", b"W"))

    why, _ = receive_recipe(store)

    assert why == "the base was damaged on the host's disk and removed"
    assert store.names() == []


def test_a_base_that_cannot_be_opened_is_none(store):
    receive(store)
    wheel = store.path(SHA, NAME)
    wheel.unlink()
    wheel.symlink_to("nothing")

    assert receive_recipe(store) == ("the base cannot be read: No such file or directory", b"")


def test_a_recipe_makes_nothing_outside_of_the_store(store):
    receive(store)
    store.path(SHA, NAME)

    assert receive_recipe(store, name="../../evil") == ("", b"")

    with pytest.raises(Failure, match="not an artifact"):
        store.path(NEW_SHA, "../../evil")
    assert not (store.layout.root.parent / "evil").exists()


def test_a_recipe_that_is_cut_short_ends_the_link(store):
    receive(store)
    store.path(SHA, NAME)
    source = io.BufferedReader(io.BytesIO(RECIPE[:20]))
    header = {"blob": NEW_SHA, "size": len(RECIPE), "name": NAME, "base": SHA, "whole": len(NEW)}

    with pytest.raises(EOFError):
        store.receive(header, BlobReader(source, len(RECIPE), lambda: None))

    assert store.names() == [SHA]


def test_a_file_that_is_wanted_is_waited_for(store):
    lost, waited = threading.Event(), []
    receive_recipe(store)

    waiting = threading.Thread(target=lambda: waited.append(store.wait(lost)))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    receive(store, data=NEW, sha=NEW_SHA)
    waiting.join(5)

    assert waited == [None]
    assert store.path(NEW_SHA, NAME).read_bytes() == NEW


def test_nobody_waits_when_all_has_come(store):
    receive(store)

    store.wait(threading.Event())


def test_a_lost_link_ends_the_waiting(store):
    receive_recipe(store)
    lost = threading.Event()
    threading.Timer(0.1, lost.set).start()

    with pytest.raises(Failure, match="the link was lost before all files had come") as caught:
        store.wait(lost)

    assert caught.value.type == "Aborted"


def test_a_file_that_was_damaged_on_the_disk_is_missed_and_comes_again(store):
    receive(store)
    store.path(SHA, NAME).write_bytes(DATA[:-1])
    fresh = Store(store.layout)

    why = fresh.miss(SHA, NAME)
    receive(fresh)
    fresh.wait(threading.Event())

    assert why == f"{NAME} was damaged on the host's disk and removed"
    assert fresh.path(SHA, NAME).read_bytes() == DATA


def test_what_is_whole_is_read_once_and_not_missed(store):
    receive(store)
    store.path(SHA, NAME)
    fresh = Store(store.layout)

    assert fresh.miss(SHA, NAME) == ""
    fresh.path(SHA, NAME).write_bytes(b"")

    assert fresh.path(SHA, NAME).exists()  # it was found whole in this session already


def test_what_arrives_or_was_refused_is_not_missed(store):
    receive(store)
    receive(store, sha="0" * 64, name="not a name")

    assert store.miss(SHA, NAME) == ""
    assert store.miss("0" * 64, "not a name") == ""
