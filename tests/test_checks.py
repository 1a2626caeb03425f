from __future__ import annotations

import pytest
from django.apps import apps
from django.core import checks
from django.test import override_settings

from django_deploy import checks as our_checks

STAGING = {"HOSTS": ["web1"], "ROOT": "/srv/shop", "PROCESSES": {"web": "gunicorn {socket}"}}


def called():
    raise AssertionError("checks call nothing")


def run_checks(**targets):
    with override_settings(DEPLOY_TARGETS=targets):
        return checks.run_checks(tags=[our_checks.TAG])


def test_sound_settings():
    assert run_checks(staging=STAGING) == []


def test_nothing_is_judged_on_a_server(monkeypatch):
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", "/srv/shop/releases/20261129T120000Z-3f9c2a1")

    assert run_checks(staging={**STAGING, "ROOT": "srv"}) == []


def test_every_mistake_of_every_target():
    messages = run_checks(staging={**STAGING, "HOST": "x"}, production={**STAGING, "ROOT": "srv"})

    assert messages == [
        checks.Error(
            "is not a key that is known.",
            hint="Did you mean 'HOSTS'?",
            obj="DEPLOY_TARGETS['staging']['HOST']",
            id="deploy.E002",
        ),
        checks.Error(
            "must be an absolute path of a folder of its own, not 'srv'.",
            hint="Write the whole path, say '/srv/shop'.",
            obj="DEPLOY_TARGETS['production']['ROOT']",
            id="deploy.E009",
        ),
    ]
    assert str(messages[0]) == (
        "DEPLOY_TARGETS['staging']['HOST']: (deploy.E002) is not a key that is known.\n"
        "\tHINT: Did you mean 'HOSTS'?"
    )


def test_deploy_W001():
    (message,) = run_checks(staging={**STAGING, "PROCESSES": {}})

    assert message == checks.Warning(
        "has neither PROCESSES nor RESTART: releases are installed, but nothing runs them.",
        hint="Name the site's programs in PROCESSES, or in RESTART the commands that restart them.",
        obj="DEPLOY_TARGETS['staging']",
        id="deploy.W001",
    )


def test_callables_are_not_called():
    assert run_checks(staging={**STAGING, "HOSTS": called, "ENV": called}) == []
    assert run_checks(staging={**STAGING, "HOSTS": "no.such.path", "ENV": f"{__name__}.called"}) == []


@pytest.fixture
def rival_app(tmp_path, monkeypatch):
    commands = tmp_path / "rival" / "management" / "commands"
    commands.mkdir(parents=True)
    for folder in (commands, commands.parent, commands.parent.parent):
        (folder / "__init__.py").touch()
    (commands / "deploy.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with override_settings(INSTALLED_APPS=["rival", *(app.name for app in apps.get_app_configs())]):
        yield


@pytest.mark.usefixtures("rival_app")
def test_deploy_W002():
    (message,) = run_checks(staging=STAGING)

    assert message == checks.Warning(
        "The app 'rival' has a command 'deploy', too.",
        hint="'manage.py deploy_to TARGET' is always django-deploy's.",
        id="deploy.W002",
    )
