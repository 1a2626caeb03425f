"""Environments of build back ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from django_deploy.bundle.wheels.backend import CommandFailed, find_uv, provide_environment, run


def modules_of(python) -> str:
    command = [python, "-c", "import sys; print([p for p in sys.path if 'site-packages' in p])"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_environment_has_what_was_asked_for_and_is_kept(build_cache):
    python = provide_environment(["flit_core"], build_cache)
    made = python.lstat().st_mtime_ns

    subprocess.run([python, "-c", "import flit_core"], check=True)
    assert "django" not in modules_of(python)
    assert provide_environment(["flit_core"], build_cache) == python
    assert python.lstat().st_mtime_ns == made


def test_half_made_environment_is_made_again(build_cache):
    python = provide_environment([], build_cache)
    (python.parents[1] / "complete.json").unlink()
    (python.parents[1] / "rubbish").touch()

    assert provide_environment([], build_cache) == python
    assert not (python.parents[1] / "rubbish").exists()


def test_environment_by_pip_where_there_is_no_uv(workshop, tmp_path):
    program = (
        "import sys; from pathlib import Path; from django_deploy.bundle.wheels.backend import *;"
        "assert find_uv() is None; print(provide_environment(['flit_core'], Path(sys.argv[1])))"
    )

    python = workshop.run(workshop.python, "-c", program, tmp_path, PATH="/nowhere").strip()

    subprocess.run([python, "-c", "import flit_core"], check=True)


def test_uv_of_this_environment_is_found(monkeypatch):
    pytest.importorskip("uv")
    monkeypatch.setenv("PATH", "/nowhere")

    assert find_uv() is not None


def test_failed_command_tells_what_it_printed():
    with pytest.raises(CommandFailed) as caught:
        run([sys.executable, "-c", "print('said', flush=True); raise SystemExit('why')"])

    assert str(caught.value).split() == ["said", "why"]


def test_commands_do_not_see_our_paths(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/x")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "y")

    output = run([sys.executable, "-c", "import os; print(*sorted(os.environ))"], environment={"ADDED": "1"})

    assert not {"PYTHONPATH", "DJANGO_SETTINGS_MODULE"} & set(output.split())
    assert {"ADDED", "SOURCE_DATE_EPOCH"} <= set(output.split())
