"""Whole deployments by what a file says: the real command, the example project, a folder of this machine."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.error_ids import without_ids
from tests.test_local_deployment import Shop


@pytest.fixture(scope="module")
def shop():
    # Not pytest's own folder: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        made = Shop(Path(folder))
        yield made
        made.stop()


def freeze(shop: Shop) -> str:
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "pip", "freeze", "--python", shop.venv / "bin" / "python"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_file_says_what_is_deployed(shop):
    installed = re.search("(?m)^sqlparse==(.*)$", freeze(shop))[1]
    text = re.sub("(?m)^sqlparse==.*$", "sqlparse==0.5.1", freeze(shop))
    (shop.project / "requirements.txt").write_text(f'{text}colorama==0.4.6 ; sys_platform == "win32"\n')
    shop.set_target(REQUIREMENTS="requirements.txt")

    status, out, err = shop.run("deploy", "demo")

    assert (status, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "warning: requirements.txt is not what is installed here; the hosts get what it says:" in lines
    assert f"warning: sqlparse 0.5.1 {installed}" in lines
    folders = {path.name for path in shop.root.glob("current/venv/lib/python*/site-packages/*.dist-info")}
    assert "sqlparse-0.5.1.dist-info" in folders
    assert not [name for name in folders if name.startswith("colorama")]


def test_a_lock_file_that_differs_stops_the_deployment(shop):
    (shop.project / "lock.txt").write_text(re.sub("(?m)^sqlparse==.*$", "sqlparse==0.5.1", freeze(shop)))
    shop.set_target(REQUIREMENTS="environment", LOCK_FILE="lock.txt")

    status, out, err = shop.run("deploy", "demo")

    installed = re.search("(?m)^sqlparse==(.*)$", freeze(shop))[1]
    lock = shop.project / "lock.txt"
    assert (status, "Release" in out) == (1, False)
    assert err == (
        "CommandError: LOCK_FILE is set, but lock.txt is not what is installed here and deployed:\n"
        "  distribution  lock.txt  installed\n"
        f"  sqlparse      0.5.1     {installed}\n"
        f"`pip install -r {lock}` brings the environment to the file;"
        f" `pip freeze > {lock}` the file to the environment.\n"
    )


def test_an_explanation(shop):
    (shop.project / "lock.txt").write_text(freeze(shop))
    shop.set_target(REQUIREMENTS="environment", LOCK_FILE="lock.txt")

    status, out, err = shop.run("deploy_bundle", "demo", "--explain", "SQLParse")
    unknown = shop.run("deploy_bundle", "demo", "--explain", "sqlparsed")

    first, second, third = out.splitlines()[:3]
    assert (status, err) == (0, "")
    assert re.fullmatch(r"sqlparse [0-9.]+ is deployed: it comes from an index\.", first)
    assert second == "Required by:"
    assert re.fullmatch(r"  \S+ \S+ -> (.* -> )?django 5\S+ -> sqlparse [0-9.]+", third)
    assert unknown[0] == 2
    assert unknown[2] == (
        "CommandError: sqlparsed is not installed here, and nothing here requires it.\n"
        "Did you mean 'sqlparse'?\n"
    )


def test_a_package_that_was_patched_by_hand_stops_the_deployment(shop):
    shop.set_target(REQUIREMENTS="environment", LOCK_FILE=None)
    [file] = shop.venv.glob("lib/python*/site-packages/sqlparse/__init__.py")
    text = file.read_text()
    file.unlink()  # of the cache of uv, perhaps
    file.write_text(f"{text}\n# patched\n")
    [version] = re.findall("(?m)^sqlparse==(.*)$", freeze(shop))

    refused = [shop.run("deploy", "demo"), shop.run("deploy_bundle", "demo", "-o", "demo.bundle")]
    shop.set_target(ALLOW_ALTERED=["sqlparse"])
    status, _out, err = shop.run("deploy", "demo", "--plan")

    for code, out, err_of_it in refused:
        assert (code, "upload" in out) == (1, False)
        assert without_ids(err_of_it) == (
            "CommandError: Files were changed here after they were installed,"
            f" and hosts get them as the index has them: sqlparse=={version}: sqlparse/__init__.py.\n"
            f"Install them again: pip install --force-reinstall --no-deps sqlparse=={version};"
            " or deploy your own copy, installed with pip install -e."
            " What does not matter can be named in ALLOW_ALTERED.\n"
        )
    assert not (shop.project / "demo.bundle").exists()
    assert (status, err) == (0, "")
