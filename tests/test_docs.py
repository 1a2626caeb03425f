"""What the documentation says is what the code does: names, options, defaults, limits, messages, examples."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
from django.core.management import load_command_class

from django_deploy import exceptions
from django_deploy.bundle.plain.proposal import MINIMAL_PYPROJECT
from django_deploy.host import launch
from django_deploy.host.protocol import EVENTS
from django_deploy.reading.hosts import BATCH_KEYS, HOST_KEYS
from django_deploy.reading.keys import TARGET_KEYS, read_target, warnings_of
from django_deploy.reading.places import Kind
from django_deploy.reading.processes import HEALTH_CHECK_KEYS, PROCESS_KEYS, STEP_KEYS
from django_deploy.target import DEFAULT_STEPS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.rst", *sorted(page for page in DOCS.rglob("*.rst") if "_build" not in page.parts)]
SOURCES = "\n".join(file.read_text() for file in sorted((ROOT / "django_deploy").rglob("*.py")))

STAGING = {
    "HOSTS": ["web1"],
    "ROOT": "/srv/shop",
    "PROCESSES": {"web": "gunicorn shop.wsgi --bind unix:{socket}"},
}
COMMANDS = sorted(file.stem for file in (ROOT / "django_deploy/management/commands").glob("[!_]*.py"))


def text(page):
    return (DOCS / page).read_text()


def blocks(page, language):
    """The code blocks of a page in one language, without their indentation and options."""
    pattern = rf"^( *)\.\. code-block:: {language}\n((?:\1   .*\n|\n)+)"
    for match in re.finditer(pattern, page.read_text(), re.MULTILINE):
        body = textwrap.dedent(match[2].lstrip("\n"))
        yield re.sub(r"\A(:\w+:.*\n)+", "", body).strip("\n") + "\n"


def all_blocks(language):
    found = [(page, block) for page in PAGES for block in blocks(page, language)]
    assert found
    return [pytest.param(block, id=f"{page.stem}-{number}") for number, (page, block) in enumerate(found)]


def sections(page, underline):
    """Title to text of a page's sections."""
    parts = re.split(rf"^(.+)\n{re.escape(underline)}{{3,}}\n", text(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(page):
    """The rows of a page's list-tables, without their headers; each a list of cells."""
    tables = re.findall(r"^\.\. list-table::\n((?:   .*\n|\n)+)", text(page), re.MULTILINE)
    found = [row for table in tables for row in re.split(r"^   \* - ", table, flags=re.MULTILINE)[2:]]
    return [
        [" ".join(cell.split()) for cell in re.split(r"^     - ", row, flags=re.MULTILINE)] for row in found
    ]


def literal(cell):
    return re.fullmatch(r"``([^`]+)``.*", cell)[1]


# README and examples


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"<([^>]+)>`_", (ROOT / "README.rst").read_text())

    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).is_file()] == []


@pytest.mark.parametrize("block", all_blocks("python"))
def test_python_examples(block):
    is_part_of_a_dict = re.match(r'"[A-Z_]+":', block)
    ast.parse(f"{{{block}}}" if is_part_of_a_dict else block)


def examples_of_targets():
    found = [(page, block) for page in PAGES for block in blocks(page, "python") if "DEPLOY_TARGETS" in block]
    return [pytest.param(block, id=f"{page.stem}-{number}") for number, (page, block) in enumerate(found)]


@pytest.mark.parametrize("block", examples_of_targets())
def test_examples_of_targets_are_sound(block):
    settings = {"INSTALLED_APPS": [], "DEPLOY_TARGETS": {}, "os": os, "Path": Path}
    exec(block, settings)

    assert settings["DEPLOY_TARGETS"]
    for name, entry in settings["DEPLOY_TARGETS"].items():
        made = read_target(name, entry, settings_module="mysite.settings")
        assert warnings_of(made) == ()


@pytest.mark.parametrize("block", all_blocks("toml"))
def test_toml_examples(block):
    assert tomllib.loads(block)["project"]["name"] == "mysite"


def test_the_minimal_pyproject_is_the_one_that_deploy_proposes():
    (block,) = blocks(DOCS / "howto/package-a-project.rst", "toml")

    assert block == MINIMAL_PYPROJECT.format(name="mysite", packages='"mysite*"')


def test_the_minimal_pyproject_takes_templates_and_static_files(tmp_path):
    files = ["mysite/__init__.py", "mysite/templates/mysite/page.html", "mysite/static/mysite/site.css"]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "pyproject.toml").write_text(MINIMAL_PYPROJECT.format(name="mysite", packages='"mysite*"'))

    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)

    (wheel,) = tmp_path.glob("*.whl")
    assert set(files) <= set(zipfile.ZipFile(wheel).namelist())


# Commands


def parser(name):
    return load_command_class("django_deploy", name).create_parser("manage.py", name)


def known_options(name):
    return {option for action in parser(name)._actions for option in action.option_strings}


def own_options(name):
    """Without those that every command of Django's has."""
    common = {option for action in parser("deploy_steps")._actions for option in action.option_strings}
    return {option for option in known_options(name) if option.startswith("--")} - common - {"--skip-checks"}


def command_lines():
    pattern = r"manage\.py ((?:deploy|fix_permissions)[a-z_]*)\b([^`\n#]*)"
    return [(page.stem, name, rest) for page in PAGES for name, rest in re.findall(pattern, page.read_text())]


def test_commands_that_are_shown_exist_with_their_options():
    lines = command_lines()

    assert len(lines) > 20
    for page, name, rest in lines:
        assert name in COMMANDS, f"{page}: {name}"
        ours = rest.partition("-- ")[0]  # what comes behind it is for the site's command
        words = re.sub(r"[\[\]|].*?|[.,;:)]$", " ", ours).split()
        options = {word for word in words if word.startswith("--")}
        assert options <= known_options(name), f"{page}: {name} {rest}"


def test_command_lines_are_accepted():
    for page, name, rest in command_lines():
        if page in ("tutorial", "ci", "rollback", "README") and "|" not in rest:
            words = shlex.split(rest.rstrip(" ."))
            parser(name).parse_args(words)


@pytest.mark.parametrize("name", sorted({*COMMANDS} - {"deploy_to", "deploy_steps"}))
def test_all_options_of_a_command_are_documented(name):
    documented = re.findall(r"^``(--[a-z-]+)", sections("reference/commands.rst", "-")[name], re.MULTILINE)

    assert set(documented) == own_options(name)


def test_all_commands_are_documented():
    assert set(sections("reference/commands.rst", "-")) - {"Exit status"} == set(COMMANDS)


# Settings


NESTED = {
    "HOSTS": HOST_KEYS,
    "STEPS": STEP_KEYS,
    "PROCESSES": PROCESS_KEYS,
    "HEALTH_CHECK": HEALTH_CHECK_KEYS,
    "BATCH": BATCH_KEYS,
}
KEYS = sections("reference/settings.rst", "-")


def test_all_keys_are_documented_in_the_order_of_the_code():
    assert list(KEYS) == list(TARGET_KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_all_nested_keys_are_documented(key):
    documented = re.findall(r"^``([A-Z_]+)``$", KEYS[key], re.MULTILINE)

    assert documented == list(NESTED.get(key, ()))


@pytest.mark.parametrize("key", KEYS)
def test_defaults_are_as_documented(key):
    found = re.search(
        r"Default:\s+``([^`]+)``", re.split(r"^``[A-Z_]+``$", KEYS[key], maxsplit=1, flags=re.MULTILINE)[0]
    )
    if key in ("HOSTS", "ROOT", "SETTINGS_MODULE", "STEPS", "HEALTH_CHECK"):
        return
    base = {"HOSTS": ["web1"], "ROOT": "/srv/shop", "SETTINGS_MODULE": "shop.settings"}

    explicit = read_target("staging", {**base, key: ast.literal_eval(found[1])})

    assert explicit == read_target("staging", base)


def test_default_steps_are_as_documented():
    for step in DEFAULT_STEPS:
        assert f"``{step.name}``" in KEYS["STEPS"]
        assert not step.requires_app or f"(with ``{step.requires_app}``)" in KEYS["STEPS"]


def examples_of_keys():
    page = DOCS / "reference/settings.rst"
    return [block for block in blocks(page, "python") if not block.startswith("DEPLOY_TARGETS")]


@pytest.mark.parametrize("block", examples_of_keys())
def test_examples_of_keys_are_sound(block):
    entry = eval(f"{{{block}}}", {"os": os})

    read_target("staging", {**STAGING, **entry}, settings_module="shop.settings")


def test_every_key_has_an_example():
    shown = {key for block in examples_of_keys() for key in re.findall(r'\A"([A-Z_]+)"', block)}

    assert shown == set(KEYS)


# Tables


def test_checks_are_as_documented():
    assert [literal(row[0]) for row in rows("reference/checks.rst")] == [kind.value for kind in Kind]


def test_ids_that_are_named_exist():
    named = {id for page in PAGES for id in re.findall(r"deploy\.[EW]\d+", page.read_text())}

    assert named == {kind.value for kind in Kind}


def test_events_are_as_documented():
    documented = {
        literal(row[0]): " ".join(re.findall(r"``(\w+)``", row[1])) for row in rows("reference/events.rst")
    }

    assert documented == EVENTS


def test_errors_are_as_documented():
    classes = {
        name: value
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and issubclass(value, exceptions.DeployError)
    }
    table = [row for row in rows("reference/errors.rst") if len(row) == 4]

    assert [literal(row[0]) for row in table] == list(classes)
    for name, _, status, _ in table:
        wanted = "1 or 3" if literal(name) == "RolloutFailed" else str(classes[literal(name)].exit_status)
        assert status == wanted


def test_types_of_failures_are_as_documented():
    raised = set()
    for file in (ROOT / "django_deploy/host").glob("*.py"):
        raised |= set(re.findall(r'Failure\(\s*"(\w+)"', file.read_text()))
    documented = [literal(row[0]) for row in rows("reference/errors.rst") if len(row) == 3]

    assert documented == sorted(raised)


def made_errors():
    """The class of each expected error that the source makes, and with those of hosts the type."""
    for file in sorted((ROOT / "django_deploy").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                made = getattr(exceptions, node.func.id, None)
                if inspect.isclass(made) and issubclass(made, exceptions.DeployError):
                    yield made
                elif node.func.id == "Failure" and isinstance(node.args[0], ast.Constant):
                    yield node.args[0].value


def id_of(made):
    if isinstance(made, str):
        is_own = made != "Locked"  # it becomes another error on its way
        return exceptions.RequestFailed("web1", "", type=made).id if is_own else "host-locked"
    return {
        exceptions.RequestFailed: exceptions.RequestFailed("web1", "", type="?").id,
        exceptions.RolloutFailed: exceptions.RolloutFailed("", errors=[]).id,
    }.get(made) or (made("web1", "") if issubclass(made, exceptions.HostError) else made("")).id


def test_every_error_that_is_made_has_its_anchor():
    made = set(made_errors())
    anchors = re.findall(r"_`([a-z-]+)`", text("reference/errors.rst"))

    assert len(made) > 25
    assert {id_of(each) for each in made} <= set(anchors)
    assert len(anchors) == len(set(anchors))


def test_every_anchor_is_the_id_of_what_stands_beside_it():
    for name, anchor, *_ in rows("reference/errors.rst"):
        made = getattr(exceptions, literal(name), literal(name))
        assert anchor == ("``host-locked``" if made == "Locked" else f"_`{id_of(made)}`")


def test_no_error_is_defined_elsewhere():
    """Its class would have no anchor."""
    known = {name for name, value in vars(exceptions).items() if inspect.isclass(value)}
    for file in sorted((ROOT / "django_deploy").rglob("*.py")):
        if file.name != "exceptions.py":
            classes = (
                node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef)
            )
            bases = {base.id for each in classes for base in each.bases if isinstance(base, ast.Name)}
            assert not bases & known, file


def test_the_environment_is_as_documented(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "__file__", str(tmp_path / "launch.py"))
    (tmp_path / "release.json").write_text(json.dumps({"settings_module": "shop.settings"}))
    (tmp_path / "environment.json").write_text("{}")

    documented = re.findall(r"^``([A-Z_]+)``$", text("reference/environment.rst"), re.MULTILINE)

    assert set(documented) == set(launch.environment({}))


# Limits


UNITS = {
    "": 1,
    "s": 1,
    "ms": 1,
    "h": 3600,
    "days": 24 * 3600,
    "MB": 10**6,
    "MiB": 1 << 20,
    "bytes": 1,
    "characters": 1,
}
FIXED = [row for row in rows("reference/limits.rst") if row[2].startswith("``") and "." in row[2]]


def look_up(path):
    """A constant, a function's ``timeout``, or a dataclass's default."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(["django_deploy", *parts[:end]]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            if dataclasses.is_dataclass(value):
                return {field.name: field.default for field in dataclasses.fields(value)}[name]
            value = getattr(value, name)
        return inspect.signature(value).parameters["timeout"].default if callable(value) else value
    raise AssertionError(path)


@pytest.mark.parametrize(("what", "value", "constant"), FIXED)
def test_limits_are_as_documented(what, value, constant):
    number, _, unit = value.partition(" ")

    assert float(number) * UNITS[unit] == look_up(literal(constant))


#: Not limits that anybody meets: sizes of buffers and pieces, what others decide, defaults of settings.
UNLISTED = {
    "target.STEP_TIMEOUT",
    "transport.channel.MAX_ERROR_TEXT",
    "bundle.wheels.backend.LAST_LINES",
}


def test_all_limits_are_documented():
    words = r"TIMEOUT|PATIENCE|SILENCE|MAX_|LONGEST|RESERVED|RETRIES|LAST_LINES|GIVE_UP|KEEP_|_FOR"
    documented = {literal(row[2]) for row in FIXED} | UNLISTED
    for file in sorted((ROOT / "django_deploy").rglob("*.py")):
        module = ".".join(file.relative_to(ROOT / "django_deploy").with_suffix("").parts)
        for name in re.findall(r"^([A-Z][A-Z_]*)(?::[^=\n]+)? = [0-9(]", file.read_text(), re.MULTILINE):
            if re.search(words, name):
                assert f"{module}.{name}" in documented, "Add it to docs/reference/limits.rst."


def test_settable_limits_are_as_documented():
    table = {row[2]: row[1] for row in rows("reference/limits.rst") if row not in FIXED}
    made = read_target("staging", STAGING, settings_module="shop.settings")

    assert {f"{step.timeout:g} s" if step.timeout else "none" for step in made.steps} == {
        row[1] for row in rows("reference/limits.rst") if row[2] == "``STEPS`` ``TIMEOUT``"
    }
    assert table["``HEALTH_CHECK`` ``TIMEOUT``"] == f"{made.health_check.timeout:g} s"
    assert table["``PROCESSES`` ``STOP_TIMEOUT``"] == f"{made.processes[0].stop_timeout:g} s"
    assert table["``LOCK_WAIT``, ``deploy --wait``"] == f"{made.lock_wait:g} s"
    assert table["``KEEP_RELEASES``"] == str(made.keep_releases)


# Messages


@pytest.mark.parametrize(
    "message", re.findall(r"^``([^`]+)``$", text("howto/when-it-fails.rst"), re.MULTILINE)
)
def test_messages_that_are_explained_exist(message):
    for fragment in message.split("…"):
        assert fragment.strip() in SOURCES


# The code's places


def test_the_layers_are_those_of_the_import_contract():
    told = re.search(r"\* Layers, highest first: (.+?)\.\n\n", text("contributing.rst"), re.DOTALL)[1]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = contracts[0]["layers"]

    assert [set(re.findall(r"\w+", layer)) for layer in told.split("\u203a")] == [
        set(re.findall(r"django_deploy\.(\w+)", layer)) for layer in layers
    ]


def test_files_that_are_named_exist():
    named = set(re.findall(r"``([\w/]+\.py|\w+/)``", text("contributing.rst"))) - {"manage.py"}
    places = [ROOT, ROOT / "django_deploy"]

    assert len(named) > 20
    assert [name for name in named if not any((place / name).exists() for place in places)] == []
    assert (
        "DEVELOPMENT_TOOLS"
        in (ROOT / re.search(r"``(django_deploy/\S+\.py)``", KEYS["EXCLUDE"])[1]).read_text()
    )
