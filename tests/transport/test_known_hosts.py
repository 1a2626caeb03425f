from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from django_deploy.transport import known_hosts
from django_deploy.transport.known_hosts import Verdict


def blob(type: str, content: bytes = b"key") -> bytes:
    return len(type).to_bytes(4, "big") + type.encode() + content


ED25519 = blob("ssh-ed25519")
OTHER = blob("ssh-ed25519", b"another key")
RSA = blob("ssh-rsa")


def line(patterns: str, key: bytes = ED25519, marker: str = "") -> str:
    type = key[4 : 4 + key[3]].decode()
    return f"{marker} {patterns} {type} {base64.b64encode(key).decode()} a comment".strip()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ssh/known_hosts"


def write(file: Path, *lines: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


def found_lines(file: Path, name: str) -> list[int]:
    return [entry.line for entry in known_hosts.find([file], name)]


@pytest.mark.parametrize(
    ("patterns", "name", "is_match"),
    [
        pytest.param("web", "web", True, id="name"),
        pytest.param("web", "web2", False, id="longer name"),
        pytest.param("WEB.Example.org", "web.example.org", True, id="upper case"),
        pytest.param("db,web,10.0.0.1", "web", True, id="list"),
        pytest.param("*.example.org", "web.example.org", True, id="star"),
        pytest.param("*.example.org", "example.org", False, id="star without its dot"),
        pytest.param("web?", "web1", True, id="question mark"),
        pytest.param("web?", "web", False, id="question mark and no letter"),
        pytest.param("*.example.org,!db.example.org", "db.example.org", False, id="negated"),
        pytest.param("!db.example.org,*.example.org", "db.example.org", False, id="negated first"),
        pytest.param("!db.example.org", "web.example.org", False, id="only a negation"),
        pytest.param("[web]:2222", "[web]:2222", True, id="port"),
        pytest.param("[web]:2222", "web", False, id="port and the bare name"),
        pytest.param("[web]:22", "w:22", False, id="brackets are no character class"),
        pytest.param("web.example", "webxexample", False, id="a dot is a dot"),
        pytest.param(known_hosts.hash_name("web", b"salt" * 5), "web", True, id="hashed"),
        pytest.param(known_hosts.hash_name("web", b"salt" * 5), "db", False, id="hashed, another"),
        pytest.param("|1|no base64|!", "web", False, id="broken hash"),
        pytest.param("|1|only", "web", False, id="short hash"),
    ],
)
def test_patterns(file, patterns, name, is_match):
    write(file, line(patterns))

    assert found_lines(file, name) == ([1] if is_match else [])


def test_hashes_are_openssh_s():
    # Written by ssh-keygen -H.
    hashed = "|1|DX3YwdbpuZ6RKVSvjIubbRDrbvk=|C1CwXVY+NmVMHdIUkEBLvTI0RIY="

    assert known_hosts.hash_name("web.example.org", base64.b64decode(hashed.split("|")[2])) == hashed


def test_one_bad_line_hides_no_other(file):
    write(
        file,
        "# a comment",
        "",
        "web",
        "web ssh-ed25519 not-base64!",
        "web 2048 65537 1234567890",
        f"web ssh-rsa {base64.b64encode(ED25519).decode()}",
        "@unknown-marker " + line("web"),
        line("web", marker="@cert-authority"),
        line("web"),
    )

    assert [(entry.line, entry.marker) for entry in known_hosts.find([file], "web")] == [
        (8, "@cert-authority"),
        (9, ""),
    ]


def test_bytes_that_are_no_text_hide_no_line(file):
    write(file, "x", line("web"))
    file.write_bytes(b"\xff\xfe web\n" + file.read_bytes())

    assert found_lines(file, "web") == [3]


def test_a_missing_file_knows_nobody(file):
    assert known_hosts.find([file], "web") == []


@pytest.mark.parametrize(
    ("lines", "verdict", "numbers"),
    [
        pytest.param([], Verdict.UNKNOWN, [], id="nothing"),
        pytest.param([line("web")], Verdict.KNOWN, [1], id="its key"),
        pytest.param([line("web", OTHER), line("web")], Verdict.KNOWN, [2], id="one of two"),
        pytest.param([line("web", OTHER)], Verdict.CHANGED, [1], id="another key"),
        pytest.param([line("web", RSA)], Verdict.CHANGED, [1], id="another type"),
        pytest.param([line("web", marker="@revoked"), line("web")], Verdict.REVOKED, [1], id="revoked"),
        pytest.param([line("web", OTHER, "@revoked"), line("web")], Verdict.KNOWN, [2], id="another revoked"),
        pytest.param([line("web", marker="@cert-authority")], Verdict.UNKNOWN, [], id="authority"),
    ],
)
def test_verdicts(file, lines, verdict, numbers):
    write(file, *lines)

    judged, entries = known_hosts.judge(known_hosts.find([file], "web"), ED25519)

    assert (judged, [entry.line for entry in entries]) == (verdict, numbers)


@pytest.mark.parametrize(
    ("hostname", "port", "name"),
    [("Web.Example.org", 22, "web.example.org"), ("web", 2222, "[web]:2222"), ("::1", 2222, "[::1]:2222")],
)
def test_names(hostname, port, name):
    assert known_hosts.host_name(hostname, port) == name


def test_append_makes_a_private_file(file):
    known_hosts.append(file, "[web]:2222", "ssh-ed25519", ED25519, is_hashed=False)

    assert file.read_text() == f"[web]:2222 ssh-ed25519 {base64.b64encode(ED25519).decode()}\n"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_append_completes_an_open_last_line(file):
    write(file)
    file.write_text(line("db"))

    known_hosts.append(file, "web", "ssh-ed25519", ED25519, is_hashed=False)

    assert (found_lines(file, "db"), found_lines(file, "web")) == ([1], [2])


def test_append_hashes(file):
    known_hosts.append(file, "web", "ssh-ed25519", ED25519, is_hashed=True)

    assert file.read_text().startswith("|1|")
    assert found_lines(file, "web") == [1]


def test_append_by_many_threads_loses_nothing(file):
    names = [f"web{number}" for number in range(64)]

    def append(name):
        known_hosts.append(file, name, "ssh-ed25519", ED25519, is_hashed=True)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(append, names))

    assert [name for name in names if len(found_lines(file, name)) != 1] == []


def test_revoked_keys_in_a_file_of_their_own(file):
    write(file, f"ssh-ed25519 {base64.b64encode(ED25519).decode()} stolen")

    assert known_hosts.is_revoked(file, ED25519)
    assert not known_hosts.is_revoked(file, OTHER)


def test_binary_revocation_lists_are_refused(file):
    write(file)
    file.write_bytes(b"SSHKRL\n\0...")

    with pytest.raises(ValueError, match="key revocation lists"):
        known_hosts.is_revoked(file, ED25519)
