import asyncio
import json

import pytest
from django.test import AsyncClient, Client, override_settings

ID = "20261122T174500Z-3f9c2a1"


@pytest.fixture
def deployed(monkeypatch, tmp_path):
    (tmp_path / "release.json").write_text(json.dumps({"id": ID}))
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(tmp_path))


@pytest.fixture
def _header():
    with override_settings(MIDDLEWARE=["django_deploy.site.middleware.release_header"]):
        yield


@pytest.mark.usefixtures("_header", "deployed", "database")
def test_answers_say_which_release_made_them():
    assert Client().get("/healthz/").headers["X-Release"] == ID


@pytest.mark.usefixtures("_header", "deployed", "database")
def test_answers_of_asgi_say_it_too():
    assert asyncio.run(AsyncClient().get("/nothing/")).headers["X-Release"] == ID


@pytest.mark.usefixtures("_header", "database")
def test_there_is_none_in_development(monkeypatch):
    monkeypatch.delenv("DJANGO_DEPLOY_RELEASE_DIR", raising=False)

    assert "X-Release" not in Client().get("/healthz/").headers


@pytest.mark.usefixtures("deployed", "database")
def test_it_is_off_by_default():
    assert "X-Release" not in Client().get("/healthz/").headers
