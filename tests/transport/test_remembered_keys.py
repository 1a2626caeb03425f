from __future__ import annotations

from django_deploy.transport import remembered_keys


def test_a_key_is_recalled_for_its_login_only(home):
    remembered_keys.remember("deploy@web:22", "ssh-ed25519 SHA256:abc")

    assert remembered_keys.recall("deploy@web:22") == "ssh-ed25519 SHA256:abc"
    assert remembered_keys.recall("root@web:22") == ""


def test_the_last_key_counts(home):
    remembered_keys.remember("deploy@web:22", "ssh-ed25519 SHA256:abc")
    remembered_keys.remember("deploy@web:22", "ssh-rsa SHA256:def")

    assert remembered_keys.recall("deploy@web:22") == "ssh-rsa SHA256:def"


def test_a_home_that_cannot_be_written_is_no_error(home):
    (home / "state").write_text("not a folder")

    remembered_keys.remember("deploy@web:22", "ssh-ed25519 SHA256:abc")

    assert remembered_keys.recall("deploy@web:22") == ""


def test_nothing_is_left_aside(home):
    remembered_keys.remember("deploy@web:22", "ssh-ed25519 SHA256:abc")

    files = [path for path in (home / "state").rglob("*") if path.is_file()]

    assert len(files) == 1
