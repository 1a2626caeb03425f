"""Hosts that show a certificate, to OpenSSH's own server."""

from __future__ import annotations

import time
from base64 import b64decode

import pytest

from django_deploy.exceptions import HostKeyError
from django_deploy.transport.host_certificates import complaint, read
from django_deploy.transport.key_files import public_key
from tests.transport.connecting import failure
from tests.transport.servers import SSHD, Server, make_client, make_key, public_line, start_openssh

pytestmark = pytest.mark.skipif(SSHD is None, reason="OpenSSH's server is not installed")


@pytest.fixture
def certified(tmp_path, home):
    """Starts a server whose key has such a certificate; gives a client that trusts its authority."""
    folder, servers = tmp_path / "server", []
    folder.mkdir()

    def start(type="ssh-ed25519", principals=("127.0.0.1",), *, for_users=False, signer=None, **options):
        authority = make_key(folder / "authority", type)
        key = make_key(folder / "host_ed25519")
        make_key(folder / "host_rsa", "ssh-rsa")
        (folder / "authorized_keys").write_text(public_line(make_key(folder / "user")) + "\n")
        signer = make_key(folder / "other", type) if signer else authority
        sign = signer.generate_user_certificate if for_users else signer.generate_host_certificate
        certificate = sign(key, "bookshop", principals=list(principals), **options)
        certificate.write_certificate(folder / "host_ed25519-cert.pub")
        context = start_openssh(folder, home, f"HostCertificate {folder}/host_ed25519-cert.pub\n")
        servers.append(context)
        port, pid = context.__enter__()
        client = make_client(Server("openssh", folder, home, port, pid), home)
        client.know(authority, name="*", marker="@cert-authority")
        return client

    yield start
    for server in servers:
        server.__exit__(None, None, None)


@pytest.mark.parametrize("type", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
def test_a_certificate_of_a_known_authority(certified, opened, type):
    client = certified(type)

    opened(client)

    assert "@cert-authority" in client.known_hosts.read_text()
    assert len(client.known_hosts.read_text().splitlines()) == 1


def test_a_principal_may_be_a_pattern(certified, opened):
    opened(certified(principals=["web1.example.com", "127.0.*"]))


def test_the_alias_is_the_name_that_counts(certified, opened):
    client = certified(principals=["bookshop"])
    client.configure("HostKeyAlias Bookshop")

    opened(client)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"principals": ["web1.example.com"]}, "it is for web1.example.com, not for 127.0.0.1"),
        ({"principals": []}, "it is for no host by name, not for 127.0.0.1"),
        ({"valid_before": 86400}, "it has expired, on 1970-01-02 00:00 UTC"),
        ({"valid_after": int(time.time()) + 86400, "valid_before": 2**40}, "it is not valid before "),
        ({"for_users": True}, "it is for users"),
    ],
)
def test_a_certificate_that_does_not_hold(certified, options, why):
    client = certified(**options)

    error = failure(HostKeyError, client)

    assert error.message.startswith(
        f"the host's certificate, by the authority of {client.known_hosts}:1, is not accepted: {why}"
    )
    assert error.remedy.startswith("Whoever keeps the authority has to sign the host's key again")


def test_a_certificate_of_another_authority_is_a_plain_key(certified, opened):
    client = certified(signer="other")

    error = failure(HostKeyError, client)

    key = client.server.host_key("ed25519")
    assert error.message.startswith(f"the host key is unknown: ssh-ed25519 {key.get_fingerprint()}")
    client.know(key)
    opened(client)


@pytest.mark.parametrize("revoked", ["authority", "host_ed25519"])
def test_a_certificate_with_a_key_that_was_revoked(certified, revoked):
    client = certified()
    line = (client.server.folder / f"{revoked}.pub").read_text()
    with client.known_hosts.open("a") as file:
        file.write(f"@revoked * {line}\n")

    assert "shows a key that was revoked" in failure(HostKeyError, client).message


def test_a_certificate_that_was_changed_is_not_signed(tmp_path):
    """Whatever of its bytes a host may change, and also where it is cut off."""
    authority, key = make_key(tmp_path / "authority"), make_key(tmp_path / "key")
    certificate = authority.generate_host_certificate(key, "bookshop", principals=["web1"])
    blob = b64decode(certificate.export_certificate().split()[1])
    found = read(public_key(blob))
    assert complaint(found, "web1") == ""

    for place in range(40, len(blob)):
        assert complaint(read(public_key(blob[:place])), "web1")
    for place in range(40, len(found.signed)):
        changed = bytearray(blob)
        changed[place] ^= 1
        assert complaint(read(public_key(bytes(changed))), "web1")
