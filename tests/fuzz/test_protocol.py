"""Both sides of the link, fed with what is no protocol: a message, and never another exception or a hang."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from pathlib import PurePosixPath
from unicodedata import category

from hypothesis import strategies as st

from django_deploy import status as statuses
from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.room import NO_ROOM
from django_deploy.exceptions import DeployError
from django_deploy.host.__main__ import REQUESTS, Program
from django_deploy.host.layout import Layout
from django_deploy.host.link import Link
from django_deploy.host.protocol import HOST_EVENTS, Event, ProtocolError, decode, encode, ignore
from django_deploy.host.store import Store
from django_deploy.management.commands.deploy_status import Command
from django_deploy.plan.fitness import tools_needed
from django_deploy.plan.making import Shipment, make_plan
from django_deploy.plan.releases import choose_release
from django_deploy.reporters.board import Board
from django_deploy.reporters.plain import JsonReporter, LineReporter
from django_deploy.reporters.secrets import Secrets
from django_deploy.target import Host
from django_deploy.transport.session import HostSession
from tests.fuzz.strategies import as_json, damaged, lines, values
from tests.lies.liar import FACTS, RELEASE
from tests.plan.test_making import MANIFEST, NOW, TARGET

HOST = Host("web1")
SHA = "a" * 64


def test_decoding(fuzz):
    def check(line):
        try:
            message = decode(line)
        except ProtocolError as error:
            assert str(error).isascii() and len(str(error)) < 1000
        else:
            assert decode(encode(message)) == message

    fuzz(check, lines)


def test_events_are_shown(fuzz):
    """Whatever is decoded, reporters can show, and it does nothing to a terminal."""

    def check(line, kind):
        try:
            fields = decode(line)
        except ProtocolError:
            return
        event = Event(kind, "web1", 1.0, fields)
        printed, machine = io.StringIO(), io.StringIO()
        LineReporter(printed, Secrets(), 2)(event)
        JsonReporter(machine, Secrets())(event)
        Board().take(Secrets().clean_event(event), 1.0)
        assert not {"Cc", "Cs", "Co", "Cn"} & set(map(category, printed.getvalue().replace("\n", "")))
        assert machine.getvalue().isascii()

    fuzz(check, lines, st.sampled_from(sorted(HOST_EVENTS)))


class Bytes:
    """A channel on which a host says what it was given, in pieces."""

    def __init__(self, pieces):
        self.pieces = [*pieces]

    def send(self, data):
        pass

    def receive(self, size):
        return self.pieces.pop(0) if self.pieces else b""

    def finish(self):
        return 0, ""

    def close(self):
        pass


def session_of(*pieces):
    """A session that hears these pieces; nothing but a ``DeployError`` comes of it."""
    errors = []
    hook, threading.excepthook = threading.excepthook, errors.append
    session = HostSession(HOST, Bytes([piece for piece in pieces if piece]), None, ignore)
    try:
        session.start()
    except DeployError as error:
        assert len(str(error)) < 20_000
    finally:
        assert session.wait_for_end(20)
        threading.excepthook = hook
    assert errors == []
    return session


def test_a_session_hears_anything(fuzz):
    fuzz(lambda pieces: session_of(*pieces), st.lists(lines | st.just(b"\n"), max_size=6))


RECORD = {
    "project": "shop",
    "version": "1.0",
    "revision": {"vcs": "git", "id": "3f9c2a1", "branch": "main", "dirty": False},
    "created": 1.0,
    "created_by": "ann@laptop",
    "fingerprint": SHA,
    "distributions": {"shop": "1.0"},
    "wheels": [{"name": "shop", "sha256": SHA}],
    "manager": "systemd",
    "processes": [{"name": "web", "command": ["gunicorn"], "singleton": False, "stop_timeout": 30.0}],
}
TOLD = {
    **FACTS,
    "live": RELEASE["id"],
    "current": RELEASE["id"],
    "releases": [{**RELEASE, **RECORD}],
    "store": [SHA],
    "processes": [{"name": "web", "release": RELEASE["id"], "state": "running", "since": 1.0, "pid": 7}],
    "lock": {"by": "bob@laptop", "since": 1.0, "phase": "preparing", "target": "demo"},
    "transaction": {"release": RELEASE["id"], "phase": "switch"},
}


def test_facts_that_are_accepted_are_understood(fuzz):
    def check(facts):
        session = session_of(as_json({"id": 0, "result": facts}) + b"\n")
        if not session.facts:
            return
        status = statuses._describe(HOST, session.facts, RELEASE["id"], {RELEASE["id"]})
        assert all(line.replace("\n", "").isprintable() for line in Command().describe(status, NOW))
        for understand in (lambda facts: choose_release([facts], None), lambda f: plan(f).lines()):
            try:
                understand(session.facts)
            except DeployError as error:
                str(error)

    fuzz(check, damaged(TOLD))


def plan(facts):
    tools_needed(TARGET, facts)
    bundle = HostBundle(MANIFEST.pins, MANIFEST.wheels)
    shipments = {TARGET.hosts[0]: Shipment(facts, bundle, {}, NO_ROOM)}
    inventory = {("django", "5.2.19"): ("py3-none-any", "1" * 32)}
    return make_plan(TARGET, MANIFEST, shipments, inventory=inventory, now=NOW)


def test_answers_to_requests(fuzz):
    """A reply to what was asked, or another one."""
    hello = json.dumps({"id": 0, "result": FACTS}).encode() + b"\n"

    def check(message, more):
        channel = Bytes([hello, b"", as_json(message) + b"\n", more])
        channel.pieces[1] = json.dumps({"heartbeat": True}).encode() + b"\n"
        asked = threading.Event()
        receive = channel.receive
        channel.receive = lambda size: (len(channel.pieces) == 2 and asked.wait(20), receive(size))[1]
        session = HostSession(HOST, channel, None, ignore)
        session.start()
        reply = session.request("step")
        asked.set()
        try:
            result = reply.result(20)
        except DeployError as error:
            str(error)
        else:
            [str(name) for name in result.get("result", {}).get("applied", ())]
        assert session.wait_for_end(20)

    reply = {"id": 1, "result": {"checked": ["x"], "result": {"applied": ["shop.0001"]}}}
    details = {"lines": ["x"], "applied": ["shop.0001"]}
    error = {"type": "StepFailed", "message": "no", "remedy": "", "details": details, "reverted": True}
    fuzz(check, damaged(reply) | damaged({"id": 1, "error": error}), lines)


# The host's side


BLOB = {"blob": SHA, "size": 5, "name": "shop-1.0-py3-none-any.whl", "base": SHA, "whole": 5}
REQUEST = {"id": 1, "request": "hold", "seconds": 0.0}


def heard(data, folder):
    """A link that has read all of ``data``, which fits into a pipe; the requests that it passed on."""
    source, write = os.pipe()
    os.write(write, data[:65_536])
    os.close(write)
    store = Store(Layout(str(folder)))
    link = Link(source, 1, lambda header, blob: store.receive(header, blob), 5.0, 15.0, lambda: None)
    started = time.monotonic()
    link._read()
    link._source.close()
    os.close(source)
    assert link.lost.is_set() and link.reason
    assert time.monotonic() - started < 10
    passed = iter(lambda: link._requests.get() if link._requests.qsize() else None, None)
    return [*passed]


def test_a_link_hears_anything(fuzz, tmp_path):
    def check(pieces):
        for request in heard(b"\n".join(pieces), tmp_path / "site"):
            assert type(request["id"]) is int and type(request["request"]) is str
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and ".part-" not in path.name]

    messages = damaged(BLOB).map(as_json) | damaged(REQUEST).map(as_json)
    fuzz(check, st.lists(messages | lines, max_size=6))


def test_requests_are_answered(fuzz, tmp_path):
    """With a result or an error; whatever they say, nothing is written but in ROOT."""
    hello = {
        "hello": 1,
        "root": str(tmp_path / "site"),
        "python": "python3",
        "heartbeat": 5.0,
        "silence": 15.0,
    }
    program = Program(hello)
    sent = []
    program._link.send = sent.append

    def check(message, name):
        sent.clear()
        program._answer({**message, "id": 3, "request": name})
        answers = [message for message in sent if "id" in message]
        assert [answer["id"] for answer in answers] == [3]
        encode(answers[0])
        program._lock.release()
        program._transaction = None
        assert {path.name for path in tmp_path.iterdir()} <= {"site"}

    fields = {
        "release": {"id": RELEASE["id"], "settings_module": "shop.settings"},
        "holder": {"by": "ann@laptop", "since": 1.0},
        "wait": 0.0,
        "expect_live": None,
        "sha256": SHA,
        "file": "shop-1.0-py3-none-any.whl",
        "offset": 0,
        "seconds": 0.0,
        "keep": 5,
        "by": "ann@laptop",
        "action": "deploy",
        "left_out": [],
        "commands": ["migrate"],
        "command": ["migrate"],
        "isolated": False,
        "timeout": None,
        "requires_app": "",
    }
    bounded = damaged(fields, junk=values.filter(lambda value: type(value) not in (int, float) or value < 1))
    fuzz(check, bounded, st.sampled_from([*sorted(REQUESTS), "exec", ""]))
    assert PurePosixPath(program._layout.root) == tmp_path / "site"
