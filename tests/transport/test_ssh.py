"""Connections to real servers; what fails first when paramiko or OpenSSH change."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from django_deploy.exceptions import AuthenticationFailed, ConnectionFailed, HostKeyError
from django_deploy.target import Host
from django_deploy.transport import ssh
from django_deploy.transport.ssh import connect
from tests.transport.servers import KINDS, SSHD, add_to_agent, make_key, public_line

needs_openssh_client = pytest.mark.skipif(not shutil.which("ssh"), reason="OpenSSH's client is not installed")
needs_openssh_server = pytest.mark.skipif("openssh" not in KINDS, reason="OpenSSH's server is not installed")


#: A program for ProxyCommand, called with host and port.
RELAY = (
    "import os, socket, sys, threading; s = socket.create_connection(sys.argv[1:]); "
    "take = lambda: [s.sendall(d) for d in iter(lambda: os.read(0, 9999), b'')]; "
    "threading.Thread(target=take, daemon=True).start(); "
    "[os.write(1, d) for d in iter(lambda: s.recv(9999), b'')]"
)

#: Leaves a connection and a channel open; called with address, user, port and configuration.
FORGETFUL = """
import sys
from pathlib import Path
from django_deploy.target import Host
from django_deploy.transport.ssh import connect
address, user, port, config = sys.argv[1:]
connect(Host(address, user, int(port)), ssh_config=Path(config)).execute("cat")
"""


class Person:
    """Answers every question, and keeps the questions."""

    def __init__(self, *, accepts=False, passphrase=None):
        self.accepts = accepts
        self.answer = passphrase
        self.questions = []

    def accept_host_key(self, host, key_type, fingerprint):
        self.questions.append((host, key_type, fingerprint))
        return self.accepts

    def passphrase(self, path):
        self.questions.append(path)
        return self.answer


@pytest.fixture
def opened():
    """Connects, and closes what is left open."""
    connections = []

    def open_connection(client, host=None, **options):
        connection = connect(host or client.host, ssh_config=client.config, **options)
        connections.append(connection)
        return connection

    yield open_connection
    for connection in connections:
        connection.close()


@pytest.fixture
def impatient(monkeypatch):
    """Retries follow at once."""
    monkeypatch.setattr(ssh, "PAUSE", (0.0, 0.01))


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


class TestCommands:
    def test_output_errors_and_status(self, each_ssh_server, opened):
        result = run(opened(each_ssh_server), "echo out; echo err >&2; exit 3")

        assert result == (3, "out\n", "err\n")

    def test_one_connection_runs_several(self, each_ssh_server, opened):
        connection = opened(each_ssh_server)

        assert [run(connection, f"exit {status}")[0] for status in (0, 1, 127)] == [0, 1, 127]

    def test_a_program_that_a_signal_kills_has_no_status(self, each_ssh_server, opened):
        status, _, _ = run(opened(each_ssh_server), "kill -9 $$")

        assert status in (None, 256 - 9)  # asyncssh's server gives the shell's own

    def test_the_longest_command(self, each_ssh_server, opened):
        word = "x" * 100_000

        assert run(opened(each_ssh_server), f"echo {word} | wc -c") == (0, f"{len(word) + 1}\n", "")

    def test_ten_megabytes_both_ways(self, each_ssh_server, opened):
        data = os.urandom(10 << 20)
        channel = opened(each_ssh_server).execute(f"head -c {len(data)}")

        sender = threading.Thread(target=channel.send, args=(memoryview(data),))
        sender.start()
        received = read_all(channel)
        sender.join()

        assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
        assert channel.finish() == (0, "")

    def test_the_end_of_much_error_text_is_kept(self, each_ssh_server, opened):
        command = "head -c 3000000 /dev/zero >&2; printf '%065536d' 0 >&2; echo done"

        result = run(opened(each_ssh_server), command)

        assert result == (0, "done\n", "0" * 65536)

    def test_a_program_that_reads_late_gets_all(self, each_ssh_server, opened):
        data = bytes(3 << 20)
        channel = opened(each_ssh_server).execute(f"sleep 1.3; head -c {len(data)} | wc -c")

        channel.send(data)

        assert read_all(channel) == b"%d\n" % len(data)

    def test_sending_to_a_program_that_has_gone(self, each_ssh_server, opened):
        channel = opened(each_ssh_server).execute("exit 0")
        read_all(channel)

        with pytest.raises(OSError, match="the channel is closed"):
            channel.send(bytes(64 << 20))

    def test_the_address(self, each_ssh_server, opened):
        assert opened(each_ssh_server).address == f"127.0.0.1:{each_ssh_server.port}"


class TestHostKeys:
    def test_unknown(self, each_ssh_server):
        each_ssh_server.know()
        key = each_ssh_server.server.host_key("ed25519")

        error = failure(HostKeyError, each_ssh_server)

        host = each_ssh_server.host
        assert error.message == f"the host key is unknown: ssh-ed25519 {key.get_fingerprint()}"
        assert error.remedy == (
            "Compare it with the fingerprint that the host itself shows (ssh-keygen -lf "
            "/etc/ssh/ssh_host_*_key.pub), then connect once with: "
            f"ssh -F {each_ssh_server.config} -p {host.port} {host.user}@127.0.0.1"
        )
        assert error.host == host.name
        assert each_ssh_server.known_hosts.read_text() == ""

    def test_unknown_and_accepted(self, each_ssh_server, opened):
        each_ssh_server.known_hosts.unlink()
        person = Person(accepts=True)
        key = each_ssh_server.server.host_key("ed25519")

        opened(each_ssh_server, prompts=person)

        assert person.questions == [(each_ssh_server.host.name, "ssh-ed25519", key.get_fingerprint())]
        expected = f"[127.0.0.1]:{each_ssh_server.port} {' '.join(public_line(key).split()[:2])}\n"
        assert each_ssh_server.known_hosts.read_text() == expected
        opened(each_ssh_server)

    def test_unknown_and_hashed(self, ssh_server, opened):
        ssh_server.know()
        ssh_server.configure("HashKnownHosts yes")

        opened(ssh_server, prompts=Person(accepts=True))

        assert ssh_server.known_hosts.read_text().startswith("|1|")
        opened(ssh_server)

    def test_unknown_and_refused(self, ssh_server):
        ssh_server.know()

        error = failure(HostKeyError, ssh_server, prompts=Person(accepts=False))

        assert error.message.startswith("the host key is unknown: ")

    def test_nobody_is_asked_where_checking_is_strict(self, ssh_server):
        ssh_server.know()
        ssh_server.configure("StrictHostKeyChecking yes")
        person = Person(accepts=True)

        failure(HostKeyError, ssh_server, prompts=person)

        assert person.questions == []

    def test_accept_new(self, ssh_server, opened):
        ssh_server.know()
        ssh_server.configure("StrictHostKeyChecking accept-new")

        opened(ssh_server)

        assert len(ssh_server.known_hosts.read_text().splitlines()) == 1

    def test_no_checking_is_not_obeyed(self, ssh_server):
        ssh_server.know()
        ssh_server.configure("StrictHostKeyChecking no")

        failure(HostKeyError, ssh_server)

    @pytest.mark.parametrize("checking", ["ask", "accept-new", "no"])
    def test_changed(self, ssh_server, tmp_path, checking):
        other = make_key(tmp_path / "other")
        ssh_server.know(other)
        ssh_server.configure(f"StrictHostKeyChecking {checking}")
        person = Person(accepts=True)

        error = failure(HostKeyError, ssh_server, prompts=person)

        file, host, shown = ssh_server.known_hosts, ssh_server.host, ssh_server.server.host_key("ed25519")
        assert error.message == (
            f"the host key has changed: ssh-ed25519 {shown.get_fingerprint()}, "
            f"but {file}:1 has ssh-ed25519 {other.get_fingerprint()}"
        )
        assert error.remedy == (
            "Was the host installed anew? If not, somebody else may be answering in its place.\n"
            f"Once you are sure: ssh-keygen -f {file} -R '[127.0.0.1]:{host.port}'\n"
            f"and then: ssh -F {ssh_server.config} -p {host.port} {host.user}@127.0.0.1"
        )
        assert person.questions == []

    def test_revoked(self, each_ssh_server):
        key = each_ssh_server.server.host_key("ed25519")
        each_ssh_server.know(key, name="*", marker="@revoked")

        error = failure(HostKeyError, each_ssh_server, prompts=Person(accepts=True))

        assert error.message == (
            f"the host shows a key that was revoked ({each_ssh_server.known_hosts}:1): "
            f"ssh-ed25519 {key.get_fingerprint()}"
        )

    def test_revoked_in_a_file_of_its_own(self, ssh_server, tmp_path):
        (tmp_path / "revoked").write_text(public_line(ssh_server.server.host_key("ed25519")))
        ssh_server.configure(f"RevokedHostKeys {tmp_path / 'revoked'}")

        error = failure(HostKeyError, ssh_server)

        assert error.message.startswith(f"the host shows a key that was revoked ({tmp_path / 'revoked'}): ")

    def test_a_list_of_revoked_keys_that_cannot_be_read(self, ssh_server):
        ssh_server.configure("RevokedHostKeys /nowhere")

        error = failure(HostKeyError, ssh_server)

        assert error.message == (
            "the RevokedHostKeys of your ssh_config cannot be used: "
            "[Errno 2] No such file or directory: '/nowhere'"
        )

    def test_the_type_that_is_known_is_asked_for(self, each_ssh_server, opened):
        each_ssh_server.know(each_ssh_server.server.host_key("rsa"))

        opened(each_ssh_server)

    def test_known_without_its_port(self, ssh_server, opened):
        ssh_server.know(ssh_server.server.host_key("ed25519"), name="127.0.0.1")

        opened(ssh_server)

    def test_known_by_an_alias(self, ssh_server, opened):
        ssh_server.know(ssh_server.server.host_key("ed25519"), name="bookshop")
        ssh_server.configure("HostKeyAlias bookshop")

        opened(ssh_server)

    def test_known_to_all_users(self, ssh_server, opened, tmp_path):
        ssh_server.know(ssh_server.server.host_key("ed25519"))
        ssh_server.known_hosts.rename(tmp_path / "global")
        ssh_server.configure(f"GlobalKnownHostsFile {tmp_path / 'global'}")

        opened(ssh_server)

    def test_an_authority_is_not_enough(self, ssh_server, tmp_path):
        ssh_server.know(make_key(tmp_path / "authority"), name="*", marker="@cert-authority")

        error = failure(HostKeyError, ssh_server)

        assert error.message.endswith(
            " (host certificates, for which known_hosts has an authority, are not supported)"
        )


class TestKeys:
    def test_a_key_that_is_not_authorized(self, each_ssh_server, tmp_path):
        key = make_key(tmp_path / "other")
        host = replace(each_ssh_server.host, key_file=str(tmp_path / "other"))

        error = failure(AuthenticationFailed, each_ssh_server, host)

        assert error.message == (
            f"127.0.0.1:{host.port} does not let {host.user} in\n"
            "offered:\n"
            f"  ssh-ed25519 {key.get_fingerprint()} ({tmp_path / 'other'})"
        )
        assert error.remedy == (
            f"Is {host.user} the right user, and is one of these keys in its authorized_keys there? "
            f"Try: ssh -v -F {each_ssh_server.config} -p {host.port} -i {tmp_path / 'other'} "
            f"{host.user}@127.0.0.1"
        )

    @pytest.mark.parametrize("type", ["ssh-rsa", "ecdsa-sha2-nistp256"])
    def test_other_types(self, each_ssh_server, opened, tmp_path, type):
        each_ssh_server.server.authorize(public_line(make_key(tmp_path / "key", type)))

        opened(each_ssh_server, replace(each_ssh_server.host, key_file=str(tmp_path / "key")))

    def test_the_second_key_is_the_right_one(self, each_ssh_server, opened, tmp_path):
        make_key(tmp_path / "first")
        each_ssh_server.configure(f"IdentityFile {tmp_path / 'first'}")

        opened(each_ssh_server)

    def test_no_key_at_all(self, ssh_server):
        ssh_server.key.unlink()
        ssh_server.key.with_name("id_ed25519.pub").unlink()
        ssh_server.configure("IdentityFile /nowhere/deploy")

        error = failure(AuthenticationFailed, ssh_server)

        assert error.message == (
            f"127.0.0.1:{ssh_server.port} does not let {ssh_server.user} in\n"
            "no key was offered\n"
            "not usable:\n"
            "  /nowhere/deploy: there is no such file"
        )
        assert (
            error.remedy
            == "Name a key in KEY_FILE or ssh_config (IdentityFile), or give one to your agent (ssh-add)."
        )

    def test_a_key_file_that_is_not_there(self, ssh_server):
        host = replace(ssh_server.host, key_file="/nowhere/id_rsa")

        error = failure(AuthenticationFailed, ssh_server, host)

        assert error.message.splitlines()[1:] == [
            "no key was offered",
            "not usable:",
            "  /nowhere/id_rsa: there is no such file",
        ]

    def test_too_many_keys(self, ssh_server, tmp_path):
        for number in range(8):
            make_key(tmp_path / f"key{number}")
        ssh_server.key.unlink()
        ssh_server.configure(*(f"IdentityFile {tmp_path}/key{number}" for number in range(8)))

        error = failure(AuthenticationFailed, ssh_server)

        if ssh_server.server.kind == "openssh":
            assert error.message.splitlines()[-1] == "the server says: Too many authentication failures"
        assert error.message.count(" (/") >= 6

    def test_the_right_passphrase(self, each_ssh_server, opened, tmp_path):
        each_ssh_server.server.authorize(public_line(make_key(tmp_path / "key", passphrase="open sesame")))
        host, person = (
            replace(each_ssh_server.host, key_file=str(tmp_path / "key")),
            Person(passphrase="open sesame"),
        )

        for _ in range(2):
            opened(each_ssh_server, host, prompts=person)

        assert person.questions == [tmp_path / "key"]

    def test_a_wrong_passphrase(self, ssh_server, tmp_path):
        key = make_key(tmp_path / "key", passphrase="open sesame")
        person = Person(passphrase="open barley")

        error = failure(
            AuthenticationFailed,
            ssh_server,
            replace(ssh_server.host, key_file=str(tmp_path / "key")),
            prompts=person,
        )

        assert error.message.splitlines()[-1] == (
            f"  ssh-ed25519 {key.get_fingerprint()} ({tmp_path / 'key'}): its passphrase was wrong 3 times"
        )
        assert error.remedy == f"Unlock the key first: ssh-add {tmp_path / 'key'}"
        assert len(person.questions) == 3

    def test_no_passphrase(self, ssh_server, tmp_path):
        key = make_key(tmp_path / "key", passphrase="open sesame")

        error = failure(
            AuthenticationFailed, ssh_server, replace(ssh_server.host, key_file=str(tmp_path / "key"))
        )

        assert error.message == (
            f"127.0.0.1:{ssh_server.port} does not let {ssh_server.user} in\n"
            "no key was offered\n"
            "not usable:\n"
            f"  ssh-ed25519 {key.get_fingerprint()} ({tmp_path / 'key'}): "
            "it has a passphrase, which was not given"
        )
        assert error.remedy == f"Unlock the key first: ssh-add {tmp_path / 'key'}"

    @pytest.mark.parametrize("type", ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"])
    def test_a_certificate(self, each_ssh_server, opened, tmp_path, type):
        authority, key = make_key(tmp_path / "authority"), make_key(tmp_path / "key", type)
        each_ssh_server.server.authorize(f"cert-authority {public_line(authority)}")
        certificate = authority.generate_user_certificate(key, "ann", principals=[each_ssh_server.user])
        certificate.write_certificate(tmp_path / "key-cert.pub")

        opened(each_ssh_server, replace(each_ssh_server.host, key_file=str(tmp_path / "key")))

    def test_the_key_that_was_taken_last_is_offered_first(self, ssh_server, opened, tmp_path):
        opened(ssh_server)
        for number in range(7):  # one more than sshd lets us try
            make_key(tmp_path / f"key{number}")

        ssh_server.configure(*(f"IdentityFile {tmp_path}/key{number}" for number in range(7)))

        opened(ssh_server)


@pytest.mark.skipif(not shutil.which("ssh-agent"), reason="OpenSSH's agent is not installed")
class TestAgent:
    @pytest.mark.parametrize("type", ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"])
    def test_a_key(self, each_ssh_server, opened, agent, tmp_path, type):
        each_ssh_server.server.authorize(public_line(make_key(tmp_path / "held", type)))
        add_to_agent(agent, tmp_path / "held")
        each_ssh_server.key.unlink()

        opened(each_ssh_server)

    @pytest.mark.parametrize("type", ["ssh-ed25519", "ssh-rsa"])
    def test_a_certificate(self, each_ssh_server, opened, agent, tmp_path, type):
        authority, key = make_key(tmp_path / "authority"), make_key(tmp_path / "held", type)
        each_ssh_server.server.authorize(f"cert-authority {public_line(authority)}")
        certificate = authority.generate_user_certificate(key, "ann", principals=[each_ssh_server.user])
        certificate.write_certificate(tmp_path / "held-cert.pub")
        add_to_agent(agent, tmp_path / "held")
        each_ssh_server.key.unlink()

        opened(each_ssh_server)

    def test_many_threads_share_it(self, ssh_server, opened, agent, tmp_path):
        ssh_server.server.authorize(public_line(make_key(tmp_path / "held")))
        add_to_agent(agent, tmp_path / "held")
        ssh_server.key.unlink()

        with ThreadPoolExecutor(8) as pool:
            connections = list(pool.map(lambda _: opened(ssh_server), range(8)))

        assert len(connections) == 8

    def test_another_agent(self, ssh_server, opened, agent, tmp_path, monkeypatch):
        ssh_server.server.authorize(public_line(make_key(tmp_path / "held")))
        add_to_agent(agent, tmp_path / "held")
        ssh_server.key.unlink()
        monkeypatch.delenv("SSH_AUTH_SOCK")
        ssh_server.configure(f"IdentityAgent {agent}")

        opened(ssh_server)

    def test_what_it_held_and_who_it_was(self, ssh_server, agent, tmp_path):
        key = make_key(tmp_path / "held")
        add_to_agent(agent, tmp_path / "held")
        ssh_server.key.unlink()
        ssh_server.key.with_name("id_ed25519.pub").unlink()

        error = failure(AuthenticationFailed, ssh_server)

        assert error.message.splitlines()[1:] == [
            "offered:",
            f"  ssh-ed25519 {key.get_fingerprint()} (agent: held)",
        ]

    def test_an_agent_that_has_gone_is_no_obstacle(self, ssh_server, opened, monkeypatch):
        monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere/agent")

        opened(ssh_server)


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

    def test_a_jump_host_that_is_unknown(self, ssh_server):
        ssh_server.configure(f"Host target\n  ProxyJump {ssh_server.user}@127.0.0.1:{ssh_server.port}")
        ssh_server.know()

        error = failure(HostKeyError, ssh_server, Host("target"))

        name = f"{ssh_server.user}@127.0.0.1:{ssh_server.port}"
        assert error.message.startswith(f"its jump host {name} is out of reach: the host key is unknown: ")
        assert error.host == "target"

    def test_a_jump_host_that_cannot_reach_the_target(self, ssh_server):
        port = closed_port()
        ssh_server.configure(
            f"Host target\n  HostName 127.0.0.1\n  Port {port}\n  ProxyJump {ssh_server.host.name}"
        )

        error = failure(ConnectionFailed, ssh_server, Host("target"))

        assert error.message.startswith(
            f"its jump host {ssh_server.host.name} cannot reach 127.0.0.1:{port}: "
        )

    @needs_openssh_client
    def test_jumps_in_a_circle(self, ssh_server):
        ssh_server.configure("Host one\n  ProxyJump two", "Host two\n  ProxyJump one")

        error = failure(ConnectionFailed, ssh_server, Host("one"))

        expected = (
            "its jump host two is out of reach: ProxyJump leads in a circle: one through two through one"
        )
        assert error.message == expected


class TestUnreachable:
    def test_nobody_listens(self, ssh_server):
        port = closed_port()

        error = failure(ConnectionFailed, ssh_server, Host("127.0.0.1", port=port))

        assert error.message == f"127.0.0.1:{port} refused the connection"
        assert error.remedy == "Is the SSH server running there, and is this its port?"

    def test_a_name_that_is_not_found(self, ssh_server):
        error = failure(ConnectionFailed, ssh_server, Host("no-such-host.invalid"))

        assert error.message == "the name no-such-host.invalid is not found"
        assert error.remedy == "Check its spelling (HostName in ssh_config?) and the network."

    def test_a_server_that_says_nothing(self, ssh_server):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            ssh_server.configure("ConnectTimeout 1")

            error = failure(ConnectionFailed, ssh_server, Host("127.0.0.1", port=port))

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
    def test_a_greeting_that_is_none(self, ssh_server, impatient, greeting, message):
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
    def test_no_common_algorithm(self, ssh_server):
        sshd = f"{SSHD} -i -f {ssh_server.server.folder}/sshd_config"
        ssh_server.configure(f"ProxyCommand {sshd} -o Ciphers=chacha20-poly1305@openssh.com")

        error = failure(ConnectionFailed, ssh_server)

        address = f"127.0.0.1:{ssh_server.port}"
        assert error.message == (
            f"{address} offers no algorithm that we know: Incompatible ssh server (no acceptable ciphers)"
        )

    def test_a_command_on_a_closed_connection(self, ssh_server, opened):
        connection = opened(ssh_server)
        connection.close()

        with pytest.raises(ConnectionFailed) as caught:
            connection.execute("true")

        assert (
            caught.value.message
            == f"127.0.0.1:{ssh_server.port} does not run commands: SSH session not active"
        )


class TestMany:
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


def test_invoke_is_not_imported():
    program = "import sys, django_deploy.transport.ssh; sys.exit('invoke' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
