from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_deploy.exceptions import ConnectionFailed
from django_deploy.target import Host
from tests.transport.connecting import (
    needs_openssh_server,
    read_all,
    run,
)


def test_output_errors_and_status(each_ssh_server, opened):
    result = run(opened(each_ssh_server), "echo out; echo err >&2; exit 3")

    assert result == (3, "out\n", "err\n")


def test_one_connection_runs_several(each_ssh_server, opened):
    connection = opened(each_ssh_server)

    assert [run(connection, f"exit {status}")[0] for status in (0, 1, 127)] == [0, 1, 127]


def test_a_program_that_a_signal_kills_has_no_status(each_ssh_server, opened):
    status, _, _ = run(opened(each_ssh_server), "kill -9 $$")

    assert status in (None, 256 - 9)  # asyncssh's server gives the shell's own


def test_the_longest_command(each_ssh_server, opened):
    word = "x" * 100_000

    assert run(opened(each_ssh_server), f"echo {word} | wc -c") == (0, f"{len(word) + 1}\n", "")


def test_ten_megabytes_both_ways(each_ssh_server, opened):
    data = os.urandom(10 << 20)
    channel = opened(each_ssh_server).execute(f"head -c {len(data)}")

    sender = threading.Thread(target=channel.send, args=(memoryview(data),))
    sender.start()
    received = read_all(channel)
    sender.join()

    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
    assert channel.finish() == (0, "")


def test_the_end_of_much_error_text_is_kept(each_ssh_server, opened):
    command = "head -c 3000000 /dev/zero >&2; printf '%065536d' 0 >&2; echo done"

    result = run(opened(each_ssh_server), command)

    assert result == (0, "done\n", "0" * 65536)


def test_a_program_that_reads_late_gets_all(each_ssh_server, opened):
    data = bytes(3 << 20)
    channel = opened(each_ssh_server).execute(f"sleep 1.3; head -c {len(data)} | wc -c")

    channel.send(data)

    assert read_all(channel) == b"%d\n" % len(data)


def test_sending_to_a_program_that_has_gone(each_ssh_server, opened):
    channel = opened(each_ssh_server).execute("exit 0")
    read_all(channel)

    with pytest.raises(OSError, match="the channel is closed"):
        channel.send(bytes(64 << 20))


def test_the_address(each_ssh_server, opened):
    assert opened(each_ssh_server).address == f"127.0.0.1:{each_ssh_server.port}"


#: Leaves a connection and a channel open; called with address, user, port and configuration.
FORGETFUL = """
import sys
from pathlib import Path
from django_deploy.target import Host
from django_deploy.transport.ssh import connect
address, user, port, config = sys.argv[1:]
connect(Host(address, user, int(port)), ssh_config=Path(config)).execute("cat")
"""


class TestEnds:
    """However a link ends: whoever waits for it is released."""

    @pytest.fixture
    def waiting(self):
        """Runs a function in a thread; gives what it returned or raised, once it has ended."""
        pool = ThreadPoolExecutor(4)
        yield pool.submit
        pool.shutdown()

    @pytest.mark.parametrize("what", ["channel", "connection"])
    def test_close_releases_who_receives(self, each_ssh_server, opened, waiting, what):
        connection = opened(each_ssh_server)
        channel = connection.execute("cat")
        received = waiting(channel.receive, 100)

        {"channel": channel, "connection": connection}[what].close()

        assert received.result(timeout=10) == b""

    @pytest.mark.parametrize("what", ["channel", "connection"])
    def test_close_releases_who_sends(self, each_ssh_server, opened, waiting, what):
        connection = opened(each_ssh_server)
        channel = connection.execute("sleep 60")
        sent = waiting(channel.send, bytes(64 << 20))
        threading.Event().wait(0.3)

        {"channel": channel, "connection": connection}[what].close()

        with pytest.raises(OSError, match="the channel is closed"):
            sent.result(timeout=10)

    def test_a_link_that_is_cut_is_no_end_of_the_output(self, ssh_server, relay, opened):
        ssh_server.configure(f"HostKeyAlias [127.0.0.1]:{ssh_server.port}")
        connection = opened(ssh_server, Host("127.0.0.1", ssh_server.user, relay.port))
        channel = connection.execute("cat")

        relay.close()

        with pytest.raises(ConnectionError, match=f"^127.0.0.1:{relay.port} cut the connection$"):
            channel.receive(100)
        with pytest.raises(ConnectionError):
            channel.send(bytes(64 << 20))
        assert channel.finish() == (None, "")

    @pytest.mark.slow
    def test_a_relay_that_forwards_nothing_more(self, ssh_server, relay, opened, waiting):
        ssh_server.configure(f"HostKeyAlias [127.0.0.1]:{ssh_server.port}")
        host = Host("127.0.0.1", ssh_server.user, relay.port)
        receiving, sending, starting = (opened(ssh_server, host) for _ in range(3))
        receiver, sender = receiving.execute("cat"), sending.execute("cat >/dev/null")

        relay.silence()
        received = waiting(receiver.receive, 100)
        sent = waiting(sender.send, bytes(256 << 20))
        started = waiting(starting.execute, "true")

        with pytest.raises(ConnectionFailed, match="does not run commands: Timeout opening channel"):
            started.result(timeout=20)
        for call in (received, sent):
            with pytest.raises(ConnectionError, match="has been silent for 15 s"):
                call.result(timeout=20)

    @pytest.mark.slow
    @needs_openssh_server
    def test_a_server_that_is_stopped(self, ssh_server, opened, waiting):
        connection = opened(ssh_server)
        _, pid, _ = run(connection, "echo $PPID")
        channel = connection.execute("cat")

        os.kill(int(pid), signal.SIGSTOP)
        try:
            with pytest.raises(ConnectionError, match="has been silent for 15 s"):
                waiting(channel.receive, 100).result(timeout=20)
        finally:
            os.kill(int(pid), signal.SIGCONT)

    def test_a_quiet_peer_that_lives_is_kept(self, each_ssh_server, opened):
        connection = opened(each_ssh_server)

        connection.ask()

        assert run(connection, "echo hello") == (0, "hello\n", "")

    def test_the_interpreter_exits_with_connections_open(self, ssh_server):
        arguments = ["127.0.0.1", ssh_server.user, str(ssh_server.port), str(ssh_server.config)]

        result = subprocess.run([sys.executable, "-c", FORGETFUL, *arguments], timeout=9, capture_output=True)

        assert (result.returncode, result.stderr) == (0, b"")
