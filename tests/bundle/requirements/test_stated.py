"""What is deployed where a file says it, of environments made of values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.index.sources import Sources
from django_deploy.bundle.requirements.lock_file import read_lock_file
from django_deploy.bundle.requirements.stated import DIFFERENCES_SHOWN, select_stated
from django_deploy.bundle.selection import Selection
from django_deploy.exceptions import BundleError
from tests.bundle.test_selection import environment_of

A = "a" * 64


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def choose(tmp_path, source):
    """What a file means in an environment whose project ``site`` is editable."""

    def choose(
        text: str, distributions: tuple[Distribution, ...], name: str = "requirements.txt", **options: object
    ) -> Selection:
        (tmp_path / name).write_text(text)
        project = next(item for item in distributions if item.name == "site")
        edited = replace(project, kind="editable", source=source)
        environment = tuple(edited if item is project else item for item in distributions)
        lock = read_lock_file(tmp_path / name)
        return select_stated(environment, lock, Sources("https://index/simple"), project=edited, **options)

    return choose


def versions(selection: Selection) -> dict[str, str]:
    return {item.name: item.version for item in selection.kept}


def failure(choose, text: str, distributions: tuple[Distribution, ...], **options: object) -> BundleError:
    with pytest.raises(BundleError) as caught:
        choose(text, distributions, **options)
    return caught.value


def test_the_file_pins_and_the_project_is_from_here(choose):
    selection = choose("a==1.0\nb==2.0\n", environment_of(site="a", a="b", b="", c=""))

    assert versions(selection) == {"site": "1.0", "a": "1.0", "b": "2.0"}
    assert [item.name for item in selection.left_out] == ["c"]
    assert {item.name: str(entry) for item, entry in selection.stated.items()} == {
        "a": "a==1.0",
        "b": "b==2.0",
    }
    assert selection.file == "requirements.txt"


def test_what_requires_what_is_known_of_the_installed_version_only(choose):
    selection = choose("a==1\nb==2.0\n", environment_of(site="", a="b", b="gone"))

    kept = {item.name: item.requires for item in selection.kept}
    assert kept == {"site": (), "a": ("b",), "b": ()}


def test_differences_are_a_table(choose):
    selection = choose("a==1.0.0\nbb==2.0\nnew==3\n", environment_of(site="", a="", bb="", ccc="", pytest=""))

    assert selection.warnings == (
        "requirements.txt is not what is installed here; the hosts get what it says:",
        "  distribution  requirements.txt  installed",
        "  bb            2.0               1.0",
        "  ccc           -                 1.0",
        "  new           3                 -",
    )


def test_a_long_table_is_cut(choose):
    text = "".join(f"x{number}==1\n" for number in range(DIFFERENCES_SHOWN + 5))

    selection = choose(text, environment_of(site=""))

    assert len(selection.warnings) == DIFFERENCES_SHOWN + 3
    assert selection.warnings[-1] == "  and 5 more"


def test_what_no_index_has_is_from_here(choose, tmp_path):
    lib = Distribution("lib", "1.0", "editable", (), Path("/"), source=tmp_path / "lib")
    vcs = Distribution("vcs", "1.0", "vcs", (), Path("/"), url="https://host/v.git", vcs="git", commit="c")
    archive = tmp_path / "wheel_x-2.0-py3-none-any.whl"
    wheel = Distribution("wheel-x", "2.0", "local", (), Path("/"), source=archive)
    environment = (*environment_of(site="", a=""), lib, vcs, wheel)

    by_name = choose("a==1.0\nlib==0.5\nvcs==1.0\nwheel-x==2.0\n", environment)
    by_place = choose(f"a==1.0\n-e {tmp_path}/lib\ngit+https://me@host/v@main\n{archive}\n", environment)
    not_at_all = choose("a==1.0\n", environment)

    for selection in (by_name, by_place, not_at_all):
        assert {item for item in selection.kept if item.kind != "index"} >= {lib, vcs, wheel}
        assert [item.name for item in selection.stated] == ["a"]
        assert selection.warnings == ()


def test_excluded_editables_stay_here(choose, tmp_path):
    tool = Distribution("tool", "1.0", "editable", (), Path("/"), source=tmp_path)

    selection = choose("a==1.0\n", (*environment_of(site="", a=""), tool), exclude=["tool"])

    assert set(versions(selection)) == {"site", "a"}


def test_reference_to_what_is_not_installed_is_refused(choose, tmp_path):
    error = failure(choose, f"\n-e {tmp_path}/lib\n", environment_of(site=""))

    place = f"-e {tmp_path}/lib"
    assert error.message == (
        f"requirements.txt, line 2 names {place}, which is not installed here: there is nothing to send."
    )
    assert error.remedy == f"Run `pip install {place}`."


def test_reference_to_what_came_from_an_index_is_refused(choose):
    error = failure(choose, "a @ git+https://me:secret@host/a@main\n", environment_of(site="", a=""))

    assert error.message == (
        "requirements.txt, line 1 names a @ git+https://host/a@main, but a 1.0 was installed here from an"
        " index."
    )
    assert error.remedy == 'Run `pip install "a @ git+https://host/a@main"`.'


def test_reference_for_other_interpreters_is_told(choose):
    selection = choose("a @ https://host/a.zip ; os_name == 'nt'\n", environment_of(site=""))

    assert selection.warnings == (
        'requirements.txt, line 1: a @ https://host/a.zip is wanted where os_name == "nt" only, and cannot be'
        " built here.",
    )


def test_pins_of_other_interpreters_are_kept_apart(choose):
    text = (
        "tomli==0.9 ; python_version < '3'\ntomli==2 ; python_version >= '3'\n"
        "backport==1 ; python_full_version < '3'\nbackport==1 ; os_name == 'nt'\n"
    )

    selection = choose(text, environment_of(site="", tomli=""))

    assert versions(selection) == {"site": "1.0", "tomli": "2"}
    assert [str(item) for item in selection.elsewhere] == ["tomli 0.9", "backport 1"]
    assert {str(item): entry.marker for item, entry in selection.stated.items()} == {
        "tomli 0.9": 'python_version < "3"',
        "tomli 2": 'python_version >= "3"',
        "backport 1": '(python_full_version < "3") or (os_name == "nt")',
    }


def test_incomplete_file_is_refused(choose):
    distributions = environment_of(site="a", a='b|c; extra == "x"', b="", c="", pytest="")

    error = failure(choose, "a[x]==1.0\n", distributions)

    assert error.message == (
        "requirements.txt does not list everything that its distributions require: b (for a), c (for a[x])."
        " Hosts install nothing else."
    )
    assert error.remedy == (
        "Compile it with pip-compile, which adds what is required, or write it with `pip freeze`."
    )


def test_what_the_project_requires_must_be_in_the_file(choose):
    distributions = environment_of(site='a|b; extra == "x"', a="", b="")

    assert failure(choose, "b==1.0\n", distributions).message == (
        "requirements.txt does not list everything that its distributions require: a (for site)."
        " Hosts install nothing else."
    )
    assert "b (for site[x])" in failure(choose, "a==1.0\n", distributions, extras=["x"]).message


def test_missing_here_and_there_is_a_warning(choose):
    selection = choose("a==1.0\n", environment_of(site="", a="gone"))

    assert selection.warnings == ("a requires gone, which is not installed here.",)


def test_tools_that_are_required_need_not_be_in_the_file(choose):
    distributions = environment_of(site="a", a="setuptools", setuptools="wheel", wheel="", pip="")

    selection = choose("a==1.0\n", distributions)

    assert versions(selection) == {"site": "1.0", "a": "1.0", "setuptools": "1.0", "wheel": "1.0"}
    assert selection.warnings == ()


def test_django_deploy_is_deployed_without_the_deployers_side(choose):
    distributions = environment_of(site="", django_deploy="django|paramiko", django="", paramiko="")

    selection = choose("django==1.0\n", distributions)

    assert set(versions(selection)) == {"site", "django", "django-deploy"}


def test_django_deploy_of_another_version_is_refused(choose):
    distributions = environment_of(site="", django_deploy="")

    error = failure(choose, "django-deploy==0.9\n", distributions)

    assert error.message == (
        "requirements.txt, line 1 says django-deploy==0.9, but 1.0 is what deploys here: hosts need the same."
    )
    assert error.remedy == "Say django-deploy==1.0 there, or run `pip install django-deploy==0.9`."
    assert set(versions(choose("django-deploy==1.0.0\n", distributions))) == {"site", "django-deploy"}


def test_include_adds_what_is_installed(choose):
    distributions = environment_of(site="", gunicorn="packaging", packaging="")

    selection = choose("packaging==2\n", distributions, include=["gunicorn"])

    assert versions(selection) == {"site": "1.0", "gunicorn": "1.0", "packaging": "2"}


def test_unknown_index_is_told_without_its_password(choose):
    text = "-i https://index/simple/\n--extra-index-url https://me:secret@private/simple\n--no-index\n"

    selection = choose(text, environment_of(site=""))

    assert selection.warnings == (
        "requirements.txt, line 2: --extra-index-url https://private/simple is not passed on to the hosts;"
        " name the index in INDEX_URL, or configure it there.",
    )


def test_stated_hashes_go_along(choose):
    selection = choose(f"a==1.0 --hash=sha256:{A}\n", environment_of(site="", a=""))

    (entry,) = selection.stated.values()
    assert entry.hashes == (A,)
