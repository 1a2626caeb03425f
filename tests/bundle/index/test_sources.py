"""pip's configuration, against pip itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import uv

from django_deploy.bundle.index.sources import (
    Sources,
    default_index_url,
    pip_variables,
    read_sources,
    redact,
    uv_variables,
)
from tests.bundle.archives import make_wheel


@pytest.fixture
def home(tmp_path):
    """An environment of variables whose configuration lies in ``tmp_path``."""
    return {
        "HOME": str(tmp_path / "home"),
        "XDG_CONFIG_DIRS": str(tmp_path / "etc"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }


def configure(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def what_pip_reads(environ: dict[str, str], key: str) -> str:
    """pip's own answer; its command ``config get`` reads only one file."""
    program = (
        "import sys; from pip._internal.configuration import Configuration;"
        "configuration = Configuration(isolated=False); configuration.load();"
        "print(configuration.get_value(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, key]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False).stdout.strip()


def test_files_in_the_order_of_pip(home, tmp_path):
    configure(tmp_path / "etc/pip/pip.conf", "[global]\nindex-url = http://site/\ncert = /site.pem\n")
    configure(
        tmp_path / "home/.pip/pip.conf", "[global]\nindex-url = http://legacy/\nproxy = http://legacy:1\n"
    )
    configure(
        tmp_path / "config/pip/pip.conf", "[global]\nindex_url = http://user/\n[install]\ntimeout = 7\n"
    )

    sources = read_sources(environ=home, prefix=tmp_path / "venv")

    assert sources.index_url == what_pip_reads(home, "global.index-url") == "http://user/"
    assert sources.proxy == what_pip_reads(home, "global.proxy") == "http://legacy:1"
    assert sources.timeout == 7


def test_virtualenv_wins_over_the_user(home, tmp_path):
    configure(tmp_path / "config/pip/pip.conf", "[global]\nindex-url = http://user/\n")
    configure(tmp_path / "venv/pip.conf", "[global]\nindex-url = http://venv/\n")

    assert read_sources(environ=home, prefix=tmp_path / "venv").index_url == "http://venv/"


def test_section_of_install_wins_over_global(home, tmp_path):
    configure(tmp_path / "etc/pip/pip.conf", "[install]\nindex-url = http://install/\n")
    configure(tmp_path / "config/pip/pip.conf", "[global]\nindex-url = http://global/\n")

    sources = read_sources(environ=home, prefix=tmp_path)

    assert sources.index_url == what_pip_reads(home, "install.index-url") == "http://install/"


def test_empty_option_is_none(home, tmp_path):
    configure(tmp_path / "etc/pip/pip.conf", "[global]\nindex-url = http://site/\nproxy = http://site:1\n")
    configure(tmp_path / "config/pip/pip.conf", "[global]\nproxy =\n[install]\nindex-url =\n")

    sources = read_sources(environ=home, prefix=tmp_path)

    assert (sources.index_url, sources.proxy) == ("http://site/", "")


def test_named_file_replaces_the_users(home, tmp_path):
    configure(tmp_path / "etc/pip/pip.conf", "[global]\nproxy = http://site:1\n")
    configure(tmp_path / "config/pip/pip.conf", "[global]\nindex-url = http://user/\ncert = /user.pem\n")
    configure(tmp_path / "named.conf", "[global]\nindex-url = http://named/\n")
    home["PIP_CONFIG_FILE"] = str(tmp_path / "named.conf")

    sources = read_sources(environ=home, prefix=tmp_path / "venv")

    assert (sources.index_url, sources.proxy) == ("http://named/", "http://site:1")
    assert sources.cert == what_pip_reads(home, "global.cert")


def test_no_files_when_pip_reads_none(home, tmp_path):
    configure(tmp_path / "config/pip/pip.conf", "[global]\nindex-url = http://user/\n")
    home["PIP_CONFIG_FILE"] = os.devnull

    assert read_sources(environ=home, prefix=tmp_path) == Sources()


def test_variables_win_over_files(home, tmp_path):
    configure(
        tmp_path / "config/pip/pip.conf",
        "[global]\nextra-index-url =\n    http://a/\n    http://b/\nfind-links = /links\n",
    )
    home |= {
        "PIP_FIND_LINKS": "/x /y",
        "PIP_TRUSTED_HOST": "a b:8",
        "PIP_CERT": "/c",
        "PIP_CLIENT_CERT": "/d",
        "PIP_KEYRING_PROVIDER": "subprocess",
    }

    sources = read_sources(environ=home, prefix=tmp_path)

    assert sources == Sources(
        extra_index_urls=("http://a/", "http://b/"),
        find_links=("/x", "/y"),
        trusted_hosts=("a", "b:8"),
        cert="/c",
        client_cert="/d",
        keyring_provider="subprocess",
    )


def test_no_index_leaves_only_links(home, tmp_path):
    home |= {"PIP_NO_INDEX": "1", "PIP_EXTRA_INDEX_URL": "http://a/", "PIP_FIND_LINKS": "/links"}

    sources = read_sources(environ=home, prefix=tmp_path)

    assert sources.index_urls == ()
    assert sources.find_links == ("/links",)


def test_index_of_the_hosts_is_the_only_source(home, tmp_path):
    home |= {"PIP_EXTRA_INDEX_URL": "http://a/", "PIP_FIND_LINKS": "/links", "PIP_CERT": "/c"}

    sources = read_sources("http://hosts/simple", environ=home, prefix=tmp_path)

    assert sources == Sources(index_url="http://hosts/simple", cert="/c", is_only=True)


def test_default_index_is_pips():
    assert Sources().index_urls == (default_index_url(),)
    assert default_index_url().startswith("https://")


def test_credentials_are_no_part_of_the_identity():
    with_user = Sources("https://me:secret@index/simple", ("https://x:y@extra/",))
    without = Sources("https://index/simple", ("https://extra/",))

    assert with_user.identity == without.identity
    assert redact("https://me:p%40ss@index:8/simple") == "https://index:8/simple"


def test_uv_gets_the_same_sources():
    sources = Sources(
        "http://i/",
        ("http://a/", "http://b/"),
        ("/x", "/y"),
        ("h",),
        cert="/c",
        client_cert="/d",
        proxy="p:1",
    )

    assert uv_variables(sources, {}) == {
        "UV_DEFAULT_INDEX": "http://i/",
        "UV_INDEX": "http://a/ http://b/",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/x,/y",
        "UV_INSECURE_HOST": "h",
        "SSL_CERT_FILE": "/c",
        "SSL_CLIENT_CERT": "/d",
        "HTTP_PROXY": "p:1",
        "HTTPS_PROXY": "p:1",
    }
    assert uv_variables(Sources(), {}) == {}
    assert uv_variables(Sources(""), {}) == {"UV_NO_INDEX": "1"}


def test_uv_with_settings_of_its_own_is_left_alone():
    assert uv_variables(Sources("http://i/"), {"UV_INDEX_URL": "http://own/"}) == {}


def test_uv_asks_only_the_index_of_the_hosts(index, tmp_path):
    index.add("acme-x", {"acme_x-1.0-py3-none-any.whl": "a" * 64})
    command = [
        uv.find_uv_bin(),
        "pip",
        "compile",
        "--quiet",
        "--no-header",
        "--no-deps",
        "--generate-hashes",
        "-",
    ]
    elsewhere = dict.fromkeys(("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"), "http://127.0.0.1:9/")
    environment = {**os.environ, "UV_NO_CACHE": "1", **elsewhere, "UV_FIND_LINKS": str(tmp_path / "gone")}

    only = uv_variables(read_sources(index.url), environment)
    done = subprocess.run(
        command, input="acme-x==1.0\n", env={**environment, **only}, capture_output=True, text=True
    )

    assert done.stdout.split() == ["acme-x==1.0", "\\", f"--hash=sha256:{'a' * 64}"], done.stderr


def test_pip_asks_only_the_index_of_the_hosts(index, home, tmp_path):
    wheel = make_wheel(tmp_path, "acme-x")
    index.add_html("acme-x", f"<a href='/files/{wheel.name}'>")
    index.pages[f"/files/{wheel.name}"] = (200, "application/octet-stream", wheel.read_bytes())
    configure(tmp_path / "config/pip/pip.conf", "[global]\nextra-index-url = http://127.0.0.1:9/\n")
    environment = {**home, "PIP_FIND_LINKS": str(tmp_path / "gone"), "PIP_NO_CACHE_DIR": "1"}
    sources = read_sources(index.url, environ=environment, prefix=tmp_path)

    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(tmp_path / "d"), "acme-x"]
    done = subprocess.run(
        command, env={**environment, **pip_variables(sources)}, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert "127.0.0.1:9" not in done.stdout + done.stderr
    assert "gone" not in done.stdout + done.stderr


def test_pip_reads_its_own_configuration_itself():
    assert pip_variables(Sources("http://i/", ("http://a/",), cert="/c")) == {"PIP_INDEX_URL": "http://i/"}
    assert pip_variables(Sources(cert="/c")) == {}
