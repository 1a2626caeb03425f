import json

import pytest
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage, staticfiles_storage
from django.core.files.storage import storages
from django.core.management import call_command
from django.test import override_settings
from django.utils.functional import empty

from django_deploy.site.manifests import keep_manifest_in_release

MANIFEST = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"


class Site:
    """A host's shared STATIC_ROOT, and the sources of a release's static files."""

    def __init__(self, folder):
        self.releases = folder / "releases"
        self.shared = folder / "shared/static"
        self.sources = folder / "sources"
        self.sources.mkdir()

    def process(self, release, monkeypatch):
        """A process of that release begins; its storage of static files."""
        folder = self.releases / release
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(folder))
        forget_storage()
        keep_manifest_in_release()
        return storages["staticfiles"]

    def collect(self, name):
        """What a release has for a file, and nothing else."""
        for path in self.sources.iterdir():
            path.unlink()
        (self.sources / name).write_text("green")
        call_command("collectstatic", "--noinput", verbosity=0)


def forget_storage():
    """As in a new process."""
    storages._storages.pop("staticfiles", None)
    staticfiles_storage._wrapped = empty


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    settings = {
        "STATIC_ROOT": str(site.shared),
        "STATIC_URL": "/static/",
        "STATICFILES_DIRS": [str(site.sources)],
        "STATICFILES_FINDERS": ["django.contrib.staticfiles.finders.FileSystemFinder"],
        "STORAGES": {"staticfiles": {"BACKEND": MANIFEST}},
    }
    with override_settings(**settings):
        forget_storage()
        yield site
    forget_storage()


def test_each_release_knows_its_own_files(site, monkeypatch):
    site.process("1", monkeypatch)
    site.collect("old.css")
    site.process("2", monkeypatch)
    site.collect("new.css")

    again = site.process("1", monkeypatch)
    assert again.url("old.css") == "/static/old.9f27410725ab.css"
    with pytest.raises(ValueError, match=r"Missing staticfiles manifest entry for 'new\.css'"):
        again.url("new.css")
    assert site.process("2", monkeypatch).url("new.css") == "/static/new.9f27410725ab.css"


def test_the_shared_folder_has_the_newest_as_before(site, monkeypatch):
    site.process("1", monkeypatch)
    site.collect("old.css")
    site.process("2", monkeypatch)
    site.collect("new.css")

    shared, own = (
        json.loads((f / "staticfiles.json").read_text()) for f in (site.shared, site.releases / "2")
    )
    assert shared == own
    assert list(shared["paths"]) == ["new.css"]


def test_a_release_that_collected_elsewhere(site, monkeypatch):
    """On a network folder, say, by another host."""
    site.process("1", monkeypatch)
    site.collect("shop.css")

    assert site.process("2", monkeypatch).url("shop.css") == "/static/shop.9f27410725ab.css"


def test_nothing_was_collected_yet(site, monkeypatch):
    assert site.process("1", monkeypatch).hashed_files == {}


@pytest.mark.parametrize("where", ["development", "in the release"])
def test_where_it_is_left_as_it_is(site, monkeypatch, where):
    if where == "development":
        monkeypatch.delenv("DJANGO_DEPLOY_RELEASE_DIR", raising=False)
        keep_manifest_in_release()
    else:
        with override_settings(STATIC_ROOT=str(site.releases / "1/static")):
            site.process("1", monkeypatch)

    storage = ManifestStaticFilesStorage()
    assert storages["staticfiles"].manifest_storage is storages["staticfiles"]
    assert storage.manifest_storage is storage


@pytest.mark.parametrize(
    "backend", ["django.contrib.staticfiles.storage.StaticFilesStorage", "shop.storage.Missing"]
)
def test_other_storages(site, monkeypatch, backend):
    with override_settings(STORAGES={"staticfiles": {"BACKEND": backend}}):
        monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(site.releases))
        keep_manifest_in_release()
    with override_settings(STORAGES={}):
        keep_manifest_in_release()
