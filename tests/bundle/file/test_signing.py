"""Signatures: OpenSSH's own program reads ours, and we read its; nobody else's are taken."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from django_deploy.bundle.file.signing import load_signing_key, sign_file, signature_of, verify_file
from django_deploy.exceptions import BundleError

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="OpenSSH is not installed")


def ssh_keygen(*arguments: object, **options: object) -> str:
    done = subprocess.run(
        ["ssh-keygen", *map(str, arguments)], check=True, capture_output=True, text=True, **options
    )
    return done.stdout


def make_key(path: Path, passphrase: str = "", *options: str) -> Path:
    ssh_keygen("-q", "-t", "ed25519", "-N", passphrase, "-C", "ann@laptop", *options, "-f", path)
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ann", "bob"):
        make_key(folder / name)
    make_key(folder / "locked", "open sesame")
    ssh_keygen("-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", folder / "rsa")
    ssh_keygen("-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", folder / "rsa.pem")
    return folder


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "shop.bundle"
    path.write_bytes(b"a bundle" * 3_000)
    return path


def public(key: Path) -> str:
    return key.with_name(key.name + ".pub").read_text()


def fingerprint(key: Path) -> str:
    return ssh_keygen("-l", "-f", key).split()[1]


def as_pem(key: Path, place: Path) -> Path:
    private = serialization.load_ssh_private_key(key.read_bytes(), None)
    formats = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    place.write_bytes(private.private_bytes(*formats))
    return place


def refusal(file: Path, *trusted: str, copy: Path | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        verify_file(copy or file, file, trusted)
    return caught.value.message


def test_openssh_reads_our_signatures(keys, file, tmp_path):
    key = load_signing_key(str(keys / "ann"))
    place = sign_file(file, key)
    signers = tmp_path / "signers"
    signers.write_text(f"ann {public(keys / 'ann')}")

    options = ("-n", "django-deploy", "-I", "ann", "-f", signers, "-s", place)
    told = ssh_keygen("-Y", "verify", *options, input=file.read_text())

    assert place == tmp_path / "shop.bundle.sig"
    assert key.fingerprint == fingerprint(keys / "ann")
    assert told.strip() == f'Good "django-deploy" signature for ann with ED25519 key {key.fingerprint}'


def test_we_read_those_of_openssh(keys, file):
    ssh_keygen("-q", "-Y", "sign", "-n", "django-deploy", "-f", keys / "ann", file)

    assert verify_file(file, file, [public(keys / "ann")]) == fingerprint(keys / "ann")


def test_both_write_the_same(keys, file):
    ssh_keygen("-q", "-Y", "sign", "-n", "django-deploy", "-f", keys / "ann", file)
    theirs = signature_of(file).read_bytes()

    sign_file(file, load_signing_key(str(keys / "ann")))

    assert signature_of(file).read_bytes() == theirs


@pytest.mark.parametrize("form", ["openssh", "pem", "text", "pem text"])
def test_forms_of_private_keys(keys, file, tmp_path, form):
    path = as_pem(keys / "ann", tmp_path / "ann.pem") if "pem" in form else keys / "ann"
    key = load_signing_key(path.read_text().strip() if "text" in form else str(path))

    assert key.fingerprint == fingerprint(keys / "ann")


def test_a_passphrase_is_asked_for(keys):
    asked = []

    def ask(path: Path) -> str:
        asked.append(path)
        return "open sesame"

    assert load_signing_key(str(keys / "locked"), ask).fingerprint == fingerprint(keys / "locked")
    assert asked == [keys / "locked"]


def test_keys_that_cannot_sign(keys, tmp_path):
    (tmp_path / "noise").write_text("hello")
    cases = {
        str(tmp_path / "none"): f"SIGNING_KEY: {tmp_path}/none cannot be read: No such file or directory.",
        str(keys / "locked"): f"SIGNING_KEY: {keys}/locked has a passphrase.",
        (keys / "locked").read_text(): "The text of SIGNING_KEY has a passphrase.",
        str(keys / "rsa"): f"SIGNING_KEY: {keys}/rsa is not a private Ed25519 key.",
        str(keys / "rsa.pem"): f"SIGNING_KEY: {keys}/rsa.pem is not a private Ed25519 key.",
        str(keys / "ann.pub"): f"SIGNING_KEY: {keys}/ann.pub is not a private Ed25519 key.",
        str(tmp_path / "noise"): f"SIGNING_KEY: {tmp_path}/noise is not a private Ed25519 key.",
        "-----BEGIN nonsense": "The text of SIGNING_KEY is not a private Ed25519 key.",
    }
    for key, message in cases.items():
        with pytest.raises(BundleError) as caught:
            load_signing_key(key)
        assert caught.value.message == message

    with pytest.raises(BundleError, match=r"locked: the passphrase is wrong\."):
        load_signing_key(str(keys / "locked"), lambda path: "wrong")


@pytest.mark.parametrize("form", ["line", "without a comment", "file", "file of several", "signers"])
def test_forms_of_trusted_keys(keys, file, tmp_path, form):
    sign_file(file, load_signing_key(str(keys / "ann")))
    several = tmp_path / "several"
    several.write_text(f"# who may release\n\n{public(keys / 'bob')}{public(keys / 'ann')}")
    signers = tmp_path / "signers"
    signers.write_text(f'ann@example.com namespaces="django-deploy" {public(keys / "ann")}')
    trusted = {
        "line": public(keys / "ann"),
        "without a comment": " ".join(public(keys / "ann").split()[:2]),
        "file": str(keys / "ann.pub"),
        "file of several": str(several),
        "signers": str(signers),
    }[form]

    assert verify_file(file, file, [public(keys / "bob"), trusted]) == fingerprint(keys / "ann")


@pytest.mark.parametrize(
    "line", ["ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 !!!!", "ssh-ed25519 " + "A" * 80]
)
def test_trusted_keys_that_are_none(file, line):
    assert refusal(file, line) == f"TRUSTED_KEYS: {line[:60]!r} is not a public Ed25519 key."


def test_files_of_trusted_keys_that_are_none(keys, file, tmp_path):
    assert refusal(file, str(tmp_path / "none")) == (
        f"TRUSTED_KEYS: {tmp_path}/none cannot be read: No such file or directory."
    )
    assert refusal(file, str(keys / "rsa.pub")).startswith("TRUSTED_KEYS: 'ssh-rsa ")


def test_an_unsigned_file(keys, file):
    assert refusal(file, public(keys / "ann")) == (
        f"{file} is not signed, and TRUSTED_KEYS asks for it: there is no shop.bundle.sig."
    )


def test_a_stranger(keys, file):
    sign_file(file, load_signing_key(str(keys / "bob")))

    assert refusal(file, public(keys / "ann")) == (
        f"{file} is signed with {fingerprint(keys / 'bob')}, which is not one of the TRUSTED_KEYS."
    )


def test_a_file_that_has_changed(keys, file, tmp_path):
    sign_file(file, load_signing_key(str(keys / "ann")))
    copy = tmp_path / "copy"
    copy.write_bytes(file.read_bytes() + b"!")

    assert refusal(file, public(keys / "ann"), copy=copy) == (
        f"{file}.sig is not the signature of shop.bundle: one of them has been changed."
    )


def test_a_signature_for_another_purpose(keys, file):
    ssh_keygen("-q", "-Y", "sign", "-n", "git", "-f", keys / "ann", file)

    assert (
        refusal(file, public(keys / "ann"))
        == f"{file}.sig is not a signature of a bundle: it was made for 'git'."
    )


def test_signatures_of_other_kinds(keys, file):
    ssh_keygen("-q", "-Y", "sign", "-n", "django-deploy", "-f", keys / "rsa", file)
    assert refusal(file, public(keys / "ann")).endswith(": it is not one of Ed25519 and SHA-512.")

    signature_of(file).unlink()
    options = ("-O", "hashalg=sha256", "-n", "django-deploy", "-f", keys / "ann")
    ssh_keygen("-q", "-Y", "sign", *options, file)
    assert refusal(file, public(keys / "ann")).endswith(": it is not one of Ed25519 and SHA-512.")


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, b"-----BEGIN SSH SIGNATURE-----"])
def test_what_is_no_signature(keys, file, content):
    signature_of(file).write_bytes(content)

    assert refusal(file, public(keys / "ann")).endswith("of a bundle: it does not look like one.")


def test_every_flipped_byte_and_every_cut(keys, file):
    sign_file(file, load_signing_key(str(keys / "ann")))
    lines = signature_of(file).read_text().splitlines()
    blob = base64.b64decode("".join(lines[1:-1]))

    for changed in (
        *(blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :] for place in range(len(blob))),
        *(blob[:size] for size in range(len(blob))),
        blob + b"\0",
    ):
        text = base64.b64encode(changed).decode()
        signature_of(file).write_text("\n".join([lines[0], text, lines[-1], ""]))
        refusal(file, public(keys / "ann"))


def test_the_same_file_and_key_give_the_same_signature(keys, file):
    key = load_signing_key(str(keys / "ann"))
    once = sign_file(file, key).read_bytes()

    assert sign_file(file, key).read_bytes() == once
    assert isinstance(key.private, Ed25519PrivateKey)
