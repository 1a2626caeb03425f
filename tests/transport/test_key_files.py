from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import asyncssh
import pytest

from django_deploy.transport.key_files import KeyRing, UnusableKey, is_sealed, public_half, read_public_key
from tests.transport.servers import make_key

TYPES = ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"]


def nobody(path):
    return None


class Person:
    """Answers with these passphrases in turn, and counts the questions."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self._lock = threading.Lock()

    def __call__(self, path):
        with self._lock:
            self.asked.append(path)
            return self.answers.pop(0)


@pytest.mark.parametrize("type", TYPES)
def test_a_key_without_passphrase(tmp_path, type):
    key = make_key(tmp_path / "key", type)

    loaded = KeyRing().load(tmp_path / "key", nobody)

    assert loaded.asbytes() == key.public_data
    assert not is_sealed(tmp_path / "key")


@pytest.mark.parametrize("type", TYPES)
def test_a_key_with_passphrase(tmp_path, type):
    key = make_key(tmp_path / "key", type, passphrase="open sesame")
    person = Person("open sesame")

    loaded = KeyRing().load(tmp_path / "key", person)

    assert loaded.asbytes() == key.public_data
    assert is_sealed(tmp_path / "key")
    assert person.asked == [tmp_path / "key"]


@pytest.mark.parametrize("type", TYPES)
def test_the_second_passphrase_is_right(tmp_path, type):
    key = make_key(tmp_path / "key", type, passphrase="open sesame")

    loaded = KeyRing().load(tmp_path / "key", Person("open barley", "open sesame"))

    assert loaded.asbytes() == key.public_data


def test_three_wrong_passphrases(tmp_path):
    make_key(tmp_path / "key", passphrase="open sesame")
    person = Person("a", "b", "c")

    with pytest.raises(UnusableKey, match=r"^its passphrase was wrong 3 times$") as caught:
        KeyRing().load(tmp_path / "key", person)

    assert caught.value.is_locked


def test_nobody_knows_the_passphrase(tmp_path):
    make_key(tmp_path / "key", passphrase="open sesame")

    with pytest.raises(UnusableKey, match=r"^it has a passphrase, which was not given$") as caught:
        KeyRing().load(tmp_path / "key", nobody)

    assert caught.value.is_locked


def test_many_threads_ask_once(tmp_path):
    make_key(tmp_path / "key", passphrase="open sesame")
    ring, person = KeyRing(), Person("open sesame")

    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: ring.load(tmp_path / "key", person), range(16)))

    assert len(set(map(id, keys))) == 1
    assert len(person.asked) == 1


def test_who_refused_once_is_not_asked_again(tmp_path):
    make_key(tmp_path / "key", passphrase="open sesame")
    ring, person, another = KeyRing(), Person(None), Person("open sesame")

    for _ in range(2):
        with pytest.raises(UnusableKey):
            ring.load(tmp_path / "key", person)

    assert len(person.asked) == 1
    assert ring.load(tmp_path / "key", another)


def test_a_key_that_was_replaced_is_read_again(tmp_path):
    make_key(tmp_path / "key")
    ring = KeyRing()
    ring.load(tmp_path / "key", nobody)

    key = make_key(tmp_path / "key")

    assert ring.load(tmp_path / "key", nobody).asbytes() == key.public_data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param("hello", "it is not a private key in OpenSSH's format", id="text"),
        pytest.param("", "it is not a private key in OpenSSH's format", id="empty"),
        pytest.param(
            "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n",
            "it cannot be read: ",
            id="torn",
        ),
    ],
)
def test_what_is_no_key(tmp_path, content, reason):
    (tmp_path / "key").write_text(content)

    with pytest.raises(UnusableKey, match=reason) as caught:
        KeyRing().load(tmp_path / "key", nobody)

    assert not caught.value.is_locked


def test_a_missing_file(tmp_path):
    with pytest.raises(UnusableKey, match=r"^No such file or directory$"):
        KeyRing().load(tmp_path / "key", nobody)


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_the_public_half_needs_no_passphrase(tmp_path, type, passphrase):
    key = make_key(tmp_path / "key", type, passphrase)
    (tmp_path / "key.pub").unlink()

    public = public_half(tmp_path / "key")

    assert public is not None
    assert (public.type, public.blob, public.fingerprint) == (type, key.public_data, key.get_fingerprint())


def test_the_public_half_of_an_old_format_is_beside_it(tmp_path):
    key = make_key(tmp_path / "key", "ssh-rsa")
    key.write_private_key(tmp_path / "key", "pkcs1-pem", passphrase="open sesame")

    public = public_half(tmp_path / "key")

    assert is_sealed(tmp_path / "key")
    assert public is not None
    assert public.blob == key.public_data


def test_an_old_format_with_passphrase(tmp_path):
    key = make_key(tmp_path / "key", "ssh-rsa")
    key.write_private_key(tmp_path / "key", "pkcs1-pem", passphrase="open sesame")

    assert KeyRing().load(tmp_path / "key", Person("wrong", "open sesame")).asbytes() == key.public_data


@pytest.mark.parametrize("type", TYPES)
def test_a_certificate_tells_its_key(tmp_path, type):
    authority, key = asyncssh.generate_private_key("ssh-ed25519"), make_key(tmp_path / "key", type)
    authority.generate_user_certificate(key, "ann").write_certificate(tmp_path / "cert.pub")

    certificate = read_public_key(tmp_path / "cert.pub")

    assert certificate is not None
    assert certificate.is_certificate
    assert certificate.plain.blob == key.public_data
    assert certificate.fingerprint == key.get_fingerprint()


@pytest.mark.parametrize(
    "content", [b"", b"ssh-ed25519", b"ssh-ed25519 !", b"ssh-rsa AAAAC3NzaC1lZDI1NTE5", b"\xff\xff a b"]
)
def test_what_is_no_public_key(tmp_path, content):
    (tmp_path / "key.pub").write_bytes(content)

    assert read_public_key(tmp_path / "key.pub") is None
