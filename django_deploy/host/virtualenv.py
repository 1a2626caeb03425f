"""Builds a release's virtualenv: fresh, at its final path, exactly what the lock says."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import takewhile
from pathlib import Path
from typing import Any, Callable, Optional

from . import commands, facts, inventory
from .index_login import Login, login
from .layout import READ_ONLY_REMEDY, Layout, Release
from .protocol import Failure, ProtocolError, decode

Report = Callable[..., None]

#: Folders without bytecode may be namespaces (PEP 420), but not deeper than ``google/cloud``.
NAMESPACE_DEPTH = 2

#: Two files of one name and version: a folder that pip was told of, and an index, had each its own.
OTHER_FILES_REMEDY = (
    "Set INDEX_URL to where they come from, or install here what the hosts get: "
    "pip install --force-reinstall --no-deps NAME==VERSION"
)

#: Seconds that uv or pip may take; what they build on the host takes longest.
INSTALL_TIMEOUT = 3600.0

#: Where installers put uv for one user; a non-login SSH session often lacks these in PATH.
UV_FOLDERS = ("~/.local/bin", "~/.cargo/bin")


def find_uv() -> str | None:
    """The host's own uv, if it has one."""
    folders = [os.path.expanduser(folder) for folder in UV_FOLDERS]
    return shutil.which("uv", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *folders]))


def unpack_tool(layout: Layout, wheel: Path, sha256: str) -> Path:
    """A tool's wheel as a folder of ``.deploy/tools``, unpacked once."""
    folder = layout.inside(".deploy", "tools", sha256)
    if folder.is_dir():
        return folder
    fresh = folder.with_name(f".{sha256}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(fresh)
    for script in fresh.glob("*.data/scripts/*"):
        script.chmod(script.stat().st_mode | stat.S_IXUSR)  # zipfile drops the bit
    try:
        os.replace(fresh, folder)
    except OSError:
        shutil.rmtree(fresh)
        if not folder.is_dir():  # else another session was quicker
            raise
    return folder


class Installer:
    """Installs a lock into a release: with uv where there is one, else with pip.

    ``tool`` is the unpacked wheel of uv or pip, None for the host's own uv. ``index_url`` may hold
    credentials (``index_login.py``). With ``vendored`` all wheels are in the store, and neither an index nor
    the network is asked for anything.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        name: str,
        tool: Optional[Path],
        python: str,
        index_url: Optional[str],
        vendored: bool = False,
        report: Report,
        stop: threading.Event,
    ) -> None:
        self.name = name
        self._layout = layout
        self._tool = tool
        self._python = python
        self._index_url = None if vendored else index_url
        self._login: Optional[Login] = None
        self._vendored = vendored
        self._report = report
        self._stop = stop

    def build(
        self, release: Release, lock: Path, expected: Mapping[str, Sequence[str]], offline_first: bool
    ) -> None:
        """Make ``release``'s virtualenv; raises ``Failure`` (``InstallFailed``) with the last lines."""
        started = time.monotonic()
        self._report("install.started", installer=self.name, distributions=len(expected))
        shutil.rmtree(release.venv, ignore_errors=True)
        with login(self._index_url) if self._index_url else nullcontext() as self._login:
            if self.name == "uv":
                self._build_with_uv(release, lock, offline_first)
            else:
                self._build_with_pip(release, lock)
        verify(release, expected)
        seconds = round(time.monotonic() - started, 3)
        self._report("install.finished", installer=self.name, distributions=len(expected), seconds=seconds)

    def _build_with_uv(self, release: Release, lock: Path, offline_first: bool) -> None:
        uv = str(next(self._tool.glob("*.data/scripts/uv"))) if self._tool else find_uv()
        if uv is None:
            raise Failure("InstallFailed", "the host's uv has gone", "Deploy again.")
        self._run([uv, "venv", "--quiet", "--no-project", "--python", self._python, str(release.venv)])
        sync = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(release.python), str(lock)]
        if offline_first and not self._vendored and self._succeeds([*sync, "--offline"]):
            return
        self._run(sync)

    def _build_with_pip(self, release: Release, lock: Path) -> None:
        assert self._tool is not None, "pip always comes as a wheel"
        self._run([self._python, "-m", "venv", "--without-pip", str(release.venv)])
        pip = [str(release.python), str(self._tool / "pip"), "install", "--quiet", "--no-input"]
        self._run([*pip, "--no-deps", "--require-hashes", "--no-compile", "--requirement", str(lock)])

    def _environment(self) -> dict[str, str]:
        cache = self._layout.private / "cache"
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        env.update(
            UV_CACHE_DIR=str(cache / "uv"),  # the same file system, so that uv makes hard links
            UV_PYTHON_DOWNLOADS="never",
            UV_NO_PROGRESS="1",
            PIP_CACHE_DIR=str(cache / "pip"),
            PIP_DISABLE_PIP_VERSION_CHECK="1",
        )
        if self._vendored:
            env.update(UV_OFFLINE="1", UV_NO_INDEX="1", PIP_NO_INDEX="1")
        elif self._login:
            env.update(self._login.variables)
            env.update(_trust_plain_http(self._login.url))
        return env

    @property
    def _files(self) -> tuple[int, ...]:
        return (self._login.file,) if self._login and self._login.file is not None else ()

    def _succeeds(self, argv: list[str]) -> bool:
        status, _ = commands.run(
            argv, env=self._environment(), files=self._files, stop=self._stop, timeout=INSTALL_TIMEOUT
        )
        return status == 0

    def _run(self, argv: list[str]) -> None:
        def on_line(stream: str, line: str) -> None:
            self._report("install.output", line=line)

        status, lines = commands.run(
            argv,
            env=self._environment(),
            files=self._files,
            on_line=on_line,
            stop=self._stop,
            timeout=INSTALL_TIMEOUT,
        )
        if status:
            raise Failure(
                "InstallFailed",
                f"{self.name} could not install the release (exit {status})",
                _install_remedy("\n".join(lines)),
                command=[os.path.basename(argv[0]), *argv[1:]],
                exit=status,
                lines=lines,
            )


def _trust_plain_http(url: str) -> dict[str, str]:
    """An ``http://`` INDEX_URL was chosen in the settings; both tools want to hear it again."""
    match = re.match(r"http://(?:[^@/]*@)?([^/]+)", url)
    return {"UV_INSECURE_HOST": match[1], "PIP_TRUSTED_HOST": match[1].split(":")[0]} if match else {}


def _install_remedy(output: str) -> str:
    text = output.lower()
    if "no space left" in text:
        return "The host's disk is full: make room and deploy again."
    if "read-only file system" in text:
        return READ_ONLY_REMEDY
    if any(word in text for word in ("dns error", "connect", "timed out", "unreachable", "resolve")):
        return "The host cannot reach its package index: set INDEX_URL to one that it can reach, or VENDOR."
    if "failed to build" in text or "failed building" in text:
        return "It builds some wheels itself: for that it needs a compiler and the headers of its Python."
    if "no module named" in text and "venv" in text:
        return "The host's Python lacks its venv module: install it, or set INSTALLER to 'uv'."
    return "The lines above say why. Fix it and deploy again."


def verify(release: Release, expected: Mapping[str, Sequence[str]]) -> None:
    """The virtualenv holds exactly the expected distributions, and in them the expected files.

    ``expected`` has version, tags and digest (``inventory.py``) by name; where the latter two are not
    known, or the tags are others here, name and version must do.
    """
    installed = {name: (version, folder) for name, version, folder in _installed(site_packages(release))}
    found = {name: version for name, (version, _) in installed.items()}
    wanted = {name: version for name, (version, *_) in expected.items()}
    wrong = [
        f"{name}: {found.get(name, 'missing')} instead of {wanted.get(name, 'nothing')}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    if wrong:
        raise Failure("InstallFailed", "the virtualenv is not what the lock says", lines=wrong)
    others = [
        f"{name} {version}"
        for name, (version, *contents) in sorted(expected.items())
        if contents and _has_other_files(installed[name][1], *contents)
    ]
    if others:
        message = "what the host got under the same name and version has other files than here"
        raise Failure("InstallFailed", message, OTHER_FILES_REMEDY, lines=others)


def _has_other_files(metadata: Path, tags: str, digest: str) -> bool:
    return inventory.tags_of(metadata) == tags and inventory.digest_of(metadata) != digest


def _installed(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Name, version and metadata of each distribution; importlib.metadata reads all of their descriptions."""
    for metadata in folder.glob("*.dist-info/METADATA"):
        with metadata.open(encoding="utf-8", errors="replace") as lines:
            header = dict(map(_field, takewhile(str.strip, lines)))
        name = re.sub(r"[-_.]+", "-", header.get("Name", "")).lower()
        yield name, header.get("Version", ""), metadata.parent


def _field(line: str) -> tuple[str, str]:
    """Name and value of a field of core metadata; a value may be empty, or go on in the next line."""
    name, _, value = line.partition(":")
    return name, value.strip()


def site_packages(release: Release) -> Path:
    """The folder that the distributions were installed into."""
    for folder in release.venv.glob("lib/python*/site-packages"):
        return folder
    raise Failure("InstallFailed", f"{release.venv} has no site-packages folder")


def carry_bytecode(old: Release, new: Release) -> int:
    """Link the old release's bytecode to the sources that both releases share; gives how many.

    A file that is the same inode in both (uv's hard links) has the same content and the same time, so
    its ``.pyc`` is valid. The first start costs a quarter of the CPU then. Nothing depends on it:
    Python writes what is missing, by rename, so that no link is ever written through.
    """
    source, destination, linked = str(site_packages(old)), str(site_packages(new)), 0
    for package, folders, _ in os.walk(source):
        inner = package[len(source) :]
        if "__pycache__" in folders:
            linked += _link_bytecode(package, destination + inner)
        elif inner.count(os.sep) > NAMESPACE_DEPTH:
            folders.clear()  # translations, static files and the like: most of all folders
    return linked


def _link_bytecode(old: str, new: str) -> int:
    """The same for one package: the bytecode of those modules that are the same file in both."""
    names = [
        name
        for name in os.listdir(f"{old}/__pycache__")
        if _is_same(*(f"{package}/{name.partition('.')[0]}.py" for package in (old, new)))
    ]
    if names:
        os.makedirs(f"{new}/__pycache__", exist_ok=True)
    return sum(_link(f"{old}/__pycache__/{name}", f"{new}/__pycache__/{name}") for name in names)


def unshare_project(release: Release) -> int:
    """Give a plain project's files (``venv/app``) inodes of their own; gives how many.

    uv's hard links share them with its cache and with other releases. Nobody writes into site-packages, but
    a site may well change a file beside its ``manage.py``.
    """
    copied = 0
    for folder, _, names in os.walk(release.venv / "app"):
        for name in names:
            path = os.path.join(folder, name)
            if os.stat(path).st_nlink > 1:
                shutil.copy2(path, f"{path}.unshared")
                os.replace(f"{path}.unshared", path)
                copied += 1
    return copied


def _link(existing: str, new: str) -> bool:
    try:
        os.link(existing, new)
    except OSError:
        return False  # it is there, or somebody else's: a file of another user must not be linked to
    return True


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.stat(one), os.stat(other))
    except OSError:
        return False


def describe_python(python: str) -> dict[str, Any]:
    """Version and platform of the interpreter that PYTHON names, for choosing tools and for the plan."""
    path = shutil.which(python)
    if path is None:
        return {"error": f"there is no {python} on the host"}
    if os.path.realpath(path) == os.path.realpath(sys.executable):
        return facts.python_facts()
    program = facts.__loader__.get_source(facts.__name__)  # type: ignore[union-attr]
    status, lines = commands.run([path, "-I", "-S", "-c", program], timeout=20)
    if status or not lines:
        return {"error": f"{python} does not run: {' '.join(lines)[:200]}"}
    try:
        return decode(lines[-1].encode())
    except ProtocolError:
        return {"error": f"{python} is not Python: {lines[-1][:200]}"}
