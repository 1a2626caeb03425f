"""A compiled editable package is deployed to another Python: its wheel is built there, from its sdist."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.bundle.wheels.test_compiled import make_compiled
from tests.test_local_deployment import Shop


def find_other_python() -> str | None:
    """An interpreter of another minor version, with its headers."""
    program = (
        "import sys, sysconfig, os; sys.exit(not os.path.isfile(sysconfig.get_path('include') + '/Python.h'))"
    )
    for minor in (12, 13, 11, 10):
        places = Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3")
        for python in (shutil.which(f"python3.{minor}"), *map(str, places)):
            is_other = python is not None and minor != sys.version_info[1]
            if is_other and subprocess.run([python, "-c", program], check=False).returncode == 0:
                return python
    return None


@pytest.fixture(scope="module")
def shop():
    other = find_other_python()
    if other is None or shutil.which("cc") is None:
        pytest.skip("needs a C compiler and a Python of another minor version, with its headers")
    with tempfile.TemporaryDirectory(prefix="dd-", dir="/tmp") as folder:  # sockets have short paths
        shop = Shop(Path(folder))
        source = make_compiled(Path(folder) / "acme-c")
        uv, python = Path(sys.executable).with_name("uv"), shop.venv / "bin" / "python"
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "-e", source], check=True)
        shop.set_target(
            PYTHON=other, PROCESSES={"web": "gunicorn bookshop.wsgi --bind unix:{socket} --no-control-socket"}
        )
        yield shop
        shop.stop()


def test_it_is_refused_unless_the_host_may_build(shop):
    status, _, err = shop.run("deploy", "demo")

    assert status == 1
    tag = f"cp3{sys.version_info[1]}"
    assert f"local: cannot run acme_c-1.0-{tag}-{tag}-linux_" in err
    assert "Or set BUILD_ON_HOST, where the host has a compiler." in err


def test_it_is_built_there_once(shop):
    shop.set_target(BUILD_ON_HOST=True)

    status, out, err = shop.run("deploy", "demo", "--plan")
    shop.deploy()
    answers = [ask(shop)]
    shop.change_mark("second")
    shop.deploy()
    answers.append(ask(shop))

    assert status == 0, err
    assert "    built there, from its sdist: acme-c" in out.splitlines()
    assert shop.mark() == "second"
    assert answers == [7, 7]
    modules = {
        path.stat().st_ino for path in shop.root.glob("releases/*/venv/lib/*/site-packages/acme_c*.so")
    }
    assert len(modules) == 1, "each release has built its own"


def ask(shop: Shop) -> int:
    """What the module says in the live release."""
    python = shop.root / "current" / "venv" / "bin" / "python"
    return json.loads(subprocess.check_output([python, "-c", "import acme_c; print(acme_c.number())"]))
