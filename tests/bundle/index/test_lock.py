"""Pins and their hashes, from indexes of every kind and from folders."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.index.lock import lock
from django_deploy.bundle.index.pages import archive_version
from django_deploy.bundle.index.sources import Sources
from django_deploy.bundle.manifest import Pin
from django_deploy.bundle.requirements.requirements_file import Entry
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel
from tests.bundle.index_server import FakeIndex

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def installed(name: str, version: str = "1.0") -> Distribution:
    return Distribution(name, version, "index", (), Path("/nowhere"))


def pins(index: FakeIndex, cache: Path, *distributions: Distribution, **sources) -> tuple[Pin, ...]:
    return lock(distributions, Sources(index.url, **sources), cache=cache).pins


def failure(*distributions: Distribution, sources: Sources, cache: Path) -> str:
    with pytest.raises(BundleError) as caught:
        lock(distributions, sources, cache=cache)
    head, *lines = caught.value.message.splitlines()
    assert head == "No host could install these distributions as they are installed here:"
    return "\n".join(line.strip() for line in lines)


def test_hashes_of_all_files_of_the_version(index, tmp_path):
    index.add(
        "acme-x",
        {
            "acme_x-1.0-py3-none-any.whl": A,
            "acme.x-1.0.0.tar.gz": B,
            "acme_x-1.0.1.tar.gz": C,
            "other-1.0.zip": C,
        },
    )

    assert pins(index, tmp_path, installed("acme-x")) == (Pin("acme-x", "1.0", (A, B)),)


def test_what_has_sources_only_is_told(index, tmp_path):
    """Each machine builds its own wheel of them."""
    index.add("x", {"x-1.0.tar.gz": A, "x-1.0.zip": B, "x-2.0-py3-none-any.whl": C})
    index.add("y", {"y-1.0.tar.gz": A, "y-1.0-cp311-cp311-win_amd64.whl": B})

    for _ in ("asked", "remembered"):
        assert [pin.is_source for pin in pins(index, tmp_path, installed("x"), installed("y"))] == [
            True,
            False,
        ]
    assert len(index.requests) == 2


def test_local_version_is_another_version(index, tmp_path):
    index.add(
        "torch",
        {"torch-2.0-py3-none-any.whl": A, "torch-2.0%2Bcpu-py3-none-any.whl": B, "torch-2.0+cpu.zip": C},
    )

    assert pins(index, tmp_path, installed("torch", "2.0+cpu")) == (Pin("torch", "2.0+cpu", (C,)),)


def test_yanked_and_pre_releases_are_found(index, tmp_path):
    index.add("x", {"x-5.2rc1-py3-none-any.whl": A}, yanked="too early")

    assert pins(index, tmp_path, installed("x", "5.2rc1")) == (Pin("x", "5.2rc1", (A,)),)


def test_html_page(index, tmp_path):
    index.add_html(
        "x",
        f"""<!DOCTYPE html><base href="/files/"><a href="x-1.0-py3-none-any.whl#sha256={A}">one</a>
        <a href="../x-1.0.tar.gz#sha256={B}" data-requires-python="&gt;=3">two</a>
        <a href="x-2.0.zip#sha256={C}">three</a>""",
    )

    assert pins(index, tmp_path, installed("x")) == (Pin("x", "1.0", (A, B)),)


def test_what_was_found_is_not_asked_again(index, tmp_path):
    index.add("x", {"x-1.0.zip": A})
    first = pins(index, tmp_path, installed("x"))
    asked = list(index.requests)
    index.close()

    assert pins(index, tmp_path, installed("x")) == first
    assert index.requests == asked == ["/simple/x/"]


def test_hashes_of_a_file_are_taken_as_they_are(index, tmp_path):
    x, y = installed("x"), installed("y")
    index.add("y", {"y-1.0.zip": B})
    stated = {
        x: Entry("requirements.txt, line 1", "x", specifier="==1.0", hashes=(A,), marker="os_name == 'nt'"),
        y: Entry("requirements.txt, line 2", "y", specifier="==1.0", marker="os_name != 'nt'"),
    }

    found = lock([x, y], Sources(index.url), cache=tmp_path, stated=stated)

    assert found.pins == (Pin("x", "1.0", (A,), "os_name == 'nt'"), Pin("y", "1.0", (B,), "os_name != 'nt'"))
    assert index.requests == ["/simple/y/"]
    index.add("x", {"x-1.0.zip": C})
    assert pins(index, tmp_path, x) == (Pin("x", "1.0", (C,)),)


def test_what_was_not_found_is_asked_again(index, tmp_path):
    assert (
        failure(installed("x"), sources=Sources(index.url), cache=tmp_path)
        == "x 1.0: no index has this version"
    )

    index.add("x", {"x-1.0.zip": A})

    assert pins(index, tmp_path, installed("x")) == (Pin("x", "1.0", (A,)),)


def test_another_index_is_asked_anew(index, tmp_path):
    index.add("x", {"x-1.0.zip": A})
    pins(index, tmp_path, installed("x"))
    second = FakeIndex()
    second.add("x", {"x-1.0.zip": B})

    found = pins(second, tmp_path, installed("x"))

    second.close()
    assert found == (Pin("x", "1.0", (B,)),)


def test_damaged_cache_is_no_harm(index, tmp_path):
    index.add("x", {"x-1.0.zip": A})
    pins(index, tmp_path, installed("x"))
    (record,) = tmp_path.joinpath("hashes").rglob("*.json")
    record.write_text('{"hashes"')

    assert pins(index, tmp_path, installed("x")) == (Pin("x", "1.0", (A,)),)


def test_extra_index_has_a_say(index, tmp_path):
    extra = FakeIndex()
    index.add("x", {"x-1.0.zip": A})
    extra.add("x", {"x-1.0.zip": B})
    extra.add("y", {"y-1.0.zip": C})

    found = pins(index, tmp_path, installed("x"), installed("y"), extra_index_urls=(extra.url,))

    extra.close()
    assert found == (Pin("x", "1.0", (A, B)), Pin("y", "1.0", (C,)))


def test_extra_index_that_fails_is_no_harm_to_what_another_has(index, tmp_path):
    index.add("x", {"x-1.0.zip": A})
    sources = Sources(index.url, ("http://127.0.0.1:9/simple",))

    found = lock([installed("x")], sources, cache=tmp_path)

    assert found.pins == (Pin("x", "1.0", (A,)),)
    assert failure(installed("y"), sources=sources, cache=tmp_path).startswith(
        "y 1.0: http://127.0.0.1:9/simple/y/ cannot be read: "
    )


def test_connections_are_kept(index, tmp_path):
    distributions = [installed(f"x{number}") for number in range(40)]
    for distribution in distributions:
        index.add(distribution.name, {f"{distribution.name}-1.0.zip": A})

    pins(index, tmp_path, *distributions)

    assert len(index.requests) == 40
    assert index.connections <= 8


def test_redirects_are_followed(index, tmp_path):
    index.pages["/simple/x/"] = (301, "text/plain", b"/elsewhere/x/")
    index.add("x2", {"x-1.0.zip": A})
    index.pages["/elsewhere/x/"] = index.pages.pop("/simple/x2/")

    assert pins(index, tmp_path, installed("x")) == (Pin("x", "1.0", (A,)),)


def test_endless_redirects_are_told(index, tmp_path):
    index.pages["/simple/x/"] = (302, "text/plain", b"/simple/x/")

    message = failure(installed("x"), sources=Sources(index.url), cache=tmp_path)

    assert message == f"x 1.0: {index.url}/x/ redirects too often"


def test_credentials_of_the_address(index, tmp_path):
    index.user = "me:p@ss"
    index.add("x", {"x-1.0.zip": A})

    found = lock([installed("x")], Sources(f"http://me:p%40ss@{index.address}/simple"), cache=tmp_path)

    assert found.pins == (Pin("x", "1.0", (A,)),)


def test_credentials_of_netrc(index, tmp_path, monkeypatch):
    index.user = "me:secret"
    index.add("x", {"x-1.0.zip": A})
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    assert pins(index, tmp_path, installed("x")) == (Pin("x", "1.0", (A,)),)


def test_refused_credentials_are_told_without_them(index, tmp_path):
    index.user = "me:secret"
    sources = Sources(f"http://me:wrong@{index.address}/simple")

    message = failure(installed("x"), sources=sources, cache=tmp_path)

    assert message == f"x 1.0: {index.url}/x/ answered with status 401"


def test_proxy(index, tmp_path):
    index.pages["http://index.invalid/simple/x/"] = (
        200,
        "text/html",
        f"<a href='x-1.0.zip#sha256={A}'>".encode(),
    )

    sources = Sources("http://index.invalid/simple", proxy=f"http://{index.address}")

    assert lock([installed("x")], sources, cache=tmp_path).pins == (Pin("x", "1.0", (A,)),)


def test_page_that_is_none_is_told(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    index.pages["/simple/x/"] = (200, "application/json", b"[]")

    message = failure(installed("x"), sources=Sources(index.url), cache=tmp_path)

    assert message.startswith(f"x 1.0: {index.url}/x/ is not a page of an index (")


def test_pip_tools_hash_what_the_index_does_not(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    wheel = make_wheel(tmp_path, "acme-x", requires=("needs-nothing-of-this",))
    index.add_html("acme-x", f'<a href="../../files/{wheel.name}">{wheel.name}</a>')
    index.pages[f"/files/{wheel.name}"] = (200, "application/octet-stream", wheel.read_bytes())

    found = pins(index, tmp_path / "cache", installed("acme-x"))

    assert found == (Pin("acme-x", "1.0", (hashlib.sha256(wheel.read_bytes()).hexdigest(),)),)


@pytest.fixture
def wheelhouse(tmp_path):
    make_wheel(tmp_path / "links", "acme-x")
    make_wheel(tmp_path / "links", "acme-x", tag="cp27-cp27m-win32")
    make_wheel(tmp_path / "links", "acme-x", "2.0")
    return tmp_path / "links"


@pytest.mark.parametrize("form", ["folder", "address", "page"])
def test_what_only_a_local_folder_has_is_an_archive(index, tmp_path, wheelhouse, form):
    page = wheelhouse / "page.html"
    page.write_text("".join(f"<a href='{file.name}'>" for file in sorted(wheelhouse.glob("*.whl"))))
    place = {"folder": str(wheelhouse), "address": wheelhouse.as_uri(), "page": str(page)}[form]

    found = lock([installed("acme-x")], Sources(index.url, find_links=(place,)), cache=tmp_path)

    assert found.pins == ()
    assert found.archives == {"acme-x": wheelhouse / "acme_x-1.0-py3-none-any.whl"}


def test_local_index_of_folders(index, tmp_path, wheelhouse):
    page = tmp_path / "simple" / "acme-x" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<a href='../../links/acme_x-1.0-py3-none-any.whl'>")
    sources = Sources(index.url, ((tmp_path / "simple").as_uri(),))

    found = lock([installed("acme-x")], sources, cache=tmp_path)

    assert found.archives == {"acme-x": wheelhouse / "acme_x-1.0-py3-none-any.whl"}


def test_archive_that_is_gone_is_looked_for_again(index, tmp_path, wheelhouse):
    sources = Sources(index.url, find_links=(str(wheelhouse),))
    lock([installed("acme-x")], sources, cache=tmp_path)
    (wheelhouse / "acme_x-1.0-py3-none-any.whl").unlink()

    assert (
        failure(installed("acme-x"), sources=sources, cache=tmp_path)
        == "acme-x 1.0: no index has this version"
    )


def test_index_wins_over_a_local_folder(index, tmp_path, wheelhouse):
    index.add("acme-x", {"acme_x-1.0-py3-none-any.whl": A})

    found = lock([installed("acme-x")], Sources(index.url, find_links=(str(wheelhouse),)), cache=tmp_path)

    assert (found.pins, found.archives) == ((Pin("acme-x", "1.0", (A,)),), {})


def test_all_failures_are_told_at_once(index, tmp_path):
    message = failure(installed("x"), installed("y"), sources=Sources(index.url), cache=tmp_path)

    assert message == "x 1.0: no index has this version\ny 1.0: no index has this version"


@pytest.mark.parametrize(
    ("filename", "version"),
    [
        ("Acme.X-1.0-py3-none-any.whl", "1.0"),
        ("acme_x-1.0-1build-py3-none-any.whl", "1.0"),
        ("acme-x-1.0.post1.tar.gz", "1.0.post1"),
        ("acme-x-y-1.0.tar.gz", ""),
        ("acme-x-1.0.win32.exe", ""),
        ("index.html", ""),
        ("acme_y-1.0-py3-none-any.whl", ""),
    ],
)
def test_version_of_an_archive(filename, version):
    assert archive_version(filename, "acme-x") == version
