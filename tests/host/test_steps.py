"""Steps: what to do about a release that does not start."""

from __future__ import annotations

import pytest

from django_deploy.host.steps import suggest_remedy

MISSING_MODULE = (
    "The release has no module 'home'. If it is the project's own, let the build find its package"
    " (pyproject.toml), or look at PROJECT_EXCLUDE; else it is not installed here, or EXCLUDE leaves it out."
)
MISSING_SETTING = (
    "Fix it and deploy again. Settings that are read from the environment come from the target's ENV."
)

MISSING_FOLDER_OF_LOGS = (
    "If its file cannot be made there: at the end of the settings, say\n"
    '  LOGGING["handlers"]["file"]["filename"] = os.environ.get("LOG_FILE", '
    'LOGGING["handlers"]["file"]["filename"])\n'
    "and in the target's ENV name a file in ROOT/shared as LOG_FILE."
)


@pytest.mark.parametrize(
    ("last_line", "remedy"),
    [
        (
            "Unknown command: 'deploy_steps'",
            "Add 'django_deploy' to INSTALLED_APPS of the target's SETTINGS_MODULE.",
        ),
        ("ModuleNotFoundError: No module named 'home'", MISSING_MODULE),
        (
            "ROOT_URLCONF 'mysite.urls' cannot be loaded: ModuleNotFoundError: No module named 'home'",
            MISSING_MODULE,
        ),
        ("ModuleNotFoundError: No module named 'mysite.nothing'", "Fix it and deploy again."),
        ("ValueError: Unable to configure handler 'file'", MISSING_FOLDER_OF_LOGS),
        ("KeyError: 'SECRET_KEY'", MISSING_SETTING),
        (
            "django.core.exceptions.ImproperlyConfigured: Set the SECRET_KEY environment variable",
            MISSING_SETTING,
        ),
        ("ZeroDivisionError: division by zero", "Fix it and deploy again."),
    ],
)
def test_remedy_of_a_release_that_does_not_start(last_line: str, remedy: str) -> None:
    lines = ["Traceback (most recent call last):", '  File "manage.py", line 11, in <module>', last_line]

    assert suggest_remedy(lines) == remedy


def test_remedy_without_any_output() -> None:
    assert suggest_remedy([]) == "Fix it and deploy again."
