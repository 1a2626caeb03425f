from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_deploy.target import Host
from django_deploy.transport.ssh import connect


def run(client, command, **options):
    """Exit status, output and error text of a command on the server."""
    connection = connect(client.host, ssh_config=client.config, **options)
    try:
        channel = connection.execute(command)
        output = b"".join(iter(lambda: channel.receive(1 << 16), b""))
        status, errors = channel.finish()
        return status, output.decode(), errors
    finally:
        connection.close()


def test_a_command_runs(each_ssh_server):
    result = run(each_ssh_server, "echo out; echo err >&2; exit 3")

    assert result == (3, "out\n", "err\n")
