"""paramiko as we load it: what it logs, and what it takes along."""

from __future__ import annotations

import subprocess
import sys

import pytest

SITE = """
import logging, sys
logging.basicConfig(level="DEBUG", stream=sys.stdout, format="%(name)s: %(message)s")
{configuration}
from django_deploy.transport._paramiko import paramiko
assert "invoke" not in sys.modules
paramiko.util.get_logger("paramiko.transport").info("Connected")
logging.getLogger("site").info("a line of the site's own")
"""


@pytest.mark.parametrize(
    ("configuration", "printed"),
    [
        ("", ""),
        ("logging.getLogger('paramiko').setLevel('INFO')", "paramiko.transport: Connected\n"),
        ("logging.getLogger('paramiko').addHandler(logging.StreamHandler(sys.stdout))", "Connected\n"),
    ],
    ids=["not asked for", "level", "handler"],
)
def test_paramiko_logs_where_the_site_asks_for_it(configuration: str, printed: str) -> None:
    code = SITE.format(configuration=configuration)

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.endswith("site: a line of the site's own\n")
    assert done.stdout.startswith(printed)
    assert ("Connected" in done.stdout) is bool(printed)
    assert done.stderr == ""
