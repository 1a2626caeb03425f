"""Sessions with hosts that lie: each ends soon, with a message, and with nothing else."""

from __future__ import annotations

import hashlib
import sys
import threading
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pytest

from django_deploy.exceptions import ConnectionFailed, HostError
from django_deploy.host.protocol import ignore
from django_deploy.reporters.text import printable
from django_deploy.target import Host, Target
from django_deploy.transport import fetching, local, program, session
from django_deploy.transport.fetching import fetch_file, fetch_lock
from django_deploy.transport.session import HostSession, open_session
from django_deploy.transport.ssh import connect, no_prompts
from tests.lies import liar
from tests.transport.connecting import needs_openssh_server
from tests.transport.servers import make_key, public_line

LIAR = Path(liar.__file__)
TARGET = Target("demo", (Host("local"),), PurePosixPath("/nowhere"), settings_module="shop.settings")


@pytest.fixture
def lying(monkeypatch):
    """The local host's program is the liar; gives what opens a session with it."""
    monkeypatch.setattr(local, "LEAVE_TIMEOUT", 0.5)
    sessions = []

    def open_lying(lie):
        monkeypatch.setattr(program, "command", lambda hello: [sys.executable, "-S", str(LIAR), lie])
        sessions.append(open_session(TARGET.hosts[0], TARGET, report=ignore, prompts=no_prompts))
        return sessions[-1]

    with no_other_errors():
        yield open_lying
        for opened in sessions:
            opened.close()


@contextmanager
def no_other_errors():
    """No thread ends with a traceback meanwhile."""
    errors = []
    hook, threading.excepthook = threading.excepthook, errors.append
    try:
        yield
    finally:
        threading.excepthook = hook
    assert errors == []


ODD = "the host program did not start (the host program was not understood: {}"
HELLOS = {
    "greets": "not a message: b'Welcome to web1 \\x1b]0;owned",
    "talks binary": "not a message: b'\\x00\\x01\\x02",
    "never ends a line": "a message of more than 4 MB",
    "only ends lines": "not a message: b''",
    "goes deep": "not a message: b'[[[[",
    "goes deep in an object": 'a message of more than 32 levels: b\'{"event":{',
    "counts high": 'not a message: b\'{"id":999',
    "is not a number": 'not a message: b\'{"id":0,"at":NaN}\'',
    "is infinite": 'not a message: b\'{"id":0,"at":1e999}\'',
    "invents a message": "an unknown message with 'exec\\x1b]0;owned",
    "answers what nobody asked": "a reply to 7, which nobody asked",
    "answers to a list": "a reply to a list of 1 items, which nobody asked",
    "answers with true": "a reply to True, which nobody asked",
    "answers nothing": "reply 0 must have 'result'",
    "answers a text": "reply 0.result must be an object, not 'fine'",
    "fails without words": "error 0 must be an object, not 'no'",
    "fails in a list": "error 0.type must be a text, not a list of 0 items",
    "invents an event": "an unknown event 'own\\x1b]0;owned",
    "has no time": "event must have 'at'",
    "reports the deployer's own events": "an unknown event 'rollout.finished'",
    "has an odd release": "reply 0.result.releases[0].id must be a text like ",
    "has a release of no day": "reply 0.result.releases[0].id must be a text like ",
    "has an odd state": "reply 0.result.releases[0].state must be a text like preparing|ready|live|",
    "created a text": "reply 0.result.releases[0].created must be a number, not 'today'",
    "has an old glibc": "reply 0.result.python.glibc must be a text like ",
    "has a new python": "reply 0.result.python.version[1] must be a whole number from 0 to 999, not 1000",
    "has a short python": "reply 0.result.python.version must be a list of 3 items, not a list of 1 items",
    "is an odd machine": "reply 0.result.python.machine must be a text like ",
    "stores what is no hash": "reply 0.result.store[0] must be a text like [0-9a-f]{64}, not '../../../",
    "has processes of no name": "reply 0.result.processes[0] must have 'name'",
    "has no facts": "reply 0.result must have 'user'",
}


def test_every_lie_is_told():
    assert {*HELLOS, "says nothing", "beats and never answers"} == set(liar.HELLOS)


@pytest.mark.parametrize("lie", HELLOS)
def test_a_host_that_lies_from_the_start(lying, lie):
    with pytest.raises(ConnectionFailed) as caught:
        lying(lie)

    assert caught.value.message.startswith(ODD.format(HELLOS[lie]))
    assert len(str(caught.value)) < 1000
    assert printable(caught.value.message, 10_000) == caught.value.message


def test_a_host_that_beats_and_never_answers(lying, monkeypatch):
    monkeypatch.setattr(session, "HELLO_TIMEOUT", 0.5)

    with pytest.raises(ConnectionFailed) as caught:
        lying("beats and never answers")

    assert caught.value.message == "the host program has not answered within 0.5 s"


def test_a_host_that_falls_silent(lying, monkeypatch):
    monkeypatch.setattr(session, "LOOK", 0.02)
    monkeypatch.setattr(session.protocol, "SILENCE", 0.4)

    with pytest.raises(ConnectionFailed) as caught:
        lying("says nothing")

    assert caught.value.message == (
        "the host program did not start"
        " (the link to the host broke: the host program has been silent for 15 s, exit status 0)"
    )


def test_an_error_is_shortened(lying):
    with pytest.raises(HostError) as caught:
        lying("fails at length").request("prepare").result(30)

    assert len(caught.value.message) == 4000
    assert caught.value.lines == tuple(liar.LINES[-200:])


@pytest.mark.parametrize(
    ("lie", "what"),
    [
        ("gives other bytes", "shop.whl is damaged there."),
        ("gives too much", "shop.whl is damaged there."),
        ("gives nothing", "shop.whl is damaged there."),
        ("gives what is no base64", "shop.whl is damaged there."),
        ("gives a number", "shop.whl is damaged there."),
        ("beats instead", "no more of shop.whl has arrived for 0.5 s."),
    ],
)
def test_files_that_are_others(lying, tmp_path, monkeypatch, lie, what):
    monkeypatch.setattr(fetching, "PIECE_TIMEOUT", 0.5)
    place = tmp_path / "cache" / "shop.whl"
    wanted = hashlib.sha256(b"x" * (1 << 20)).hexdigest()

    with pytest.raises(HostError) as caught:
        fetch_file(lying(lie), wanted, "shop.whl", 1 << 20, place)

    assert caught.value.message == what
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("lie", ["gives an endless lock", "gives a number"])
def test_locks_that_are_none(lying, lie):
    with pytest.raises(HostError) as caught:
        fetch_lock(lying(lie), liar.RELEASE["id"])

    assert caught.value.message == f"the lock of {liar.RELEASE['id']} is damaged there."


@needs_openssh_server
@pytest.mark.parametrize("lie", ["never ends a line", "answers what nobody asked", "greets"])
def test_over_ssh(ssh_server, tmp_path, lie):
    """The same over the network: the key that logs in is only good for the liar."""
    key = make_key(tmp_path / "liar")
    command = f"{sys.executable} -S {LIAR} '{lie}'"
    ssh_server.server.authorize(f'command="{command}" {public_line(key)}')
    host = Host(ssh_server.address, ssh_server.user, ssh_server.port, key_file=str(tmp_path / "liar"))

    with no_other_errors():
        connection = connect(host, prompts=no_prompts, ssh_config=ssh_server.config)
        lying = HostSession(host, connection.execute("true"), connection, ignore)
        with pytest.raises(ConnectionFailed) as caught:
            lying.start()

    assert caught.value.message.startswith(ODD.format(HELLOS[lie]))


@needs_openssh_server
def test_endless_errors_over_ssh(ssh_server, monkeypatch):
    """Standard error alone is no sign of life."""
    monkeypatch.setattr(session, "HELLO_TIMEOUT", 1.0)
    connection = connect(ssh_server.host, prompts=no_prompts, ssh_config=ssh_server.config)

    with no_other_errors(), pytest.raises(ConnectionFailed) as caught:
        HostSession(ssh_server.host, connection.execute("exec yes >&2"), connection, ignore).start()

    assert caught.value.message == "the host program has not answered within 1 s"
