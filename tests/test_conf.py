from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.test import override_settings

from django_deploy import conf
from django_deploy.exceptions import ConfigError
from django_deploy.target import DEFAULT_STEPS, Host, Target

STAGING = {"HOSTS": ["web1"], "ROOT": "/srv/shop", "PROCESSES": {"web": "gunicorn {socket}"}}


def hosts():
    return ["web1", {"HOST": "web2", "PORT": 2222}]


def environment():
    return {"SECRET_KEY": "xyzzy"}


NOT_CALLABLE = "web1"


@override_settings(DEPLOY_TARGETS={"staging": STAGING})
def test_a_target_runs_the_settings_module_of_this_project():
    target = conf.get_target("staging")

    assert isinstance(target, Target)
    assert (target.name, target.settings_module) == ("staging", "tests.settings")


@override_settings(DEPLOY_TARGETS={"staging": STAGING})
def test_default_steps_whose_app_is_not_installed_are_left_out():
    names = [step.name for step in conf.get_target("staging").steps]

    assert names == ["collectstatic --noinput", "migrate --noinput", "fix_permissions"]


@override_settings(
    DEPLOY_TARGETS={"staging": STAGING},
    MEDIA_ROOT="/code/media",
    STATIC_ROOT=Path("/code/static"),
    TEMPLATES=[{"BACKEND": "x", "DIRS": [Path("/code/templates")]}, {"BACKEND": "y"}],
    STATICFILES_DIRS=["/code/assets", ("vendor", Path("/code/vendor"))],
    LOCALE_PATHS=[Path("/code/locale")],
    FIXTURE_DIRS=["/code/fixtures"],
)
def test_a_target_knows_the_folders_of_data_and_those_that_are_read():
    target = conf.get_target("staging")

    assert target.data_folders == ("/code/media", "/code/static")
    assert target.asset_folders == tuple(
        f"/code/{name}" for name in ("templates", "assets", "vendor", "locale", "fixtures")
    )


@override_settings(DEPLOY_TARGETS={"staging": {**STAGING, "SETTINGS_MODULE": "shop.production"}})
def test_a_site_with_other_settings_knows_itself_which_steps_fit():
    assert conf.get_target("staging").steps == DEFAULT_STEPS


@override_settings(DEPLOY_TARGETS={"staging": {**STAGING, "SETTINGS_MODULE": "shop.production"}})
def test_no_other_settings_have_an_app_that_is_not_installed_at_all(monkeypatch):
    monkeypatch.setitem(sys.modules, "compressor", None)  # as if it could not be found

    assert [step.name for step in conf.get_target("staging").steps] == [
        step.name for step in DEFAULT_STEPS if step.requires_app != "compressor"
    ]


@override_settings(
    DEPLOY_TARGETS={"staging": {**STAGING, "HOSTS": f"{__name__}.hosts", "ENV": f"{__name__}.environment"}}
)
def test_dotted_paths_are_called():
    target = conf.get_target("staging")

    assert target.hosts == (Host("web1"), Host("web2", port=2222))
    assert target.env == {"SECRET_KEY": "xyzzy"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "web1.example.com",
            "names a callable that cannot be imported: No module named 'web1'."
            " For a host of this name, write ['web1.example.com'].",
        ),
        (
            f"{__name__}.nothing",
            f'names a callable that cannot be imported: Module "{__name__}" does not define a'
            f' "nothing" attribute/class.'
            f" For a host of this name, write ['{__name__}.nothing'].",
        ),
    ],
)
def test_E012_a_dotted_path_to_nothing(path, message):
    with (
        override_settings(DEPLOY_TARGETS={"staging": {**STAGING, "HOSTS": path}}),
        pytest.raises(ConfigError) as caught,
    ):
        conf.get_target("staging")

    assert str(caught.value) == (
        "The settings of the target 'staging' have a mistake.\n"
        f"  DEPLOY_TARGETS['staging']['HOSTS']: {message}"
    )


@override_settings(DEPLOY_TARGETS={"staging": {**STAGING, "HOSTS": f"{__name__}.NOT_CALLABLE"}})
def test_E012_a_dotted_path_to_something_else():
    with pytest.raises(
        ConfigError, match=r"is a callable that failed: TypeError: 'str' object is not callable \("
    ):
        conf.get_target("staging")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("stagin", "Did you mean 'staging'?"), ("x", "DEPLOY_TARGETS has: staging, production.")],
)
@override_settings(DEPLOY_TARGETS={"staging": STAGING, "production": STAGING})
def test_an_unknown_target(name, remedy):
    with pytest.raises(ConfigError) as caught:
        conf.get_target(name)

    assert str(caught.value) == f"There is no target {name!r}.\n{remedy}"


@override_settings(DEPLOY_TARGETS={7: STAGING})
def test_a_name_that_is_no_string():
    with pytest.raises(ConfigError, match=r"There is no target '7'.\nDEPLOY_TARGETS has: 7"):
        conf.get_target("7")


@override_settings(DEPLOY_TARGETS={"staging": STAGING, "production": {"HOST": "x"}})
def test_mistakes_of_another_target_do_not_matter():
    assert conf.get_target("staging").name == "staging"


@override_settings(DEPLOY_TARGETS=[STAGING])
def test_E001_no_dict_of_targets():
    with pytest.raises(ConfigError) as caught:
        conf.get_target("staging")

    assert str(caught.value) == "The settings have a mistake.\n  DEPLOY_TARGETS: must be a dict of targets."
    assert [issue.id for issue in conf.find_issues()] == ["deploy.E001"]


@pytest.mark.parametrize("name", ["bad name", "-x", "", "a/b", "a\n"])
def test_E001_a_name_that_is_none(name):
    with override_settings(DEPLOY_TARGETS={name: STAGING}):
        (issue,) = conf.find_issues()
        with pytest.raises(ConfigError, match="is not a name for a target"):
            conf.get_target(name)

    assert issue.id == "deploy.E001"
    assert str(issue) == (
        f"DEPLOY_TARGETS[{name!r}]: is not a name for a target: use letters, digits, '.', '-' and '_'."
    )


@override_settings(
    DEPLOY_TARGETS={
        "staging": STAGING,
        "many": {"HOSTS": ["web1", {"HOST": "web2"}], "ROOT": "/srv/a"},
        "asked": {"HOSTS": "shop.deploy.hosts"},
        "called": {"HOSTS": hosts, "ROOT": 5},
        "wrong": None,
    }
)
def test_the_list_of_targets_calls_nothing():
    assert conf.list_targets() == (
        conf.Summary("staging", "web1", "/srv/shop"),
        conf.Summary("many", "web1, web2", "/srv/a"),
        conf.Summary("asked", "from shop.deploy.hosts()", ""),
        conf.Summary("called", "from hosts()", "5"),
        conf.Summary("wrong", "", ""),
    )


def test_no_targets():
    assert conf.list_targets() == ()
    assert conf.find_issues() == ()


def test_the_example_is_right():
    settings: dict[str, dict[str, object]] = {}
    exec(conf.EXAMPLE, settings)

    with override_settings(DEPLOY_TARGETS=settings["DEPLOY_TARGETS"]):
        assert conf.find_issues() == ()


@override_settings(
    DEPLOY_TARGETS={
        "staging": {**STAGING, "HOSTS": ["anna@web1"], "ROOT": "/srv/shop"},
        "production": {**STAGING, "HOSTS": ["web2", "web1"], "ROOT": "/srv/shop/"},
        "elsewhere": {**STAGING, "HOSTS": ["web3"], "ROOT": "/srv/shop"},
        "beside": {**STAGING, "HOSTS": ["web1"], "ROOT": "/srv/other"},
    }
)
def test_targets_that_would_replace_each_other():
    issues = [issue for issue in conf.find_issues() if issue.id == "deploy.E020"]

    assert [str(issue) for issue in issues] == [
        f"DEPLOY_TARGETS['{name}']['ROOT']: is that of '{other}', too, on the same host (web1):"
        " each would replace the other. Give each target a ROOT of its own."
        for name, other in (("staging", "production"), ("production", "staging"))
    ]
    with pytest.raises(ConfigError, match="is that of 'production', too"):
        conf.get_target("staging")
    assert str(conf.get_target("elsewhere").root) == "/srv/shop"
