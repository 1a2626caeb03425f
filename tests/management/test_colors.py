from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path

import pytest

from django_deploy.management import commands
from django_deploy.management.colors import ColoredCommand

#: Of what people start; ``deploy_steps`` is started by the deployer.
NAMES = sorted({path.stem for path in Path(commands.__file__).parent.glob("[!_]*.py")} - {"deploy_steps"})


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _a_terminal(monkeypatch):
    monkeypatch.setattr("django.core.management.color.supports_color", lambda: True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("value", "has_color"), [(None, True), ("", True), ("1", False)])
def test_no_color_is_heard_by_every_command(name, value, has_color, monkeypatch):
    if value is None:
        monkeypatch.delenv("NO_COLOR", raising=False)
    else:
        monkeypatch.setenv("NO_COLOR", value)
    errors = Screen()

    command = import_module(f"{commands.__name__}.{name}").Command(stderr=errors)
    command.stderr.write("no")

    assert command.has_color() is has_color
    assert ("\x1b[" in command.style.MIGRATE_HEADING("web1")) is has_color
    assert (errors.getvalue() == "no\n") is not has_color


def test_who_says_so_has_colors_all_the_same(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    assert ColoredCommand(force_color=True).has_color()
