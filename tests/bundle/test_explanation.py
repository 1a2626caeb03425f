"""Why a distribution is deployed or is not, of environments made of values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.explanation import CHAINS_SHOWN, explain
from django_deploy.bundle.index.sources import Sources
from django_deploy.bundle.requirements.lock_file import read_lock_file
from django_deploy.bundle.requirements.stated import select_stated
from django_deploy.bundle.selection import select
from django_deploy.exceptions import ConfigError
from tests.bundle.test_selection import environment_of

SHOP = environment_of(
    site="celery[redis]",
    celery='kombu|kombu[redis]; extra == "redis"',
    kombu='vine; python_version > "3"|redis>=4; extra == "redis"|tzdata; sys_platform == "win32"',
    vine="",
    redis='async-timeout; python_full_version < "3"',
    gunicorn="packaging",
    packaging="",
    pytest="iniconfig|packaging",
    pytest_cov="pytest|coverage",
    coverage="",
    iniconfig="",
    pip="",
    uv="",
)


def lines(name: str, distributions: tuple[Distribution, ...] = SHOP, requirements="environment", **options):
    project = next(item for item in distributions if item.name == "site")
    selection = select(distributions, requirements, project=project, **options)
    return list(explain(name, distributions, selection, requirements))


def test_chain_of_requirements():
    assert lines("Redis") == [
        "redis 1.0 is deployed: it comes from an index.",
        "Required by:",
        "  site 1.0 -> celery[redis] 1.0 -> kombu[redis] 1.0 -> redis 1.0",
    ]


def test_what_depends_on_the_interpreter_is_told():
    assert lines("vine") == [
        "vine 1.0 is deployed: it comes from an index.",
        "Required by:",
        "  site 1.0 -> celery[redis] 1.0 -> kombu[redis] 1.0 -> vine 1.0",
        '    kombu says: vine; python_version > "3"',
    ]


def test_one_chain_for_each_that_requires_it():
    assert lines("packaging", exclude=["pytest_cov"]) == [
        "packaging 1.0 is deployed: it comes from an index.",
        "Required by:",
        "  gunicorn 1.0 -> packaging 1.0",
    ]
    assert lines("packaging", exclude=[])[2:] == [
        "  gunicorn 1.0 -> packaging 1.0",
        "  pytest-cov 1.0 -> pytest 1.0 -> packaging 1.0",
    ]


def test_many_chains_are_cut():
    many = environment_of(site="", x="", **{f"a{number}": "x" for number in range(CHAINS_SHOWN + 3)})

    found = lines("x", many)

    assert len(found) == CHAINS_SHOWN + 3
    assert found[-1] == "  and 3 more"


def test_what_nothing_requires():
    assert lines("gunicorn") == [
        "gunicorn 1.0 is deployed: it comes from an index.",
        "It is deployed because REQUIREMENTS is 'environment' and nothing else requires it.",
    ]


def test_what_the_target_names():
    distributions = environment_of(site='six; extra == "x"', six="", pytest="")

    found = lines("site", distributions, extras=["x"], include=["pytest"])

    assert found[1:] == [
        "It is deployed because it is the project.",
        "It is deployed because EXTRAS names x.",
    ]
    assert lines("pytest", distributions, include=["pytest"])[1] == (
        "It is deployed because INCLUDE names it."
    )
    assert lines("six", distributions, "closure", extras=["x"])[1:] == [
        "Required by:",
        "  site[x] 1.0 -> six 1.0",
    ]


def test_members_of_a_cycle():
    found = lines("b", environment_of(site="", a="b", b="a"))

    assert found == ["b 1.0 is deployed: it comes from an index.", "Required by:", "  a 1.0 -> b 1.0"]


@pytest.mark.parametrize(
    ("fields", "origin"),
    [
        (
            {"kind": "editable", "source": Path("/src/a")},
            "a wheel of /src/a, which is installed as editable, is sent",
        ),
        ({"kind": "local", "source": Path("/a-1.whl")}, "a wheel of /a-1.whl is sent"),
        (
            {"kind": "vcs", "vcs": "git", "url": "https://me:secret@host/a", "commit": "c0ffee"},
            "a wheel of git+https://host/a@c0ffee is sent",
        ),
        ({"kind": "url", "url": "https://host/a.zip"}, "a wheel of https://host/a.zip is sent"),
        ({"kind": "plain", "source": Path("/src/a")}, "the files in /src/a are sent"),
    ],
)
def test_where_it_comes_from(fields, origin):
    site, a = environment_of(site="a", a="")

    assert lines("a", (site, replace(a, **fields)))[0] == f"a 1.0 is deployed: {origin}."


def test_excluded_by_the_default():
    assert lines("pytest-cov") == [
        "pytest-cov 1.0 is not deployed.",
        "The list of development tools has 'pytest-*', the default of EXCLUDE, and nothing that is deployed"
        " requires it.",
    ]


def test_excluded_by_the_target():
    assert lines("gunicorn", exclude=["guni*"])[1] == (
        "EXCLUDE has 'guni*', and nothing that is deployed requires it."
    )


def test_excluded_by_a_dependency_group(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[dependency-groups]\ndev = ["gunicorn"]\n')
    site = replace(SHOP[0], kind="editable", source=tmp_path)

    assert lines("gunicorn", (site, *SHOP[1:]))[1] == (
        "The project's dependency group 'dev' names it, and nothing that is deployed requires it."
    )


def test_excluded_and_required():
    assert lines("redis", exclude=["redis"])[:2] == [
        "redis 1.0 is deployed: it comes from an index.",
        "EXCLUDE has 'redis', but what is deployed requires it.",
    ]


def test_needed_by_the_excluded_only():
    assert lines("iniconfig") == [
        "iniconfig 1.0 is not deployed.",
        "Only what stays here requires it:",
        "  pytest 1.0 -> iniconfig 1.0 (pytest: the list of development tools has 'pytest', the default of"
        " EXCLUDE)",
    ]


def test_tool():
    assert lines("pip") == [
        "pip 1.0 is not deployed.",
        "It is a tool that installs, and nothing that is deployed requires it.",
    ]


def test_deployers_side_of_django_deploy():
    distributions = environment_of(site="", django_deploy="paramiko", paramiko="bcrypt", bcrypt="")

    assert lines("bcrypt", distributions) == [
        "bcrypt 1.0 is not deployed.",
        "Only what stays here requires it:",
        "  django-deploy 1.0 -> paramiko 1.0 -> bcrypt 1.0"
        " (django-deploy: servers do not need this side of it)",
    ]
    assert lines("django-deploy", distributions)[1] == "It is deployed because every site needs it."


def test_closure_and_freeze():
    assert lines("gunicorn", requirements="closure")[1] == (
        "REQUIREMENTS is 'closure', and nothing that is deployed requires it."
    )
    assert lines("pip", requirements="freeze")[1] == "It is deployed because REQUIREMENTS is 'freeze'."


def test_other_interpreters_and_extras():
    distributions = environment_of(site='a; os_name == "nt"', b='a; extra == "x"', c='a; extra == "y"', a="")

    assert lines("a", distributions, "closure") == [
        "a 1.0 is not deployed.",
        "REQUIREMENTS is 'closure', and nothing that is deployed requires it.",
        'site 1.0 requires it only where os_name == "nt".',
        "With these extras, for which nothing asks, it would be required: b[x], c[y].",
    ]


def test_what_is_not_installed():
    assert lines("async-timeout") == [
        "async-timeout is not installed here, and not deployed.",
        'redis 1.0 requires it only where python_full_version < "3".',
    ]
    assert lines("gone", environment_of(site="gone")) == [
        "gone is not installed here, and not deployed.",
        "site 1.0 requires it.",
    ]


def test_unknown_name():
    with pytest.raises(ConfigError) as caught:
        lines("cellery")

    assert str(caught.value) == (
        "cellery is not installed here, and nothing here requires it.\nDid you mean 'celery'?"
    )


def by_file(tmp_path: Path, name: str) -> list[str]:
    file = tmp_path / "requirements.txt"
    file.write_text(
        "celery[redis]==1.0\nkombu==1.0\nredis==5\nvine==1.0\nnew==3\nold==1 ; python_version < '3'\n"
    )
    selection = select_stated(SHOP, read_lock_file(file), Sources(""), project=SHOP[0])
    return list(explain(name, SHOP, selection, "requirements.txt"))


def test_what_a_file_names(tmp_path):
    assert by_file(tmp_path, "redis") == [
        "redis 5 is deployed: it comes from an index.",
        "requirements.txt, line 3 says redis==5; 1.0 is installed here.",
        "It is deployed because requirements.txt, line 3 names it.",
        "Required by:",
        "  site 1.0 -> celery[redis] 1.0 -> kombu[redis] 1.0 -> redis 5",
    ]
    assert by_file(tmp_path, "new")[1] == "requirements.txt, line 5 says new==3; it is not installed here."


def test_what_a_file_does_not_name(tmp_path):
    assert by_file(tmp_path, "gunicorn") == [
        "gunicorn 1.0 is not deployed.",
        "requirements.txt does not name it, and nothing that is deployed requires it.",
    ]


def test_what_a_file_names_for_other_interpreters(tmp_path):
    assert by_file(tmp_path, "old") == [
        "old is not installed here, and not deployed.",
        'requirements.txt, line 6 says old==1 where python_version < "3": a host with such an interpreter'
        " gets it.",
    ]
