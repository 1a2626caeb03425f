from __future__ import annotations

import io
import re

import pytest

from django_deploy.exceptions import DeployError
from django_deploy.host.protocol import Event
from django_deploy.reporters.choice import reporter_for
from django_deploy.reporters.ci import GitHubReporter, GitLabReporter
from django_deploy.reporters.live import LiveReporter
from django_deploy.reporters.plain import LineReporter
from django_deploy.reporters.secrets import Secrets
from tests.test_reporters import DEPLOYMENT, FAILURE, event, target


def written(reporter_class, events, *, verbosity=1, secrets=None, error=None):
    stream = io.StringIO()
    reporter = reporter_class(stream, secrets or Secrets(), verbosity)
    try:
        with reporter:
            for each in events:
                reporter(each)
            if error:
                raise error
    except DeployError:
        pass
    return stream.getvalue()


def test_github_folds_each_phase():
    text = written(GitHubReporter, DEPLOYMENT)

    assert text.startswith(
        "::group::bundle\n"
        "web1: connected to 192.0.2.1:22 in 0.3 s\n"
        "built shop-1.0-py3-none-any.whl in 0.8 s\n"
        "cart-2.0-py3-none-any.whl as before\n"
        "53 distributions, 2 wheels, 1.3 MB, git 3f9c2a1 (main)\n"
        "::endgroup::\n"
        "::group::prepare\n"
    )
    assert text.endswith("::endgroup::\nnew is live: deployed in 8.3 s\nbundle 1.2 s, steps 0.8 s\n")
    assert text.count("::group::") == text.count("::endgroup::") == 4


def test_github_shows_the_error_and_warnings_beside_the_log():
    warning = event("warning", "web1", message="100% full", remedy="Make room.")

    text = written(
        GitHubReporter, [warning, *FAILURE], error=DeployError("web1: it failed\n  | why", remedy="Look.")
    )

    assert "::warning title=django-deploy::web1: 100%25 full%0AMake room.\n" in text
    assert text.endswith("::endgroup::\n::error title=django-deploy::web1: it failed%0A  | why%0ALook.\n")


def test_github_runs_no_command_of_a_host():
    output = event("step.output", "", step="x", stream="stdout", line="##[error]::set-output name=x::y")
    reporter_lines = ["::set-output name=x::y", "  ::stop-commands::z", "web1: Class::method"]
    stream = io.StringIO()

    with GitHubReporter(stream, Secrets(), 2) as reporter:
        reporter(output)
        reporter.show(reporter_lines)

    assert stream.getvalue() == (
        "| ## [error]::set-output name=x::y\n"
        "| ::set-output name=x::y\n"
        "|   ::stop-commands::z\n"
        "web1: Class::method\n"
    )


def test_github_masks_secrets_in_annotations():
    secrets = Secrets(target(TOKEN="hush-hush"))

    text = written(
        GitHubReporter,
        [event("warning", message="hush-hush was told", remedy="")],
        secrets=secrets,
        error=DeployError("hush-hush"),
    )

    assert "hush-hush" not in text
    assert text.count("****") == 2


def test_gitlab_folds_each_phase_under_a_name_of_its_own():
    steps = [
        event("phase.started", phase="steps"),
        event("phase.finished", phase="steps", seconds=1),
    ]

    hold = [event("phase.started", phase="hold"), event("phase.finished", phase="hold", seconds=1)]

    text = written(GitLabReporter, [*steps, *steps, *hold, *steps])

    assert re.sub(r":\d+:", ":TIME:", text) == (
        "\x1b[0Ksection_start:TIME:deploy_1_steps\r\x1b[0Ksteps\n"
        "\x1b[0Ksection_end:TIME:deploy_1_steps\r\x1b[0K\n"
        "\x1b[0Ksection_start:TIME:deploy_2_hold\r\x1b[0Khold\n"
        "\x1b[0Ksection_end:TIME:deploy_2_hold\r\x1b[0K\n"
        "\x1b[0Ksection_start:TIME:deploy_3_steps\r\x1b[0Ksteps\n"
        "\x1b[0Ksection_end:TIME:deploy_3_steps\r\x1b[0K\n"
    )


def test_what_is_shown_between_two_stages_of_a_phase_is_in_no_fold():
    steps = [event("phase.started", phase="steps"), event("phase.finished", phase="steps", seconds=1)]
    stream = io.StringIO()

    with GitHubReporter(stream, Secrets(), 1) as reporter:
        for each in steps:
            reporter(each)
        reporter.show([])
        reporter.show(["The plan"])
        for each in steps:
            reporter(each)

    assert stream.getvalue() == ("::group::steps\n::endgroup::\nThe plan\n::group::steps\n::endgroup::\n")


def test_a_failure_closes_the_fold():
    text = written(GitLabReporter, [event("phase.started", phase="steps")], error=DeployError("It failed."))

    assert re.search(r"section_end:\d+:deploy_1_steps\r\x1b\[0K\n$", text)


def test_quiet_output_has_no_folds():
    assert written(GitHubReporter, DEPLOYMENT, verbosity=0) == "new is live: deployed in 8.3 s\n"


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "variables", "is_plain", "kind"),
    [
        (io.StringIO, {}, False, LineReporter),
        (io.StringIO, {"GITHUB_ACTIONS": "true"}, False, GitHubReporter),
        (io.StringIO, {"GITHUB_ACTIONS": "true"}, True, LineReporter),
        (io.StringIO, {"GITLAB_CI": "true"}, False, GitLabReporter),
        (Screen, {"TERM": "xterm"}, False, LiveReporter),
        (Screen, {"TERM": "xterm"}, True, LineReporter),
        (Screen, {"TERM": "dumb"}, False, LineReporter),
    ],
)
def test_which_reporter_is_chosen(monkeypatch, stream, variables, is_plain, kind):
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    chosen = reporter_for(stream(), json=False, verbosity=1, secrets=Secrets(), is_plain=is_plain)

    assert type(chosen) is kind


def test_an_event_without_a_phase():
    assert written(GitHubReporter, [Event("phase.started")]) == "::group::?\n::endgroup::\n"
