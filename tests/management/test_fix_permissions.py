import grp
import os
import pwd
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings


def run(*arguments):
    out = StringIO()
    call_command("fix_permissions", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def media(tmp_path, database):
    folder = tmp_path / "media"
    folder.mkdir()
    folder.chmod(0o755)
    with override_settings(MEDIA_ROOT=folder):
        yield folder


def test_report(media):
    (media / "emma.png").touch(mode=0o600)

    assert run() == "Files and folders changed: 1\nPermissions and content types created: 0\n"
    assert run() == "Files and folders changed: 0\nPermissions and content types created: 0\n"


def test_report_of_a_dry_run(media):
    (media / "emma.png").touch(mode=0o600)

    assert run("--dry-run") == (
        "Files and folders would be changed: 1\nPermissions and content types would be created: 0\n"
    )


def test_what_was_left_is_listed(media):
    (media / "a.png").touch(mode=0o600)
    (media / "b.png").hardlink_to(media / "a.png")

    assert run() == (
        "Files and folders changed: 0\n"
        "Permissions and content types created: 0\n"
        "Left as they are: 2\n"
        f"  {media}/a.png: has a second name, a hard link that may lie anywhere\n"
        f"  {media}/b.png: has a second name, a hard link that may lie anywhere\n"
    )


def test_a_long_list_is_cut(media):
    (media / "a.png").touch(mode=0o600)
    for number in range(101):
        (media / f"b{number}.png").hardlink_to(media / "a.png")

    lines = run().splitlines()

    assert lines[2] == "Left as they are: 102"
    assert lines[-1] == "  and 2 more"
    assert len(lines) == 104


def test_group(media):
    group = grp.getgrgid(os.getegid()).gr_name

    assert run("--group", group).startswith("Files and folders changed: 0\n")


def test_unknown_group(media):
    with pytest.raises(CommandError, match=r"^There is no group 'no-such-group' on this machine\.$"):
        run("--group", "no-such-group")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use any group")
def test_group_of_others(media):
    own = {os.getegid(), *os.getgroups()}
    other = next(group.gr_name for group in grp.getgrall() if group.gr_gid not in own)

    user = pwd.getpwuid(os.geteuid()).pw_name
    with pytest.raises(CommandError) as raised:
        run("--group", other)

    assert str(raised.value) == (
        f"The user {user} is not in the group {other!r}. As root: usermod -aG {other} {user}"
    )


def test_home_is_refused(media, monkeypatch):
    monkeypatch.setenv("HOME", str(media))
    (media / "key").touch(mode=0o600)

    with pytest.raises(CommandError) as raised:
        run()

    assert str(raised.value) == f"{media} holds a home folder. Give uploads and static files their own."
    assert (media / "key").stat().st_mode & 0o777 == 0o600
