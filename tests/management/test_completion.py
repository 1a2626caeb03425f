"""Django's own completion, asked as shells ask it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import DOCS, blocks

CHECKOUT = Path(__file__).parents[2]
SETTINGS = """\
SECRET_KEY = "none"
INSTALLED_APPS = ["django_deploy"]

def hosts():
    raise RuntimeError("asked for nothing but a key press")

DEPLOY_TARGETS = {
    "staging": {"HOSTS": ["deploy@stage1:2222", "local"], "ROOT": "/srv/shop"},
    "production": {"HOSTS": ["web1", {"HOST": "web2"}, "web1:23", "root@[::1]"], "ROOT": "/srv/shop"},
    "cloud": {"HOSTS": hosts, "ROOT": 7},
}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "shop_settings.py").write_text(SETTINGS)
    manage = tmp_path / "manage.py"
    manage.write_text(
        f"#!{sys.executable}\n"
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line()\n"
    )
    manage.chmod(0o755)
    return tmp_path


def environment(**more):
    ours = {"PYTHONPATH": str(CHECKOUT), "DJANGO_SETTINGS_MODULE": "shop_settings", **more}
    return {**os.environ, **ours}


def complete(project, line):
    """What is offered at the end of the line."""
    words = line.split()
    position = len(words) - (not line.endswith(" "))
    asked = environment(DJANGO_AUTO_COMPLETE="1", COMP_WORDS=line, COMP_CWORD=str(position))
    done = subprocess.run(
        [project / "manage.py"], cwd=project, env=asked, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def names(project, line):
    return [word for word in complete(project, line) if not word.startswith("-")]


def test_targets(project):
    assert names(project, "manage.py deploy ") == ["cloud", "production", "staging"]
    assert names(project, "manage.py deploy_status st") == ["staging"]
    assert names(project, "manage.py deploy --plan pro") == ["production"]


def test_a_target_is_named_once(project):
    assert names(project, "manage.py deploy_run staging ") == []
    assert "--role=" in complete(project, "manage.py deploy_run staging --r")


def test_hosts_of_the_target(project):
    assert names(project, "manage.py deploy staging --hosts ") == ["local", "stage1"]
    assert names(project, "manage.py deploy production --hosts w") == ["web1", "web2"]
    assert names(project, "manage.py deploy --hosts w") == ["web1", "web2"]
    assert names(project, "manage.py deploy cloud --hosts ") == []


def test_where_a_bundle_may_come_from(project):
    assert names(project, "manage.py deploy production --promote ") == ["cloud", "staging"]


def test_values_of_other_options_are_not_ours_to_know(project):
    assert names(project, "manage.py deploy_run --role ") == []


def test_commands_without_a_target(project):
    assert names(project, "manage.py fix_permissions ") == []
    assert "fix_permissions" in complete(project, "manage.py fix_perm")


def test_settings_with_a_mistake(project):
    (project / "shop_settings.py").write_text(SETTINGS + "DEPLOY_TARGETS = 7\n")

    assert names(project, "manage.py deploy ") == []


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["manage.py", "deploy_status", "st"], "staging"),
        (["manage.py", "deploy", "production", "--hosts", "="], "web1 web2"),
        (["manage.py", "deploy", "production", "--hosts", "=", "web2"], "web2"),
    ],
)
def test_the_lines_for_bash(project, words, offered):
    (snippet,) = blocks(DOCS / "howto/completion.rst", "bash")
    line = " ".join(f"'{word}'" for word in words)
    script = (
        f"{snippet}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}\n"
        'complete -p manage.py; _django_completion ./manage.py; echo "${COMPREPLY[*]}"'
    )

    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=project, env=environment(), capture_output=True, text=True
    )

    assert done.stderr == ""
    known, found = done.stdout.splitlines()
    assert "_django_completion" in known
    assert found.removeprefix("--help ") == offered  # which Django offers itself
