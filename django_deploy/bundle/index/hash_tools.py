"""Hashes of pinned requirements as uv and pip-tools find them, where an index is not read by ourselves."""

from __future__ import annotations

import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import Version

from django_deploy.bundle.index.resolution import read_compiled
from django_deploy.bundle.index.sources import pip_variables, uv_variables
from django_deploy.bundle.wheels.backend import CommandFailed, find_uv, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django_deploy.bundle.index.sources import Sources

#: How many uv run at once, when each requirement needs one of its own.
_RUNS_AT_ONCE = 4

#: sha256 by requirement (``name==version``).
Hashes = dict[str, tuple[str, ...]]


def ask_tools(requirements: Sequence[str], sources: Sources) -> Hashes:
    """What uv finds, and pip-tools of the rest; without those that neither finds.

    uv reads the same pages as we do with another TLS library and credentials of its own, in tenths of
    a second. pip-tools has pip's session, and downloads what has no digest on its page: slow, but thorough.
    """
    found = _ask_uv(requirements, sources)
    rest = [requirement for requirement in requirements if requirement not in found]
    return {**found, **(_ask_pip_tools(rest, sources) if rest else {})}


def _ask_uv(requirements: Sequence[str], sources: Sources) -> Hashes:
    uv = find_uv()
    if uv is None:
        return {}
    environment = {"UV_FIND_LINKS": "", **uv_variables(sources.far)}
    try:
        return _compile(uv, requirements, environment)
    except CommandFailed:
        pass  # of several, one that uv does not find fails all
    if len(requirements) == 1:
        return {}
    environment["UV_HTTP_RETRIES"] = "0"  # it may be the index that fails, and then it does so for each
    with ThreadPoolExecutor(_RUNS_AT_ONCE) as pool:
        found = pool.map(lambda requirement: _compile_alone(uv, requirement, environment), requirements)
    return {requirement: hashes for answer in found for requirement, hashes in answer.items()}


def _compile_alone(uv: str, requirement: str, environment: Mapping[str, str]) -> Hashes:
    try:
        return _compile(uv, [requirement], environment)
    except CommandFailed:
        return {}


def _compile(uv: str, requirements: Sequence[str], environment: Mapping[str, str]) -> Hashes:
    command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-deps"]
    command += ["--python", sys.executable, "--generate-hashes"]
    with tempfile.TemporaryDirectory(prefix="django-deploy-") as folder:
        Path(folder, "requirements.in").write_text("\n".join(requirements) + "\n")
        run([*command, "requirements.in", "-o", "found.txt"], cwd=folder, environment=environment)
        text = Path(folder, "found.txt").read_text()
    asked = {_pin(*requirement.split("==")): requirement for requirement in requirements}
    found = ((asked.get(_pin(name, version)), hashes) for name, version, hashes in read_compiled(text))
    return {requirement: tuple(sorted(hashes)) for requirement, hashes in found if requirement and hashes}


def _pin(name: str, version: str) -> tuple[str, Version]:
    """For comparing: uv writes 2024.1 for 2024.01."""
    return canonicalize_name(name), Version(version)


def _ask_pip_tools(requirements: Sequence[str], sources: Sources) -> Hashes:
    program = [sys.executable, "-m", "django_deploy.bundle.index.hashing", *requirements]
    try:
        output = run(program, environment=pip_variables(sources))
    except CommandFailed:
        return {}
    found = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    return {text: tuple(hashes) for text, hashes in found.items()}
