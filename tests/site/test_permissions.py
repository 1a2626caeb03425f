import os
import socket
import stat
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.test import modify_settings, override_settings

from django_deploy.site import permissions
from django_deploy.site.permissions import (
    Fixer,
    Outcome,
    Wanted,
    create_permissions_and_types,
    file_roots,
    is_too_wide,
)

WANTED = Wanted(file_mode=0o644, folder_mode=0o755)


@pytest.fixture(autouse=True, params=["Linux", "elsewhere"])
def system(request, monkeypatch):
    """Both ways to hold a file."""
    if request.param == "elsewhere":
        monkeypatch.setattr(permissions, "PATH_ONLY", 0)
    elif not permissions.PATH_ONLY:
        pytest.skip("this system has no O_PATH")
    return request.param


def fix(root, wanted=WANTED, **options):
    outcome = Outcome()
    Fixer(wanted, outcome, **options).fix(root)
    return outcome


def mode(path):
    return oct(stat.S_IMODE(os.lstat(path).st_mode))


@pytest.fixture
def media(tmp_path):
    """A folder whose own mode is right."""
    folder = tmp_path / "media"
    folder.mkdir()
    folder.chmod(0o755)
    return folder


def make_file(path, mode):
    path.touch()
    path.chmod(mode)
    return path


def make_folder(path, mode):
    path.mkdir()
    path.chmod(mode)
    return path


def test_files_and_folders_get_their_modes(media):
    covers = make_folder(media / "covers", 0o700)
    cover = make_file(covers / "emma.png", 0o600)
    script = make_file(media / "run.sh", 0o4777)

    outcome = fix(media)

    assert outcome == Outcome(changed=3)
    assert (mode(covers), mode(cover), mode(script)) == ("0o755", "0o644", "0o644")


def test_what_is_right_is_not_counted(media):
    make_file(media / "emma.png", 0o644)

    assert fix(media) == Outcome()


def test_the_root_itself_is_fixed(media):
    media.chmod(0o700)

    assert fix(media) == Outcome(changed=1)
    assert mode(media) == "0o755"


def test_dry_run_only_counts(media):
    cover = make_file(media / "emma.png", 0o600)

    assert fix(media, is_dry_run=True) == Outcome(changed=1)
    assert mode(cover) == "0o600"


def test_files_without_any_right_are_fixed_too(media, system):
    if system == "elsewhere" and os.geteuid() != 0:
        pytest.skip("needs O_PATH")
    covers = make_folder(media / "covers", 0o755)
    cover = make_file(covers / "emma.png", 0o000)
    covers.chmod(0o000)

    assert fix(media) == Outcome(changed=2)
    assert (mode(covers), mode(cover)) == ("0o755", "0o644")


def test_links_are_not_followed(media, tmp_path):
    key = make_file(tmp_path / "id_ed25519", 0o600)
    home = make_folder(tmp_path / "home", 0o700)
    (media / "to-file").symlink_to(key)
    (media / "to-folder").symlink_to(home)
    (media / "to-nothing").symlink_to("nowhere")

    assert fix(media) == Outcome()
    assert (mode(key), mode(home)) == ("0o600", "0o700")


def test_the_root_may_be_a_link(media, tmp_path):
    cover = make_file(media / "emma.png", 0o600)
    link = tmp_path / "link"
    link.symlink_to(media)

    assert fix(link) == Outcome(changed=1)
    assert mode(cover) == "0o644"


def test_hard_links_are_left_and_named(media, tmp_path):
    key = make_file(tmp_path / "id_ed25519", 0o600)
    (media / "picture.png").hardlink_to(key)

    outcome = fix(media)

    assert outcome == Outcome(
        skipped={str(media / "picture.png"): "has a second name, a hard link that may lie anywhere"}
    )
    assert mode(key) == "0o600"


def test_pipes_and_sockets_are_left_alone(media, monkeypatch):
    os.mkfifo(media / "pipe", 0o600)
    monkeypatch.chdir(media)  # the path of a socket has to be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")

    assert fix(media) == Outcome()
    assert mode(media / "pipe") == "0o600"


def test_set_group_id_of_folders_stays(media):
    covers = make_folder(media / "covers", 0o2700)

    fix(media)

    assert mode(covers) == "0o2755"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that belong to others")
def test_what_belongs_to_others_is_left_and_named(media):
    theirs = make_file(media / "theirs.png", 0o600)
    folder = make_folder(media / "folder", 0o755)
    inside = make_file(folder / "mine.png", 0o600)
    fine = make_file(media / "fine.png", 0o644)
    for path in (theirs, folder, fine):
        os.chown(path, 4242, -1)

    outcome = fix(media)

    assert outcome == Outcome(changed=1, skipped={str(theirs): "belongs to user 4242"})
    assert (mode(theirs), mode(inside)) == ("0o600", "0o644")


@pytest.mark.skipif(os.geteuid() == 0, reason="everything belongs to root")
def test_a_folder_that_belongs_to_root_is_left():
    outcome = fix(Path("/etc/ssl"), Wanted(file_mode=0o604, folder_mode=0o705))

    assert outcome.changed == 0
    assert outcome.skipped["/etc/ssl"] == "belongs to root"


def test_group(media):
    groups = [gid for gid in os.getgroups() if gid != os.getegid()] or ([4242] if os.geteuid() == 0 else [])
    if not groups:
        pytest.skip("this user is in one group only")
    cover = make_file(media / "emma.png", 0o644)

    outcome = fix(media, Wanted(0o644, 0o755, group=groups[0]))

    assert outcome == Outcome(changed=2)
    assert cover.stat().st_gid == groups[0]
    assert fix(media, Wanted(0o644, 0o755, group=groups[0])) == Outcome()


def test_modes_come_from_djangos_settings():
    with override_settings(FILE_UPLOAD_PERMISSIONS=0o640, FILE_UPLOAD_DIRECTORY_PERMISSIONS=0o750):
        assert Wanted.from_settings() == Wanted(0o640, 0o750)
    with override_settings(FILE_UPLOAD_PERMISSIONS=None, FILE_UPLOAD_DIRECTORY_PERMISSIONS=None):
        assert Wanted.from_settings(group=7) == Wanted(0o644, 0o755, 7)


def test_roots_are_those_that_are_set_and_exist(tmp_path, media):
    with override_settings(STATIC_ROOT=tmp_path / "static", MEDIA_ROOT=str(media)):
        assert file_roots() == [media]
    with override_settings(STATIC_ROOT=None, MEDIA_ROOT=""):
        assert file_roots() == []


def test_too_wide(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "deploy"))

    assert is_too_wide(tmp_path / "home" / "deploy")
    assert is_too_wide(tmp_path / "home")
    assert is_too_wide(Path("/"))
    assert not is_too_wide(tmp_path / "home" / "deploy" / "media")


def test_skipped_paths_of_a_reply_are_bounded():
    outcome = Outcome(skipped={f"/media/{n}": "belongs to root" for n in range(1000)})

    assert outcome.as_dict() == {"changed": 0, "skipped": [f"/media/{n}" for n in range(100)], "created": 0}


@pytest.fixture
def migrated(database):
    call_command("migrate", verbosity=0)
    ContentType.objects.clear_cache()
    yield
    ContentType.objects.clear_cache()


def test_missing_permissions_and_types_are_created(migrated):
    Permission.objects.filter(codename="add_note").delete()
    ContentType.objects.filter(model="group").delete()  # and its four permissions

    assert create_permissions_and_types() == 6
    assert Permission.objects.filter(codename__in=["add_note", "view_group"]).count() == 2
    assert create_permissions_and_types() == 0


def test_missing_permissions_are_only_counted_in_a_dry_run(migrated):
    Permission.objects.filter(codename="add_note").delete()

    assert create_permissions_and_types(is_dry_run=True) == 1
    assert not Permission.objects.filter(codename="add_note").exists()


def test_databases_without_the_tables_are_left_alone(database):
    assert create_permissions_and_types() == 0
    assert database.introspection.table_names() == []


def test_sites_without_auth_have_types_only(migrated):
    ContentType.objects.filter(model="note").delete()

    with modify_settings(INSTALLED_APPS={"remove": ["django.contrib.auth"]}):
        assert create_permissions_and_types() == 1


def test_sites_without_content_types(migrated):
    with modify_settings(INSTALLED_APPS={"remove": ["django.contrib.auth", "django.contrib.contenttypes"]}):
        assert create_permissions_and_types() == 0
