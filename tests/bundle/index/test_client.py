"""Indexes that want to know who asks, and proxies, as pip is configured for them."""

from __future__ import annotations

import ssl
import sys
import threading
from pathlib import Path

import pytest

from django_deploy.bundle.index.client import HttpClient, IndexFailure
from django_deploy.bundle.index.sources import Sources
from tests.bundle.certificates import Authority
from tests.bundle.index_server import FakeIndex, Proxy, basic

SECRET = "s3cret p@ss:word"
QUOTED = "s3cret%20p%40ss%3Aword"


@pytest.fixture(autouse=True)
def _nobody(monkeypatch, tmp_path):
    """No netrc, no proxy, no keyring of the tester's."""
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def page(index):
    index.add("x", {})
    return f"{index.url}/x/"


def status(url: str, **sources: object) -> int:
    """What is answered to one who is configured so."""
    client = HttpClient(Sources(**{"index_url": url.removesuffix("/x/"), **sources}))
    try:
        return client.get(url).status
    finally:
        client.close()


def failure(url: str, **sources: object) -> str:
    with pytest.raises(IndexFailure) as caught:
        status(url, **sources)
    return str(caught.value)


# Credentials


def with_user(url: str, user: str) -> str:
    return url.replace("://", f"://{user}@")


def test_credentials_of_the_address_are_for_all_of_its_server(index, page):
    index.user = f"me:{SECRET}"

    assert status(page, index_url=with_user(index.url, f"me:{QUOTED}")) == 200
    assert status(page) == 401


def test_user_without_a_password_may_be_a_token(index, page):
    index.user = "t0ken:"

    assert status(page, index_url=with_user(index.url, "t0ken")) == 200


def test_netrc_knows_the_password_of_a_user(index, page, tmp_path):
    index.user = "me:from-netrc"
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password from-netrc\n")

    assert status(page, index_url=with_user(index.url, "me")) == 200
    assert status(page) == 200
    assert status(page, index_url=with_user(index.url, "me:wrong")) == 401


def test_credentials_do_not_follow_a_redirect_to_another_server(index, page):
    other = FakeIndex()
    other.add("x", {})
    index.pages["/simple/x/"] = (302, "text/plain", f"{other.url}/x/".encode())

    answer = status(page, index_url=with_user(index.url, f"me:{QUOTED}"))

    other.close()
    assert answer == 200
    assert (index.authorizations, other.authorizations) == ([basic(f"me:{SECRET}")], [None])


@pytest.fixture
def keyring(tmp_path):
    """Installs the command ``keyring``, which answers as said; ``asked()`` are its arguments so far."""
    log = tmp_path / "keyring.log"

    def install(answer: str) -> None:
        command = tmp_path / "bin" / "keyring"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f'#!/bin/sh\necho "$@" >> {log}\n{answer}\n')
        command.chmod(0o755)

    install.asked = lambda: log.read_text().splitlines() if log.exists() else []
    return install


PASSWORD = f"echo '{SECRET}'"


@pytest.mark.parametrize("refusal", [401, 403])
def test_keyring_is_asked_after_a_refusal(index, page, keyring, refusal):
    index.user, index.refusal = f"me:{SECRET}", refusal
    keyring(PASSWORD)

    assert status(page, index_url=with_user(index.url, "me"), keyring_provider="subprocess") == 200
    assert keyring.asked() == [f"get {index.url} me"]
    assert index.authorizations == [basic("me:"), basic(index.user)]


def test_keyring_may_know_the_server_only(index, page, keyring):
    index.user = f"me:{SECRET}"
    keyring(f'[ "$2" = {index.address} ] && {PASSWORD}')

    assert status(page, index_url=with_user(index.url, "me")) == 200
    assert keyring.asked() == [f"get {index.url} me", f"get {index.address} me"]


def test_keyring_may_know_the_user_too(index, page, keyring):
    index.user = f"me:{SECRET}"
    keyring(f"""echo '{{"username": "me", "password": "{SECRET}"}}'""")

    assert status(page) == 200
    assert keyring.asked() == [f"--mode=creds --output=json get {index.url}"]


def test_keyring_is_asked_once_for_all_threads(index, keyring):
    index.user = f"me:{SECRET}"
    keyring(f"/bin/sleep 0.2; {PASSWORD}")
    for number in range(24):
        index.add(f"x{number}", {})
    client, found = HttpClient(Sources(with_user(index.url, "me"))), []

    def ask(first: int) -> None:
        found.extend(client.get(f"{index.url}/x{number}/").status for number in range(first, first + 3))

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(0, 24, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    client.close()
    assert found == [200] * 24
    assert len(keyring.asked()) == 1


@pytest.mark.parametrize("answer", ["exit 1", "echo", "echo no json", "kill -9 $$"])
def test_keyring_that_knows_nothing(index, page, keyring, answer):
    index.user = f"me:{SECRET}"
    keyring(answer)

    assert status(page) == 401
    assert len(keyring.asked()) == 2


@pytest.mark.parametrize(("user", "provider"), [("", "disabled"), ("me:wrong", "auto"), ("", "import")])
def test_keyring_that_is_not_to_be_asked(index, page, keyring, user, provider):
    index.user = f"me:{SECRET}"
    keyring(PASSWORD)

    assert status(page, index_url=with_user(index.url, user), keyring_provider=provider) == 401
    assert keyring.asked() == []


def test_keyring_is_not_asked_without_a_refusal(page, keyring):
    keyring(PASSWORD)

    assert status(page) == 200
    assert keyring.asked() == []


KEYRING_MODULE = """
from collections import namedtuple
Credential = namedtuple("Credential", "username password")
def get_credential(service, user):
    if BROKEN:
        raise RuntimeError("locked")
    return Credential(user or "me", PASSWORD) if service == SERVICE else None
"""


@pytest.mark.parametrize(("is_broken", "answer"), [(False, 200), (True, 401)])
def test_keyring_that_is_installed_here(index, page, tmp_path, monkeypatch, keyring, is_broken, answer):
    index.user = f"me:{SECRET}"
    keyring("exit 1")
    constants = f"BROKEN, PASSWORD, SERVICE = {is_broken}, {SECRET!r}, {index.url!r}\n"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "keyring.py").write_text(constants + KEYRING_MODULE)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "keyring", raising=False)

    found = status(page)

    sys.modules.pop("keyring", None)
    assert found == answer
    assert keyring.asked() == []


# Certificates


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure_index(authority):
    """An index that speaks https and wants to see a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certify("server"))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    server = FakeIndex(context)
    server.add("x", {})
    yield server
    server.close()


def test_certificates_of_both_sides(secure_index, authority):
    url, me = f"{secure_index.url}/x/", str(authority.certify("me"))

    assert status(url, cert=str(authority.file), client_cert=me) == 200
    assert failure(url, cert=str(authority.file)).startswith(f"{url} cannot be read: ")
    assert "CERTIFICATE_VERIFY_FAILED" in failure(url, client_cert=me)
    assert status(url, client_cert=me, trusted_hosts=("127.0.0.1",)) == 200
    assert status(url, client_cert=me, trusted_hosts=(secure_index.address,)) == 200


def test_certificate_that_is_not_there(secure_index, authority):
    gone = str(authority.folder / "gone.pem")

    message = failure(f"{secure_index.url}/x/", cert=str(authority.file), client_cert=gone)

    assert message == (
        f"the certificates of pip's configuration, {authority.file} and {gone}, cannot be used: "
        "[Errno 2] No such file or directory"
    )


# Proxies


@pytest.fixture
def proxy():
    server = Proxy(f"me:{SECRET}")
    yield server
    server.close()


def test_proxy_with_credentials(index, proxy):
    index.add("x", {})
    proxy.places["index.invalid"] = index
    url = "http://index.invalid/simple/x/"

    assert status(url, proxy=f"http://me:{QUOTED}@{proxy.address}") == 200
    assert status(url, proxy=f"http://{proxy.address}") == 407
    assert proxy.requests == [f"GET {url}"] * 2


def test_tunnel_through_a_proxy(secure_index, authority, proxy, monkeypatch):
    monkeypatch.setenv("https_proxy", f"me:{QUOTED}@{proxy.address}")
    certificates = {"cert": str(authority.file), "client_cert": str(authority.certify("me"))}
    url = f"{secure_index.url}/x/"

    assert status(url, **certificates) == 200
    assert proxy.requests == [f"CONNECT {secure_index.address}"]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert status(url, **certificates) == 200
    assert len(proxy.requests) == 1


def test_tunnel_that_is_refused_is_told_without_the_password(secure_index, authority, proxy):
    message = failure(f"{secure_index.url}/x/", proxy=f"http://you:{QUOTED}@{proxy.address}")

    assert message.startswith(f"{secure_index.url}/x/ cannot be read: Tunnel connection failed: 407")
    assert "s3cret" not in message


# What is told


def test_signatures_of_redirects_are_not_told(index, page):
    place = f"http://me:{QUOTED}@{index.address}/simple/x/?signature={QUOTED}"
    index.pages["/simple/x/"] = (302, "text/plain", place.encode())
    index.pages[f"/simple/x/?signature={QUOTED}"] = (302, "text/plain", place.encode())

    assert failure(page) == f"{page} redirects too often"


def test_file_is_saved_as_it_is(index, tmp_path: Path):
    index.pages["/files/x.zip"] = (200, "application/zip", bytes(range(256)) * 5000)
    client = HttpClient(Sources(index.url))

    response = client.get(f"http://{index.address}/files/x.zip", into=tmp_path / "x.zip")

    client.close()
    assert (response.status, response.body) == (200, b"")
    assert (tmp_path / "x.zip").read_bytes() == bytes(range(256)) * 5000
