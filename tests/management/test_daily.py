"""The arguments of the commands of every day; what they do is in ``tests/hosts/test_daily.py``."""

from __future__ import annotations

import pytest
from django.core.management import load_command_class
from django.core.management.base import CommandError
from django.test import override_settings

from django_deploy.management.commands import deploy_run
from django_deploy.management.commands.deploy_history import _merge

TARGETS = {
    "staging": {
        "HOSTS": [{"HOST": "web1", "ROLES": ["web"]}, {"HOST": "jobs", "ROLES": ["jobs"]}],
        "ROOT": "/srv/shop",
        "PROCESSES": {"web": "gunicorn shop.wsgi --bind unix:{socket}"},
    }
}


def options(name, *argv):
    return vars(load_command_class("django_deploy", name).create_parser("manage.py", name).parse_args(argv))


def failure(name, *argv):
    command = load_command_class("django_deploy", name)
    chosen = {**options(name, *argv), "force_color": False, "no_color": True}
    with override_settings(DEPLOY_TARGETS=TARGETS), pytest.raises(CommandError) as caught:
        command.execute(**chosen)
    return caught.value.returncode, str(caught.value)


def test_what_stands_behind_the_dashes_is_for_the_site():
    found = options("deploy_run", "staging", "--all", "--", "migrate", "--plan", "-v", "3")

    assert found["words"] == ["migrate", "--plan", "-v", "3"]
    assert (found["all"], found["verbosity"]) == (True, 1)


def test_options_of_the_sites_command_without_the_dashes(capsys):
    with pytest.raises(SystemExit):
        load_command_class("django_deploy", "deploy_run").run_from_argv(
            ["manage.py", "deploy_run", "staging", "createsuperuser", "--noinput"]
        )

    usage = "manage.py deploy_run [--hosts PATTERN | --role ROLE | --all]\n       target [-- COMMAND ...]\n"
    assert capsys.readouterr().err == (
        f"usage: {usage}manage.py deploy_run: error: unrecognized arguments: --noinput\n"
    )


def test_what_dbshell_lacks_is_found_in_what_django_says():
    for program in ("sqlite3", "psql", "mysql", "mysql-client"):
        said = f"CommandError: You appear not to have the {program!r} program installed or on your path.\r\n"
        found = deploy_run.MISSING.search(said.encode())

        assert found is not None
        assert found[1].decode() == program


def test_options_may_stand_between_the_target_and_the_process():
    assert options("deploy_logs", "staging", "-f", "web")["process"] == "web"
    assert options("deploy_restart", "staging", "--wait", "3", "worker")["process"] == "worker"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ("deploy_run", "staging", "--role", "db"),
            "No host of 'staging' has the role 'db'.\nThere is: jobs, web.",
        ),
        (
            ("deploy_logs", "staging", "--since", "noon"),
            "--since 'noon' is no time.\nSay 30s, 10m, 2h or 1d, or 2026-11-28T22:40.",
        ),
        (("deploy_logs", "staging", "-n", "-1"), "--lines must be 0 to 100000, not -1."),
        (("deploy_fetch", "staging", "media", "--force"), "--force says nothing about media."),
        (("deploy_fetch", "staging", "database", "--delete"), "--delete says nothing about database."),
        (
            ("deploy_fetch", "staging", "database", "--backup", "x"),
            "'x' is no backup.\ndeploy_restore lists them.",
        ),
        (
            ("deploy_fetch", "staging", "database", "--backup", "x", "--database", "y"),
            "A backup is of one database: say --backup or --database.",
        ),
        (
            ("deploy_fetch", "staging", "database", "--anonymize", "blur"),
            "--anonymize 'blur' is no dotted path to a callable.\n"
            "Say where it is, as 'shop.privacy.anonymize'.",
        ),
        (
            ("deploy_fetch", "staging", "database", "-o", "/nowhere/dump"),
            "/nowhere/dump: no file can be written there.\nName another one with -o.",
        ),
        (
            ("deploy_fetch", "staging", "media"),
            "These settings have no MEDIA_ROOT.\nSay where to: --to FOLDER.",
        ),
        (("deploy_history", "staging", "-n", "0"), "--lines must be 1 to 1000, not 0."),
        (
            ("deploy_env", "staging", "--set", "A", "--set", "B"),
            "--set takes one variable at a time, as there is one value to be read.",
        ),
        (("deploy_status", "staging", "--watch", "0.1"), "--watch must be 1 to 3600 seconds, not 0.1."),
        (
            ("deploy_maintenance", "staging", "on", "--retry-after", "0"),
            "--retry-after must be 1 to 604800 seconds, not 0.",
        ),
        (
            ("deploy_env", "staging", "--set", "MY-NAME"),
            "MY-NAME is not the name of an environment variable.",
        ),
        (
            ("deploy_env", "staging", "--set", "DJANGO_DEPLOY_SHARED"),
            "DJANGO_DEPLOY_SHARED is set for each release, and says where that is.\n"
            "Use another name for what you mean.",
        ),
        (
            ("deploy_env", "staging", "--set", "DJANGO_SETTINGS_MODULE"),
            "DJANGO_SETTINGS_MODULE is set from the target's SETTINGS_MODULE.\nWrite that key instead.",
        ),
        (
            ("deploy_restart", "staging", "web"),
            "web answers requests: alone it cannot be restarted without losing any.\n"
            "Restart all that there is, blue and green: manage.py deploy_restart staging",
        ),
    ],
)
def test_mistakes(argv, message):
    assert failure(*argv) == (2, message)


def test_a_deployment_of_several_hosts_is_one_deed():
    entry = {"action": "deploy", "release": "r2", "by": "anna"}
    told = {
        "web1": [{**entry, "at": 1000.0}, {**entry, "release": "r1", "at": 10.0}],
        "web2": [{**entry, "at": 1003.0}, {**entry, "at": 500.0}],
    }

    deeds = _merge(told)

    assert [(deed.fields["release"], sorted(deed.hosts)) for deed in deeds] == [
        ("r2", ["web1", "web2"]),
        ("r2", ["web2"]),
        ("r1", ["web1"]),
    ]
