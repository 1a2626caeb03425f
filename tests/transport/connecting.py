"""What tests of connections share: a person who answers, and ways to connect and to fail."""

from __future__ import annotations

import shutil
import socket

import pytest

from django_deploy.transport.ssh import connect
from tests.transport.servers import KINDS

needs_openssh_client = pytest.mark.skipif(not shutil.which("ssh"), reason="OpenSSH's client is not installed")
needs_openssh_server = pytest.mark.skipif("openssh" not in KINDS, reason="OpenSSH's server is not installed")


class Person:
    """Answers every question, and keeps the questions."""

    def __init__(self, *, accepts=False, passphrase=None, password=None):
        self.accepts = accepts
        self.secret = password
        self.answer = passphrase
        self.questions = []

    def accept_host_key(self, host, key_type, fingerprint):
        self.questions.append((host, key_type, fingerprint))
        return self.accepts

    def passphrase(self, path):
        self.questions.append(path)
        return self.answer

    def password(self, login):
        self.questions.append(login)
        return self.secret


def read_all(channel):
    return b"".join(iter(lambda: channel.receive(1 << 16), b""))


def run(connection, command):
    """Exit status, output and error text of a command."""
    channel = connection.execute(command)
    output = read_all(channel)
    status, errors = channel.finish()
    return status, output.decode(), errors


def failure(kind, client, host=None, **options):
    with pytest.raises(kind) as caught:
        connect(host or client.host, ssh_config=client.config, **options).close()
    assert type(caught.value) is kind
    return caught.value


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
