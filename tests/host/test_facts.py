"""What the host says of its interpreter."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

from django_deploy.host import facts

#: What musl's loader says to nobody in particular, as it is on Alpine 3.20.
MUSL = """#!/bin/sh
printf 'musl libc (x86_64)\\nVersion 1.2.5\\nDynamic Program Loader\\nUsage: %s [options]\\n' "$0" >&2
exit 1
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks of glibc")
def test_glibc():
    found = facts.python_facts()

    assert (found["glibc"], found["musl"]) == (platform.libc_ver()[1], None)


@pytest.mark.parametrize(("said", "version"), [(MUSL, "1.2"), ("#!/bin/sh\nexit 1\n", None), ("", None)])
def test_musl_says_its_version_through_its_loader(tmp_path, monkeypatch, said, version):
    loader = tmp_path / "ld-musl-x86_64.so.1"
    loader.write_text(said or "not a program")
    loader.chmod(0o755 if said else 0o644)
    monkeypatch.setattr(facts, "MUSL", str(tmp_path / "ld-musl-*.so.1"))
    monkeypatch.setattr(facts, "_glibc_version", lambda: None)

    found = facts.python_facts()

    assert (found["glibc"], found["musl"]) == (None, version)


def test_other_interpreters_tell_the_same():
    program = facts.__loader__.get_source(facts.__name__)

    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, check=True)

    assert json.loads(done.stdout) == facts.python_facts()
