"""What is fetched from hosts that lie: nothing is written elsewhere, and nothing half is left as if whole."""

from __future__ import annotations

import os
import sys

import pytest

from django_deploy import retrieval
from django_deploy.exceptions import DeployError
from django_deploy.retrieval import Wish, fetch_database, fetch_media_files
from django_deploy.transport import local, program
from tests.lies.liar import COPIES, MEDIA
from tests.lies.test_session import LIAR, TARGET, no_other_errors

#: What is said of names that no honest host has.
NAMES = {
    "lists a file above": "'../evil'",
    "lists a file far above": "'covers/../../../../evil'",
    "lists an absolute path": "'/tmp/evil'",
    "lists a file of no name": "''",
    "lists the folder": "'.'",
    "lists half a character": "'\\ud800'",
    "lists a zero": "'a\\x00b'",
    "lists a long name": repr("x" * 100),
    "lists a file twice": "'cover'",
}

MISSED = (
    "local: these were changed or deleted while they were fetched: cover\n"
    "Everything else is here. Run the command again."
)


@pytest.fixture
def lying(monkeypatch):
    """From here on the local host's program is the liar."""
    monkeypatch.setattr(local, "LEAVE_TIMEOUT", 0.5)
    monkeypatch.setattr(retrieval, "MAX_FILES", 5000)

    def lie(lie):
        monkeypatch.setattr(program, "command", lambda hello: [sys.executable, "-S", str(LIAR), lie])

    with no_other_errors():
        yield lie


@pytest.fixture
def folder(tmp_path):
    """In it a link that leads out of it."""
    folder = tmp_path / "here" / "media"
    folder.mkdir(parents=True)
    (tmp_path / "away").mkdir()
    (folder / "away").symlink_to(tmp_path / "away")
    return folder


@pytest.mark.parametrize("lie", list(MEDIA))
def test_media_files(lying, folder, tmp_path, lie):
    lying(lie)
    (folder / "mine").write_text("mine")

    with pytest.raises(DeployError) as caught:
        fetch_media_files(TARGET, folder, delete=True)

    said = str(caught.value)
    if lie in NAMES:
        assert said == (
            f"local: it lists a file with an impossible name: {NAMES[lie]}.\n"
            "That is not what was asked for: look at who else uses the host."
        )
    elif lie.startswith("sends "):
        assert said == MISSED
    else:
        assert said.startswith(SAID[lie].format(folder=folder, away=tmp_path / "away")), said
    files = {os.path.relpath(path, tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    parts = {name for name in files if name.startswith("here/media/.deploy_fetch-")}
    assert files - parts - {"here/media/cover"} == {"here/media/mine"}
    assert not (folder / "cover").exists() or lie == "lists what is a file and a folder"


SAID = {
    "lists a file of less than nothing": "local: the host program was not understood: reply 1.result.files",
    "lists a file of 100 TB": "{folder} has ",
    "lists what is a file and a folder": "{folder}/cover: ",
    "lists a part of ours": "A file that is called '.deploy_fetch-0123456789abcdef.part' is not written.",
    "lists a file behind a link": "{folder}/away/evil is not written: a link leads from there to {away}.",
    "lists nothing": "Nothing was deleted: the host has no file at all.",
    "lists without an end": "local: it lists more than 5000 files.",
    "lists nothing without an end": "local: it lists more than 5000 files.",
}


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (
            "copies other bytes",
            "local: what was fetched is not what the host says it sends: its sha256 differs\n"
            "Nothing was written. Run the command again.",
        ),
        ("copies less", "local: the copy of sqlite \x1b]0;owned"),
        ("copies 100 TB", "{folder} has "),
        ("copies to another place", "local: the host program was not understood: reply 1.result.copy.suffix"),
        ("copies under another name", "local: the host program was not understood: reply 1.result.copy.name"),
    ],
)
def test_databases(lying, tmp_path, lie, message):
    lying(lie)

    with pytest.raises(DeployError) as caught:
        fetch_database(TARGET, Wish(), tmp_path / "shop.dump")

    assert str(caught.value).startswith(message.format(folder=tmp_path)), str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"shop.dump.part", "shop.dump.part.json"}
    assert lie in COPIES
