from __future__ import annotations

import shutil
import socket
import threading
from pathlib import Path

import asyncssh
import pytest

from django_deploy.transport import identities
from django_deploy.transport._paramiko import paramiko
from django_deploy.transport.identities import Agent, SigningKey
from django_deploy.transport.key_files import KeyRing
from django_deploy.transport.ssh_config import HostConfig
from tests.transport.servers import add_to_agent, make_key

needs_agent = pytest.mark.skipif(not shutil.which("ssh-agent"), reason="OpenSSH's agent is not installed")


def nobody(path):
    return None


def origins(config, agent_keys=()):
    """Where each identity is from, in the order of offering; certificates are marked."""
    found = identities.find(config, agent_keys, KeyRing(), nobody)
    return [f"{identity.origin}{' certified' * is_certified(identity)}" for identity in found]


def is_certified(identity):
    return identity.public is not None and identity.public.is_certificate


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name in ("first", "second"):
        make_key(tmp_path / name)
    make_key(tmp_path / "sealed", passphrase="open sesame")
    return tmp_path


def config(folder: Path, *names: str, **options) -> HostConfig:
    return HostConfig("web", 22, "ann", identity_files=tuple(folder / name for name in names), **options)


def certify(path: Path, name: str = "") -> Path:
    """A certificate for the key in ``path``, beside it or under another name."""
    certificate = path.with_name(name or f"{path.name}-cert.pub")
    authority, key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.read_public_key(f"{path}.pub")
    authority.generate_user_certificate(key, "ann").write_certificate(certificate)
    return certificate


def test_files_in_their_order_and_sealed_ones_last(keys):
    assert origins(config(keys, "sealed", "second", "first")) == [
        str(keys / "second"),
        str(keys / "first"),
        str(keys / "sealed"),
    ]


def test_files_that_are_not_there(keys):
    assert origins(config(keys, "missing", "first")) == [str(keys / "first")]


def test_a_certificate_comes_before_its_key(keys):
    certify(keys / "second")

    assert origins(config(keys, "first", "second")) == [
        str(keys / "first"),
        f"{keys / 'second'} certified",
        str(keys / "second"),
    ]


def test_a_certificate_file_of_another_name(keys):
    certificate = certify(keys / "first", "elsewhere.pub")

    assert origins(config(keys, "first", certificate_files=(certificate,))) == [
        f"{keys / 'first'} certified",
        str(keys / "first"),
    ]


def test_a_certificate_for_no_key_of_ours(keys):
    certificate = certify(keys / "second")

    assert origins(config(keys, "first", certificate_files=(certificate,))) == [str(keys / "first")]


@needs_agent
class TestAgent:
    @pytest.fixture
    def held(self, agent, keys):
        """The agent's keys, held open: ``first`` and ``second``."""
        add_to_agent(agent, keys / "first")
        add_to_agent(agent, keys / "second")
        opened = Agent(agent)
        yield opened.get_keys()
        opened.close()

    def test_its_keys_that_are_named_come_first(self, keys, held):
        assert origins(config(keys, "second", "sealed"), held) == [
            "agent: second",
            "agent: first",
            str(keys / "sealed"),
        ]

    def test_identities_only(self, keys, held):
        assert origins(config(keys, "second", identities_only=True), held) == ["agent: second"]

    def test_a_public_file_names_a_key_of_the_agent(self, keys, held):
        (keys / "second").unlink()

        for name in ("second", "second.pub"):
            assert origins(config(keys, name, identities_only=True), held) == ["agent: second"]

    def test_a_certificate_file_for_its_key(self, keys, held):
        certificate = certify(keys / "first")

        assert origins(config(keys, certificate_files=(certificate,), identities_only=True), held) == [
            "agent: first certified",
            "agent: first",
        ]

    def test_its_certificates(self, agent, keys):
        certify(keys / "first")
        add_to_agent(agent, keys / "first")
        opened = Agent(agent)

        found = origins(config(keys), opened.get_keys())
        opened.close()

        assert found == ["agent: first", "agent: first certified"]

    def test_it_refuses_to_sign(self, agent, keys):
        add_to_agent(agent, keys / "first")
        opened = Agent(agent)
        (identity,) = identities.find(config(keys), opened.get_keys(), KeyRing(), nobody)
        key = SigningKey(identity)
        opened.close()

        signature = key.sign_ssh_data(b"data")

        assert signature.asbytes() == b""
        assert key.failure.startswith("it could not sign: ")
        assert not key.is_signing


def test_an_agent_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        Agent(tmp_path / "agent")


def test_an_agent_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(identities, "AGENT_TIMEOUT", 0.05)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()

        with pytest.raises(TimeoutError):
            Agent(tmp_path / "agent")


def test_something_else_in_the_place_of_an_agent(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"\0\0\0\1\5")

        threading.Thread(target=answer).start()

        with pytest.raises(paramiko.SSHException, match="could not get keys from ssh-agent"):
            Agent(tmp_path / "agent")
