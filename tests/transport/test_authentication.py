from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import mode

import pytest

from django_deploy.exceptions import AuthenticationFailed
from django_deploy.transport.ssh import connect
from tests.hosts.proxy import Proxy
from tests.transport.connecting import Person, failure, needs_openssh_server
from tests.transport.servers import add_to_agent, make_client, make_key, public_line


def test_a_key_that_is_not_authorized(each_ssh_server, tmp_path):
    key = make_key(tmp_path / "other")
    host = replace(each_ssh_server.host, key_file=str(tmp_path / "other"))

    error = failure(AuthenticationFailed, each_ssh_server, host)

    assert error.message == (
        f"127.0.0.1:{host.port} does not let {host.user} in\n"
        "offered:\n"
        f"  ssh-ed25519 {key.get_fingerprint()} ({tmp_path / 'other'})"
    )
    new = f" On a new server, deploy_setup makes {host.user} and lets the key in."
    new = "" if host.user == "root" else new
    assert error.remedy == (
        f"Is {host.user} the right user, and is one of these keys in its authorized_keys there?{new} "
        f"Try: ssh -v -F {each_ssh_server.config} -p {host.port} -i {tmp_path / 'other'} "
        f"{host.user}@127.0.0.1"
    )


@pytest.mark.parametrize("type", ["ssh-rsa", "ecdsa-sha2-nistp256"])
def test_other_types(each_ssh_server, opened, tmp_path, type):
    each_ssh_server.server.authorize(public_line(make_key(tmp_path / "key", type)))

    opened(each_ssh_server, replace(each_ssh_server.host, key_file=str(tmp_path / "key")))


def test_the_second_key_is_the_right_one(each_ssh_server, opened, tmp_path):
    make_key(tmp_path / "first")
    each_ssh_server.configure(f"IdentityFile {tmp_path / 'first'}")

    opened(each_ssh_server)


def test_no_key_at_all(ssh_server):
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


def test_a_key_file_that_is_not_there(ssh_server):
    host = replace(ssh_server.host, key_file="/nowhere/id_rsa")

    error = failure(AuthenticationFailed, ssh_server, host)

    assert error.message.splitlines()[1:] == [
        "no key was offered",
        "not usable:",
        "  /nowhere/id_rsa: there is no such file",
    ]


def test_too_many_keys(ssh_server, tmp_path):
    for number in range(8):
        make_key(tmp_path / f"key{number}")
    ssh_server.key.unlink()
    ssh_server.configure(*(f"IdentityFile {tmp_path}/key{number}" for number in range(8)))

    error = failure(AuthenticationFailed, ssh_server)

    if ssh_server.server.kind == "openssh":
        assert error.message.splitlines()[-1] == "the server says: Too many authentication failures"
    assert error.message.count(" (/") >= 6


def test_the_right_passphrase(each_ssh_server, opened, tmp_path):
    each_ssh_server.server.authorize(public_line(make_key(tmp_path / "key", passphrase="open sesame")))
    host, person = (
        replace(each_ssh_server.host, key_file=str(tmp_path / "key")),
        Person(passphrase="open sesame"),
    )

    for _ in range(2):
        opened(each_ssh_server, host, prompts=person)

    assert person.questions == [tmp_path / "key"]


def test_a_wrong_passphrase(ssh_server, tmp_path):
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


def test_no_passphrase(ssh_server, tmp_path):
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
def test_a_certificate(each_ssh_server, opened, tmp_path, type):
    authority, key = make_key(tmp_path / "authority"), make_key(tmp_path / "key", type)
    each_ssh_server.server.authorize(f"cert-authority {public_line(authority)}")
    certificate = authority.generate_user_certificate(key, "ann", principals=[each_ssh_server.user])
    certificate.write_certificate(tmp_path / "key-cert.pub")

    opened(each_ssh_server, replace(each_ssh_server.host, key_file=str(tmp_path / "key")))


@needs_openssh_server
def test_the_first_key_goes_with_the_request_for_the_service(ssh_server, opened, tmp_path):
    rounds = {
        "ssh-ed25519": [],
        "ssh-rsa": [],
    }  # RSA waits: the server may first say how it is to sign
    for type in rounds:
        ssh_server.server.authorize(public_line(make_key(tmp_path / type, type)))
    for type in [*rounds] * 3:  # what a busy machine delays may be counted with its neighbour
        with Proxy("127.0.0.1", ssh_server.port, round_trip=0.1) as proxy:
            ssh_server.know(ssh_server.server.host_key("ed25519"), name=f"[127.0.0.1]:{proxy.port}")
            opened(ssh_server, replace(ssh_server.host, port=proxy.port, key_file=str(tmp_path / type)))
            rounds[type].append(proxy.rounds)

    assert mode(rounds["ssh-rsa"]) == mode(rounds["ssh-ed25519"]) + 1


def test_the_key_that_was_taken_last_is_offered_first(ssh_server, opened, tmp_path):
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


@pytest.fixture
def strict(servers, home, tmp_path):
    """A server that takes no key of ours, and one password."""
    client = make_client(servers("asyncssh"), home)
    keys, password = (client.server.folder / name for name in ("authorized_keys", "password"))
    kept = keys.read_text()
    keys.write_text(public_line(make_key(tmp_path / "somebody")) + "\n")
    password.write_text("box hill")
    yield client
    keys.write_text(kept)
    for name in ("password", "passwords", "interactive"):
        (client.server.folder / name).unlink(missing_ok=True)


@pytest.mark.parametrize("is_interactive", [False, True])
def test_a_password_where_no_key_is_taken(strict, is_interactive):
    if is_interactive:
        (strict.server.folder / "interactive").touch()
    person = Person(password="box hill")

    connect(strict.host, ssh_config=strict.config, prompts=person, may_use_password=True).close()

    assert person.questions == [strict.host.name]


def test_a_wrong_password_is_tried_once(strict):
    person = Person(password="hartfield")

    error = failure(AuthenticationFailed, strict, prompts=person, may_use_password=True)

    assert error.message.splitlines()[0] == (
        f"127.0.0.1:{strict.port} does not let {strict.user} in: the password is wrong; it was tried once"
    )
    assert (strict.server.folder / "passwords").read_text() == "hartfield\n"


@pytest.mark.parametrize(("may_use_password", "password"), [(False, "box hill"), (True, None)])
def test_a_password_that_nobody_gives(strict, may_use_password, password):
    person = Person(password=password)

    error = failure(AuthenticationFailed, strict, prompts=person, may_use_password=may_use_password)

    assert error.message.splitlines()[:2] == [
        f"127.0.0.1:{strict.port} does not let {strict.user} in",
        "offered:",
    ]
    assert len(person.questions) == may_use_password


def test_a_server_that_takes_no_passwords(ssh_server, tmp_path):
    make_key(tmp_path / "other")
    person = Person(password="box hill")
    host = replace(ssh_server.host, key_file=str(tmp_path / "other"))

    failure(AuthenticationFailed, ssh_server, host, prompts=person, may_use_password=True)

    assert person.questions == []


def test_an_administrator_is_not_made_by_deploy_setup(ssh_server, tmp_path):
    """Who logs in for it is there, or is misspelt."""
    make_key(tmp_path / "other")
    host = replace(ssh_server.host, user="nobody2", key_file=str(tmp_path / "other"))

    deploying = failure(AuthenticationFailed, ssh_server, host)
    setting_up = failure(AuthenticationFailed, ssh_server, host, prompts=Person(), may_use_password=True)

    question = "Is nobody2 the right user, and is one of these keys in its authorized_keys there?"
    hint = " On a new server, deploy_setup makes nobody2 and lets the key in."
    assert deploying.remedy.startswith(f"{question}{hint} Try: ssh -v ")
    assert setting_up.remedy.startswith(f"{question} Try: ssh -v ")
