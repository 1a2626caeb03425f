from __future__ import annotations

import pytest

from django_deploy.exceptions import RequestFailed
from django_deploy.tracebacks import without_machinery

VENV = "/srv/shop/releases/20261129T120000Z-3f9c2a1/venv/lib/python3.11"
DJANGO = [
    f'  File "{VENV}/site-packages/django/core/management/base.py", line 413, in run_from_argv',
    "    self.execute(*args, **cmd_options)",
    '  File "/usr/lib/python3.11/importlib/__init__.py", line 126, in import_module',
    "    return _bootstrap._gcd_import(name[level:], package, level)",
    "           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
]
OWN = [f'  File "{VENV}/site-packages/shop/models.py", line 7, in <module>', "    1 / 0", "    ~~^~~"]
SYNTAX = [f'  File "{VENV}/site-packages/shop/models.py", line 7', "    if"]
HEAD, END = "Traceback (most recent call last):", "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([], []),
        (["no such table", "  indented"], ["no such table", "  indented"]),
        ([HEAD, *OWN, END], [HEAD, *OWN, END]),
        ([HEAD, *DJANGO, *OWN, END], [HEAD, "  ... 2 frames of Django and Python", *OWN, END]),
        ([HEAD, *OWN, *DJANGO[:2], END], [HEAD, *OWN, "  ... 1 frame of Django and Python", END]),
        ([*DJANGO[2:], *SYNTAX], ["  ... 1 frame of Django and Python", *SYNTAX]),
        (DJANGO[2:], ["  ... 1 frame of Django and Python"]),
        (
            [f"web: {line}" for line in [HEAD, *DJANGO, *OWN, END]],
            [f"web: {line}" for line in [HEAD, "  ... 2 frames of Django and Python", *OWN, END]],
        ),
        ([*DJANGO[:2], "", "During handling"], ["  ... 1 frame of Django and Python", "", "During handling"]),
    ],
)
def test_frames_that_are_nobodys_own_are_counted(lines, shown):
    assert list(without_machinery(lines)) == shown


def test_an_error_shows_what_matters_and_keeps_all():
    error = RequestFailed(
        "web1", "it failed", type="StepFailed", details={"lines": [HEAD, *DJANGO, *OWN, END]}
    )

    assert len(str(error).splitlines()) == 7
    assert "  |   ... 2 frames of Django and Python\n" in str(error)
    assert error.lines == (HEAD, *DJANGO, *OWN, END)
