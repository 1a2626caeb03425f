"""Lock files and environments that are equal, and that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.requirements.drift import Difference, compare, is_same_version, require_equal
from django_deploy.bundle.requirements.lock_file import read_lock_file
from django_deploy.exceptions import BundleError

COMMIT, OTHER = "1" * 40, "2" * 40


def installed(name: str, version: str = "1.0", kind: str = "index", **fields: object) -> Distribution:
    return Distribution(name, version, kind, (), Path("/nowhere"), **fields)


SITE = installed("site", kind="editable", source=Path("/site"))


@pytest.fixture
def differences(tmp_path):
    """What differs between a requirements.txt and distributions that are all deployed."""

    def compare_with(text: str, *distributions: Distribution) -> list[Difference]:
        file = tmp_path / "requirements.txt"
        file.write_text(text)
        return list(compare(read_lock_file(file).entries, distributions, distributions))

    return compare_with


def test_equal(differences):
    assert (
        differences("A_b==1.0.0\nc==2\nd==3 ; os_name == 'nt'\n", installed("a-b"), installed("c", "2")) == []
    )


def test_versions_and_names_that_differ(differences):
    found = differences("b==2\na==1\nonly==1\n", installed("a"), installed("b", "3"), installed("more"))

    assert found == [Difference("b", "2", "3"), Difference("more", "", "1.0"), Difference("only", "1", "")]


def test_editables_are_compared_by_name(differences):
    editable = installed("lib", "1.0", "editable", source=Path("/lib"))

    assert differences("lib==7\n", editable) == []
    assert differences("-e /lib\n", editable) == []
    assert differences("lib @ git+https://host/lib@main\n", editable) == []
    assert differences("", editable) == [Difference("lib", "", "1.0")]


def test_repositories_are_compared_by_commit(differences):
    vcs = installed("lib", "1.0", "vcs", url="https://host/lib", vcs="git", commit=COMMIT)

    assert differences(f"lib @ git+https://host/lib@{COMMIT}\n", vcs) == []
    assert differences("lib @ git+https://host/lib@main\n", vcs) == []
    assert differences("git+https://host/lib.git@main\n", vcs) == []
    assert differences("lib==1.0\n", vcs) == []
    assert differences(f"lib @ git+https://me:secret@host/lib@{OTHER}\n", vcs) == [
        Difference("lib", f"git+https://host/lib@{OTHER}", f"git+https://host/lib@{COMMIT}")
    ]


def test_reference_to_what_came_from_an_index_differs(differences):
    assert differences("lib @ https://host/lib.zip\n", installed("lib")) == [
        Difference("lib", "https://host/lib.zip", "1.0")
    ]


def test_unknown_path_is_told_as_it_is(differences):
    assert differences("-e /gone\n") == [Difference("/gone", "/gone", "")]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.0", "1.0.0", True),
        ("5.2rc1", "5.2.rc1", True),
        ("2.0+cpu", "2.0", False),
        ("2004d", "2004d", True),
        ("2004d", "1", False),
    ],
)
def test_versions_that_are_the_same(one, other, same):
    assert is_same_version(one, other) is same


@pytest.fixture
def refusal(tmp_path):
    """What LOCK_FILE says to a file, with one distribution deployed and one left out."""

    def refuse(text: str, name: str = "requirements.txt") -> BundleError | None:
        (tmp_path / name).write_text(text)
        lock = read_lock_file(tmp_path / name)
        deployed = [SITE, installed("django", "5.2.1")]
        try:
            require_equal(lock, [*deployed, installed("pytest", "9.0")], deployed, SITE)
        except BundleError as error:
            return error
        return None

    return refuse


def test_lock_file_that_is_equal(refusal):
    assert refusal("django==5.2.1\n") is None


def test_lock_file_may_have_what_is_installed_and_not_deployed(refusal):
    assert refusal("django==5.2.1\npytest==9.0\n-e /site\n") is None


def test_tools_need_not_be_locked_but_count_where_they_are(tmp_path):
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "all.txt").write_text("setuptools==70.0\n")
    tool = installed("setuptools", "80.9")

    require_equal(read_lock_file(tmp_path / "requirements.txt"), [SITE, tool], [SITE, tool], SITE)
    with pytest.raises(BundleError) as caught:
        require_equal(read_lock_file(tmp_path / "all.txt"), [SITE, tool], [SITE, tool], SITE)

    assert caught.value.message.splitlines()[-1].split() == ["setuptools", "70.0", "80.9"]


def test_django_deploy_need_not_be_locked(tmp_path):
    (tmp_path / "requirements.txt").write_text("")
    ours = installed("django-deploy", "0.1")

    require_equal(read_lock_file(tmp_path / "requirements.txt"), [SITE, ours], [SITE, ours], SITE)


def test_what_the_file_does_not_have_is_to_be_uninstalled(refusal, tmp_path):
    error = refusal("")

    file = tmp_path / "requirements.txt"
    assert error.remedy == (
        "Uninstall what the file does not have, or name it where the file is made from. "
        f"`pip install -r {file}` brings the environment to the file; `pip freeze > {file}` the file to the"
        " environment."
    )


def test_lock_file_that_differs_shows_a_table(refusal, tmp_path):
    error = refusal("django==5.2\nceleryproject==5.6\npytest==8\n")

    assert error.message == (
        "LOCK_FILE is set, but requirements.txt is not what is installed here and deployed:\n"
        "  distribution   requirements.txt  installed\n"
        "  celeryproject  5.6               -\n"
        "  django         5.2               5.2.1\n"
        "  pytest         8                 9.0"
    )
    file = tmp_path / "requirements.txt"
    assert error.remedy == (
        f"`pip install -r {file}` brings the environment to the file;"
        f" `pip freeze > {file}` the file to the environment."
    )


@pytest.mark.parametrize(
    ("head", "command"),
    [
        (
            "#\n# This file is autogenerated by pip-compile with Python 3.11\n"
            "# by the following command:\n#\n"
            "#    pip-compile --generate-hashes requirements.in\n#\n",
            "pip-compile --generate-hashes requirements.in",
        ),
        (
            "# This file was autogenerated by uv via the following command:\n"
            "#    uv pip compile requirements.in -o requirements.txt\n",
            "uv pip compile requirements.in -o requirements.txt",
        ),
    ],
)
def test_remedy_is_the_command_that_made_the_file(refusal, tmp_path, head, command):
    error = refusal(f"{head}django==5.2\n")

    file = tmp_path / "requirements.txt"
    assert error.remedy == (
        f"`pip install -r {file}` brings the environment to the file; `{command}` recreates the file."
    )


def test_remedy_for_pylock(refusal, tmp_path):
    error = refusal('lock-version = "1.0"\ncreated-by = "tests"\npackages = []\n', "pylock.toml")

    file = tmp_path / "pylock.toml"
    assert (
        error.remedy == "Uninstall what the file does not have, or name it where the file is made from. "
        f"`pip install -r {file}` brings the environment to the file; or recreate the file."
    )
