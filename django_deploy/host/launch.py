"""Starts what belongs to a release in its environment. Copied into each release as ``launch.py``.

``python launch.py NAME`` replaces itself with the process NAME of ``release.json``; the release's
``manage.py`` calls ``enter()``. It stands alone: nothing else of the host program is there later.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any


def folder() -> str:
    """The release's own, real folder: not ``current``, which moves on."""
    return os.path.dirname(os.path.realpath(__file__))


def working_folder(release: str) -> str:
    """Where the programs of a release run: in a plain project's own folder, as in development."""
    project = os.path.join(release, "venv", "app")
    return project if os.path.exists(os.path.join(project, "manage.py")) else release


def read(name: str) -> dict[str, Any]:
    """A JSON file of the release; who may not read it is told who may."""
    try:
        with open(os.path.join(folder(), name), encoding="utf-8", errors="surrogateescape") as file:
            value = json.load(file)
    except PermissionError:
        owner = os.stat(folder()).st_uid
        sys.exit(f"{name} in {folder()} is readable by its owner only: run this as the user with id {owner}.")
    assert isinstance(value, dict)
    return value


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """``base`` with the site's own environment over it, and the release's programs first in PATH."""
    root = os.path.dirname(os.path.dirname(folder()))
    record = read("release.json")
    env = {name: value for name, value in base.items() if not name.startswith("PYTHON")}
    env.update(
        VIRTUAL_ENV=os.path.join(folder(), "venv"),
        DJANGO_SETTINGS_MODULE=record["settings_module"],
        DJANGO_DEPLOY_ROOT=root,
        DJANGO_DEPLOY_SHARED=os.path.join(root, "shared"),
        DJANGO_DEPLOY_RELEASE=os.path.basename(folder()),
        DJANGO_DEPLOY_RELEASE_DIR=folder(),
        SENTRY_RELEASE=sentry_release(record),
    )
    env.update(read("environment.json"))
    env["PATH"] = os.path.join(folder(), "venv", "bin") + os.pathsep + env.get("PATH", os.defpath)
    return env


def sentry_release(record: Mapping[str, Any]) -> str:
    """``package@version+build``: so Sentry names releases, and its SDK finds it in the environment."""
    project, version = record.get("project") or "site", record.get("version") or "0"
    return f"{project}@{version}{'.' if '+' in version else '+'}{os.path.basename(folder())}"


def command(record: Mapping[str, Any], name: str) -> list[str]:
    """The argv of a process, with the release's own socket in it."""
    process = next(process for process in record["processes"] if process["name"] == name)
    return [word.replace("{socket}", socket_path(name)) for word in process["command"]]


def socket_path(name: str) -> str:
    """The release's own socket of a process."""
    root = os.path.dirname(os.path.dirname(folder()))
    return os.path.join(root, "run", f"{name}.{os.path.basename(folder())}.sock")


def start(name: str) -> None:
    """Become the process ``name``; a missing program is said in one line."""
    argv = command(read("release.json"), name)
    os.chdir(working_folder(folder()))
    env = environment(os.environ)
    if os.path.exists(socket_path(name)):
        os.unlink(socket_path(name))  # left by one that was killed; not every server removes it (EADDRINUSE)
    try:
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        sys.exit(
            f"cannot start {argv[0]} of process {name!r}: {error.strerror}. Is it installed in the release?"
        )


def enter() -> None:
    """Make this process one of the release, in its virtualenv and environment; for ``manage.py``."""
    env = environment(os.environ)
    if not _runs_already(env):
        python = os.path.join(folder(), "venv", "bin", "python")
        os.execve(python, [python, os.path.join(folder(), "manage.py"), *sys.argv[1:]], env)
    os.environ.update(env)
    # The site may have a module of this name, too: from here on that is the one.
    if os.path.realpath(sys.path[0]) == folder():
        del sys.path[0]
    sys.modules.pop("launch", None)


def _runs_already(env: Mapping[str, str]) -> bool:
    """The interpreter is the release's, and was started with the PYTHON* variables of ``env``."""

    def of_python(variables: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in variables.items() if name.startswith("PYTHON")}

    is_venv = os.path.realpath(sys.prefix) == os.path.realpath(os.path.join(folder(), "venv"))
    return is_venv and of_python(os.environ) == of_python(env)


if __name__ == "__main__":
    start(sys.argv[1])
