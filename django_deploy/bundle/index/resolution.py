"""Finds the versions of what a host needs and this environment lacks; what is pinned stays."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from django_deploy.bundle.cache import digest, read_record, write_record
from django_deploy.bundle.index.sources import pip_variables, uv_variables
from django_deploy.bundle.manifest import Pin
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from django_deploy.bundle.index.sources import Sources
    from django_deploy.bundle.platforms import HostPlatform

#: The end of a line that goes on, in a requirements file.
_CONTINUED = re.compile(r"\\\n\s*")


def resolve(
    requirements: Sequence[str],
    pins: Iterable[Pin],
    platform: HostPlatform,
    sources: Sources,
    *,
    cache: Path,
) -> tuple[Pin, ...]:
    """Pins of ``requirements`` and of what they need in turn, beside ``pins``.

    uv resolves for the host's interpreter; without it pip-tools does for this one. The answer is kept:
    the same question gets the same answer, although an index may have newer versions by then. Raises
    ``BundleError`` with the resolver's last lines.
    """
    constraints = sorted(f"{pin.name}=={pin.version}" for pin in pins)
    question = (sorted(requirements), constraints, repr(platform), sources.identity)
    record = cache / "resolved" / f"{digest(*question)}.json"
    known = read_record(record)
    if known is None:
        pinned = {text.partition("==")[0] for text in constraints}
        found = _compile(requirements, constraints, platform, sources)
        known = [
            [name, version, hashes] for name, version, hashes in read_compiled(found) if name not in pinned
        ]
        write_record(record, known)
    return tuple(Pin(name, version, tuple(hashes)) for name, version, hashes in known)


def _compile(
    requirements: Sequence[str], constraints: Sequence[str], platform: HostPlatform, sources: Sources
) -> str:
    """A requirements file with hashes."""
    from django_deploy.bundle.wheels.backend import CommandFailed, find_uv, run

    uv = find_uv()
    with tempfile.TemporaryDirectory(prefix="django-deploy-") as name:
        folder = Path(name)
        (folder / "requirements.in").write_text("\n".join(requirements) + "\n")
        (folder / "constraints.txt").write_text("\n".join(constraints) + "\n")
        options = ["--constraint", "constraints.txt", "--generate-hashes", "--output-file", "found.txt"]
        try:
            if uv is not None:
                command = [uv, "pip", "compile", "--quiet", "--no-header", *_uv_platform(platform)]
                run([*command, *options, "requirements.in"], cwd=name, environment=_variables(sources))
            else:
                command = [sys.executable, "-m", "piptools", "compile", "--quiet", "--no-header"]
                command += ["--no-emit-options", "--no-emit-index-url", "--no-emit-trusted-host"]
                run([*command, *options, "requirements.in"], cwd=name, environment=pip_variables(sources))
        except CommandFailed as error:
            raise _not_resolved(requirements, platform, str(error)) from None
        return (folder / "found.txt").read_text()


def _variables(sources: Sources) -> dict[str, str]:
    return {"UV_FIND_LINKS": "", **uv_variables(sources.far)}


def _uv_platform(platform: HostPlatform) -> Iterator[str]:
    yield from ("--python-version", ".".join(map(str, platform.version)))
    if platform.system == "linux":
        libc = "musl" if platform.musl else "gnu"
        yield from ("--python-platform", f"{platform.machine}-unknown-linux-{libc}")


def read_compiled(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Name, version and hashes of each requirement of a compiled file."""
    for line in _CONTINUED.sub(" ", text).splitlines():
        words = line.partition("#")[0].split()
        if words:
            requirement = Requirement(words[0])
            (specifier,) = requirement.specifier
            hashes = [word.removeprefix("--hash=sha256:") for word in words[1:] if word.startswith("--hash")]
            yield canonicalize_name(requirement.name), specifier.version, hashes


def _not_resolved(requirements: Sequence[str], platform: HostPlatform, output: str) -> BundleError:
    python = ".".join(map(str, platform.version))
    lines = "\n".join(f"  {line}" for line in output.strip().splitlines()[-10:])
    return BundleError(
        f"Python {python} needs {', '.join(requirements)} in addition to what is installed here,"
        f" and no version of it is found:\n{lines}",
        remedy=f"Deploy from Python {python}, or install it here and name it in INCLUDE.",
    )
