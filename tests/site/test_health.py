import json
import logging
import os

import pytest
from django.core.management import call_command
from django.db import connections
from django.test import Client, override_settings

from django_deploy.site.health import _worker_name
from django_deploy.site.release import release


@pytest.fixture
def client():
    return Client()


def test_healthy_in_development(client, database, monkeypatch):
    monkeypatch.delenv("DJANGO_DEPLOY_RELEASE_DIR", raising=False)

    response = client.get("/healthz/")

    assert response.status_code == 200
    assert response.json() == {"ok": True, "release": None, "worker": _worker_name(os.getpid())}
    assert "no-store" in response.headers["Cache-Control"]


def test_healthy_release_says_its_id(client, database, monkeypatch, tmp_path):
    (tmp_path / "release.json").write_text(json.dumps({"id": "20261122T174500Z-3f9c2a1"}))
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(tmp_path))

    response = client.get("/healthz/")

    assert response.json()["release"] == release().id


def test_unhealthy_when_the_database_does_not_answer(client, database, tmp_path, caplog):
    database.settings_dict["NAME"] = str(tmp_path / "no" / "such" / "folder.sqlite3")

    with caplog.at_level(logging.ERROR, logger="django_deploy"):
        response = client.get("/healthz/")

    assert response.status_code == 503
    assert response.json()["ok"] is False
    assert "The default database does not answer." in caplog.messages
    assert "unable to open database file" in caplog.text


def test_workers_have_names_of_their_own():
    first, again, child = _worker_name(1), _worker_name(1), _worker_name(2)

    assert first == again != child


def test_only_reads_are_answered(client):
    assert client.post("/healthz/").status_code == 405


def details(client, token="secret"):
    return client.get("/healthz/", headers={"Authorization": f"Bearer {token}"}).json()


@override_settings(DEPLOY_HEALTH_TOKEN="secret")
def test_who_has_the_token_is_told_of_each_database(client, database, tmp_path):
    connections["other"].settings_dict["NAME"] = str(tmp_path / "no" / "folder.sqlite3")

    found = details(client)["databases"]

    assert found["other"] == {"error": "unable to open database file", "pending_migrations": None}
    assert found["default"]["error"] == ""
    assert "auth.0001_initial" in found["default"]["pending_migrations"]


@override_settings(DEPLOY_HEALTH_TOKEN="secret")
def test_what_is_pending_is_told_until_it_is_applied(client, database):
    call_command("migrate", verbosity=0)

    assert details(client)["databases"]["default"] == {"error": "", "pending_migrations": []}


@pytest.mark.parametrize(("setting", "sent"), [("secret", "other"), ("secret", ""), ("", ""), ("", "secret")])
def test_without_the_token_there_are_no_details(client, database, setting, sent):
    with override_settings(DEPLOY_HEALTH_TOKEN=setting):
        assert set(details(client, sent)) == {"ok", "release", "worker"}
