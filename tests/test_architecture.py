"""Rules of design that a machine can check: who may import what, and where code can run."""

from __future__ import annotations

import ast
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import django_deploy

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "django_deploy"
MODULES = sorted(module.name for module in pkgutil.walk_packages(django_deploy.__path__, "django_deploy."))
#: Imported once, by Django's registry; the admin's only where the admin is installed.
DJANGOS = {"django_deploy.admin", "django_deploy.models"}
HOST_FILES = sorted((PACKAGE / "host").glob("*.py"))
HEAVY = {"paramiko", "packaging", "piptools", "pip", "build", "rich", "cryptography"}

IMPORT_EACH = """
import os, sys, importlib
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
for name in sys.argv[1:]:
    pid = os.fork()
    if not pid:
        try:
            for loaded in [name for name in sys.modules if name.startswith("django_deploy")]:
                del sys.modules[loaded]
            importlib.import_module(name)
        except BaseException as error:
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    os.waitpid(pid, 0)
"""

IMPORT_FOR_DJANGO = """
import sys, importlib
import django
from django.conf import settings
apps = ["admin", "auth", "contenttypes", "messages", "sessions"]
settings.configure(INSTALLED_APPS=[*(f"django.contrib.{app}" for app in apps), "django_deploy"])
django.setup()
importlib.import_module(sys.argv[1])
"""

IMPORT_HOST = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def run(*argv, **options):
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, **options)


def pythons():
    """One interpreter of each version on this machine that the host program must run on."""
    names = ["python3", *(f"python3.{minor}" for minor in range(9, 20))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [*filter(None, map(shutil.which, names)), *sorted(pyenv.glob("versions/*/bin/python3"))]
    found = {}
    for path in candidates:
        version = run(path, "-c", "import sys; print(*sys.version_info[:2])").stdout.split()
        if [int(part) for part in version] >= [3, 9]:
            found.setdefault(".".join(version), str(path))
    return found


def imports(path):
    """(level, module) of every import in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


def called_names(path):
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return {call.id for call in calls if isinstance(call, ast.Name)}


def test_import_contracts():
    result = run(
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as lint; lint()",
        "--no-cache",
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def test_every_module_is_imported_alone():
    result = run(sys.executable, "-c", IMPORT_EACH, *sorted(set(MODULES) - DJANGOS))

    assert "django_deploy.deployment" in MODULES
    assert (result.stdout, result.stderr) == ("", "")


@pytest.mark.parametrize("module", sorted(DJANGOS))
def test_what_django_looks_for_is_imported_where_the_admin_is(module):
    result = run(sys.executable, "-c", IMPORT_FOR_DJANGO, module)

    assert (module in MODULES, result.stdout, result.stderr) == (True, "", "")


@pytest.mark.parametrize("path", HOST_FILES, ids=lambda path: path.name)
def test_the_host_program_needs_the_standard_library_only(path):
    # launch.py is sent along, but runs with the interpreter of the site.
    allowed = sys.stdlib_module_names | ({"django"} if path.name == "launch.py" else set())

    for level, module in imports(path):
        assert level == 1 or (level == 0 and module.split(".")[0] in allowed), module


PYTHONS = pythons()


@pytest.mark.parametrize("python", PYTHONS.values(), ids=PYTHONS)
def test_the_host_program_is_imported_by(python):
    modules = [f"host.{path.stem}" for path in HOST_FILES if path.stem != "__init__"]

    result = run(python, "-I", "-S", "-B", "-W", "error", "-c", IMPORT_HOST, str(PACKAGE), *modules)

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("path", HOST_FILES, ids=lambda path: path.name)
def test_the_host_program_is_written_for_python_3_9(path):
    ast.parse(path.read_text(), feature_version=(3, 9))


def test_check_loads_nothing_heavy():
    result = run(sys.executable, "-X", "importtime", "-m", "django", "check", "--settings", "tests.settings")

    loaded = {
        line.rpartition("|")[2].strip()
        for line in result.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert result.returncode == 0, result.stderr
    assert "django_deploy.checks" in loaded
    assert {name for name in loaded if name.split(".")[0] in HEAVY} == set()


def test_version_is_cheap():
    source = "import sys; before = set(sys.modules); import django_deploy; print(*set(sys.modules) - before)"

    assert run(sys.executable, "-c", source).stdout.split() == ["django_deploy"]


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_module_says_what_lives_in_it(path):
    tree = ast.parse(path.read_text())

    assert ast.get_docstring(tree)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_packages_export_nothing(path):
    assert [module for _, module in imports(path) if module != "__future__"] == []


def test_only_reporters_and_commands_write_to_streams():
    # Programs of their own answer on standard output: inside the site, with pip, by the site's interpreter.
    programs = {*PACKAGE.glob("site/*.py"), PACKAGE / "bundle/index/hashing.py", PACKAGE / "host/facts.py"}
    allowed = {*PACKAGE.glob("reporters/*.py"), *PACKAGE.glob("management/**/*.py"), *programs}

    offenders = {path.name for path in set(PACKAGE.rglob("*.py")) - allowed if "print" in called_names(path)}

    assert offenders == set()


def test_only_signatures_need_cryptography():
    importers = {
        path.name
        for path in PACKAGE.rglob("*.py")
        if any(module.split(".")[0] == "cryptography" for level, module in imports(path) if not level)
    }

    assert importers == {"signing.py"}


def test_no_drawer():
    drawers = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}

    assert {module for module in MODULES if module.rpartition(".")[2] in drawers} == set()
