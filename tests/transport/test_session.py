"""Sessions with the real host program, in a folder of this machine."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import PurePosixPath

import pytest

from django_deploy.bundle.delta import Delta
from django_deploy.exceptions import ConnectionLost, RequestFailed
from django_deploy.host.delta import COPY, INSERT, INSTRUCTION
from django_deploy.host.protocol import ProtocolError
from django_deploy.target import Host, Target
from django_deploy.transport.session import open_session
from django_deploy.transport.ssh import no_prompts

OLD = os.urandom(3_000_000)
NEW = OLD[:1_000_000] + b"changed" + OLD[1_000_000:]
NAME = "shop-1.0-py3-none-any.whl"


def wheel():
    """A tool that a host can unpack."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pip/__main__.py", "")
    return file.getvalue()


TOOL = wheel()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Site:
    """A folder that is deployed to, and what its host program reports."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "site"
        self.events = []
        self.sent = self.releases = 0
        self.open()

    def open(self):
        target = Target("demo", (Host("local"),), PurePosixPath(self.root), settings_module="shop.settings")
        self.session = open_session(target.hosts[0], target, report=self.events.append, prompts=no_prompts)
        self.session.send_file(*self.file(TOOL))
        self.sent = 0

    def reopen(self):
        self.session.close()
        assert self.session.wait_for_end(20)
        self.open()

    def progress(self, size):
        self.sent += size

    def file(self, data):
        path = self.folder / sha256(data)
        path.write_bytes(data)
        return path, sha256(data), NAME, self.progress

    def delta(self, base=OLD):
        recipe = self.folder / "recipe"
        steps = ((COPY, 0, 1_000_000, b""), (INSERT, 0, 7, b"changed"), (COPY, 1_000_000, 2_000_000, b""))
        recipe.write_bytes(zlib.compress(b"".join(INSTRUCTION.pack(*step[:3]) + step[3] for step in steps)))
        return Delta(sha256(base), recipe, recipe.stat().st_size)

    def stored(self, data):
        return self.root / ".deploy" / "store" / sha256(data) / NAME

    def warnings(self):
        return [event["message"] for event in self.events if event.kind == "warning"]

    @contextmanager
    def asleep(self):
        """The host program hears and does nothing meanwhile."""
        pid = self.session._channel._process.pid
        os.kill(pid, signal.SIGSTOP)
        yield
        os.kill(pid, signal.SIGCONT)

    def prepare(self, data):
        """Ask for a release with that file; gives why there is none: with the file there, Python is not."""
        holder = {"by": "test", "since": 0.0, "target": "demo"}
        self.releases += 1
        self.session.request("lock", holder=holder, wait=0)
        begun = self.session.request("begin", expect_live=None)
        prepared = self.session.request(
            "prepare",
            release={
                "id": f"20261124T03000{self.releases}Z-0000000",
                "settings_module": "shop.settings",
                "processes": [],
                "manager": "supervisor",
                "restart": [],
                "health": None,
            },
            artifacts=[{"sha256": sha256(data), "name": NAME}],
            lock="",
            installer={"name": "pip", "index_url": None, "vendored": False, "offline_first": False},
            tools={"pip": {"sha256": sha256(TOOL), "name": NAME}},
            python="no-python",
            distributions={},
            environment={},
        )
        assert begun.result(timeout=20) == {"live": None}
        with pytest.raises(RequestFailed) as caught:
            prepared.result(timeout=20)
        return caught.value.message


#: Why ``prepare`` fails when the file is in the store.
NOTHING_ELSE = "cannot run no-python: No such file or directory"


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.session.close()
    assert site.session.wait_for_end(20)


def test_a_file_is_sent_as_its_difference(site):
    site.session.send_file(*site.file(OLD))
    assert site.prepare(OLD) == NOTHING_ELSE
    site.sent = 0

    delta = site.delta()
    site.session.send_delta(delta, *site.file(NEW))

    assert site.prepare(NEW) == NOTHING_ELSE
    assert site.stored(NEW).read_bytes() == NEW
    assert site.sent == delta.size < 100
    assert site.warnings() == []


def test_without_its_base_it_is_sent_as_a_whole(site):
    """Requests that were sent already wait for it."""
    delta = site.delta()

    site.session.send_delta(delta, *site.file(NEW))

    assert site.prepare(NEW) == NOTHING_ELSE
    assert site.stored(NEW).read_bytes() == NEW
    assert site.sent == delta.size + len(NEW)
    assert site.warnings() == [
        "A wheel is sent as a whole, as its difference could not be used: the base is not in the store."
    ]


def test_with_a_damaged_base_it_is_sent_as_a_whole(site):
    site.session.send_file(*site.file(OLD))
    assert site.prepare(OLD) == NOTHING_ELSE
    site.stored(OLD).write_bytes(OLD[:-1] + b"!")

    site.session.send_delta(site.delta(), *site.file(NEW))

    assert site.prepare(NEW) == NOTHING_ELSE
    assert site.stored(NEW).read_bytes() == NEW
    assert site.warnings() == [
        "A wheel is sent as a whole, as its difference could not be used: "
        "the base was damaged on the host's disk and removed."
    ]
    assert not site.stored(OLD).exists()


def test_a_damaged_recipe_ends_as_well(site):
    site.session.send_file(*site.file(OLD))
    assert site.prepare(OLD) == NOTHING_ELSE
    delta = site.delta()
    delta.path.write_bytes(os.urandom(delta.size))

    site.session.send_delta(delta, *site.file(NEW))

    assert site.prepare(NEW) == NOTHING_ELSE
    assert site.stored(NEW).read_bytes() == NEW


def test_a_whole_file_that_has_gone_ends_the_session(site):
    """The host would wait for it for ever."""
    file = site.file(NEW)
    with site.asleep():
        site.session.send_delta(site.delta(), *file)
        file[0].unlink()

    assert site.session.wait_for_end(20)
    assert isinstance(site.session.end, ConnectionLost)


def test_what_is_damaged_in_the_store_is_sent_again(site):
    site.session.send_file(*site.file(OLD))
    assert site.prepare(OLD) == NOTHING_ELSE
    site.stored(OLD).write_bytes(OLD[:-1])
    site.reopen()

    site.session.offer_file(*site.file(OLD))

    assert site.prepare(OLD) == NOTHING_ELSE
    assert site.stored(OLD).read_bytes() == OLD
    assert site.sent == len(OLD)
    assert site.warnings() == [f"{NAME} is sent again: {NAME} was damaged on the host's disk and removed."]


def test_what_is_damaged_before_it_is_used_is_sent_again(site):
    site.session.send_file(*site.file(OLD))
    site.session.request("history", lines=1).result(20)  # by then it has been written
    [part] = site.stored(OLD).parent.glob(".part-*")
    part.write_bytes(OLD[:-1])

    assert site.prepare(OLD) == NOTHING_ELSE
    assert site.stored(OLD).read_bytes() == OLD
    assert site.warnings() == [f"{NAME} is sent again: {NAME} arrived damaged."]


def test_a_host_cannot_ask_for_other_files(site):
    with site.asleep(), pytest.raises(ProtocolError, match="it asks for a file that was not offered"):
        site.session._take({"wanted": sha256(OLD), "why": "curiosity"}, 100)

    assert site.warnings() == []
