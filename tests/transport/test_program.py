from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from django_deploy.transport import program

HELLO = {"root": "/srv/site", "python": "python3", "manager": None, "heartbeat": 5.0, "silence": 15.0}


def pythons():
    """Every CPython here that a host could have, the one that runs the tests among them."""
    found = {"python3": shutil.which("python3")}
    for folder in [*Path.home().glob(".pyenv/versions/*/bin"), *os.environ["PATH"].split(os.pathsep)]:
        for path in Path(folder).glob("python3.*[0-9]"):
            found.setdefault(path.name, str(path))
    return [pytest.param(path, id=name) for name, path in sorted(found.items())]


def run(python, hello, stdin=b""):
    argv = [python, *program.command(hello)[1:]]
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=60)


def version(python):
    done = subprocess.run(
        [python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True
    )
    return tuple(int(part) for part in done.stdout.split())


@pytest.mark.parametrize("python", pythons())
def test_it_runs_on_every_python_from_3_9(python, tmp_path):
    if not (found := version(python)):
        pytest.skip(f"{python} does not run")

    done = run(python, {**HELLO, "root": str(tmp_path / "site")})

    if found < (3, 9):
        assert done.returncode == 1
        assert done.stderr.decode() == (
            f"python3 is {found[0]}.{found[1]} there; django-deploy needs 3.9 or newer\n"
        )
    else:
        assert done.stderr == b""
        (reply,) = [json.loads(line) for line in done.stdout.splitlines()]
        assert reply["id"] == 0
        assert reply["result"]["live"] is None
        assert done.returncode == 0


def test_a_probe_changes_nothing(tmp_path):
    run("python3", {**HELLO, "root": str(tmp_path / "site")})

    assert list(tmp_path.iterdir()) == []


def test_a_hello_of_another_version_is_refused():
    argv = program.command(HELLO)
    entry = f"{program.PACKAGE}.__main__"
    bundle = {"sources": program.sources(), "entry": entry, "hello": {**HELLO, "hello": 99}}
    import base64
    import zlib

    argv[-1] = base64.b64encode(zlib.compress(json.dumps(bundle).encode())).decode()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True)

    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["message"] == "protocol 99, this is 1"


def test_an_unknown_request_is_refused_and_the_session_goes_on(tmp_path):
    request = b'{"id": %d, "request": "format_disk"}\n'
    done = run("python3", {**HELLO, "root": str(tmp_path / "site")}, request % 1 + request % 2)

    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert replies[0]["id"] == 0
    for reply in replies[1:]:
        assert reply["error"]["message"] == "unknown request 'format_disk'"
        assert reply["error"]["type"] == "BadRequest"


def test_it_fits_into_one_argument_and_leaves_room_for_the_hello():
    words = shlex.join(program.command(HELLO))

    # MAX_ARG_STRLEN is 128 KiB; the longest path, PATH_MAX, has 4. (bz2 would take a quarter less than zlib,
    # and is not in every Python.)
    assert len(words) < (128 - 12) * 1024


def test_its_size_is_as_documented():
    text = (Path(__file__).parents[2] / "docs" / "explanation.rst").read_text()

    (documented,) = re.findall(r"some (\d+) kB compressed", text)

    assert len(shlex.join(program.command(HELLO))) == pytest.approx(1000 * int(documented), rel=0.1)


MODULES = [file for file in resources.files("django_deploy.host").iterdir() if file.name.endswith(".py")]


def blank_docstrings(tree):
    """The syntax tree with empty docstrings: what must be left of a source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body[0].value.value = ""
    return tree


@pytest.mark.parametrize("module", [pytest.param(file, id=file.name) for file in MODULES])
def test_sources_lose_their_docstrings_and_comments_and_nothing_else(module):
    text = module.read_text()

    bare = program.without_prose(text)

    assert ast.dump(ast.parse(bare)) == ast.dump(blank_docstrings(ast.parse(text)))


@pytest.mark.parametrize("module", [pytest.param(file, id=file.name) for file in MODULES])
def test_sources_keep_their_lines(module):
    lines = module.read_text().splitlines()

    bare = program.without_prose(module.read_text()).splitlines()

    assert len(bare) == len(lines)
    kept = [
        number for number, line in enumerate(lines) if line.lstrip().startswith(("def ", "return ", "class "))
    ]
    assert [bare[number] for number in kept] == [lines[number] for number in kept]


def test_a_bug_of_the_host_program_shows_its_lines():
    source = program.sources()["django_deploy_host.__main__"]
    number = next(i for i, line in enumerate(source.splitlines(), 1) if "Layout(hello" in line)

    done = run("python3", {"python": "python3"})

    assert f'"django_deploy_host.__main__", line {number}, in __init__\n' in done.stderr.decode()
    assert done.stderr.decode().endswith("KeyError: 'root'\n")


def test_a_shell_reads_the_command_as_it_is():
    exec_, words = program.shell_command(HELLO).split(" ", 1)

    read = subprocess.run(["sh", "-c", f"printf '%s\\0' {words}"], capture_output=True, text=True).stdout

    assert exec_ == "exec"
    assert read.split("\0")[:-1] == program.command(HELLO)
