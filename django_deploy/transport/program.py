"""Packs the host program into one command line: nothing is uploaded, nothing stays installed.

The command is ``python3 -I -S -c BOOT PAYLOAD``: the payload is the sources of ``host/`` and the hello,
deflated; the boot line makes them importable as the package ``django_deploy_host`` and calls its
``main``, or that of another module. One argv word may have 128 kB on Linux (MAX_ARG_STRLEN, execve(2)).
"""

from __future__ import annotations

import base64
import functools
import json
import re
import shlex
import zlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from django_deploy.host import protocol

#: Runs on the host, in its ``python3`` 3.9 or newer: loads modules from a dict of sources.
BOOT = """\
import sys
if sys.version_info < (3, 9):
    sys.exit("python3 is %d.%d there; django-deploy needs 3.9 or newer" % sys.version_info[:2])
import importlib, importlib.machinery, json, zlib
from binascii import a2b_base64
bundle = json.loads(zlib.decompress(a2b_base64(sys.argv[1])))
class Memory:
    def find_spec(self, name, path=None, target=None):
        if name in bundle["sources"]:
            is_package = name == "django_deploy_host"
            return importlib.machinery.ModuleSpec(name, self, origin=name, is_package=is_package)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        exec(compile(self.get_source(module.__name__), module.__name__, "exec"), module.__dict__)
    def get_source(self, name):
        return bundle["sources"][name]
sys.meta_path.insert(0, Memory())
sys.exit(importlib.import_module(bundle["entry"]).main(bundle["hello"]))
"""

PACKAGE = "django_deploy_host"

#: What begins a module, or follows the head of a class or function; a parser takes twenty times as long.
DOCSTRING = re.compile(r'(\A|:\n +)"""(.*?)"""', re.DOTALL)

#: A line that is a comment of a function, or says what a constant is. Others may be a line of a text.
COMMENT = re.compile(r"^(?: +#|#:).*$", re.MULTILINE)


def command(hello: Mapping[str, Any], entry: str = "__main__") -> list[str]:
    """The argv that starts the host program, or another of its modules, with its first message."""
    payload = _payload(json.dumps({"hello": protocol.VERSION, **hello}), entry)
    return ["python3", "-I", "-S", "-c", BOOT, payload]


def shell_command(hello: Mapping[str, Any], entry: str = "__main__") -> str:
    """The same for an SSH exec, which the user's login shell reads."""
    return "exec " + shlex.join(command(hello, entry))


@functools.lru_cache(maxsize=8)
def _payload(hello: str, entry: str) -> str:
    """All hosts of a target get the same: to pack it takes longer than to send it."""
    bundle = {"sources": sources(), "entry": f"{PACKAGE}.{entry}", "hello": json.loads(hello)}
    text = json.dumps(bundle, separators=(",", ":"), sort_keys=True)  # what is alike is often named alike
    return base64.b64encode(zlib.compress(text.encode(), level=9)).decode()


@functools.cache
def sources() -> dict[str, str]:
    """Module name to source; docstrings and comments, a quarter of what would be sent, stay here."""
    found = {}
    for file in resources.files("django_deploy.host").iterdir():
        if file.name.endswith(".py"):
            stem = file.name.removesuffix(".py")
            name = PACKAGE if stem == "__init__" else f"{PACKAGE}.{stem}"
            found[name] = without_prose(file.read_text(encoding="utf-8"))
    return found


def without_prose(source: str) -> str:
    """The source without docstrings and comments, each line where it was, so that tracebacks are true."""
    bare = DOCSTRING.sub(lambda found: f'{found[1]}""' + "\n" * found[2].count("\n"), source)
    return COMMENT.sub("", bare)
