"""requirements.in, compiled by pip-tools against an index of our own."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.index.sources import Sources
from django_deploy.bundle.requirements.compilation import compile_requirements
from django_deploy.bundle.requirements.lock_file import LockFile
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel


def installed(name: str, version: str = "1.0", *requires: str, kind: str = "index", **fields) -> Distribution:
    return Distribution(name, version, kind, requires, Path("/nowhere"), **fields)


@pytest.fixture
def publish(index, tmp_path):
    """Puts versions of a distribution on the index."""

    def publish(name: str, *versions: str, requires: tuple[str, ...] = ()) -> None:
        files = {}
        for version in versions:
            wheel = make_wheel(tmp_path / "published", name, version, requires=requires)
            index.pages[f"/files/{wheel.name}"] = (200, "application/octet-stream", wheel.read_bytes())
            files[wheel.name] = hashlib.sha256(wheel.read_bytes()).hexdigest()
        index.add(name, files)

    return publish


@pytest.fixture
def compile(index, tmp_path, monkeypatch):
    """Compiles a requirements.in; without installed distributions it gets the newest versions."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)

    def compile(text: str, *distributions: Distribution, **options) -> LockFile:
        file = tmp_path / "site" / "requirements.in"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        cache = tmp_path / "cache"
        return compile_requirements(file, distributions, Sources(index.url), cache=cache, **options)

    return compile


def lines(found: LockFile) -> list[str]:
    return [str(entry) for entry in found.entries]


def test_what_is_required_in_turn_is_pinned(publish, compile, tmp_path):
    publish("a", "1", "2", requires=("b>=1",))
    publish("b", "1", "2")

    found = compile("a\n")

    assert lines(found) == ["a==2", "b==2"]
    assert found.name == "requirements.in"
    assert {entry.place for entry in found.entries} == {"requirements.in, compiled"}
    assert [file.name for file in (tmp_path / "site").iterdir()] == ["requirements.in"]


def test_installed_versions_are_kept_where_the_file_allows_them(publish, compile):
    publish("a", "1", "2", requires=("b",))
    publish("b", "1", "2")
    here = (installed("a", "1"), installed("b", "1"))

    assert lines(compile("a\n", *here)) == ["a==1", "b==1"]
    assert lines(compile("a\nb>1\n", *here)) == ["a==1", "b==2"]


def test_it_is_compiled_once(publish, compile, index):
    publish("a", "1")
    first = compile("a\n")
    publish("a", "1", "2")
    asked = len(index.requests)

    assert lines(compile("a\n")) == lines(first) == ["a==1"]
    assert len(index.requests) == asked


@pytest.mark.parametrize("change", ["file", "include", "constraint", "environment", "metadata", "wanted"])
def test_it_is_compiled_again_when_something_has_changed(publish, compile, tmp_path, change):
    publish("a", "1")
    publish("b", "1")
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "more.in").write_text("b\n")
    (folder / "limits.txt").write_text("a<3\n")
    text = "a\n-r more.in\n-c limits.txt\n"
    lib = installed("lib", kind="editable", source=tmp_path)
    compile(text, lib)
    publish("a", "1", "2")

    again = {
        "file": lambda: compile("# new\nb\n" + text, lib),
        "include": lambda: (folder / "more.in").write_text("b<2\n") and compile(text, lib),
        "constraint": lambda: (folder / "limits.txt").write_text("a<4\n") and compile(text, lib),
        "environment": lambda: compile(text, lib, installed("b")),
        "metadata": lambda: compile(text, installed("lib", "1.0", "b", kind="editable", source=tmp_path)),
        "wanted": lambda: compile(text, lib, wanted=["b"]),
    }[change]()

    assert "a==2" in lines(again)


def test_comments_are_no_change(publish, compile):
    publish("a", "1")
    compile("a\n")
    publish("a", "1", "2")

    assert lines(compile("# the first\na  # now with a comment\n")) == ["a==1"]


def test_constraints_and_markers_count(publish, compile, tmp_path):
    publish("a", "1", "2")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "limits.txt").write_text("a<2\n")

    found = compile("-c limits.txt\na\ngone[x]>=2 ; os_name == 'nt'\n./gone ; os_name == 'nt'\n")

    assert [str(entry) for entry in found.entries if entry.applies_here] == ["a==1"]
    assert found.further == ('gone[x]>=2; os_name == "nt"',)


def test_what_no_index_has_counts_by_its_metadata(publish, compile, tmp_path):
    publish("a", "1")
    publish("b", "1")
    publish("x", "1", requires=("lib",))
    publish("lib", "7")  # somebody else's
    lib = installed("lib", "1.0", "a", 'b; extra == "more"', kind="editable", source=tmp_path / "lib")
    (tmp_path / "lib").mkdir()

    by_path = compile(f"-e {tmp_path}/lib[more]\nx\n", lib)
    by_name = compile("lib[more]>=1\nx\n", lib)
    wanted = compile("x\n", lib, wanted=["lib[more]"])

    assert lines(by_path) == ["a==1", "b==1", "x==1", f"{tmp_path}/lib[more]"]
    assert lines(by_name) == ["a==1", "b==1", "x==1", "lib[more]>=1"]
    assert lines(wanted) == ["a==1", "b==1", "x==1"]


def test_editables_that_require_each_other(publish, compile, tmp_path):
    publish("a", "1")
    one = installed("one", "1.0", "two @ git+https://host/two@main", kind="editable", source=tmp_path)
    two = installed("two", "1.0.dev1", "one>=1", "a", kind="editable", source=tmp_path)

    assert lines(compile("one\n", one, two)) == ["a==1", "one"]


def test_of_django_deploy_servers_need_only_django(publish, compile):
    publish("django", "5.2")
    ours = installed("django-deploy", "0.1", "django", "paramiko")

    assert lines(compile("django-deploy\n", ours)) == ["django==5.2"]


def test_options_of_the_file_count(publish, compile, tmp_path):
    publish("a", "1", "2rc1")
    make_wheel(tmp_path / "site" / "wheels", "b", "3")

    assert lines(compile("--pre\n--find-links wheels\na\nb\n")) == ["a==2rc1", "b==3"]


def test_path_that_is_not_installed_is_refused(compile, tmp_path):
    with pytest.raises(BundleError) as caught:
        compile("-e ./lib\n")

    place = tmp_path / "site" / "lib"
    assert caught.value.message == (
        f"requirements.in, line 1 names -e {place}, which is not installed here: there is nothing to send."
    )


def test_failure_shows_what_pip_compile_says(compile, tmp_path):
    with pytest.raises(BundleError) as caught:
        compile("gone>=1\n")

    head, *rest = caught.value.message.splitlines()
    assert head == "requirements.in cannot be compiled. The end of what pip-compile says:"
    assert "No matching distribution found for gone>=1" in "\n".join(rest)
    assert caught.value.remedy == f"`pip-compile {tmp_path / 'site' / 'requirements.in'}` shows all of it."
    assert not list((tmp_path / "cache").rglob("requirements.txt"))
