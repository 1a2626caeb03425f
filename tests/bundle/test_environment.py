"""Discovery, from metadata folders on disk, and selection, from values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution, discover, select, site_folders
from django_deploy.exceptions import BundleError


def install(
    folder: Path, name: str, version: str = "1.0", *, direct_url: dict | None = None, **headers: str
) -> Path:
    """A metadata folder as installers leave it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    fields = {"Metadata-Version": "2.1", "Name": name, "Version": version, **headers}
    text = "".join(f"{key}: {value}\n" for key, value in fields.items())
    info.joinpath("METADATA").write_text(text + "\nRequires-Dist: only-the-description-says-so\n")
    if direct_url is not None:
        info.joinpath("direct_url.json").write_text(json.dumps(direct_url))
    return info


def found(folder: Path) -> Distribution:
    (distribution,) = discover([folder]).distributions
    return distribution


def test_index_installation(tmp_path):
    info = install(tmp_path, "Zope.Interface_x", "5.2rc1+cpu", **{"Requires-Dist": "six"})

    assert found(tmp_path) == Distribution("zope-interface-x", "5.2rc1+cpu", "index", ("six",), info)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(
            {"url": "file:///src/a%20b", "dir_info": {"editable": True}},
            {"kind": "editable", "source": Path("/src/a b")},
            id="editable",
        ),
        pytest.param(
            {"url": "file:///src/a", "dir_info": {}, "subdirectory": "sub"},
            {"kind": "local", "source": Path("/src/a/sub")},
            id="folder",
        ),
        pytest.param(
            {
                "url": "https://example.com/r.git",
                "vcs_info": {"vcs": "git", "commit_id": "abc"},
                "subdirectory": "sub",
            },
            {
                "kind": "vcs",
                "url": "https://example.com/r.git",
                "vcs": "git",
                "commit": "abc",
                "subdirectory": "sub",
            },
            id="vcs",
        ),
        pytest.param(
            {"url": "file:///w/a.whl", "archive_info": {"hashes": {"sha256": "12"}}},
            {"kind": "local", "source": Path("/w/a.whl"), "sha256": "12"},
            id="archive, by pip",
        ),
        pytest.param(
            {"url": "file:///w/a.whl", "archive_info": {}},
            {"kind": "local", "source": Path("/w/a.whl"), "sha256": ""},
            id="archive, by uv",
        ),
        pytest.param(
            {"url": "https://example.com/a.zip", "archive_info": {}},
            {"kind": "url", "url": "https://example.com/a.zip"},
            id="url",
        ),
    ],
)
def test_direct_installation(tmp_path, record, expected):
    install(tmp_path, "a", direct_url=record)

    distribution = found(tmp_path)

    assert {name: getattr(distribution, name) for name in expected} == expected


def test_damaged_record_is_an_error(tmp_path):
    info = install(tmp_path, "a", direct_url={"url": 1})

    with pytest.raises(BundleError) as caught:
        discover([tmp_path])

    assert caught.value.message.startswith(f"{info / 'direct_url.json'} is not a PEP 610 record: ")


def test_egg_link(tmp_path):
    project, site = tmp_path / "project", tmp_path / "site"
    info = project / "lib" / "Legacy.Pkg.egg-info"
    info.mkdir(parents=True)
    info.joinpath("PKG-INFO").write_text("Metadata-Version: 1.0\nName: Legacy.Pkg\nVersion: 1.0\n")
    info.joinpath("requires.txt").write_text("six\n")
    site.mkdir()
    site.joinpath("Legacy.Pkg.egg-link").write_text(f"{project / 'lib'}\n../")

    distribution = found(site)

    assert (distribution.name, distribution.kind) == ("legacy-pkg", "editable")
    assert distribution.source == project.resolve()
    assert distribution.requires == ("six",)


def test_broken_egg_link_is_a_warning(tmp_path):
    link = tmp_path / "gone.egg-link"
    link.write_text(f"{tmp_path}/gone\n.")

    environment = discover([tmp_path])

    assert environment.distributions == ()
    assert environment.warnings == (f"{link} leads to no distribution; it is ignored.",)


def test_installed_twice_is_an_error(tmp_path):
    install(tmp_path, "six", "1.16.0")
    install(tmp_path, "six", "1.17.0")

    with pytest.raises(BundleError) as caught:
        discover([tmp_path])

    assert caught.value.message == (
        f"The environment is broken: six is installed more than once in {tmp_path} (1.16.0 and 1.17.0)."
    )


def test_earlier_folder_hides_a_later_one(tmp_path):
    install(tmp_path / "venv", "six", "1.17.0")
    install(tmp_path / "system", "six", "1.16.0")
    install(tmp_path / "system", "apt")

    environment = discover([tmp_path / "venv", tmp_path / "system"])

    assert list(map(str, environment.distributions)) == ["apt 1.0", "six 1.17.0"]


def test_debris_is_a_warning(tmp_path):
    half = tmp_path / "~umpy-1.0.dist-info"
    empty = tmp_path / "broken-1.0.dist-info"
    half.mkdir()
    empty.mkdir()

    environment = discover([tmp_path])

    assert environment.distributions == ()
    assert environment.warnings == (
        f"{empty} names no distribution; it is ignored.",
        f"{half} is a leftover of an interrupted uninstallation; it is ignored.",
    )


def test_code_that_no_distribution_owns_is_a_warning(tmp_path):
    site, owned, foreign = tmp_path / "site", tmp_path / "owned", tmp_path / "foreign"
    install(site, "a", direct_url={"url": owned.as_uri(), "dir_info": {"editable": True}})
    owned.joinpath("src").mkdir(parents=True)
    foreign.mkdir()
    site.joinpath("x.pth").write_text(f"# note\nimport os\n{owned}/src\n{foreign}\n/does/not/exist\n")

    environment = discover([site])

    assert environment.warnings == (
        f"{site / 'x.pth'} adds {foreign} to the path; no distribution owns it and it is not deployed.",
    )


def test_site_folders_exist_and_come_once():
    folders = site_folders()

    assert folders
    assert all(folder.is_dir() for folder in folders)
    assert len(set(folders)) == len(folders)


# Selection


def environment_of(**requirements: str) -> tuple[Distribution, ...]:
    """Distributions by name (``a_b`` is ``a-b``) with their requirements, separated by ``|``."""
    return tuple(
        Distribution(name.replace("_", "-"), "1.0", "index", tuple(filter(None, text.split("|"))), Path("/"))
        for name, text in requirements.items()
    )


def selected(
    distributions: tuple[Distribution, ...], requirements: str = "environment", **options
) -> set[str]:
    project = next(item for item in distributions if item.name == "site")
    return {item.name for item in select(distributions, requirements, project=project, **options).kept}


def test_what_nobody_declares_is_kept():
    distributions = environment_of(site="django", django="", gunicorn="packaging", packaging="")

    assert selected(distributions) == {"site", "django", "gunicorn", "packaging"}


def test_excluded_leave_with_what_only_they_need():
    distributions = environment_of(
        site="six", pytest="pluggy|six", pluggy="", six="", pytest_cov="pytest|coverage", coverage=""
    )

    assert selected(distributions) == {"site", "six"}


def test_excluded_but_required_stays_and_is_told():
    distributions = environment_of(site="a", a="coverage>=1", coverage="")

    selection = select(distributions, project=distributions[0])

    assert [item.name for item in selection.kept] == ["site", "a", "coverage"]
    assert selection.warnings == ("coverage is excluded, but it is deployed: a needs it.",)


def test_own_exclusion_replaces_the_default():
    distributions = environment_of(site="", pytest="", acme_a="", acme_b="")

    assert selected(distributions, exclude=["Acme_*"]) == {"site", "pytest"}
    assert selected(distributions, exclude=[]) == {"site", "pytest", "acme-a", "acme-b"}


def test_tools_stay_here_unless_required():
    distributions = environment_of(
        site="setuptools", pip="", setuptools="", uv="", wheel="packaging", packaging=""
    )

    assert selected(distributions, exclude=[]) == {"site", "setuptools"}


def test_deployer_side_of_django_deploy_stays_here():
    needs = "django>=5.2|packaging|paramiko|rich"
    distributions = environment_of(
        site="", django_deploy=needs, django="", packaging="", paramiko="bcrypt", bcrypt="", rich=""
    )

    assert selected(distributions) == {"site", "django-deploy", "django"}


def test_what_the_site_shares_with_the_deployer_is_kept():
    needs = "django|paramiko|rich"
    distributions = environment_of(
        site="paramiko", django_deploy=needs, django="", paramiko="bcrypt", bcrypt="", rich=""
    )

    assert selected(distributions) == {"site", "django-deploy", "django", "paramiko", "bcrypt"}


def test_markers_are_those_of_this_interpreter():
    distributions = environment_of(site='a; python_version < "3"|b; python_version >= "3"', a="", b="")

    assert selected(distributions, "closure") == {"site", "b"}


def test_only_extras_that_are_asked_for_count():
    distributions = environment_of(site="a[x]", a='b; extra == "x"|pytest; extra == "tests"', b="", pytest="")

    assert selected(distributions) == {"site", "a", "b"}


def test_extras_may_refer_to_themselves():
    distributions = environment_of(
        site="a[all]", a='a[x,y]; extra == "all"|b; extra == "x"|c; extra == "y"', b="", c=""
    )

    assert selected(distributions, "closure") == {"site", "a", "b", "c"}


def test_extras_of_the_project():
    distributions = environment_of(site='redis; extra == "cache"', redis="")

    assert selected(distributions, "closure") == {"site"}
    assert selected(distributions, "closure", extras=["cache"]) == {"site", "redis"}


def test_cycle_that_nothing_requires_is_kept():
    distributions = environment_of(site="", a="b", b="c", c="a|d", d="")

    assert selected(distributions) == {"site", "a", "b", "c", "d"}


def test_cycle_of_excluded_is_left_out():
    distributions = environment_of(site="", pytest="pytest-x", pytest_x="pytest|y", y="")

    assert selected(distributions) == {"site"}


def test_cycle_behind_an_excluded_is_left_out():
    distributions = environment_of(site="", pytest="a", a="b", b="a")

    assert selected(distributions) == {"site"}


def test_half_excluded_cycle_is_kept():
    distributions = environment_of(site="", coverage="z", z="coverage")

    assert selected(distributions) == {"site", "coverage", "z"}


def test_freeze_is_everything():
    distributions = environment_of(site="", pytest="", pip="")

    assert selected(distributions, "freeze") == {"site", "pytest", "pip"}


def test_closure_has_django_deploy_and_what_is_included():
    distributions = environment_of(
        site="a",
        a="",
        b="",
        gunicorn='c|d; extra == "x"',
        c="",
        d="",
        django_deploy="django|rich",
        django="",
        rich="",
    )

    names = selected(distributions, "closure", include=["Gunicorn[x]"])

    assert names == {"site", "a", "gunicorn", "c", "d", "django-deploy", "django"}


def test_included_tool_is_kept():
    distributions = environment_of(site="", pytest="pluggy", pluggy="", ipython="")

    assert selected(distributions, include=["pytest"]) == {"site", "pytest", "pluggy"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nope", "INCLUDE names nope, which is not installed."),
        ("no pe", "INCLUDE: 'no pe' is not the name of a distribution."),
    ],
)
def test_unknown_include_is_an_error(name, message):
    distributions = environment_of(site="")

    with pytest.raises(BundleError) as caught:
        select(distributions, project=distributions[0], include=[name])

    assert caught.value.message == message


def test_missing_requirement_is_a_warning():
    distributions = environment_of(site="a[x]", a='gone; extra == "x"')

    selection = select(distributions, project=distributions[0])

    assert selection.warnings == ("a[x] requires gone, which is not installed here.",)


def test_dependency_groups_of_the_project_are_excluded(tmp_path):
    tmp_path.joinpath("pyproject.toml").write_text(
        '[dependency-groups]\nDev = ["Acme.Debug", {include-group = "x"}]\nx = ["acme-x"]\nprod = ["b"]\n'
    )
    site = Distribution("site", "1.0", "editable", (), Path("/"), source=tmp_path)
    distributions = (site, *environment_of(acme_debug="", acme_x="", b=""))

    assert selected(distributions) == {"site", "b"}


def test_damaged_pyproject_is_an_error(tmp_path):
    tmp_path.joinpath("pyproject.toml").write_text("[")
    site = Distribution("site", "1.0", "editable", (), Path("/"), source=tmp_path)

    with pytest.raises(BundleError) as caught:
        select((site,), project=site)

    assert caught.value.message.startswith(f"{tmp_path / 'pyproject.toml'} is not valid TOML: ")
