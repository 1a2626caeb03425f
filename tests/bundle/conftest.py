"""An environment with sample projects of every build back end, made once; and a fake index."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundle.archives import make_wheel
from tests.bundle.index_server import FakeIndex

CHECKOUT = Path(__file__).parents[2]
SAMPLES = Path(__file__).parent / "samples"

#: The tests' own environment may have uv.
TOOLS_PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))

EDITABLE = ("setuptools_flat", "setuptools_src", "hatchling", "flit", "poetry", "pdm", "uv")


@pytest.fixture(scope="session", autouse=True)
def _quiet_git(tmp_path_factory):
    """git and hg as on a machine where nobody has configured anything."""
    home = tmp_path_factory.mktemp("home")
    home.joinpath("gitconfig").write_text(
        "[user]\nname = A\nemail = a@example.com\n[init]\ndefaultBranch = main\n"
    )
    home.joinpath("hgrc").write_text("[ui]\nusername = A <a@example.com>\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
        patch.setenv("HGRCPATH", str(home / "hgrc"))
        yield


@pytest.fixture(scope="session")
def build_cache(tmp_path_factory):
    """A cache that all tests share that build: environments of back ends are made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def index():
    server = FakeIndex()
    yield server
    server.close()


@pytest.fixture
def sample(tmp_path):
    """Copies a sample project."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(SAMPLES / name, tmp_path / name))

    return copy


class Workshop:
    """A developer's machine: sources, an environment in which they are installed, a cache."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache
        self.python = folder / "venv" / "bin" / "python"
        self.sources = folder / "src"

    def run(self, *command: str | Path, cwd: Path | None = None, **environ: str) -> str:
        result = subprocess.run(
            list(map(str, command)),
            cwd=cwd or self.folder,
            env={**os.environ, "PATH": TOOLS_PATH, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{command} failed:\n{result.stdout}{result.stderr}"
        return result.stdout

    def install(self, *arguments: str | Path) -> None:
        self.run(*_installer(self.python), *arguments)

    def site_packages(self) -> Path:
        return Path(
            self.run(self.python, "-Ic", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        )

    def bundle(
        self,
        *,
        cwd: Path | None = None,
        environ: dict[str, str] | None = None,
        ignored_folders: tuple[Path, ...] = (),
        revision: str | None = None,
        **target: object,
    ) -> dict:
        """The manifest, as JSON, or the error, of ``build_bundle`` in the environment."""
        options = {
            "cache": str(self.cache),
            "target": {"settings_module": "acme_site.settings", **target},
            "ignored_folders": [str(folder) for folder in ignored_folders],
            "revision": revision,
        }
        program = Path(__file__).with_name("bundle_here.py")
        return json.loads(self.run(self.python, program, json.dumps(options), cwd=cwd, **environ or {}))


def _installer(python: Path) -> list[str]:
    uv = shutil.which("uv", path=TOOLS_PATH)
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", str(python)]
    return [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory, build_cache) -> Workshop:
    folder = tmp_path_factory.mktemp("workshop")
    shop = Workshop(folder, build_cache)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    for name in (*EDITABLE, "legacy"):
        shutil.copytree(SAMPLES / name, shop.sources / name)
    editables = [argument for name in EDITABLE for argument in ("-e", str(shop.sources / name))]
    wheel = make_wheel(folder / "wheels", "acme-wheel")
    shop.install(
        "-e", _copy_of_ourselves(shop), *editables, f"acme-wheel @ {wheel.as_uri()}", "setuptools<70", "wheel"
    )
    _install_from_folder_and_git(shop)
    # As pip did before PEP 660: an egg-link and no PEP 610 record.
    shop.run(
        shop.python, "-W", "ignore", "setup.py", "-q", "develop", "--no-deps", cwd=shop.sources / "legacy"
    )
    return shop


def _copy_of_ourselves(shop: Workshop) -> Path:
    """The checkout may change while tests run."""
    ours = shop.sources / "django-deploy"
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "django_deploy", ours / "django_deploy", ignore=skip)
    for name in ("pyproject.toml", "README.rst", "LICENSE"):
        shutil.copy(CHECKOUT / name, ours)
    return ours


def _install_from_folder_and_git(shop: Workshop) -> None:
    for name in ("local", "vcs"):
        project = Path(shutil.copytree(SAMPLES / "flit", shop.sources / name))
        (project / "acme_flit").rename(project / f"acme_{name}")
        text = (project / "pyproject.toml").read_text().replace("acme-flit", f"acme-{name}")
        (project / "pyproject.toml").write_text(text)
    repository = shop.sources / "vcs"
    shop.run("git", "init", "-q", cwd=repository)
    shop.run("git", "add", ".", cwd=repository)
    shop.run("git", "commit", "-q", "-m", "first", cwd=repository)
    shop.install(f"acme-local @ {(shop.sources / 'local').as_uri()}", f"acme-vcs @ git+{repository.as_uri()}")
