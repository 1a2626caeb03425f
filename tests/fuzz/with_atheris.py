"""The fuzz tests' checks under atheris, which looks for inputs that reach new code: not a part of CI.

``pip install atheris``, then ``python -m tests.fuzz.with_atheris decode -max_total_time=60``; further options
are libFuzzer's. It runs where atheris has wheels or clang builds it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["django_deploy"]):
    from django_deploy.bundle.file import document
    from django_deploy.bundle.requirements import requirements_file
    from django_deploy.exceptions import BundleError
    from django_deploy.host import protocol
    from django_deploy.reading.keys import read_target
    from django_deploy.transport import answers

from hypothesis import HealthCheck, given, settings

from django_deploy.exceptions import ConfigError
from tests.fuzz.strategies import damaged
from tests.fuzz.test_documents import place_of
from tests.fuzz.test_settings import good


def decode(data):
    try:
        message = protocol.decode(data)
        answers.kind_of(message)
        answers.read_reply(0, "hello", message)
    except protocol.ProtocolError:
        pass


def read_document(data):
    try:
        document.read_document(data, place_of)
    except document.DocumentError:
        pass


def read_requirements(data):
    file = Path(tempfile.gettempdir(), "fuzzed-requirements.txt")
    file.write_bytes(data)
    try:
        requirements_file.read_requirements_file(file)
    except BundleError:
        pass


@settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged(good))
def read_settings(mapping):
    try:
        read_target("staging", mapping, resolve=lambda value: value)
    except ConfigError:
        pass


CHECKS = {
    "decode": decode,
    "document": read_document,
    "requirements": read_requirements,
    "settings": read_settings.hypothesis.fuzz_one_input,
}

if __name__ == "__main__":
    check = CHECKS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
