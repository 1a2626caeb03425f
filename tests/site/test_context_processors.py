import json

from django.template.backends.django import DjangoTemplates
from django.test import RequestFactory

OPTIONS = {"context_processors": ["django_deploy.site.context_processors.release"]}
TEMPLATE = "{% if release %}{{ release.version }}, {{ release.revision }}{% else %}-{% endif %}"


def rendered():
    params = {"NAME": "django", "DIRS": [], "APP_DIRS": False, "OPTIONS": OPTIONS}
    template = DjangoTemplates(params).from_string(TEMPLATE)
    return template.render(request=RequestFactory().get("/"))


def test_templates_know_the_release(monkeypatch, tmp_path):
    revision = {"vcs": "git", "id": "3f9c2a1" * 6, "branch": "main", "dirty": True}
    record = {"id": "20261122T174500Z-3f9c2a1", "version": "1.4", "revision": revision}
    (tmp_path / "release.json").write_text(json.dumps(record))
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(tmp_path))

    assert rendered() == "1.4, git 3f9c2a13f9c2 (main) with uncommitted changes"


def test_there_is_none_in_development(monkeypatch):
    monkeypatch.delenv("DJANGO_DEPLOY_RELEASE_DIR", raising=False)

    assert rendered() == "-"
