from __future__ import annotations

import json
import os
import pwd
import subprocess
import tempfile

import pytest

from django_deploy.host.users import user_name
from django_deploy.transport import program

#: A uid that has no name, as in a container that somebody runs with a uid of his choice.
NAMELESS = next(uid for uid in range(54_321, 65_000) if uid not in {user.pw_uid for user in pwd.getpwall()})


def test_a_user():
    assert user_name(0) == "root"


def test_ourselves():
    assert user_name() == pwd.getpwuid(os.geteuid()).pw_name


def test_a_uid_without_a_name_is_its_own_name():
    assert user_name(NAMELESS) == str(NAMELESS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program as somebody else")
def test_the_host_program_serves_a_uid_without_a_name():
    hello = {"python": "python3", "manager": None, "heartbeat": 5.0, "silence": 15.0}
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, NAMELESS, NAMELESS)
        argv = program.command({**hello, "root": f"{folder}/site"})

        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, user=NAMELESS, cwd="/"
        )

    assert done.stderr == b""
    assert json.loads(done.stdout)["result"]["user"] == str(NAMELESS)
