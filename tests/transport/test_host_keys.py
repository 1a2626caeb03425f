from __future__ import annotations

import pytest

from django_deploy.exceptions import HostKeyError
from tests.transport.connecting import (
    Person,
    failure,
)
from tests.transport.servers import make_key, public_line


def test_unknown(each_ssh_server):
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


def test_unknown_and_accepted(each_ssh_server, opened):
    each_ssh_server.known_hosts.unlink()
    person = Person(accepts=True)
    key = each_ssh_server.server.host_key("ed25519")

    opened(each_ssh_server, prompts=person)

    assert person.questions == [(each_ssh_server.host.name, "ssh-ed25519", key.get_fingerprint())]
    expected = f"[127.0.0.1]:{each_ssh_server.port} {' '.join(public_line(key).split()[:2])}\n"
    assert each_ssh_server.known_hosts.read_text() == expected
    opened(each_ssh_server)


def test_unknown_and_hashed(ssh_server, opened):
    ssh_server.know()
    ssh_server.configure("HashKnownHosts yes")

    opened(ssh_server, prompts=Person(accepts=True))

    assert ssh_server.known_hosts.read_text().startswith("|1|")
    opened(ssh_server)


def test_unknown_and_refused(ssh_server):
    ssh_server.know()

    error = failure(HostKeyError, ssh_server, prompts=Person(accepts=False))

    assert error.message.startswith("the host key is unknown: ")


def test_nobody_is_asked_where_checking_is_strict(ssh_server):
    ssh_server.know()
    ssh_server.configure("StrictHostKeyChecking yes")
    person = Person(accepts=True)

    failure(HostKeyError, ssh_server, prompts=person)

    assert person.questions == []


def test_accept_new(ssh_server, opened):
    ssh_server.know()
    ssh_server.configure("StrictHostKeyChecking accept-new")

    opened(ssh_server)

    assert len(ssh_server.known_hosts.read_text().splitlines()) == 1


def test_no_checking_is_not_obeyed(ssh_server):
    ssh_server.know()
    ssh_server.configure("StrictHostKeyChecking no")

    failure(HostKeyError, ssh_server)


@pytest.mark.parametrize("checking", ["ask", "accept-new", "no"])
def test_changed(ssh_server, tmp_path, checking):
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
        "Was the host reinstalled? If not, somebody else may be answering in its place.\n"
        f"Once you are sure: ssh-keygen -f {file} -R '[127.0.0.1]:{host.port}'\n"
        f"and then: ssh -F {ssh_server.config} -p {host.port} {host.user}@127.0.0.1"
    )
    assert person.questions == []


def test_revoked(each_ssh_server):
    key = each_ssh_server.server.host_key("ed25519")
    each_ssh_server.know(key, name="*", marker="@revoked")

    error = failure(HostKeyError, each_ssh_server, prompts=Person(accepts=True))

    assert error.message == (
        f"the host shows a key that was revoked ({each_ssh_server.known_hosts}:1): "
        f"ssh-ed25519 {key.get_fingerprint()}"
    )


def test_revoked_in_a_file_of_its_own(ssh_server, tmp_path):
    (tmp_path / "revoked").write_text(public_line(ssh_server.server.host_key("ed25519")))
    ssh_server.configure(f"RevokedHostKeys {tmp_path / 'revoked'}")

    error = failure(HostKeyError, ssh_server)

    assert error.message.startswith(f"the host shows a key that was revoked ({tmp_path / 'revoked'}): ")


def test_a_list_of_revoked_keys_that_cannot_be_read(ssh_server):
    ssh_server.configure("RevokedHostKeys /nowhere")

    error = failure(HostKeyError, ssh_server)

    assert error.message == (
        "the RevokedHostKeys of your ssh_config cannot be used: "
        "[Errno 2] No such file or directory: '/nowhere'"
    )


def test_the_type_that_is_known_is_asked_for(each_ssh_server, opened):
    each_ssh_server.know(each_ssh_server.server.host_key("rsa"))

    opened(each_ssh_server)


def test_known_without_its_port(ssh_server, opened):
    ssh_server.know(ssh_server.server.host_key("ed25519"), name="127.0.0.1")

    opened(ssh_server)


def test_known_by_an_alias(ssh_server, opened):
    ssh_server.know(ssh_server.server.host_key("ed25519"), name="bookshop")
    ssh_server.configure("HostKeyAlias bookshop")

    opened(ssh_server)


def test_known_to_all_users(ssh_server, opened, tmp_path):
    ssh_server.know(ssh_server.server.host_key("ed25519"))
    ssh_server.known_hosts.rename(tmp_path / "global")
    ssh_server.configure(f"GlobalKnownHostsFile {tmp_path / 'global'}")

    opened(ssh_server)


def test_an_authority_is_not_enough(ssh_server, tmp_path):
    ssh_server.know(make_key(tmp_path / "authority"), name="*", marker="@cert-authority")

    error = failure(HostKeyError, ssh_server)

    assert error.message.endswith(" (it has no certificate by an authority that known_hosts names for it)")
