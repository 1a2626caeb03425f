from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_deploy.exceptions import AuthenticationFailed, ConnectionFailed, HostKeyError, HostUnreachable
from django_deploy.target import Host
from django_deploy.transport import ssh
from django_deploy.transport.ssh import connect
from tests.transport.connecting import (
    closed_port,
    failure,
    needs_openssh_client,
    needs_openssh_server,
    run,
)
from tests.transport.servers import SSHD, make_key

#: A program for ProxyCommand, called with host and port.
RELAY = (
    "import os, socket, sys, threading; s = socket.create_connection(sys.argv[1:]); "
    "take = lambda: [s.sendall(d) for d in iter(lambda: os.read(0, 9999), b'')]; "
    "threading.Thread(target=take, daemon=True).start(); "
    "[os.write(1, d) for d in iter(lambda: s.recv(9999), b'')]"
)


def test_nobody_listens(ssh_server, impatient):
    port = closed_port()

    error = failure(HostUnreachable, ssh_server, Host("127.0.0.1", port=port))

    assert error.message == f"127.0.0.1:{port} refused the connection"
    assert error.remedy == "Is the SSH server running there, and is this its port?"


def test_an_address_that_no_network_leads_to(ssh_server, impatient):
    error = failure(HostUnreachable, ssh_server, Host("255.255.255.255"))

    assert error.message == "255.255.255.255:22 cannot be reached: Network is unreachable"
    assert error.remedy == "Is the host up, and does the network here lead to it? Is a VPN needed?"


def test_a_name_that_is_not_found(ssh_server):
    error = failure(HostUnreachable, ssh_server, Host("no-such-host.invalid"))

    assert error.message == "the name no-such-host.invalid is not found"
    assert error.remedy == "Check its spelling (HostName in ssh_config?) and the network."


def test_a_server_that_says_nothing(ssh_server, monkeypatch):
    monkeypatch.setattr(ssh, "RETRIES", 0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ssh_server.configure("ConnectTimeout 1")

        error = failure(HostUnreachable, ssh_server, Host("127.0.0.1", port=port))

    assert error.message == f"127.0.0.1:{port} was reached, but did not finish the handshake within 1 s"


@pytest.mark.parametrize(
    ("greeting", "message"),
    [
        pytest.param(
            b"HTTP/1.1 400 Bad Request\r\n\x1b[31m\r\n" * 200,
            "what answers at {address} is not an SSH server; it said: HTTP/1.1 400 Bad Request",
            id="another protocol",
        ),
        pytest.param(
            b"Exceeded MaxStartups\r\n",
            "{address} closed the connection during the handshake; it said: Exceeded MaxStartups",
            id="busy",
        ),
    ],
)
def test_a_greeting_that_is_none(ssh_server, impatient, greeting, message):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        is_over = threading.Event()

        def greet():
            while True:
                peer, _ = listener.accept()
                if is_over.is_set():
                    return peer.close()
                peer.sendall(greeting)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(100):
                    pass
                peer.close()

        greeter = threading.Thread(target=greet)
        greeter.start()

        with pytest.raises(ConnectionFailed) as caught:
            connect(Host("127.0.0.1", port=port), ssh_config=ssh_server.config)

        is_over.set()
        socket.create_connection(("127.0.0.1", port)).close()
        greeter.join()

    assert caught.value.message.splitlines()[0] == message.format(address=f"127.0.0.1:{port}")
    assert "\x1b" not in caught.value.message


@needs_openssh_server
def test_no_common_algorithm(ssh_server):
    sshd = f"{SSHD} -i -f {ssh_server.server.folder}/sshd_config"
    ssh_server.configure(f"ProxyCommand {sshd} -o Ciphers=chacha20-poly1305@openssh.com")

    error = failure(ConnectionFailed, ssh_server)

    address = f"127.0.0.1:{ssh_server.port}"
    assert error.message == (
        f"{address} offers no algorithm that we know: Incompatible ssh server (no acceptable ciphers)"
    )


def test_a_command_on_a_closed_connection(ssh_server, opened):
    connection = opened(ssh_server)
    connection.close()

    with pytest.raises(ConnectionFailed) as caught:
        connection.execute("true")

    assert (
        caught.value.message == f"127.0.0.1:{ssh_server.port} does not run commands: SSH session not active"
    )


class TestConfiguration:
    def test_an_alias(self, each_ssh_server, opened):
        each_ssh_server.configure(
            "Host bookshop",
            "  HostName 127.0.0.1",
            f"  Port {each_ssh_server.port}",
            f"  User {each_ssh_server.user}",
        )

        connection = opened(each_ssh_server, Host("bookshop"))

        assert run(connection, "echo hello") == (0, "hello\n", "")

    def test_without_openssh_s_client(self, each_ssh_server, opened, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")

        assert run(opened(each_ssh_server), "echo hello") == (0, "hello\n", "")

    def test_a_proxy_command(self, each_ssh_server, opened):
        command = shlex.join([sys.executable, "-c", RELAY])
        each_ssh_server.configure(f"ProxyCommand {command} %h %p")

        connection = opened(each_ssh_server)

        assert run(connection, "echo hello") == (0, "hello\n", "")
        assert connection.address == f"127.0.0.1:{each_ssh_server.port}"

    def test_a_proxy_command_that_fails(self, ssh_server):
        ssh_server.configure("ProxyCommand echo no way out >&2; exit 1")

        error = failure(ConnectionFailed, ssh_server)

        assert error.message == f"the way to 127.0.0.1:{ssh_server.port} failed; it said: no way out"
        assert error.remedy == "Check ProxyCommand in your ssh_config."

    def test_two_jump_hosts(self, each_ssh_server, opened):
        port, user = each_ssh_server.port, each_ssh_server.user
        each_ssh_server.configure(
            "Host target",
            f"  ProxyJump {user}@outer:{port},inner",
            "Host outer inner target",
            "  HostName 127.0.0.1",
            f"  Port {port}",
            f"  User {user}",
        )

        connection = opened(each_ssh_server, Host("target"))

        assert run(connection, "echo hello") == (0, "hello\n", "")
        assert connection.address == f"127.0.0.1:{port}"

    def test_jump_hosts_of_the_host_itself_win_over_the_configuration(self, each_ssh_server, opened):
        port, user = each_ssh_server.port, each_ssh_server.user
        each_ssh_server.configure(
            "Host target",
            "  ProxyJump nowhere.invalid",
            "  HostName 127.0.0.1",
            f"  Port {port}",
            f"  User {user}",
            "Host inner",
            "  HostName 127.0.0.1",
            f"  Port {port}",
            f"  User {user}",
        )
        jump = (Host("127.0.0.1", user, port), Host("inner"))

        connection = opened(each_ssh_server, Host("target", jump=jump))

        assert run(connection, "echo hello") == (0, "hello\n", "")

    def test_a_jump_host_of_the_host_itself_that_is_down(self, ssh_server, impatient):
        jump = Host("127.0.0.1", port=closed_port())

        error = failure(HostUnreachable, ssh_server, Host("target", jump=(jump,)))

        assert error.message == (
            f"its jump host {jump.name} is out of reach: {jump.name} refused the connection"
        )

    def test_a_jump_host_that_is_unknown(self, ssh_server):
        ssh_server.configure(f"Host target\n  ProxyJump {ssh_server.user}@127.0.0.1:{ssh_server.port}")
        ssh_server.know()

        error = failure(HostKeyError, ssh_server, Host("target"))

        name = f"{ssh_server.user}@127.0.0.1:{ssh_server.port}"
        assert error.message.startswith(f"its jump host {name} is out of reach: the host key is unknown: ")
        assert error.host == "target"

    def test_a_jump_host_that_cannot_reach_the_target(self, ssh_server, impatient):
        port = closed_port()
        ssh_server.configure(
            f"Host target\n  HostName 127.0.0.1\n  Port {port}\n  ProxyJump {ssh_server.host.name}"
        )

        error = failure(HostUnreachable, ssh_server, Host("target"))

        assert error.message.startswith(
            f"its jump host {ssh_server.host.name} cannot reach 127.0.0.1:{port}: "
        )
        assert error.remedy == (
            "Is the host up, and does the jump host's sshd let you through (AllowTcpForwarding)?"
        )

    @needs_openssh_client
    def test_jumps_in_a_circle(self, ssh_server):
        ssh_server.configure("Host one\n  ProxyJump two", "Host two\n  ProxyJump one")

        error = failure(ConnectionFailed, ssh_server, Host("one"))

        expected = (
            "its jump host two is out of reach: ProxyJump leads in a circle: one through two through one"
        )
        assert error.message == expected


class TestRetries:
    """Where a server is away for a moment, or busy."""

    def test_a_server_that_starts_in_the_meantime(self, ssh_server, opened):
        port = closed_port()
        ssh_server.configure(f"HostKeyAlias [127.0.0.1]:{ssh_server.port}")
        starting = threading.Timer(0.15, relay_once, args=(port, ssh_server.port))
        starting.start()

        connection = opened(ssh_server, Host("127.0.0.1", ssh_server.user, port))

        assert run(connection, "echo hello") == (0, "hello\n", "")
        connection.close()
        starting.join()

    def test_the_pauses_grow(self, ssh_server, monkeypatch):
        monkeypatch.setattr(ssh, "PAUSE", (0.1, 0.1))
        started = time.monotonic()

        failure(HostUnreachable, ssh_server, Host("127.0.0.1", port=closed_port()))

        assert 0.7 <= time.monotonic() - started < 1.5

    def test_no_try_begins_later_than_allowed(self, ssh_server, monkeypatch):
        monkeypatch.setattr(ssh, "PAUSE", (0.1, 0.1))
        started = time.monotonic()

        failure(HostUnreachable, ssh_server, Host("127.0.0.1", port=closed_port()), retry_for=0.25)

        assert 0.1 <= time.monotonic() - started < 0.3

    def test_a_key_that_is_refused_is_not_offered_again(self, ssh_server, relay, tmp_path):
        make_key(tmp_path / "strange")
        ssh_server.configure(f"HostKeyAlias [127.0.0.1]:{ssh_server.port}")

        host = Host("127.0.0.1", ssh_server.user, relay.port, str(tmp_path / "strange"))
        failure(AuthenticationFailed, ssh_server, host)

        assert relay.count == 1

    def test_a_host_key_that_is_refused_is_not_looked_at_again(self, ssh_server, relay):
        failure(HostKeyError, ssh_server, Host("127.0.0.1", ssh_server.user, relay.port))

        assert relay.count == 1

    def test_a_name_that_is_not_found_is_not_looked_up_again(self, ssh_server, monkeypatch):
        monkeypatch.setattr(ssh, "PAUSE", (60.0, 60.0))
        started = time.monotonic()

        failure(HostUnreachable, ssh_server, Host("no-such-host.invalid"))

        assert time.monotonic() - started < 20


def relay_once(near_port, far_port):
    with socket.create_server(("127.0.0.1", near_port)) as listener:
        near, far = listener.accept()[0], socket.create_connection(("127.0.0.1", far_port))
    back = threading.Thread(target=copy, args=(far, near))
    back.start()
    copy(near, far)
    back.join()
    near.close()
    far.close()


class TestMany:
    def test_only_so_many_handshakes_at_once(self, ssh_server, monkeypatch):
        monkeypatch.setattr(ssh, "_handshakes", threading.Semaphore(2))
        monkeypatch.setattr(ssh, "RETRIES", 0)
        ssh_server.configure("ConnectTimeout 1")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            host = Host("127.0.0.1", port=listener.getsockname()[1])
            started = time.monotonic()

            with ThreadPoolExecutor(6) as pool:
                list(pool.map(lambda _: failure(HostUnreachable, ssh_server, host), range(6)))

        assert 3 <= time.monotonic() - started < 5

    def test_sixteen_threads_at_once(self, each_ssh_server, opened):
        with ThreadPoolExecutor(16) as pool:
            connections = list(pool.map(lambda _: opened(each_ssh_server), range(16)))
            results = list(pool.map(lambda connection: run(connection, "echo hello"), connections))

        assert results == [(0, "hello\n", "")] * 16

    def test_a_server_that_drops_logins_is_tried_again(self, ssh_server, impatient, opened):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            ssh_server.configure(f"HostKeyAlias [127.0.0.1]:{ssh_server.port}")

            def drop_two_then_relay():
                for _ in range(2):
                    listener.accept()[0].close()
                near, far = listener.accept()[0], socket.create_connection(("127.0.0.1", ssh_server.port))
                back = threading.Thread(target=copy, args=(far, near))
                back.start()
                copy(near, far)
                back.join()
                near.close()
                far.close()

            dropper = threading.Thread(target=drop_two_then_relay)
            dropper.start()
            connection = opened(ssh_server, Host("127.0.0.1", ssh_server.user, port))

            assert run(connection, "echo hello") == (0, "hello\n", "")

            connection.close()
            dropper.join()


def copy(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_invoke_is_not_imported():
    program = "import sys, django_deploy.transport.ssh; sys.exit('invoke' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
