from __future__ import annotations

import os
import select
import subprocess
import sys
import threading

import pytest

from django_deploy.host import protocol
from django_deploy.host.link import Link


class Wires:
    """A link, and the deployer's ends of its two pipes."""

    def __init__(self, silence=60.0):
        source, self.deployer = os.pipe()
        listener, sink = os.pipe()
        self.losses = []
        self.link = Link(source, sink, self.refuse, 0.02, silence, lambda: self.losses.append(1))
        self.listener = os.fdopen(listener, "rb", buffering=0)
        for work in (self.link._read, self.link._watch):
            threading.Thread(target=work, daemon=True).start()
        self.link._writer.start()

    def refuse(self, header, blob):
        raise AssertionError("no files here")

    def say(self, message):
        os.write(self.deployer, protocol.encode(message))

    def hear(self):
        assert select.select([self.listener], [], [], 5)[0], "nothing comes any more"
        return protocol.decode(self.listener.readline())


@pytest.fixture
def wires():
    return Wires()


def test_an_abort_does_not_end_the_pulse(wires):
    """What is running may take its time; a deployer that waits for it must not take us for dead."""
    wires.say({"abort": True})
    assert wires.link.lost.wait(20)
    wires.link.report("reverted")
    while "event" not in wires.hear():
        pass

    assert wires.hear() == wires.hear() == {"heartbeat": True}


def test_a_loss_is_told_once(wires):
    wires.say({"abort": True})
    assert wires.link.lost.wait(20)
    wires.link.lose("signal 15")

    assert wires.losses == [1]
    assert wires.link.reason == "abort"


def test_silence_is_a_loss():
    wires = Wires(silence=0.1)

    assert wires.link.lost.wait(20)
    assert wires.link.reason == "no sign of the deployer for 0 s"


def hear_message(wires):
    while (message := wires.hear()) == {"heartbeat": True}:
        pass
    return message


def test_secrets_of_the_host_are_masked_in_what_programs_wrote_and_nowhere_else(wires):
    wires.link.hide(["worker", 'a "quoted" secret'])

    wires.link.report("log.line", process="worker", line='it is a "quoted" secret of the worker')
    line = hear_message(wires)
    wires.link.send({"id": 1, "error": {"message": "worker", "type": "X", "details": {"lines": ["worker"]}}})
    error = hear_message(wires)

    assert (line["process"], line["line"]) == ("worker", "it is **** of the ****")
    assert error["error"] == {"message": "****", "type": "X", "details": {"lines": ["****"]}}


#: A program that is told to end while it has something in hand that an end needs as well.
BUSY = """
import os, signal, sys
from django_deploy.host.link import Link
link = Link(os.pipe()[0], os.pipe()[1], None, 5.0, 15.0, lambda: None)
link.start()
with link._requests.mutex, link._outgoing.mutex, link.lost._cond:
    os.kill(os.getpid(), signal.SIGHUP)
assert link.lost.wait(20)
print(link.next_request(), link.reason)
"""


def test_a_signal_is_a_loss_whatever_it_interrupts():
    done = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, text=True, timeout=60)

    assert (done.stdout, done.stderr) == ("None signal 1\n", "")
