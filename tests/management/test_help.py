"""``--help`` fits one screen, and what it shows can be copied."""

from __future__ import annotations

import re
import shlex

import pytest
from django.core.management import load_command_class

from tests.test_docs import COMMANDS, parser

OURS = sorted({*COMMANDS} - {"deploy_steps"})  # which people need not call

#: Of a terminal that is large enough for anybody.
COLUMNS, LINES = 80, 40


@pytest.fixture(params=OURS)
def name(request):
    return request.param


@pytest.fixture
def text(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    return parser(name).format_help()


def test_help_fits_one_screen(text):
    lines = text.splitlines()

    assert len(lines) <= LINES
    assert [line for line in lines if len(line) > COLUMNS] == []


def test_options_of_all_commands_are_named_in_one_line(text):
    assert "\nBesides Django's own: --settings, --verbosity, --traceback, --no-color …\n" in text
    assert "--force-color" not in text


def test_examples_are_accepted(text):
    examples = [line.strip() for line in text.partition("\nexamples:\n")[2].splitlines()]

    assert examples
    for example in examples:
        line = re.split(r" {3,}| [<>] ", example)[0]  # a comment, or a file
        program, command, *words = shlex.split(line)
        assert (program, command in COMMANDS) == ("manage.py", True)
        parser(command).parse_args(words)


def test_options_work_all_the_same(name):
    made = load_command_class("django_deploy", name).create_parser("manage.py", name)

    assert "--settings" in {option for action in made._actions for option in action.option_strings}
