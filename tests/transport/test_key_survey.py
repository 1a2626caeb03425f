from __future__ import annotations

import shutil

import pytest

from django_deploy.target import Host
from django_deploy.transport.key_survey import survey_keys
from tests.transport.servers import make_key

pytestmark = pytest.mark.skipif(not shutil.which("ssh"), reason="OpenSSH is not installed")


@pytest.fixture
def key(tmp_path):
    make_key(tmp_path / "key")
    return tmp_path / "key"


def test_a_key_file(key, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    found = survey_keys(Host("web1.example", key_file=str(key)))

    assert found.address == "web1.example"
    assert (found.agent, found.agent_error) == (None, "")
    [offer] = found.offers
    assert offer.startswith("ssh-ed25519 SHA256:") and offer.endswith(f"({key})")


def test_an_agent_that_is_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))

    found = survey_keys(Host("web1.example", key_file=str(tmp_path / "absent")))

    assert found.offers == ()
    assert found.agent == tmp_path / "agent"
    assert "No such file or directory" in found.agent_error
