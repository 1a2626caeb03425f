"""Which distributions are deployed, of environments made of values."""

from __future__ import annotations

import platform
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.platforms import HostPlatform
from django_deploy.bundle.selection import find_roots, select
from django_deploy.exceptions import BundleError


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

    selection = select(distributions, project=distributions[0], exclude=["coverage"])

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


def test_undeclared_extras_are_kept_with_the_environment_only():
    # pip install requests[socks]: no record tells that the extra was asked for
    distributions = environment_of(site="requests", requests='pysocks; extra == "socks"', pysocks="")

    assert selected(distributions) == {"site", "requests", "pysocks"}
    assert selected(distributions, "closure") == {"site", "requests"}
    assert selected(distributions, "closure", include=["requests[socks]"]) == {"site", "requests", "pysocks"}


def test_extras_of_excluded_tools_keep_nothing():
    # attrs[tests] names pytest, but nobody asks for it
    distributions = environment_of(site="attrs", attrs='pytest; extra == "tests"', pytest="attrs")

    assert selected(distributions) == {"site", "attrs"}


def test_extras_of_the_project_may_refer_to_themselves():
    by_extra = {"all": "site[cache,mail]", "cache": "redis", "mail": "x|site[all]"}
    texts = (f'{text}; extra == "{extra}"' for extra, some in by_extra.items() for text in some.split("|"))
    distributions = environment_of(site="|".join(texts), redis="", x="", y="")

    assert selected(distributions, "closure", extras=["all"]) == {"site", "redis", "x"}
    assert selected(distributions, "closure", extras=["cache"]) == {"site", "redis"}


def test_cycle_through_an_extra():
    distributions = environment_of(site="a[x]", a='b; extra == "x"', b="a[x]|c", c="")

    assert selected(distributions, "closure") == selected(distributions) == {"site", "a", "b", "c"}


def test_requirements_of_a_tool_that_is_required_are_kept():
    distributions = environment_of(
        site="setuptools", setuptools="wheel", wheel="packaging", packaging="", pip=""
    )

    assert selected(distributions) == {"site", "setuptools", "wheel", "packaging"}


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


def test_dependency_groups_of_a_plain_project_may_be_above_it(tmp_path):
    tmp_path.joinpath("pyproject.toml").write_text("[dependency-groups]\ndev = ['acme-debug']\n")
    folder = tmp_path / "backend" / "src"
    folder.mkdir(parents=True)
    plain = Distribution("site", "0", "plain", (), folder, source=folder)
    package = replace(plain, kind="editable")
    others = environment_of(acme_debug="", b="")

    assert selected((plain, *others)) == {"site", "b"}
    (folder / ".git").mkdir()
    assert selected((plain, *others)) == {"site", "b", "acme-debug"}  # another's, above the checkout
    assert selected((package, *others)) == {"site", "acme-debug", "b"}


@pytest.mark.parametrize(
    "table",
    [
        "[tool.poetry.group.dev.dependencies]\nAcme_Debug = '^1.0'",
        "[tool.poetry.dev-dependencies]\nacme-debug = {path = '../debug'}",
        "[tool.pdm.dev-dependencies]\ntest = ['acme-debug>=1', '-e file:///debug#egg=b']",
        "[tool.uv]\ndev-dependencies = ['acme-debug>=1']",
        "[dependency-groups]\ndev = ['acme-x']\n[tool.uv]\ndev-dependencies = ['acme-debug']",
    ],
)
def test_development_groups_of_tools_are_excluded(tmp_path, table):
    tmp_path.joinpath("pyproject.toml").write_text(table)
    site = Distribution("site", "1.0", "editable", (), Path("/"), source=tmp_path)

    assert selected((site, *environment_of(acme_debug="", b=""))) == {"site", "b"}


def test_other_groups_of_poetry_are_deployed(tmp_path):
    tmp_path.joinpath("pyproject.toml").write_text("[tool.poetry.group.server.dependencies]\nb = '*'")
    site = Distribution("site", "1.0", "editable", (), Path("/"), source=tmp_path)

    assert selected((site, *environment_of(b=""))) == {"site", "b"}


def test_development_tool_that_is_needed_is_no_news():
    distributions = environment_of(site="a", a="ipython", ipython="")

    selection = select(distributions, project=distributions[0])

    assert {item.name for item in selection.kept} == {"site", "a", "ipython"}
    assert selection.warnings == ()


def test_damaged_pyproject_is_an_error(tmp_path):
    tmp_path.joinpath("pyproject.toml").write_text("[")
    site = Distribution("site", "1.0", "editable", (), Path("/"), source=tmp_path)

    with pytest.raises(BundleError) as caught:
        select((site,), project=site)

    assert caught.value.message.startswith(f"{tmp_path / 'pyproject.toml'} is not valid TOML: ")


def test_wrong_dependency_groups_are_an_error(tmp_path):
    tmp_path.joinpath("pyproject.toml").write_text('[dependency-groups]\ndev = [{include-group = "gone"}]\n')
    site = Distribution("site", "1.0", "editable", (), Path("/"), source=tmp_path)

    with pytest.raises(BundleError) as caught:
        select((site,), project=site)

    file = tmp_path / "pyproject.toml"
    assert caught.value.message == (
        f"The dependency groups of {file} are wrong: Dependency group 'gone' not found."
    )


def test_roots_are_found_once_for_each_cycle():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "x": {"y"}, "y": {"x", "z"}, "z": set()}

    assert list(find_roots(edges, frozenset())) == ["a", "x"]
    assert list(find_roots(edges, frozenset({"x"}))) == ["a", "y"]


def test_markers_of_a_host_are_those_that_packaging_knows():
    from packaging.markers import default_environment

    here = default_environment()
    version = tuple(map(int, platform.python_version_tuple()))
    markers = HostPlatform(
        version, sys.implementation.name, platform.machine(), system=sys.platform
    ).markers()

    assert markers.keys() == here.keys()
    assert all(
        markers[name] == here[name] for name in markers.keys() - {"platform_release", "platform_version"}
    )
