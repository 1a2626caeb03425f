"""What wheel tags and markers depend on.

Also a program of its own, for the interpreter that PYTHON names.
"""

from __future__ import annotations

import glob
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from typing import Any

#: Where musl's loader is; it is the library, too.
MUSL = "/lib/ld-musl-*.so.1"


def python_facts() -> dict[str, Any]:
    """Version and platform of this interpreter."""
    glibc = _glibc_version()
    return {
        "version": list(sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "machine": platform.machine(),
        "system": sys.platform,
        "glibc": glibc,
        "musl": None if glibc else _musl_version(),
        "soabi": sysconfig.get_config_var("SOABI"),
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    }


def _glibc_version() -> str | None:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return None
    return version if name == "glibc" else None


def _musl_version() -> str | None:
    """musl has no function that tells it; its loader does, when it is run with nothing to load."""
    for loader in glob.glob(MUSL):
        try:
            done = subprocess.run([loader], stderr=subprocess.PIPE, check=False)
        except OSError:
            continue
        match = re.search(r"^Version (\d+\.\d+)", done.stderr.decode(errors="replace"), re.MULTILINE)
        if match:
            return match[1]
    return None


if __name__ == "__main__":
    print(json.dumps(python_facts()))
