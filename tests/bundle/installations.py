"""Environments in which distributions are installed in every way there is, by pip and by uv.

All comes from folders and a loopback server; only the build back ends from the index of the machine.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from packaging.utils import canonicalize_name

from tests.bundle.archives import make_wheel

if TYPE_CHECKING:
    from tests.bundle.index_server import FakeIndex

CHECKOUT = Path(__file__).parents[2]
SAMPLES = Path(__file__).with_name("samples")

#: What builds the samples: back ends, what hatchling wants for editable wheels, and pip.
BACK_ENDS = (
    "setuptools>=77",
    "hatchling",
    "editables",
    "flit-core",
    "poetry-core",
    "pdm-backend",
    "uv-build",
    "pip",
)

#: Where the program below finds what it imports.
OUR_PACKAGES = sysconfig.get_path("purelib")

#: Canonical name to sample project, one or two for each build back end.
EDITABLE = {
    "acme-site": "setuptools_flat",
    "acme-src": "setuptools_src",
    "acme-hatch": "hatchling",
    "acme-flit": "flit",
    "acme-poetry": "poetry",
    "acme-pdm": "pdm",
    "acme-uv": "uv",
}

#: What an index serves: name as its authors write it, and version.
FROM_INDEX = (
    *(("django", "5.2.99"), ("django-deploy", "0.1"), ("Acme.Dotted_Name", "1.0"), ("acme-yanked", "1.0")),
    *(("acme-label", "2.13.0+cpu"), ("acme-early", "5.2rc1")),
)

_DISCOVER = """
import json
from dataclasses import asdict
from django_deploy.bundle.environment import discover
from django_deploy.exceptions import BundleError
try:
    print(json.dumps(asdict(discover()), default=str))
except BundleError as error:
    print(json.dumps({"error": error.message}))
"""


class Venv:
    """A virtualenv without pip, and what is seen from inside of it."""

    def __init__(
        self, folder: Path, tool: str, *, system_site: bool = False, base: str = sys.executable
    ) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.tool = tool
        more = ["--system-site-packages"] if system_site else []
        if tool == "uv":
            run(uv(), "venv", "--quiet", "--no-project", "--python", base, *more, folder)
        else:
            run(base, "-m", "venv", "--without-pip", *more, folder)

    @functools.cached_property
    def site_packages(self) -> Path:
        program = "import sysconfig; print(sysconfig.get_path('purelib'))"
        return Path(run(self.python, "-Ic", program).strip())

    def install(self, *arguments: str | Path, cwd: Path | None = None, **environ: str) -> None:
        """What the arguments name, and nothing that it requires."""
        if self.tool == "uv":
            installer = [uv(), "pip", "install", "--python", self.python]
        else:
            installer = [sys.executable, "-m", "pip", "--python", self.python, "install"]
        run(*installer, "--quiet", "--no-deps", *arguments, cwd=cwd, **environ)

    def discover(self, cwd: Path | None = None, **environ: str) -> dict:
        """An ``Environment`` as JSON, or its error, as a program in the virtualenv finds it.

        What the program needs is on PYTHONPATH: it must not be found.
        """
        path = os.pathsep.join((str(CHECKOUT), OUR_PACKAGES))
        answer = run(self.python, "-c", _DISCOVER, cwd=cwd, **{"PYTHONPATH": path, **environ})
        return json.loads(answer)

    def found(self, cwd: Path | None = None, **environ: str) -> dict[str, dict]:
        """The distributions by name."""
        environment = self.discover(cwd, **environ)
        assert "error" not in environment, environment["error"]
        return {item["name"]: item for item in environment["distributions"]}


class Installations(Venv):
    """A virtualenv with something of each kind, installed by one tool; ``expected`` says what and how.

    ``back_ends`` is a folder with these, ``old_setuptools`` one with the setuptools that knows egg-links.
    """

    def __init__(
        self, folder: Path, tool: str, index: FakeIndex, *, back_ends: Path, old_setuptools: Path
    ) -> None:
        super().__init__(folder / "venv", tool)
        self.sources = folder / "src"
        self.archives = folder / "archives"
        self.index = index
        self._back_ends = back_ends
        self.expected: dict[str, dict[str, str]] = {}
        self._install_from_index()
        self._install_directly()
        for name in ("develop", "install"):
            self._run_setup(name, old_setuptools)

    def _install_from_index(self) -> None:
        found = make_wheel(self.archives / "links", "acme-found")
        named = [f"{name}=={version}" for name, version in FROM_INDEX]
        places = ["--index-url", self.index.url, "--find-links", found.parent]
        self.install(*places, *named, "acme-found==1.0", "pip")  # which collects archives for us
        versions = {canonicalize_name(name): version for name, version in FROM_INDEX}
        self.expected |= {name: {"kind": "index", "version": version} for name, version in versions.items()}
        self.expected |= {"acme-found": {"kind": "index"}, "pip": {"kind": "index"}}

    def _install_directly(self) -> None:
        arguments: list[str] = []
        for name, sample in EDITABLE.items():
            source = Path(shutil.copytree(SAMPLES / sample, self.sources / sample))
            arguments += ("-e", str(source))
            self.expected[name] = {"kind": "editable", "source": str(source)}
        arguments += (*self._folder_and_archives(), *self._repositories())
        self.install("--no-build-isolation", *arguments, **building(self._back_ends))

    def _folder_and_archives(self) -> list[str]:
        local = make_project(self.sources / "local", "acme-local")
        wheel = make_wheel(self.archives, "acme-wheel")
        sdist = make_sdist(self.archives, "acme-sdist")
        address = f"http://{self.index.address}/files/acme_url-1.0-py3-none-any.whl"
        self.expected["acme-local"] = {"kind": "local", "source": str(local)}
        for archive in (wheel, sdist):
            # uv's records have no hash.
            sha256 = hashlib.sha256(archive.read_bytes()).hexdigest() if self.tool == "pip" else ""
            name = archive.name.partition("-")[0].replace("_", "-")
            self.expected[name] = {"kind": "local", "source": str(archive), "sha256": sha256}
        self.expected["acme-url"] = {"kind": "url", "url": address}
        places = {"acme-local": local, "acme-wheel": wheel, "acme-sdist": sdist}
        return [*(f"{name} @ {place.as_uri()}" for name, place in places.items()), f"acme-url @ {address}"]

    def _repositories(self) -> list[str]:
        repository = make_project(self.sources / "vcs", "acme-vcs")
        make_project(repository / "below", "acme-below")
        commit = commit_all(repository)
        known = {"kind": "vcs", "vcs": "git", "url": repository.as_uri(), "commit": commit}
        self.expected["acme-vcs"] = known
        self.expected["acme-below"] = {**known, "subdirectory": "below"}
        address = f"git+{repository.as_uri()}"
        arguments = [f"acme-vcs @ {address}", f"acme-below @ {address}#subdirectory=below"]
        if self.tool == "pip":  # uv installs no repository as editable
            cloned = make_project(self.sources / "cloned", "acme-cloned")
            commit_all(cloned)
            self.expected["acme-cloned"] = {
                "kind": "editable",
                "source": str(self.folder / "src" / "acme-cloned"),
            }
            arguments += ("-e", f"git+{cloned.as_uri()}#egg=acme-cloned")
        return arguments

    def _run_setup(self, command: str, old_setuptools: Path) -> None:
        """As before there was pip: an egg-link to the sources, or an egg; no PEP 610 record."""
        source = Path(shutil.copytree(SAMPLES / "legacy", self.sources / command))
        name = {"develop": "acme-legacy", "install": "acme-egg"}[command]
        setup = source / "setup.py"
        setup.write_text(setup.read_text().replace("Acme.Legacy", name.title().replace("-", ".")))
        argv = [self.python, "-W", "ignore", "setup.py", "-q", command]
        run(*argv, cwd=source, PYTHONPATH=str(old_setuptools))
        self.expected[name] = (
            {"kind": "editable", "source": str(source)} if command == "develop" else {"kind": "index"}
        )


def make_project(folder: Path, name: str, requires: str = "[]") -> Path:
    """A source tree with one package, built by flit-core."""
    module = name.replace("-", "_")
    folder.joinpath(module).mkdir(parents=True)
    folder.joinpath(module, "__init__.py").write_text("VALUE = 1\n")
    folder.joinpath("pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\ndescription = "x"\ndependencies = {requires}\n'
    )
    return folder


def make_sdist(folder: Path, name: str) -> Path:
    """The sdist of such a tree."""
    base = f"{name.replace('-', '_')}-1.0"
    tree = make_project(folder / base, name)
    tree.joinpath("PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    archive = folder / f"{base}.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tree, base)
    shutil.rmtree(tree)
    return archive


def commit_all(folder: Path) -> str:
    """Makes a repository with one commit; its id."""
    run("git", "init", "--quiet", cwd=folder)
    run("git", "add", ".", cwd=folder)
    run("git", "commit", "--quiet", "-m", "first", cwd=folder)
    return run("git", "rev-parse", "HEAD", cwd=folder).strip()


def building(back_ends: Path) -> dict[str, str]:
    """Variables that let builds without isolation find the back ends of a folder."""
    path = os.pathsep.join((str(back_ends / "bin"), os.environ.get("PATH", os.defpath)))
    return {"PYTHONPATH": str(back_ends), "PATH": path}


def serve(index: FakeIndex, folder: Path, back_ends: Path) -> None:
    """Puts what the installations and their builds ask for on a loopback server."""
    for name, version in FROM_INDEX:
        requires = ("django",) if name == "django-deploy" else ()
        wheel = make_wheel(folder, name, version, requires=requires)
        index.add(canonicalize_name(name), _serve_file(index, wheel), yanked=name == "acme-yanked")
    for distribution in importlib.metadata.distributions(path=[str(back_ends)]):
        wheel = repack(distribution, folder)
        index.add(canonicalize_name(distribution.name), _serve_file(index, wheel))
    _serve_file(index, make_wheel(folder, "acme-url"))


def _serve_file(index: FakeIndex, wheel: Path) -> dict[str, str]:
    """File name to sha256, as a page of the index wants it."""
    content = wheel.read_bytes()
    for name in {wheel.name, quote(wheel.name)}:
        index.pages[f"/files/{name}"] = (200, "application/octet-stream", content)
    return {wheel.name: hashlib.sha256(content).hexdigest()}


def repack(distribution: importlib.metadata.Distribution, folder: Path) -> Path:
    """The wheel of what is installed in a folder."""
    base = f"{distribution.name.replace('-', '_')}-{distribution.version}"
    tag = HeaderParser().parsestr(distribution.read_text("WHEEL"))["Tag"]
    scripts = {entry_point.name for entry_point in distribution.entry_points.select(group="console_scripts")}
    wheel, rows = folder / f"{base}-{tag}.whl", []
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in distribution.files:
            if file.hash is None or file.name in (*_OF_INSTALLERS, *scripts):
                continue
            # Other scripts are programs.
            path = f"{base}.data/scripts/{file.name}" if "bin" in file.parts[:-1] else str(file)
            archive.write(file.locate(), path)
            rows.append(f"{path},{file.hash.mode}={file.hash.value},{file.size}\n")
        record = f"{base}.dist-info/RECORD"
        archive.writestr(record, "".join(rows) + f"{record},,\n")
    return wheel


_OF_INSTALLERS = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_build.json", "uv_cache.json")


def age(tree: Path, *, file_mode: int) -> None:
    """Makes a tree look as if it came from another checkout, another day and under another umask."""
    day = time.time() - 400 * 24 * 3600
    for number, path in enumerate(sorted(tree.rglob("*"))):
        if path.is_file() and not path.is_symlink():
            path.chmod(file_mode | (0o111 if path.stat().st_mode & 0o111 else 0))
        os.utime(path, (day + number, day + number), follow_symlinks=False)


def run(*command: str | Path, cwd: Path | None = None, **environ: str) -> str:
    """What a command prints; the machine's own configuration of pip and uv does not count."""
    inherited = {name: v for name, v in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON"))}
    scripts = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    result = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**inherited, "PATH": scripts, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{command} failed:\n{result.stdout}{result.stderr}"
    return result.stdout


def uv() -> str:
    """The uv of the tests' own environment."""
    return shutil.which("uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
