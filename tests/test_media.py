"""The folder into which media files are fetched: what is there, what is not, and what stays outside."""

from __future__ import annotations

import os

import pytest

from django_deploy.exceptions import DeployError
from django_deploy.media import MediaFile, MediaFolder, is_harmless

COVER = MediaFile("covers/emma", 4, 1_700_000_000_123_456_789)


@pytest.fixture
def folder(tmp_path):
    return MediaFolder(tmp_path / "media")


def finish(folder, file=COVER, content=b"emma"):
    folder.part(file).write_bytes(content)
    folder.finish(file)


@pytest.mark.parametrize(
    "name", ["a", "a/b", "…/☃", "a b", ".hidden", "a\udcff", "x" * 255, "~", "-rf", "a\nb"]
)
def test_names_that_are_written(folder, name):
    assert is_harmless(name)
    assert folder.path in folder.place(name).parents


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/a", "a/", "a//b", "a/../b", "a/.", "x" * 256, "\0", "\ud800"]
)
def test_names_that_are_not(folder, name):
    assert not is_harmless(name)
    with pytest.raises(DeployError):
        folder.place(name)


def test_what_is_there_is_known_by_size_and_time(folder):
    assert folder.lacks(COVER)
    finish(folder)

    assert not folder.lacks(COVER)
    assert folder.lacks(MediaFile(COVER.name, 5, COVER.changed))
    assert folder.lacks(MediaFile(COVER.name, 4, COVER.changed + 1_000_000))
    assert (folder.path / "covers" / "emma").read_bytes() == b"emma"
    assert list(folder.others({"covers/emma"})) == []


def test_a_link_in_its_place_is_replaced_and_not_followed(folder, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (folder.path / "covers").mkdir()
    (folder.path / "covers" / "emma").symlink_to(tmp_path / "mine")

    assert folder.lacks(COVER)
    finish(folder)

    assert (tmp_path / "mine").read_text() == "mine"
    assert not (folder.path / "covers" / "emma").is_symlink()


def test_a_link_that_leads_out_is_not_followed(folder, tmp_path):
    (folder.path / "covers").symlink_to(tmp_path)

    with pytest.raises(DeployError) as caught:
        folder.place("covers/emma")

    assert str(caught.value) == (
        f"{folder.path}/covers/emma is not written: a link leads from there to {tmp_path}.\nRemove the link."
    )


def test_a_part_is_of_one_file(folder):
    folder.part(COVER).write_bytes(b"em")

    assert folder.have(COVER) == 2
    assert folder.have(MediaFile(COVER.name, 4, COVER.changed + 1)) == 0
    assert list(folder.others(set())) == []
    folder.part(COVER).write_bytes(b"too much")
    assert folder.have(COVER) == 0
    folder.forget_parts()
    assert list(folder.path.iterdir()) == []


def test_folders_that_are_empty_go_with_their_files(folder):
    finish(folder)
    finish(folder, MediaFile("covers/old/one", 4, 1))
    (folder.path / "link").symlink_to(folder.path / "covers")

    folder.delete(path for path in folder.others({"covers/emma"}) if not path.is_symlink())

    assert sorted(os.listdir(folder.path / "covers")) == ["emma"]


def test_where_no_folder_can_be(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(DeployError) as caught:
        MediaFolder(tmp_path / "file")

    assert str(caught.value) == f"{tmp_path}/file: no folder can be made there: File exists."
