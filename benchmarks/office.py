"""Where a developer sits: an environment, a project in it, a cache; no host is near."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parent

#: The one of the environment that measures, which need not be active.
UV = str(Path(sys.executable).with_name("uv"))

#: Of the project: apps, and files of each kind in each of them.
APPS, FILES = 5, 10

_PYPROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "shop"
version = "1.0"
dependencies = ["django"]

[tool.setuptools]
packages.find.include = ["shop*"]
package-data."*" = ["templates/**", "static/**"]
"""


@dataclass(frozen=True)
class Made:
    """What a bundle took, in seconds, and how much is in it."""

    wall: float
    cpu: float
    distributions: int


class Office:
    """An environment with the requirements of a file beside this one, and a project installed with -e."""

    def __init__(self, folder: Path, requirements: str) -> None:
        self.folder = folder
        self.project = folder / "shop"
        self._python = folder / "venv" / "bin" / "python"
        self._cache = folder / "cache"
        make_project(self.project)
        self._twin = shutil.copytree(self.project, folder / "twin")
        run(UV, "venv", "--quiet", "--python", sys.executable, folder / "venv")
        # As from an index: its checkout would be walked each time.
        run(UV, "build", "--quiet", "--wheel", "--out-dir", folder / "wheels", CHECKOUT)
        (wheel,) = folder.joinpath("wheels").glob("*.whl")
        self._install("-r", HERE / requirements, wheel, "-e", self.project)

    def _install(self, *arguments: str | Path) -> None:
        # Bytecode is there where an environment was used before, unless somebody has forbidden to write it.
        options = ["--quiet", "--compile-bytecode", "--python", self._python]
        run(UV, "pip", "install", *options, *arguments)

    def change(self) -> None:
        """One line of the project and of its twin."""
        for tree in (self.project, self._twin):
            with tree.joinpath("shop", "settings.py").open("a") as file:
                file.write(f"# {time.time_ns()}\n")

    def bundle(self) -> Made:
        """Makes a bundle in a process of its own."""
        return Made(**self._ask("bundle", self._cache))

    def lock(self) -> float:
        """Seconds to find the hashes of all pins, with an empty cache."""
        with tempfile.TemporaryDirectory(dir=self.folder) as cache:
            seconds: float = self._ask("lock", cache)["wall"]
        return seconds

    def pins(self) -> list[str]:
        """``name==version`` of all that comes from an index."""
        lines = run(UV, "pip", "freeze", "--quiet", "--python", self._python).splitlines()
        return [line for line in lines if "==" in line and not line.startswith("-e")]

    def build_with_uv(self) -> None:
        """The wheel of the project's twin."""
        run(UV, "build", "--quiet", "--wheel", "--out-dir", self.folder / "built", self._twin)

    def compile_with_uv(self) -> None:
        """The hashes of all pins, with an empty cache."""
        pins = self.folder / "pins.in"
        pins.write_text("\n".join(self.pins()))
        with tempfile.TemporaryDirectory(dir=self.folder) as cache:
            options = ["--quiet", "--generate-hashes", "--no-deps", "--cache-dir", cache]
            run(UV, "pip", "compile", *options, "--python", self._python, pins)

    def _ask(self, *arguments: str | Path) -> dict:
        return json.loads(run(self._python, HERE / "bundle_once.py", *arguments))


def make_project(folder: Path) -> None:
    """A site of some apps, each with modules, templates and static files."""
    folder.mkdir(parents=True)
    folder.joinpath("pyproject.toml").write_text(_PYPROJECT)
    texts = {"settings.py": "SECRET_KEY = 'x'\n", "__init__.py": ""}
    for app in range(APPS):
        texts[f"app{app}/__init__.py"] = ""
        for number in range(FILES):
            texts[f"app{app}/module{number}.py"] = f"VALUE = {number}\n" * 200
            texts[f"app{app}/templates/app{app}/page{number}.html"] = "<p>{{ value }}</p>\n" * 100
            texts[f"app{app}/static/app{app}/style{number}.css"] = f"p.x{number} {{ color: navy }}\n" * 100
    for name, text in texts.items():
        path = folder / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout


def timed(work: Callable[[], object]) -> float:
    """The seconds that it takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started
