"""Runs build back ends: a clean copy of the tree, an isolated environment that is kept, one wheel."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import contextmanager, suppress
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pyproject_hooks import BackendUnavailable, BuildBackendHookCaller, HookMissing

from django_deploy.bundle.cache import digest, locked, read_record, write_record
from django_deploy.bundle.index.sources import pip_variables, read_sources, uv_variables
from django_deploy.bundle.wheels.known_files import name_in_manifest
from django_deploy.bundle.wheels.pyproject import read_build_system
from django_deploy.bundle.wheels.tree import Tree
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from django_deploy.bundle.environment import Distribution
    from django_deploy.bundle.index.sources import Sources
    from django_deploy.bundle.wheels.pyproject import BuildSystem

#: What builds take for the time (2020-01-01): the same tree gives the same bytes.
SOURCE_DATE_EPOCH = "1577836800"

#: The umask of builds: setuptools puts the modes of the files that it makes into the wheel.
UMASK = 0o022

#: What a back end makes of a source tree.
Product = Literal["wheel", "sdist"]

#: How much of a back end's output an error carries.
LAST_LINES = 30

#: Variables that would lead a build out of its isolated environment.
_LEAKS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "DJANGO_SETTINGS_MODULE")


class CommandFailed(Exception):
    """A command has failed; its output is the message."""


def build_tree(
    distribution: Distribution,
    tree: Tree,
    folder: Path,
    *,
    cache: Path,
    key: str,
    scm_version: str = "",
    known_files: Sequence[str] = (),
    sources: Sources | None = None,
    product: Product = "wheel",
) -> Path:
    """Builds a source tree's wheel, or its sdist, into ``folder``; ``BundleError`` with the last lines.

    The build sees a copy: results of earlier builds would get into the wheel (setuptools' ``build/``
    keeps modules that were deleted), and nothing is left behind in the tree. ``key`` says where it lies:
    compilers write that into what they compile. ``scm_version`` is given to plug-ins that would ask the
    VCS for the version, ``known_files`` are for those that would ask it for files. ``sources``
    have the back end; None is pip's configuration.
    """
    system = read_build_system(tree.folder)
    environment = _scm_variables(distribution, scm_version) if scm_version else {}
    with _workspace(key) as workspace:
        # Some plug-ins take the version from the name of the folder.
        source = tree.copy(workspace, f"{distribution.name}-{distribution.version}")
        if scm_version and not (source / "PKG-INFO").exists():
            _pretend_sdist(source, distribution)
        if known_files:
            name_in_manifest(known_files, source)
        try:
            python = _provide_build_python(
                system, source, tree.configuration, cache, environment, sources, product
            )
            caller = _backend(system, source, python, environment)
            built = caller.build_wheel(str(folder)) if product == "wheel" else caller.build_sdist(str(folder))
        except CommandFailed as error:
            raise _build_failure(distribution, str(error)) from None
        except (BackendUnavailable, HookMissing) as error:
            raise _build_failure(distribution, f"{system.backend} is not a build back end: {error}") from None
    return folder / built


@contextmanager
def _workspace(key: str) -> Iterator[Path]:
    """A temporary folder that has the same name whenever the same is built."""
    place = Path(tempfile.gettempdir(), f"django-deploy-{os.getuid()}")
    with suppress(FileExistsError):
        place.mkdir(mode=0o700)
    if not _is_private(place):  # then the name has to be one that nobody knows
        with tempfile.TemporaryDirectory(prefix="django-deploy-") as name:
            yield Path(name)
        return
    folder = place / key[:32]
    with locked(place / f"{key[:2]}.lock"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _is_private(folder: Path) -> bool:
    """Whether it is a folder of ours that nobody else can write to."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def ask_version(distribution: Distribution, source: Path, *, cache: Path) -> str:
    """The version that the back end gives to a source folder: it may ask the VCS there, or write files."""
    system, tree = read_build_system(source), Tree(source)
    with tempfile.TemporaryDirectory(prefix="django-deploy-") as folder:
        try:
            python = _provide_build_python(system, source, tree.configuration, cache, {})
            info = _backend(system, source, python, {}).prepare_metadata_for_build_wheel(folder)
        except CommandFailed as error:
            raise _build_failure(distribution, str(error)) from None
        except (BackendUnavailable, HookMissing) as error:
            raise _build_failure(distribution, f"{system.backend} is not a build back end: {error}") from None
        text = Path(folder, info, "METADATA").read_text(encoding="utf-8", errors="replace")
    version: str = HeaderParser().parsestr(text)["Version"]
    return version


def fetch_wheel(
    distribution: Distribution, requirement: str, folder: Path, sources: Sources | None = None
) -> Path:
    """Lets pip make the wheel of a direct reference or of an archive, in ``folder``."""
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--disable-pip-version-check", "--no-input"]
    try:
        command = [*pip, "--wheel-dir", str(folder), requirement]
        run(command, environment=pip_variables(sources or read_sources()))
    except CommandFailed as error:
        raise _build_failure(distribution, str(error)) from None
    return next(folder.glob("*.whl"))


def _provide_build_python(
    system: BuildSystem,
    source: Path,
    configuration: str,
    cache: Path,
    environment: Mapping[str, str],
    sources: Sources | None = None,
    product: Product = "wheel",
) -> Path:
    """The interpreter of an environment with all that the back end requires.

    What the back end adds to its declared requirements follows from the configuration: to ask it
    costs as much as a build, so the answer is kept.
    """
    record = cache / "builders" / f"{digest(system.requires, configuration, product)}.json"
    more = read_record(record)
    if more is None:
        python = provide_environment(system.requires, cache, sources)
        caller = _backend(system, source, python, environment)
        is_wheel = product == "wheel"
        ask = caller.get_requires_for_build_wheel if is_wheel else caller.get_requires_for_build_sdist
        more = sorted(ask())
        write_record(record, more)
    return provide_environment([*system.requires, *more], cache, sources)


def _backend(
    system: BuildSystem, source: Path, python: Path, environment: Mapping[str, str]
) -> BuildBackendHookCaller:
    def run_hook(
        cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None
    ) -> None:
        path = os.pathsep.join((str(python.parent), os.environ.get("PATH", os.defpath)))
        run(cmd, cwd=cwd, environment={**environment, **(extra_environ or {}), "PATH": path})

    return BuildBackendHookCaller(
        str(source), system.backend, system.backend_path, runner=run_hook, python_executable=str(python)
    )


def provide_environment(requires: Sequence[str], cache: Path, sources: Sources | None = None) -> Path:
    """The interpreter of an environment that has the build requirements and nothing else.

    To make one takes half a second and the index, so it is kept. Thereby a project keeps its
    back end's version until its build requirements change.
    """
    wanted = sorted(set(requires))
    places = sources.identity if sources is not None and sources.is_only else ()
    made_by = (sys.version, sysconfig.get_platform(), sys.base_prefix, *places)
    folder = cache / "builders" / digest(wanted, *made_by)
    with locked(folder.with_suffix(".lock")):
        if read_record(folder / "complete.json") != wanted or not (folder / "bin" / "python").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _create_environment(folder, wanted, sources or read_sources())
            write_record(folder / "complete.json", wanted)
    return folder / "bin" / "python"


def _create_environment(folder: Path, requires: Sequence[str], sources: Sources) -> None:
    python, uv = str(folder / "bin" / "python"), find_uv()
    environment = pip_variables(sources) if uv is None else uv_variables(sources)
    if uv is not None:
        run([uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(folder)])
        install = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        install = [sys.executable, "-m", "pip", "--python", python, "install", "--disable-pip-version-check"]
    if requires:
        run([*install, *requires], environment=environment)


def find_uv() -> str | None:
    """uv, of this environment or of the path; None where there is none."""
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)))
    return shutil.which("uv", path=path)


def run(
    command: Sequence[str], *, cwd: str | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """What a command prints on both streams; ``CommandFailed`` with it when it fails."""
    inherited = {name: value for name, value in os.environ.items() if name not in _LEAKS}
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**inherited, "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        umask=UMASK,
        check=False,
    )
    output = result.stdout.decode("utf-8", "replace")
    if result.returncode:
        raise CommandFailed(output)
    return output


def _scm_variables(distribution: Distribution, version: str) -> dict[str, str]:
    """What tells the version to those plug-ins that can be told."""
    name = re.sub(r"[^A-Z0-9]", "_", distribution.name.upper())
    return {
        "SETUPTOOLS_SCM_PRETEND_VERSION": version,
        f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{name}": version,
        "PDM_BUILD_SCM_VERSION": version,
        "PBR_VERSION": version,
        "POETRY_DYNAMIC_VERSIONING_BYPASS": version,
        "UV_DYNAMIC_VERSIONING_BYPASS": version,
    }


def _pretend_sdist(source: Path, distribution: Distribution) -> None:
    """The other plug-ins read the version where an sdist has it."""
    lines: dict[str, Any] = {
        "Metadata-Version": "2.1",
        "Name": distribution.name,
        "Version": distribution.version,
    }
    text = "".join(f"{key}: {value}\n" for key, value in lines.items())
    (source / "PKG-INFO").write_text(text, encoding="utf-8")


def _build_failure(distribution: Distribution, output: str) -> BundleError:
    lines = "\n".join(f"  {line}" for line in output.strip().splitlines()[-LAST_LINES:])
    place = distribution.source or distribution.url
    return BundleError(
        f"The wheel of {distribution} ({place}) cannot be built. The end of the output:\n{lines}",
        remedy=f"`pip wheel --no-deps {place}` shows all of it.",
    )
