"""The commands as people call them; what they call is a use case of our own that answers as it is told."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.manifest import Manifest
from django_deploy.exceptions import ConfigError, DeployError, Interrupted, RequestFailed, RolloutFailed
from django_deploy.host.protocol import Event
from django_deploy.management.base import Terminal
from django_deploy.management.commands import deploy, deploy_rollback, deploy_to
from django_deploy.plan.model import HostPlan, Plan
from django_deploy.undertaking import Outcome
from tests.error_ids import without_ids
from tests.management.use_cases import replaced

TARGETS = {
    "staging": {
        "HOSTS": ["web1"],
        "ROOT": "/srv/shop",
        "PROCESSES": {"web": "gunicorn {socket}"},
        "ENV": {"PASSWORD": "hunter22"},
    },
    "production": {"HOSTS": ["deploy@web2", "deploy@web3"], "ROOT": "/srv/shop"},
}


def make_plan(target):
    manifest = Manifest("shop", "1.0", "3.12.1", (), (), 0.0, "anna@laptop")
    bundle = HostBundle((), ())
    host = HostPlan(target.hosts[0], bundle, "f" * 64, "old", False, "uv", "systemd", {}, (), (), True)
    return Plan(target, manifest, "new", "f" * 64, (host,))


class Deployment:
    """The use cases' interface: reports, asks, answers or fails as it was told."""

    def __init__(self, error=None, events=()):
        self.error = error
        self.events = events
        self.calls = []
        self.refusals = ()
        self.origin = None

    def deploy(self, target, origin, *, report, prompts, confirm, accept, is_rehearsed, skip_unreachable):
        self.calls.append(("deploy", target, skip_unreachable))
        self.origin, self.is_rehearsed = origin, is_rehearsed
        self._work(report)
        plan = replace(make_plan(target), refusals=self.refusals)
        outcome = "deployed" if confirm(plan) else "declined"
        return Outcome(outcome, "new", "old", ("web1",), seconds=8.3)

    def preview(self, target, origin, *, report, prompts, skip_unreachable):
        self.calls.append(("preview", target, skip_unreachable))
        self.origin = origin
        self._work(report)
        return make_plan(target)

    def rollback(self, target, release=None, *, report, prompts, take_back, skip_unreachable):
        self.take_back = take_back
        self.calls.append(("rollback", target, release, skip_unreachable))
        self._work(report)
        return Outcome("rolled back", release or "old", "new", ("web1",), seconds=1.0)

    def _work(self, report):
        for event in self.events:
            report(event)
        if self.error is not None:
            raise self.error


class Origins:
    """Where bundles come from: each says what it was asked for."""

    def from_environment(self, target, revision):
        return ("environment", target.name, revision)

    def from_file(self, target, file):
        return ("file", target.name, file)

    def from_target(self, target, source, *, prompts):
        return ("target", target.name, source.name)


@pytest.fixture(autouse=True)
def targets():
    with override_settings(DEPLOY_TARGETS=TARGETS):
        yield


def run(command, *argv, deployment=None):
    """As from a shell: (exit status, standard output, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    made = command(stdout=out, stderr=err)
    try:
        with replaced(deployment=deployment or Deployment(), origins=Origins()):
            made.run_from_argv(["manage.py", "deploy", *argv])
    except SystemExit as leaving:
        return leaving.code, out.getvalue(), without_ids(err.getvalue())
    return 0, out.getvalue(), err.getvalue()


def test_deploy_shows_the_plan_and_needs_no_terminal():
    deployment = Deployment(events=[Event("phase.started", fields={"phase": "bundle"})])

    status, out, err = run(deploy.Command, "staging", deployment=deployment)

    assert (status, err) == (0, "")
    assert out.splitlines()[:3] == [
        "bundle ...",
        "shop 1.0: 0 distributions",
        "Release new on staging:",
    ]
    ((name, target, skip_unreachable),) = deployment.calls
    assert (name, target.name, target.lock_wait) == ("deploy", "staging", 0.0)
    assert (target.left_out, skip_unreachable) == ((), False)


@pytest.mark.parametrize(
    ("options", "origin"),
    [
        ([], ("environment", "staging", None)),
        (["--revision", "v1.4"], ("environment", "staging", "v1.4")),
        (["--revision", "v1.4", "--plan"], ("environment", "staging", "v1.4")),
        (["--bundle", "some/shop.bundle"], ("file", "staging", Path("some/shop.bundle"))),
        (["--promote", "production"], ("target", "staging", "production")),
    ],
)
def test_where_the_bundle_comes_from(options, origin):
    deployment = Deployment()

    status, _, err = run(deploy.Command, "staging", *options, deployment=deployment)

    assert (status, err) == (0, "")
    assert deployment.origin == origin


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("staging", "CommandError: 'staging' cannot be promoted to itself: name another target.\n"),
        ("stagin", "CommandError: There is no target 'stagin'.\nDid you mean 'staging'?\n"),
    ],
)
def test_what_cannot_be_promoted(name, message):
    deployment = Deployment()

    status, _, err = run(deploy.Command, "staging", "--promote", name, deployment=deployment)

    assert (status, err, deployment.calls) == (2, message, [])


def test_a_bundle_comes_from_one_place(capsys):
    status, _, _ = run(deploy.Command, "staging", "--revision", "v1.4", "--bundle", "shop.bundle")

    assert status == 2
    assert "argument --bundle: not allowed with argument --revision" in capsys.readouterr().err


def test_deploy_to_is_the_same_command():
    deployment = Deployment()

    status, _, _ = run(deploy_to.Command, "staging", deployment=deployment)

    assert status == 0
    assert [call[0] for call in deployment.calls] == ["deploy"]


def test_plan_changes_nothing():
    deployment = Deployment()

    status, out, _ = run(deploy.Command, "staging", "--plan", deployment=deployment)

    assert status == 0
    assert "shop 1.0: 0 distributions\n" in out
    assert [call[0] for call in deployment.calls] == ["preview"]


def test_breaking_migrations_are_allowed_for_once():
    deployment = Deployment()

    run(deploy.Command, "staging", deployment=deployment)
    run(deploy.Command, "staging", "--allow-breaking", deployment=deployment)

    assert [call[1].migrations for call in deployment.calls] == ["refuse", "allow"]


@pytest.fixture
def stale_migrations(tmp_path, monkeypatch):
    """The test app's models have a field more than its migrations."""
    source = Path(__file__).parents[1] / "testapp" / "migrations" / "0001_initial.py"
    package = tmp_path / "stale_migrations"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / source.name).write_text(source.read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    with override_settings(MIGRATION_MODULES={"testapp": package.name}):
        yield
    for name in [name for name in sys.modules if name.startswith(package.name)]:
        del sys.modules[name]


CHANGED = (
    "Models have changed, and no migration says so: testapp.0002_note_is_read (Add field is_read to note)."
)


@pytest.mark.usefixtures("stale_migrations")
def test_models_that_have_changed_are_not_deployed_without_a_migration():
    deployment = Deployment()

    for options in [], ["--plan"]:
        status, _, err = run(deploy.Command, "staging", *options, deployment=deployment)

        assert (status, deployment.calls) == (1, [])
        assert err == f"CommandError: {CHANGED}\nRun: manage.py makemigrations testapp.\n"


@pytest.mark.usefixtures("stale_migrations")
@pytest.mark.parametrize(
    "options", [["--revision", "v1.4"], ["--bundle", "shop.bundle"], ["--promote", "production"]]
)
def test_models_that_are_not_deployed_do_not_matter(options):
    assert run(deploy.Command, "staging", *options)[0] == 0


@pytest.mark.usefixtures("stale_migrations")
def test_where_everything_is_allowed_changed_models_are_warned_of():
    status, out, _ = run(deploy.Command, "staging", "--allow-breaking")

    assert status == 0
    assert f"warning: {CHANGED} Run: manage.py makemigrations testapp.\n" in out


def test_wait_overrides_the_setting():
    deployment = Deployment()

    run(deploy.Command, "staging", "--wait", "90", deployment=deployment)

    assert deployment.calls[0][1].lock_wait == 90.0


def test_a_rollback_can_wait():
    deployment = Deployment()

    run(deploy_rollback.Command, "staging", "--wait", "90", deployment=deployment)

    assert deployment.calls[0][1].lock_wait == 90.0


@pytest.mark.parametrize("wait", ["-1", "nan", "inf"])
@pytest.mark.parametrize("command", [deploy.Command, deploy_rollback.Command])
def test_wait_for_no_time(command, wait):
    assert run(command, "staging", f"--wait={wait}") == (
        2,
        "",
        f"CommandError: --wait must be 0 or more seconds, not {wait}.\n",
    )


def test_json_is_events_and_nothing_else():
    deployment = Deployment(events=[Event("phase.started", at=1.0, fields={"phase": "bundle"})])

    status, out, err = run(deploy.Command, "staging", "--json", deployment=deployment)

    assert (status, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"event": "phase.started", "host": "", "at": 1.0, "phase": "bundle"}
    ]


def test_a_report_and_timings(tmp_path):
    file = tmp_path / "report.html"
    deployment = Deployment(events=[Event("phase.started", at=1.0, fields={"phase": "bundle"})])

    status, out, err = run(
        deploy_rollback.Command, "staging", "--timings", "--report", str(file), deployment=deployment
    )

    assert (status, err) == (0, "")
    assert out.startswith("bundle ...\n\nTimings\n  this machine  bundle  ")
    assert out.endswith(f"The report is in {file}.\n")
    assert "<h1>Rollback of staging</h1>" in file.read_text()


def test_a_report_that_cannot_be_written_is_told_before_anything(tmp_path):
    deployment = Deployment()
    file = tmp_path / "nowhere" / "report.html"

    result = run(deploy.Command, "staging", "--report", str(file), deployment=deployment)

    assert result == (2, "", f"CommandError: --report {file}: no file can be written there.\n")
    assert deployment.calls == []


def test_a_doubtful_setting_is_said():
    _, out, _ = run(deploy.Command, "production")

    assert out.startswith("warning: DEPLOY_TARGETS['production']: has neither PROCESSES nor RESTART:")


def test_without_a_target_they_are_listed():
    assert run(deploy.Command) == (
        2,
        "staging     web1                      /srv/shop\nproduction  deploy@web2, deploy@web3  /srv/shop\n",
        "CommandError: Name one of the targets: nothing was deployed.\n",
    )
    assert run(deploy.Command, "--json")[1] == ""


@pytest.mark.parametrize("argv", [[], ["staging"]])
@override_settings(DEPLOY_TARGETS={})
def test_without_any_target_there_is_an_example(argv):
    status, out, err = run(deploy.Command, *argv)

    assert (status, out) == (2, "")
    assert err.startswith(
        "CommandError: No target is configured.\nIn the settings, say:\n\nDEPLOY_TARGETS = {\n"
    )


def test_an_unknown_target():
    assert run(deploy.Command, "stagin") == (
        2,
        "",
        "CommandError: There is no target 'stagin'.\nDid you mean 'staging'?\n",
    )


def ask_inventory():
    print("asking the inventory")
    return ["web1"]


@override_settings(DEPLOY_TARGETS={"staging": {**TARGETS["staging"], "HOSTS": ask_inventory}})
def test_what_callables_print_is_not_among_the_events(capsys):
    deployment = Deployment(events=[Event("phase.started", fields={"phase": "bundle"})])

    status, out, _err = run(deploy.Command, "staging", "--json", deployment=deployment)

    assert (status, [json.loads(line)["event"] for line in out.splitlines()]) == (0, ["phase.started"])
    assert capsys.readouterr() == ("", "asking the inventory\n")


@pytest.mark.parametrize("options", [[], ["--plan"]])
@override_settings(DEPLOY_TARGETS={"staging": {**TARGETS["staging"], "PROCESSES": {}}})
def test_what_is_hardly_meant_is_said(options):
    status, out, _err = run(deploy.Command, "staging", *options)

    assert status == 0
    assert out.startswith("warning: DEPLOY_TARGETS['staging']: has neither PROCESSES nor RESTART: ")


@override_settings(DEPLOY_TARGETS={"staging": {"HOST": "web1", "ROOT": "srv"}})
def test_all_mistakes_of_the_settings():
    deployment = Deployment()

    status, out, err = run(deploy.Command, "staging", deployment=deployment)

    assert (status, out, deployment.calls) == (2, "", [])
    assert err == (
        "CommandError: The settings of the target 'staging' have 3 mistakes.\n"
        "  DEPLOY_TARGETS['staging']['HOST']: is not a key that is known. Did you mean 'HOSTS'?\n"
        "  DEPLOY_TARGETS['staging']: needs the key 'HOSTS'.\n"
        "  DEPLOY_TARGETS['staging']['ROOT']: must be an absolute path of a folder of its own, not 'srv'."
        " Write the whole path, say '/srv/shop'.\n"
    )


STEP_FAILED = RequestFailed("web1", "the step failed.", type="StepFailed")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DeployError("It failed.", remedy="Fix it."), 1, "It failed.\nFix it."),
        (ConfigError("It is wrong."), 2, "It is wrong."),
        (
            RolloutFailed("web1 serves old.", errors=[STEP_FAILED]),
            1,
            "web1: the step failed.\nweb1 serves old.",
        ),
        (RolloutFailed("Not reverted: web1.", errors=[], unreverted=["web1"]), 3, "Not reverted: web1."),
        (Interrupted("Interrupted. Nothing was changed."), 130, "Interrupted. Nothing was changed."),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (
            DeployError("The password is hunter22,\n\x1b[31mhunter22\x1b[0m."),
            1,
            "The password is ****,\n****.",
        ),
    ],
)
@pytest.mark.parametrize(
    ("command", "argv"), [(deploy.Command, ["staging"]), (deploy_rollback.Command, ["staging"])]
)
def test_expected_errors_have_a_message_and_a_status(command, argv, error, status, message):
    assert run(command, *argv, deployment=Deployment(error)) == (status, "", f"CommandError: {message}\n")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run(deploy.Command, "staging", deployment=Deployment(ZeroDivisionError()))


def test_call_command_raises_what_django_users_expect():
    with pytest.raises(CommandError) as caught:
        call_command("deploy", "nowhere", stdout=io.StringIO())

    assert caught.value.returncode == 2
    assert isinstance(caught.value.__cause__, ConfigError)


def test_a_rollback_takes_back_what_one_says():
    deployment, reversals = Deployment(), [{"needed": ["shop.0002", "shop.0003"]}]

    run(deploy_rollback.Command, "staging", deployment=deployment)
    assert deployment.take_back(reversals) is False  # nobody can be asked

    run(deploy_rollback.Command, "staging", "--reverse-migrations", deployment=deployment)
    assert deployment.take_back(reversals) is True

    run(deploy_rollback.Command, "staging", "--keep-migrations", deployment=deployment)
    assert deployment.take_back is None

    run(deploy_rollback.Command, "staging", "--allow-breaking", deployment=deployment)
    assert deployment.calls[-1][1].migrations == "allow"


def test_rollback():
    deployment = Deployment()

    assert run(deploy_rollback.Command, "staging", deployment=deployment) == (0, "", "")
    assert run(deploy_rollback.Command, "staging", "20261121T101500Z-77aa0e1", deployment=deployment)[0] == 0

    assert [call[2] for call in deployment.calls] == [None, "20261121T101500Z-77aa0e1"]


@pytest.mark.parametrize(
    ("command", "options"),
    [(deploy.Command, []), (deploy.Command, ["--plan"]), (deploy_rollback.Command, [])],
)
def test_some_hosts(command, options):
    deployment = Deployment()

    status, _, err = run(
        command, "production", *options, "--hosts", "web3", "--skip-unreachable", deployment=deployment
    )

    assert (status, err) == (0, "")
    ((_, target, *_, skip_unreachable),) = deployment.calls
    assert [host.name for host in target.hosts] == ["deploy@web3"]
    assert [host.name for host in target.left_out] == ["deploy@web2"]
    assert skip_unreachable is True


def test_no_such_host():
    assert run(deploy.Command, "production", "--hosts", "web4") == (
        2,
        "",
        "CommandError: No host of 'production' is named 'web4'.\nThere is: deploy@web2, deploy@web3.\n",
    )


class Keyboard(io.StringIO):
    def isatty(self):
        return True


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("answer", "status", "err"),
    [
        ("\n", 0, ""),
        ("y\n", 0, ""),
        ("Yes\n", 0, ""),
        ("n\n", 1, "CommandError: Nothing was deployed, as you wished.\n"),
        ("what?\n", 1, "CommandError: Nothing was deployed, as you wished.\n"),
        ("", 1, "CommandError: Nothing was deployed, as you wished.\n"),
    ],
)
def test_at_a_terminal_one_is_asked(answer, status, err, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Keyboard(answer))
    errors = io.StringIO()
    command = deploy.Command(stdout=Screen(), stderr=errors, no_color=True)
    deployment = Deployment()

    leaving = pytest.raises(SystemExit, match=f"^{status}$") if status else nullcontext()
    with replaced(deployment=deployment), leaving:
        command.run_from_argv(["manage.py", "deploy", "staging"])

    assert without_ids(errors.getvalue()) == err
    assert "Deploy to staging? [Y/n] " in capsys.readouterr().out
    assert deployment.is_rehearsed  # whoever is asked is shown all that the hosts know


def test_about_what_hosts_would_refuse_nobody_is_asked(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Keyboard("y\n"))
    command = deploy.Command(stdout=Screen(), stderr=io.StringIO(), no_color=True)
    deployment = Deployment()
    deployment.refusals = (DeployError("The site does not start."),)

    with replaced(deployment=deployment), pytest.raises(SystemExit, match=r"^1$"):
        command.run_from_argv(["manage.py", "deploy", "staging"])

    assert (sys.stdin.read(), capsys.readouterr().out) == ("y\n", "")


@pytest.mark.parametrize("option", ["--yes", "--json"])
def test_who_does_not_want_to_be_asked(option, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Keyboard("n\n"))
    command = deploy.Command(stdout=Screen(), stderr=io.StringIO())
    deployment = Deployment()

    with replaced(deployment=deployment):
        command.run_from_argv(["manage.py", "deploy", "staging", option])

    assert sys.stdin.read() == "n\n"
    assert not deployment.is_rehearsed


def terminal(answer, monkeypatch, *, is_interactive=True):
    monkeypatch.setattr(sys, "stdin", Keyboard(answer))
    return Terminal(nullcontext, is_interactive=is_interactive)


@pytest.mark.parametrize(
    ("answer", "is_accepted"), [("y\n", True), ("yes\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_an_unknown_host_key_is_shown_and_asked_about(answer, is_accepted, monkeypatch, capsys):
    accepted = terminal(answer, monkeypatch).accept_host_key("web1", "ssh-ed25519", "SHA256:abc\x1b[2J")

    assert accepted is is_accepted
    assert capsys.readouterr().out == (
        "The key of web1 is not known.\nssh-ed25519 SHA256:abc\n"
        "Is this the host that you mean, and trusted from now on? [y/N] "
    )


def test_without_a_terminal_nobody_is_asked(monkeypatch, capsys):
    silent = terminal("y\n", monkeypatch, is_interactive=False)

    assert silent.accept_host_key("web1", "ssh-ed25519", "SHA256:abc") is False
    assert silent.passphrase("/keys/deploy") is None
    assert capsys.readouterr().out == ""


ASK_PASSPHRASE = """
from contextlib import nullcontext, suppress
from django_deploy.management.base import Terminal
print(Terminal(nullcontext, is_interactive=True).passphrase("/keys/deploy"))
"""


def test_a_passphrase_is_not_echoed():
    master, slave = pty.openpty()
    command = [sys.executable, "-c", ASK_PASSPHRASE]
    process = subprocess.Popen(
        command, stdin=slave, stdout=subprocess.PIPE, stderr=slave, start_new_session=True, text=True
    )

    shown = os.read(master, 1000)  # typed only when asked for: then the echo is off
    os.write(master, b"open sesame\n")
    answer, _ = process.communicate(timeout=60)
    os.close(slave)

    assert answer == "open sesame\n"
    assert shown == b"Passphrase of /keys/deploy: "
    os.set_blocking(master, False)
    with suppress(OSError):
        shown += os.read(master, 1000)
    os.close(master)
    assert b"sesame" not in shown
