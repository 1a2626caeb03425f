"""The password of an index on its way to uv and pip, which are asked for real."""

from __future__ import annotations

import hashlib
import os
import shutil
import string
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from django_deploy.host import commands
from django_deploy.host.index_login import login
from tests.bundle.archives import make_wheel
from tests.bundle.index_server import FakeIndex

#: All of ASCII's punctuation that a netrc file takes as it stands.
ODD = "'" + "".join(sorted(set(string.punctuation) - {"\\"})) + "7"

TOOLS = {
    "uv": [shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv", "pip", "install", "--quiet"],
    "pip": [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"],
}

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no files in memory")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index that wants to know who asks; the user has a netrc file, with another password for it."""
    server = FakeIndex()
    wheel = make_wheel(tmp_path / "shelf", "acme-x")
    server.add("acme-x", {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest()})
    server.pages[f"/files/{wheel.name}"] = (200, "application/octet-stream", wheel.read_bytes())
    entries = ("machine other login anna password x", "machine 127.0.0.1 login a password b", "")
    (tmp_path / "netrc").write_text("\n".join(entries))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    yield server
    server.close()


def address(index: FakeIndex, user: str, password: str) -> str:
    return f"http://{quote(user, safe='')}:{quote(password, safe='')}@{index.address}/simple"


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("password", ["secret", ODD])
def test_uv_and_pip_find_it(index, tmp_path, tool, password):
    index.user = f"me@corp:{password}"
    nothing_kept = {"UV_NO_CACHE": "1", "PIP_NO_CACHE_DIR": "1", "PIP_CONFIG_FILE": os.devnull}

    with login(address(index, "me@corp", password)) as access:
        assert access.url == index.url
        env = {**os.environ, **nothing_kept, **access.variables}
        command = [*TOOLS[tool], "--target", str(tmp_path / "there"), "acme-x==1.0"]
        status, lines = commands.run(command, env=env, files=[access.file])

    assert status == 0, lines
    assert (tmp_path / "there" / "acme_x.py").exists()
    assert access.variables == {
        "UV_DEFAULT_INDEX": index.url,
        "PIP_INDEX_URL": index.url,
        "NETRC": f"/proc/self/fd/{access.file}",
    }


def test_the_users_own_entries_are_kept(index):
    with login(address(index, "me", "secret")) as access:
        text = Path(access.variables["NETRC"]).read_text()

    assert text.splitlines() == [
        "machine other login anna password x",
        "machine 127.0.0.1 login a password b",
        "",
        "machine 127.0.0.1 login me password secret",
    ]
    assert not Path(access.variables["NETRC"]).exists()


def test_a_broken_netrc_file_hides_nothing(index, tmp_path):
    (tmp_path / "netrc").write_text("machine other lagin\n")

    with login(address(index, "me", "secret")) as access:
        text = Path(access.variables["NETRC"]).read_text()

    assert text == "\nmachine 127.0.0.1 login me password secret\n"


@pytest.mark.parametrize(
    "url",
    [
        "http://host/simple",
        "http://token@host/simple",
        "http://me:two%20words@host/simple",
        "http://me:%C3%BCber@host/simple",
        "http://me:back%5Cslash@host/simple",
        "http://me:%22quoted@host/simple",
        "file:///srv/simple",
    ],
)
def test_what_a_netrc_file_cannot_hold_stays_in_the_address(url):
    with login(url) as access:
        assert access == (url, None)
        assert access.variables == {"UV_DEFAULT_INDEX": url, "PIP_INDEX_URL": url}
