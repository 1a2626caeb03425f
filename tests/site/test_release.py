import json
from datetime import datetime, timezone

import pytest

from django_deploy.site.release import Release, Revision, release

RECORD = {
    "id": "20261122T174500Z-3f9c2a1",
    "project": "bookshop",
    "version": "1.2",
    "revision": {"vcs": "git", "id": "3f9c2a1d5b6e7f8091a2", "branch": "main", "dirty": True},
    "created": 1795369500.25,
    "created_by": "ada@laptop",
    "distributions": {"django": "5.2.19"},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(tmp_path))
    return tmp_path


def write(folder, record):
    (folder / "release.json").write_text(json.dumps(record))


def test_release_is_read_from_its_folder(folder):
    write(folder, RECORD)

    found = release()

    assert found == Release(
        id="20261122T174500Z-3f9c2a1",
        project="bookshop",
        version="1.2",
        revision=Revision("git", "3f9c2a1d5b6e7f8091a2", "main", is_dirty=True),
        created=datetime(2026, 11, 22, 17, 45, 0, 250000, tzinfo=timezone.utc),
        created_by="ada@laptop",
    )
    assert str(found.revision) == "git 3f9c2a1d5b6e (main) with uncommitted changes"


def test_release_of_a_project_without_vcs(folder):
    write(folder, {"id": "20261122T174500Z-3f9c2a1", "revision": None})

    found = release()

    assert found == Release("20261122T174500Z-3f9c2a1", "", "", None, None, "")


def test_clean_revision_without_branch():
    assert str(Revision("hg", "3f9c2a1d5b6e7f8091a2", "", is_dirty=False)) == "hg 3f9c2a1d5b6e"


def test_nothing_is_deployed_in_development(monkeypatch):
    monkeypatch.delenv("DJANGO_DEPLOY_RELEASE_DIR", raising=False)

    assert release() is None


def test_a_release_without_its_record_is_broken(folder):
    with pytest.raises(FileNotFoundError):
        release()
