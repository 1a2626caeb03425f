import json

import django
import pytest
from django.db import connection
from django.db.utils import ConnectionHandler
from django.test import override_settings

from django_deploy.site import runner
from django_deploy.site.runner import answer

APPS = (
    "django.contrib.auth, django.contrib.contenttypes, django.contrib.staticfiles, "
    "django_deploy, tests.testapp"
)


def ask(**request):
    return answer(json.dumps(request))


def run(*command, **request):
    """The reply without its duration."""
    reply = ask(do="run", command=list(command), **request)
    assert reply.pop("seconds") >= 0
    return reply


class Apart:
    """Keeps the notes in a database of their own."""

    def allow_migrate(self, db, app_label, **hints):
        return (db == "other") == (app_label == "testapp")


@pytest.mark.parametrize(
    ("routers", "commands", "unmigrated"),
    [
        (
            ["tests.site.test_runner.Apart"],
            [["migrate"]],
            {"other": ["testapp.0001_initial", "testapp.0002_note_is_read"]},
        ),
        (["tests.site.test_runner.Apart"], [["migrate"], ["migrate", "--database", "other"]], {}),
        ([], [["migrate"]], {}),  # nobody knows what that database is for
    ],
)
def test_databases_that_no_step_migrates(database, routers, commands, unmigrated):
    with override_settings(DATABASE_ROUTERS=routers):
        assert ask(do="unmigrated", commands=commands) == {"ok": True, "unmigrated": unmigrated}


def test_describe():
    with override_settings(
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"), SECURE_SSL_REDIRECT=True, MEDIA_ROOT=""
    ):
        reply = ask(do="describe")

    assert reply.pop("python").startswith("3.")
    assert reply == {
        "ok": True,
        "installed_apps": APPS.split(", "),
        "allowed_hosts": ["testserver", "shop.example.com"],
        "debug": False,
        "ssl_header": ["HTTP_X_FORWARDED_PROTO", "https"],
        "ssl_redirect": True,
        "static_root": None,
        "media_root": None,
        "databases": {"default": "sqlite", "other": "sqlite"},
        "django": django.get_version(),
    }


def test_describe_paths_are_texts(tmp_path):
    with override_settings(STATIC_ROOT=tmp_path / "static", MEDIA_ROOT=tmp_path / "media"):
        reply = ask(do="describe")

    assert reply["static_root"] == str(tmp_path / "static")
    assert reply["media_root"] == str(tmp_path / "media")
    assert reply["ssl_header"] is None


def test_settings_that_cannot_be_described(capsys):
    with override_settings(ALLOWED_HOSTS=None):
        reply = ask(do="describe")

    assert reply == {"ok": False, "error": "TypeError: 'NoneType' object is not iterable"}
    assert "description.py" in capsys.readouterr().err


def test_run_lets_the_command_talk(capsys):
    reply = run("behave", "talk")

    assert reply == {"ok": True, "result": {}}
    assert capsys.readouterr() == ("said on stdout\nno line end", "said on stderr\n")


def test_run_skips_a_command_whose_app_is_missing():
    reply = run("compress", "--force", requires_app="compressor")

    assert reply == {"ok": True, "result": {}, "skipped": "compressor is not in INSTALLED_APPS"}


def test_run_skips_migrate_where_the_site_has_no_database(monkeypatch):
    dummy = ConnectionHandler({})
    monkeypatch.setattr(runner, "connections", dummy)

    assert run("migrate", "--noinput") == {"ok": True, "result": {}, "skipped": "the site has no database"}


def test_run_has_the_app_that_is_required():
    assert run("behave", "leave_0", requires_app="tests.testapp") == {"ok": True, "result": {}}


def test_command_error(capsys):
    reply = run("behave", "refuse")

    assert reply == {"ok": False, "result": {}, "exit": 7, "error": "CommandError: It will not do."}
    assert capsys.readouterr().err == "CommandError: It will not do.\n"


def test_wrong_arguments(capsys):
    reply = run("behave", "dance")

    assert reply["exit"] == 1
    assert reply["error"].startswith("CommandError: Error: argument how: invalid choice: 'dance'")


def test_crash_keeps_its_traceback(capsys):
    reply = run("behave", "crash")

    assert reply == {
        "ok": False,
        "result": {},
        "exit": 1,
        "error": "ZeroDivisionError: there is a bug",
    }
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert "behave.py" in err


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("leave_0", {"ok": True}),
        ("leave_4", {"ok": False, "exit": 4, "error": "SystemExit: 4"}),
        ("leave_with_text", {"ok": False, "exit": 1, "error": "SystemExit: all is lost"}),
    ],
)
def test_command_that_leaves(how, expected, capsys):
    assert run("behave", how) == {"result": {}, **expected}


def test_unknown_command(capsys):
    reply = run("migrat")

    assert reply["exit"] == 1
    assert reply["error"] == (
        f"CommandError: No app of the site has a command 'migrat'. Did you mean migrate? The apps are: {APPS}"
    )


def test_connections_do_not_outlive_a_request(database):
    run("migrate", "testapp")

    assert connection.connection is None


REQUESTS = ", ".join(runner.REQUESTS)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{not json\n", "This is not JSON: '{not json'"),
        ("[]", f"A request does one of {REQUESTS}, not this: []"),
        ('{"do": "rm"}', f'A request does one of {REQUESTS}, not this: {{"do": "rm"}}'),
        ('{"do": ["run"]}', f'A request does one of {REQUESTS}, not this: {{"do": ["run"]}}'),
        ('{"do": "run"}', "'command' is a list of words, not this: None"),
        ('{"do": "run", "command": "migrate"}', "'command' is a list of words, not this: 'migrate'"),
        ('{"do": "run", "command": []}', "'command' is a list of words, not this: []"),
        (
            '{"do": "run", "command": ["migrate", 1]}',
            "'command' is a list of words, not this: ['migrate', 1]",
        ),
    ],
)
def test_bad_request(line, error):
    assert answer(line) == {"ok": False, "error": error}
