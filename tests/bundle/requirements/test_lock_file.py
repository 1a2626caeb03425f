"""Lock files: requirements.txt and pylock.toml give the same entries."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from django_deploy.bundle.requirements.lock_file import LockFile, find_file, read_lock_file
from django_deploy.bundle.requirements.requirements_file import Entry
from django_deploy.exceptions import BundleError

A, B, C = "a" * 64, "b" * 64, "c" * 64

PYLOCK = f"""\
lock-version = "1.0"
created-by = "tests"
extras = ["cache"]
dependency-groups = ["prod", "dev"]
default-groups = ["prod"]

[[packages]]
name = "django"
version = "5.2.1"
wheels = [{{ url = "https://host/django-5.2.1-py3-none-any.whl", hashes = {{ sha256 = "{B}" }} }}]
[packages.sdist]
url = "https://host/django-5.2.1.tar.gz"
hashes = {{ sha256 = "{A}", md5 = "00" }}
"""


@pytest.fixture
def lock(tmp_path):
    """Writes a lock file and reads it."""

    def read(text: str, name: str = "requirements.txt", **options: object) -> LockFile:
        file = tmp_path / name
        file.write_text(text)
        return read_lock_file(file, **options)

    return read


def failure(lock, text: str, name: str = "requirements.txt") -> BundleError:
    with pytest.raises(BundleError) as caught:
        lock(text, name)
    return caught.value


def package(text: str, *, marker: str = "") -> str:
    """A package of pylock.toml: one wheel of version 1.0, or what ``text`` says instead."""
    name, _, source = text.partition(" ")
    wheel = f'wheels = [{{ path = "{name}-1.0-py3-none-any.whl", hashes = {{ sha256 = "{C}" }} }}]'
    source = {"": f'version = "1.0"\n{wheel}', "without version": wheel}.get(source, source)
    return f'\n[[packages]]\nname = "{name}"\n{source}\n' + (f"marker = '''{marker}'''\n" if marker else "")


def markers(found: LockFile) -> dict[str, str]:
    return {entry.name: entry.marker for entry in found.entries}


def test_open_versions_are_refused_with_their_lines(lock, tmp_path):
    (tmp_path / "base.txt").write_text("six\n")

    error = failure(lock, "django>=5\n-r base.txt\nok==1\n-e .\n")

    assert error.message == (
        "requirements.txt leaves versions open, so it does not say what hosts are to install:\n"
        "  requirements.txt, line 1: django>=5\n"
        "  base.txt, line 1: six"
    )
    assert error.remedy == (
        "Compile it: name what you require in requirements.in, and `pip-compile requirements.in` writes"
        " requirements.txt; or let REQUIREMENTS name requirements.in."
    )


def test_constraints_pin_what_is_open_and_give_it_hashes(lock, tmp_path):
    (tmp_path / "limits.txt").write_text(f"celery==5.6 --hash=sha256:{A}\nunused==1\nkombu<6\n")

    found = lock("-c limits.txt\ncelery[redis]>=5\nkombu==5.5\n")

    assert [str(entry) for entry in found.entries] == ["celery[redis]==5.6", "kombu==5.5"]
    assert found.entries[0].hashes == (A,)


def test_constraint_that_excludes_a_pin_is_told(lock, tmp_path):
    (tmp_path / "limits.txt").write_text("django<5\n")

    error = failure(lock, "-c limits.txt\ndjango==5.2.1\n")

    assert (
        error.message == "requirements.txt, line 2 says django==5.2.1, but limits.txt, line 1 says django<5."
    )


def test_the_same_name_twice(lock):
    found = lock("six==1\nsix==1\ntomli==2 ; python_version < '3'\ntomli==3\n")

    assert [(str(entry), entry.applies_here) for entry in found.entries] == [
        ("six==1", True),
        ("tomli==2", False),
        ("tomli==3", True),
    ]
    assert failure(lock, "six==1\nsix==2\n").message == (
        "requirements.txt, line 1 says six==1, but requirements.txt, line 2 says six==2."
    )


def test_index_options_are_told_apart(lock):
    found = lock("--pre\n--extra-index-url https://host/simple\nsix==1\n")

    assert [option.name for option in found.options] == ["--pre", "--extra-index-url"]
    assert [option.name for option in found.index_options] == ["--extra-index-url"]


def test_pylock_has_the_hashes_of_all_files(lock):
    found = lock(PYLOCK, "pylock.toml")

    assert found.entries == (Entry("pylock.toml, package 1", "django", specifier="==5.2.1", hashes=(A, B)),)
    assert found.name == "pylock.toml"


def test_pylock_of_another_name(lock):
    assert [entry.name for entry in lock(PYLOCK, "pylock.prod.toml").entries] == ["django"]


def test_markers_of_pylock_stay_for_hosts_to_judge(lock):
    text = (
        PYLOCK
        + package("tomli", marker='python_version < "3"')
        + package("colorama", marker="os_name == 'nt'")
    )

    found = lock(text, "pylock.toml")

    assert markers(found) == {"django": "", "tomli": 'python_version < "3"', "colorama": 'os_name == "nt"'}
    assert [entry.applies_here for entry in found.entries] == [True, False, False]


def test_extras_and_groups_of_pylock_are_decided(lock):
    text = (
        PYLOCK
        + package("redis", marker="'cache' in extras")
        + package("gunicorn", marker="'prod' in dependency_groups")
        + package("pytest", marker="'dev' in dependency_groups")
        + package("both", marker="'cache' in extras and sys_platform == 'win32'")
        + package("either", marker="'dev' not in dependency_groups or 'cache' in extras")
    )

    plain = lock(text, "pylock.toml")
    cached = lock(text, "pylock.toml", extras=["cache", "unknown"])

    assert set(markers(plain)) == {"django", "gunicorn", "either", "both"}
    assert [entry.name for entry in plain.entries if entry.applies_here] == ["django", "gunicorn", "either"]
    assert set(markers(cached)) == {"django", "redis", "gunicorn", "both", "either"}
    assert markers(cached)["redis"] == markers(cached)["either"] == ""
    assert markers(cached)["both"] == 'os_name != "" and sys_platform == "win32"'


def test_direct_references_of_pylock(lock, tmp_path):
    commit = "1" * 40
    vcs = f'type = "git", url = "https://host/t", commit-id = "{commit}", subdirectory = "s"'
    text = (
        PYLOCK
        + package('site directory = { path = ".", editable = true }')
        + package('lib directory = { path = "../mono", subdirectory = "lib" }')
        + package(f"tool vcs = {{ {vcs} }}")
        + package(f'file archive = {{ path = "a/file-1.zip", hashes = {{ sha256 = "{A}" }} }}')
        + package(f'web archive = {{ url = "https://host/web.zip", hashes = {{ sha256 = "{A}" }} }}')
    )

    found = {entry.name: entry for entry in lock(text, "pylock.toml").entries}

    assert found["site"].path == tmp_path and found["site"].is_editable
    assert found["lib"].path == tmp_path.parent / "mono" / "lib" and not found["lib"].is_editable
    assert found["tool"].reference == f"git+https://host/t@{commit}#subdirectory=s"
    assert found["file"].path == tmp_path / "a" / "file-1.zip"
    assert found["web"].reference == "https://host/web.zip"


def test_pylock_for_another_interpreter_is_refused(lock):
    error = failure(lock, 'requires-python = "<3"\n' + PYLOCK, "pylock.toml")

    version = ".".join(map(str, sys.version_info[:3]))
    assert error.message.startswith(
        f"pylock.toml is not for this interpreter: python_full_version '{version}' in provided environment"
    )


def test_two_of_a_name_in_pylock_are_refused(lock):
    error = failure(lock, PYLOCK + package("six") + package("six"), "pylock.toml")

    assert error.message == (
        "pylock.toml is not for this interpreter: Multiple packages with the name 'six' are selected at"
        " packages[2] and packages[1]."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is not valid TOML: "),
        ("a = 1", "is not a lock file (PEP 751): Missing required value in 'lock-version'."),
        (
            PYLOCK.replace("1.0", "2.0", 1),
            "is not a lock file (PEP 751): pylock version 2.0 is not supported.",
        ),
    ],
)
def test_what_is_no_pylock_is_told(lock, tmp_path, text, message):
    error = failure(lock, text, "pylock.toml")

    assert error.message.startswith(f"{tmp_path / 'pylock.toml'} {message}")


def test_package_without_a_version_is_refused(lock):
    error = failure(lock, PYLOCK + package("six without version"), "pylock.toml")

    assert error.message == "pylock.toml, package 2: six has no version."


def test_files_are_looked_for_in_order(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    (second / "a.txt").touch()

    assert find_file("a.txt", [first, second], "LOCK_FILE") == second / "a.txt"
    assert find_file(str(second / "a.txt"), [first], "LOCK_FILE") == second / "a.txt"
    with pytest.raises(BundleError) as caught:
        find_file("b.txt", [first, second], "LOCK_FILE")
    assert caught.value.message == (
        f"LOCK_FILE names b.txt, which is not there: {first / 'b.txt'} and {second / 'b.txt'} do not exist."
    )


def test_file_beside_manage_py_and_in_the_source_is_told_once(tmp_path):
    with pytest.raises(BundleError) as caught:
        find_file("b.txt", [tmp_path, Path(tmp_path)], "REQUIREMENTS")

    assert (
        caught.value.message
        == f"REQUIREMENTS names b.txt, which is not there: {tmp_path / 'b.txt'} does not exist."
    )
