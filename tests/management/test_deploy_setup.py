"""Its arguments; what it does is in ``tests/hosts/test_setup.py``."""

from __future__ import annotations

import pytest
from django.core.management import load_command_class
from django.core.management.base import CommandError
from django.test import override_settings

from django_deploy import provisioning
from django_deploy.provision import account, pieces
from django_deploy.provision.whole import all_pieces
from django_deploy.target import Host
from tests.provision.sites import DEBIAN, SITE

HOST = Host("web1", user="shop")

TARGETS = {
    "staging": {
        "HOSTS": ["web1"],
        "USER": "shop",
        "ROOT": "/srv/shop",
        "ENV": {"SECRET_KEY": "emma@laptop"},
        "PROCESSES": {"web": "gunicorn shop.wsgi --bind unix:{socket}"},
    }
}


def run(*argv):
    command = load_command_class("django_deploy", "deploy_setup")
    options = vars(command.create_parser("manage.py", "deploy_setup").parse_args(argv))
    with override_settings(DEPLOY_TARGETS=TARGETS):
        command.execute(**{**options, "force_color": False, "no_color": True})


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--login", "-oProxyCommand=x"), None),
        (("--login", ""), "--login '' is not the name of a user."),
        (("--login", "emma smith"), "--login 'emma smith' is not the name of a user."),
        (("--wait", "-1"), "--wait must be 0 or more seconds, not -1."),
        (("--hosts", "db*"), "No host of 'staging' is named 'db*'.\nThere is: shop@web1."),
    ],
)
def test_wrong_arguments(argv, message):
    with pytest.raises(CommandError) as caught:
        run("staging", *argv)

    assert message is None or (caught.value.returncode, str(caught.value)) == (2, message)


@pytest.fixture
def plan():
    to_do = all_pieces(SITE, DEBIAN)
    script = pieces.script(["About."], (), to_do, (account.host_lock(SITE), account.lock(SITE)))
    return provisioning.SetupPlan(HOST, "root@web1", SITE, DEBIAN, (), to_do, script)


def test_the_plan_is_printed_as_it_would_be_run(plan, monkeypatch, capsys):
    """What happens to be the value of a secret, too, is not masked in it."""
    asked = []

    def preview(target, login, **options):
        asked.append((target.hosts[0].name, login))
        return [plan]

    monkeypatch.setattr(provisioning, "preview", preview)

    run("staging", "--plan", "--login", "admin")

    assert capsys.readouterr().out == plan.script
    assert asked == [("shop@web1", "admin")]


def test_what_is_missing_is_shown(plan, monkeypatch, capsys):
    def set_up(target, login, *, report, prompts, confirm):
        assert confirm([plan])
        return "set up"

    monkeypatch.setattr(provisioning, "set_up", set_up)

    run("staging")

    assert capsys.readouterr().out == (
        "Missing on shop@web1 (Debian GNU/Linux 12 (bookworm)), and made by root@web1:\n"
        "  the user shop\n"
        "  your key ssh-ed25519 SHA256:abc for shop\n"
        "  /srv/shop and its folders, which belong to shop\n"
        "  services of shop that need no login (lingering)\n"
    )


def test_a_no_is_a_failure(monkeypatch):
    monkeypatch.setattr(provisioning, "set_up", lambda *words, **options: "declined")

    with pytest.raises(CommandError, match=r"^Nothing was changed, as you wished\.$") as caught:
        run("staging")

    assert caught.value.returncode == 1
