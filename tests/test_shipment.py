"""What a host would install, where it is decided between connecting and planning."""

from __future__ import annotations

import pytest

from django_deploy.bundle.manifest import Manifest, Pin
from django_deploy.bundle.tools import HostPlatform
from django_deploy.host.protocol import ignore
from django_deploy.shipment import fit_bundle
from django_deploy.target import Target
from tests.bundle.index_server import FakeIndex


@pytest.fixture
def index():
    server = FakeIndex()
    yield server
    server.close()


def test_what_the_interpreter_refuses_is_not_looked_for(index, tmp_path, monkeypatch):
    """The plan names all of it, and better than a list of files that are not there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    entry = {"HOSTS": ["web1"], "ROOT": "/srv/shop", "VENDOR": True, "INDEX_URL": index.url}
    target = Target.from_mapping("staging", entry, settings_module="shop.settings")
    manifest = Manifest(
        project="shop",
        version="1.0",
        python="3.12.1",
        wheels=(),
        pins=(Pin("acme-x", "1.0", ("a" * 64,)),),
        created=0.0,
        created_by="anna@laptop",
        requires=(("acme-x", ()), ("shop", ("acme-x",))),
        requires_python=(("acme-x", ">=3.12"),),
    )

    bundle = fit_bundle(target, manifest, HostPlatform((3, 11, 2), glibc="2.36"), ignore)

    assert bundle.refused == (("acme-x", ">=3.12"),)
    assert index.requests == []
