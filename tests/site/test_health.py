import json
import logging

import pytest
from django.test import Client

from django_deploy.site.release import release


@pytest.fixture
def client():
    return Client()


def test_healthy_in_development(client, database, monkeypatch):
    monkeypatch.delenv("DJANGO_DEPLOY_RELEASE_DIR", raising=False)

    response = client.get("/healthz/")

    assert response.status_code == 200
    assert response.json() == {"ok": True, "release": None}
    assert "no-store" in response.headers["Cache-Control"]


def test_healthy_release_says_its_id(client, database, monkeypatch, tmp_path):
    (tmp_path / "release.json").write_text(json.dumps({"id": "20261122T174500Z-3f9c2a1"}))
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(tmp_path))

    response = client.get("/healthz/")

    assert response.json() == {"ok": True, "release": release().id}


def test_unhealthy_when_the_database_does_not_answer(client, database, tmp_path, caplog):
    database.settings_dict["NAME"] = str(tmp_path / "no" / "such" / "folder.sqlite3")

    with caplog.at_level(logging.ERROR, logger="django_deploy"):
        response = client.get("/healthz/")

    assert response.status_code == 503
    assert response.json() == {"ok": False, "release": None}
    assert "The default database does not answer." in caplog.messages
    assert "unable to open database file" in caplog.text


def test_only_reads_are_answered(client):
    assert client.post("/healthz/").status_code == 405
