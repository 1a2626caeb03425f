"""Bundle documents and requirements files of strangers: read, or refused with a message."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st
from packaging.markers import default_environment

from django_deploy.bundle.file.document import DocumentError, read_document, write_document
from django_deploy.bundle.requirements.lock_file import read_lock_file
from django_deploy.bundle.requirements.requirements_file import read_requirements_file
from django_deploy.exceptions import BundleError
from tests.fuzz.strategies import NASTY, as_json, damaged, lines, texts

SHA = "a" * 64
WHEEL = {"name": "shop", "version": "1.0", "file": "shop-1.0-py3-none-any.whl", "sha256": SHA, "size": 7}
DOCUMENT = {
    "format": "django-deploy bundle",
    "version": 1,
    "project": {"name": "shop", "version": "1.0", "extras": ["cache"], "revision": None},
    "environment": dict(default_environment()),
    "wheels": [{**WHEEL, "revision": {"vcs": "git", "id": "3f9c2a1", "dirty": False}}],
    "vendored": [],
    "tools": [],
    "sdists": [],
    "pins": [{"name": "django", "version": "5.2", "marker": 'python_version > "3"', "hashes": ["b" * 64]}],
    "requires": {"shop": ["django>=5"]},
    "requires_python": {"shop": ">=3.10"},
}
FOLDER = Path("/nowhere/bundles")


def place_of(sha256, name):
    path = FOLDER / sha256 / name
    assert path.parents[1] == FOLDER and ".." not in path.parts
    return path


def test_documents(fuzz):
    def check(content):
        try:
            manifest = read_document(content, place_of)
        except DocumentError as error:
            assert len(str(error)) < 5000
            return
        again = read_document(write_document(manifest), place_of)
        assert write_document(again) == write_document(manifest)
        assert again.distributions == manifest.distributions
        json.dumps(replace(manifest, created=1.0).as_dict())

    fuzz(check, damaged(DOCUMENT).map(as_json) | lines)


requirement = st.sampled_from(
    [
        "django==5.2",
        "django==5.2 \\",
        f"    --hash=sha256:{SHA}",
        "celery[redis]>=5; python_version < '3.11'",
        "-e .",
        "-r other.txt",
        "-c other.txt",
        "--index-url https://user:pass@pypi.example.com/simple",
        "git+https://github.com/django/django@main#egg=django",
        "shop @ file:///srv/shop-1.0-py3-none-any.whl",
        "./shop",
        "# comment",
        "'./my shop'",
    ]
)
fragments = st.sampled_from(
    [
        *"[](){}'\"\\;@#:=<>!~,.-/$% \t\0\x1b",
        "==",
        "--hash=",
        "egg=",
        "://",
        "file:",
        "~root",
        "~x/",
        "[::",
        " ;",
        "(" * 3000,
    ]
)


@st.composite
def garbled(draw):
    """A line with something in the middle of it."""
    line = draw(requirement)
    at = draw(st.integers(0, len(line)))
    return line[:at] + draw(fragments | texts) + line[at + draw(st.integers(0, 3)) :]


requirements = st.lists(requirement | garbled() | fragments | st.sampled_from(NASTY), max_size=6).map(
    "\n".join
)
pylocks = st.sampled_from(
    [
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "django"\nversion = "5.2"\n',
        'lock-version = "1.0"\ncreated-by = "x"\npackages = []\n',
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\n'
        'wheels = [{name = "a-1-py3-none-any.whl", '
        f'url = "http://[", hashes = {{sha256 = "{SHA}"}}}}]\n',
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\ndirectory = {path = "../a"}\n',
    ]
)


@st.composite
def garbled_pylocks(draw):
    text = draw(pylocks)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(fragments | texts) + text[at + draw(st.integers(0, 5)) :]
    return text


def read(reader, file):
    try:
        found = reader(file)
    except BundleError as error:
        assert error.message
        return
    for entry in found.entries:
        assert isinstance(f"{entry} {entry.path} {entry.version} {entry.applies_here}", str)


def write(file, text):
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    return file


def test_requirements_files(fuzz, tmp_path):
    def check(text, other):
        write(tmp_path / "other.txt", other)
        file = write(tmp_path / "requirements.txt", text)
        read(read_requirements_file, file)
        read(read_lock_file, file)

    fuzz(check, requirements, requirements)


def test_lock_files(fuzz, tmp_path):
    fuzz(lambda text: read(read_lock_file, write(tmp_path / "pylock.toml", text)), garbled_pylocks())
