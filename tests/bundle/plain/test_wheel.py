"""Wheels of plain projects: what is in them, and what real installers make of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.plain.contents import Rules, read_contents
from django_deploy.bundle.plain.wheel import (
    assemble,
    find_hidden_modules,
    refuse_hidden_modules,
    refuse_what_needs_metadata,
    tag_of,
    version_of,
)
from django_deploy.exceptions import BundleError
from django_deploy.target import Target
from tests.bundle.archives import make_wheel

#: Names that installers could stumble over.
ODD_NAMES = (
    *(
        "two words.txt",
        "grüße.txt",
        "🦄.html",
        'quo"te.txt',
        "com,ma.txt",
        "-x",
        "a%20b",
        "semi;colon",
        "a:b",
    ),
    *(
        "templates/#x.html",
        "templates/[x].html",
        "static/A.css",
        "static/a.css",
        "data/.hidden",
        "data/empty",
    ),
)

SETTINGS = "from pathlib import Path\nBASE_DIR = Path(__file__).resolve().parent.parent\n"

UV = Path(sys.executable).with_name("uv")


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """A project; its settings say where they are."""
    project = write(
        tmp_path / "project",
        {
            "manage.py": "#!/usr/bin/env python\nprint('managed')\n",
            "mysite/__init__.py": "",
            "mysite/settings.py": SETTINGS,
            "blog/__init__.py": "",
            "templates/base.html": "base",
            **dict.fromkeys(ODD_NAMES, "odd"),
        },
    )
    project.joinpath("manage.py").chmod(0o755)
    return project


def plain(folder: Path, **fields) -> Distribution:
    project = Distribution("my-site", "0", "plain", (), folder, source=folder, paths=(".",))
    return replace(project, **fields)


def build(project: Distribution, to: Path) -> Path:
    to.mkdir(parents=True, exist_ok=True)
    return assemble(project, read_contents(project.source, Rules()), to)


def test_wheel(folder, tmp_path):
    wheel = build(plain(folder), tmp_path / "out")

    version = version_of(read_contents(folder, Rules()), ["."])
    assert wheel == tmp_path / "out" / f"my_site-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert archive.read(f"my_site-{version}.data/data/app/templates/base.html") == b"base"
        assert archive.read("my_site.pth") == b"../../../app\n"
        assert archive.read(f"my_site-{version}.dist-info/METADATA").decode() == (
            f"Metadata-Version: 2.1\nName: my-site\nVersion: {version}\n"
        )
        assert archive.read(f"my_site-{version}.dist-info/WHEEL").decode() == (
            "Wheel-Version: 1.0\nGenerator: django-deploy\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
    assert len(names) == len(set(names)) == len(read_contents(folder, Rules()).files) + 4


def test_the_same_files_are_the_same_bytes(folder, tmp_path, monkeypatch):
    first = build(plain(folder), tmp_path / "first")
    elsewhere = Path(shutil.copytree(folder, tmp_path / "deep" / "down" / "elsewhere"))
    for path in elsewhere.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(path.stat().st_mode & 0o700)
    monkeypatch.setenv("TZ", "Asia/Tokyo")

    second = build(plain(elsewhere), tmp_path / "second")

    assert (second.name, second.read_bytes()) == (first.name, first.read_bytes())


def test_every_content_has_a_version_of_its_own(folder):
    versions = [version_of(read_contents(folder, Rules()), ["."])]

    for change in (
        lambda: folder.joinpath("blog", "views.py").touch(),
        lambda: folder.joinpath("blog", "views.py").write_text("x = 1"),
        lambda: folder.joinpath("blog", "views.py").rename(folder / "blog" / "urls.py"),
        lambda: folder.joinpath("blog", "urls.py").chmod(0o755),
    ):
        change()
        versions.append(version_of(read_contents(folder, Rules()), ["."]))
    versions.append(version_of(read_contents(folder, Rules()), [".", "blog"]))

    assert len(set(versions)) == 6
    assert all(len(version) == 14 and version.startswith("0+") for version in versions)


def test_file_that_changes_while_it_is_packed(folder, tmp_path):
    contents = read_contents(folder, Rules())
    folder.joinpath("manage.py").write_text("changed")

    with pytest.raises(BundleError) as caught:
        assemble(plain(folder), contents, tmp_path)

    assert caught.value.message == f"{folder.resolve() / 'manage.py'} changed while it was packed."


def test_extension_modules_bind_the_wheel_to_this_platform(folder, tmp_path):
    folder.joinpath("blog", f"_speed{sysconfig.get_config_var('EXT_SUFFIX')}").write_bytes(b"\x7fELF")

    wheel = build(plain(folder), tmp_path / "out")

    version = sys.version_info
    assert wheel.name.split("-")[2] == f"cp{version.major}{version.minor}"
    assert sysconfig.get_platform().rpartition("-")[2] in wheel.name
    assert tag_of(read_contents(folder, Rules())) in wheel.name


# Real installations


def make_environment(folder: Path) -> Path:
    subprocess.run([UV, "venv", "--quiet", "--no-project", "--python", sys.executable, folder], check=True)
    return folder / "bin" / "python"


def install(installer: str, python: Path, wheel: Path) -> None:
    """With a hash, as a release is installed."""
    lock = python.parents[1] / "lock.txt"
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock.write_text(f"{wheel.name.split('-')[0]} @ {wheel.as_uri()} --hash=sha256:{sha256}\n")
    if installer == "uv":
        command = [UV, "pip", "sync", "--quiet", "--offline", "--require-hashes", "--python", python, lock]
    else:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "--quiet",
            "--no-index",
            "--no-deps",
        ]
        command = [*pip, "--no-deps", "--no-compile", "--require-hashes", "--requirement", lock]
    subprocess.run(command, check=True)


def ask(python: Path, question: str, **options) -> str:
    command = [python, "-I", "-c", question]
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout.strip()


@pytest.fixture(params=["uv", "pip"])
def installed(request, folder, tmp_path):
    """The interpreter of an environment that has the project."""
    write(tmp_path, {"frontend/dist/app.js": "app"})
    project = plain(folder, paths=(".", "blog"))
    rules = Rules(named=frozenset({(tmp_path / "frontend").resolve()}))
    wheel = assemble(project, read_contents(folder, rules), tmp_path)
    python = make_environment(tmp_path / "venv")
    install(request.param, python, wheel)
    return python


def test_an_installed_project_keeps_its_shape(installed, folder):
    venv = installed.parents[1]

    base = ask(installed, "from mysite.settings import BASE_DIR; print(BASE_DIR)", cwd="/")

    assert base == str((venv / "app").resolve())
    for file in read_contents(folder, Rules()).files:
        assert (venv / "app" / file.name).read_bytes() == Path(file.path).read_bytes(), file.name
    assert (venv / "frontend" / "dist" / "app.js").read_text() == "app"
    assert os.access(venv / "app" / "manage.py", os.X_OK)
    assert not os.access(venv / "app" / "templates" / "base.html", os.X_OK)
    assert (
        subprocess.run([venv / "app" / "manage.py"], check=True, capture_output=True).stdout == b"managed\n"
    )


def test_all_folders_are_on_the_path_there(installed):
    path = ask(installed, "import sys; print(*sys.path[-2:], sep='\\n')").splitlines()

    app = (installed.parents[1] / "app").resolve()
    assert path == [str(app), str(app / "blog")]


def test_every_file_is_recorded_and_goes_again(installed):
    code = "import importlib.metadata as m; print(*sorted(str(f) for f in m.files('my-site')), sep='\\n')"
    recorded = ask(installed, code).splitlines()

    assert "../../../app/manage.py" in recorded
    assert {f"../../../app/{name}" for name in ODD_NAMES} <= set(recorded)
    subprocess.run([UV, "pip", "uninstall", "--quiet", "--python", installed, "my-site"], check=True)
    left = [path for path in (installed.parents[1] / "app").rglob("*") if path.is_file()]
    assert [path for path in left if "__pycache__" not in path.parts] == []


# Modules that would be hidden


def hidden(project: Distribution, kept=(), wheels=None) -> tuple[tuple[str, str], ...]:
    return find_hidden_modules(project, read_contents(project.source, Rules()), kept, wheels or {})


def test_module_that_an_installed_distribution_has_too(folder, tmp_path):
    site = tmp_path / "site-packages"
    write(
        site,
        {
            "blog/__init__.py": "",
            "templates/__init__.py": "",
            "acme_blog-1.0.dist-info/METADATA": "Name: acme-blog\nVersion: 1.0\n",
            "acme_blog-1.0.dist-info/RECORD": "blog/__init__.py,,\ntemplates/__init__.py,,\n",
        },
    )
    acme = Distribution("acme-blog", "1.0", "index", (), site / "acme_blog-1.0.dist-info")

    found = hidden(plain(folder), [acme])

    assert found == (("blog", "acme-blog"),)  # templates/ is no package here
    with pytest.raises(BundleError) as caught:
        refuse_hidden_modules(found, folder)
    assert caught.value.message == (
        "On a server the project's own modules come after all that is installed, so these would be hidden: "
        "blog, which acme-blog has, too."
    )
    assert caught.value.remedy == (
        f"Rename them in {folder}. Name in PROJECT_EXCLUDE what the site does not import."
    )


def test_module_that_a_wheel_brings(folder, tmp_path):
    wheel = make_wheel(tmp_path, "acme", files={"acme-1.0.data/purelib/blog.py": "", "mysite/x.py": ""})

    assert hidden(plain(folder), (), {"acme": wheel}) == (("blog", "acme"),)
    assert hidden(plain(folder), (), {"my-site": wheel}) == ()


def test_module_of_python(folder):
    write(
        folder,
        {"statistics/__init__.py": "", "tests/__init__.py": "", "test/__init__.py": "", "blog/code.py": ""},
    )

    assert hidden(plain(folder)) == (("statistics", "Python itself"),)
    assert hidden(plain(folder, paths=("blog",))) == (("code", "Python itself"),)


def test_nothing_is_hidden():
    refuse_hidden_modules((), Path("/srv"))


# What it lacks


@pytest.mark.parametrize(
    ("fields", "wish"),
    [
        ({"requirements": "closure"}, "REQUIREMENTS is 'closure'"),
        ({"extras": ("postgres",)}, "EXTRAS names extras"),
    ],
)
def test_settings_that_ask_for_metadata(folder, fields, wish):
    target = Target("staging", (), PurePosixPath("/srv/site"), "mysite.settings", **fields)

    with pytest.raises(BundleError) as caught:
        refuse_what_needs_metadata(target, plain(folder))

    assert caught.value.message == f"{wish}, but the project in {folder} is no package: it declares nothing."
    assert caught.value.remedy.startswith(
        "Leave REQUIREMENTS at 'environment' and EXTRAS empty, or make it a package. "
        f"Put this into {folder}/pyproject.toml and run `pip install -e .` there:\n\n[build-system]\n"
    )
    assert 'include = ["blog*", "mysite*"]' in caught.value.remedy
