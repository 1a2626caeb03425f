"""Bundles of a real environment by the files that real tools write about it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path, PurePosixPath

import pytest

from django_deploy.bundle.cache import sha256_of
from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.index.sources import Sources
from django_deploy.bundle.requirements.meaning import select_for
from django_deploy.target import Target
from tests.bundle.archives import make_wheel
from tests.bundle.conftest import Workshop


@pytest.fixture(scope="module")
def bundle(workshop):
    return workshop.bundle()


@pytest.fixture
def write(workshop, tmp_path):
    """A file of requirements in the folder where manage.py would run."""

    def write(text: str, name: str = "requirements.txt") -> str:
        (tmp_path / name).write_text(text)
        return name

    return write


def freeze(workshop: Workshop, tool: str) -> str:
    if tool == "pip":
        return workshop.run(sys.executable, "-m", "pip", "--python", workshop.python, "freeze", "--all")
    return workshop.run("uv", "pip", "freeze", "--python", workshop.python)


def compiled(workshop: Workshop, folder: Path, *options: str) -> str:
    """What uv makes of what the site needs, with the versions that are installed."""
    (folder / "wanted.in").write_text("django\n")
    (folder / "installed.txt").write_text(
        "".join(f"{line}\n" for line in freeze(workshop, "uv").splitlines() if "==" in line)
    )
    return workshop.run("uv", "pip", "compile", *options, "-c", "installed.txt", "wanted.in", cwd=folder)


def content(bundle: dict) -> dict:
    """What of a bundle counts, where the same environment shall give the same."""
    assert "error" not in bundle, f"{bundle['error']}\n{bundle['remedy']}"
    return {key: bundle[key] for key in ("project", "distributions", "pins", "wheels")}


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_what_freeze_writes_equals_the_environment(workshop, bundle, write, tmp_path, tool):
    file = write(freeze(workshop, tool))

    locked = workshop.bundle(cwd=tmp_path, lock_file=file)

    assert content(locked) == content(bundle)
    assert locked["warnings"] == bundle["warnings"]


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_what_freeze_writes_is_deployed(workshop, write, tmp_path, tool):
    file = write(freeze(workshop, tool))
    frozen = workshop.bundle(requirements="freeze")

    stated = workshop.bundle(cwd=tmp_path, requirements=file)

    assert content(stated) == content(frozen)
    assert stated["warnings"] == frozen["warnings"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("requirements.txt", []),
        ("requirements.txt", ["--generate-hashes"]),
        ("pylock.toml", ["--format", "pylock.toml"]),
    ],
)
def test_what_uv_compiles_is_deployed(workshop, bundle, write, tmp_path, name, options):
    file = write(compiled(workshop, tmp_path, *options), name)

    stated = workshop.bundle(cwd=tmp_path, requirements=file)

    assert content(stated) == content(bundle)
    assert stated["warnings"] == bundle["warnings"]


def test_requirements_in_is_compiled(workshop, bundle, write, tmp_path):
    site = workshop.sources / "setuptools_flat"
    file = write(f"-e {site}\ndjango>=4\n", "requirements.in")

    stated = workshop.bundle(cwd=tmp_path, requirements=file)

    assert content(stated) == content(bundle)
    assert stated["warnings"] == bundle["warnings"]
    assert [path.name for path in tmp_path.iterdir()] == ["requirements.in"]


def test_what_other_interpreters_require_stays_for_hosts_to_judge(workshop, bundle, write, tmp_path):
    file = write("django\ntomli>=2 ; python_version < '3.2'\n", "requirements.in")

    stated = workshop.bundle(cwd=tmp_path, requirements=file)

    assert stated["requires"]["acme-site"] == [
        *bundle["requires"]["acme-site"],
        'tomli>=2; python_version < "3.2"',
    ]
    assert content(stated) == content(bundle)


def test_file_is_found_in_the_folder_of_the_project(workshop, tmp_path):
    answer = workshop.bundle(cwd=tmp_path, requirements="requirements/base.txt")

    place = "requirements/base.txt"
    assert answer["error"] == (
        f"REQUIREMENTS names {place}, which is not there: {tmp_path / place} and"
        f" {workshop.sources / 'setuptools_flat' / place} do not exist."
    )


def test_lock_file_is_checked_before_anything_is_built(workshop, write, tmp_path):
    file = write(freeze(workshop, "uv").replace("asgiref==", "asgiref==0.") + "gone==1\n")

    answer = workshop.bundle(cwd=tmp_path, lock_file=file)

    head, header, *rows = answer["error"].splitlines()
    assert head == "LOCK_FILE is set, but requirements.txt is not what is installed here and deployed:"
    assert header.split() == ["distribution", "requirements.txt", "installed"]
    assert [row.split()[0] for row in rows] == ["asgiref", "gone"]
    assert answer["events"] == []


def test_wheel_that_requires_more_than_the_file_has(workshop, write, tmp_path):
    text = re.sub("asgiref==.*", "asgiref==3.7.2", compiled(workshop, tmp_path))
    folder = workshop.sources / "flit" / "pyproject.toml"
    before = folder.read_text()
    folder.write_text(before + 'dependencies = ["asgiref>=3.8", "six"]\n')
    try:
        answer = workshop.bundle(cwd=tmp_path, requirements=write(text))
    finally:
        folder.write_text(before)

    assert answer["error"] == (
        "requirements.txt is not what the sources now require: acme-flit 1.0 requires asgiref>=3.8,"
        " but 3.7.2 is in requirements.txt; acme-flit 1.0 requires six, which is not in requirements.txt."
    )


def test_what_django_deploy_needs_is_compiled_too(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    wheel = make_wheel(tmp_path, "django", "5.2")
    index.pages[f"/files/{wheel.name}"] = (200, "application/octet-stream", wheel.read_bytes())
    index.add("django", {wheel.name: sha256_of(wheel)})
    (tmp_path / "requirements.in").touch()
    ours = Distribution("django-deploy", "0.1", "index", ("django>=5", "paramiko"), tmp_path)
    site = Distribution("site", "1.0", "editable", (), tmp_path, source=tmp_path)
    target = Target(
        "staging", (), PurePosixPath("/srv"), "site.settings", requirements=str(tmp_path / "requirements.in")
    )

    selection = select_for(target, (ours, site), site, Sources(index.url), cache=tmp_path / "cache")

    assert list(map(str, selection.kept)) == ["django 5.2", "django-deploy 0.1", "site 1.0"]


EXPLAIN = """
import sys
from pathlib import Path, PurePosixPath
from django_deploy.bundle.explanation import explain_for
from django_deploy.target import Target
target = Target("staging", (), PurePosixPath("/srv"), "acme_site.settings", requirements=sys.argv[1])
for name in sys.argv[3:]:
    print(*explain_for(target, name, cache=Path(sys.argv[2])), sep="\\n")
"""


@pytest.mark.parametrize("requirements", ["environment", "requirements.in"])
def test_explanations(workshop, write, tmp_path, requirements):
    write("django\n", "requirements.in")

    told = workshop.run(
        *(workshop.python, "-c", EXPLAIN, requirements, workshop.cache, "sqlparse", "acme-vcs", "paramiko"),
        cwd=tmp_path,
    ).splitlines()

    version = re.search("sqlparse==(.*)", freeze(workshop, "uv"))[1]
    assert told[0] == f"sqlparse {version} is deployed: it comes from an index."
    assert any(line.endswith(f" -> sqlparse {version}") for line in told)
    url = (workshop.sources / "vcs").as_uri()
    assert any(line.startswith(f"acme-vcs 1.0 is deployed: a wheel of git+{url}@") for line in told)
    assert any(line.startswith("paramiko ") and line.endswith(" is not deployed.") for line in told)
