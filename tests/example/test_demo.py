import json
import re
import sys

import demo as demo_module
import pytest
from demo import Answer, Demo, DemoError

from .sites import Supervisor, serving, site

PAGE = '<span id="mark">first edition</span> <code id="release">20261122T174500Z-3f9c2a1</code>'


@pytest.fixture
def demo(tmp_path_factory):
    demo = Demo(tmp_path_factory.mktemp("d") / "d")
    demo.create()
    demo.socket.parent.mkdir(parents=True)
    demo.supervisor.parent.mkdir(parents=True)
    return demo


def test_folder_is_for_this_user_only(demo):
    demo.folder.chmod(0o777)

    demo.create()

    assert demo.folder.stat().st_mode & 0o777 == 0o700


def test_folder_that_is_a_link_is_refused(demo):
    link = demo.folder.with_name("l")
    link.symlink_to(demo.folder)

    with pytest.raises(DemoError) as raised:
        Demo(link).create()

    assert str(raised.value) == f"{link} is not yours. Set BOOKSHOP_DEMO_FOLDER to another."


def test_folder_too_deep_for_sockets_is_refused(tmp_path):
    with pytest.raises(DemoError) as raised:
        Demo(tmp_path / ("x" * 100)).create()

    assert str(raised.value) == (
        f"{tmp_path / ('x' * 100)} is too long for Unix sockets. Set BOOKSHOP_DEMO_FOLDER to a short path."
    )


def test_secret_key_is_made_once(demo):
    assert demo.secret_key() == demo.secret_key() != ""
    assert len(demo.secret_key()) > 50
    assert (demo.folder / "secret-key").stat().st_mode & 0o777 == 0o600


def test_environment_is_free_of_other_projects(demo, monkeypatch):
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")
    monkeypatch.setenv("BOOKSHOP_DATABASE", "/somewhere/else")
    monkeypatch.setenv("LANG", "en_GB.UTF-8")

    environment = demo.environment()

    assert not {"DJANGO_SETTINGS_MODULE", "BOOKSHOP_DATABASE", "VIRTUAL_ENV"} & set(environment)
    assert environment["BOOKSHOP_DEMO_ROOT"] == str(demo.root)
    assert environment["LANG"] == "en_GB.UTF-8"


def test_the_copy_is_changed_and_the_project_is_not(demo):
    original = (demo_module.EXAMPLE / "catalogue" / "mark.py").read_text()

    demo_module.copy_project(demo)
    demo_module.write_mark(demo, "third edition")

    assert re.search(
        '^MARK = "third edition"$', (demo.project / "catalogue" / "mark.py").read_text(), re.MULTILINE
    )
    assert (demo_module.EXAMPLE / "catalogue" / "mark.py").read_text() == original
    assert (demo.project / "reviews" / "reviews" / "models.py").is_file()
    assert not (demo.project / "var").exists()


def test_the_next_copy_has_nothing_of_the_one_before_but_its_installation(demo):
    demo_module.copy_project(demo)
    demo_module.write_mark(demo, "third edition")
    (demo.project / "left-over.py").touch()
    (demo.project / "bookshop.egg-info").mkdir()

    demo_module.copy_project(demo)

    assert 'MARK = "first edition"' in (demo.project / "catalogue" / "mark.py").read_text()
    assert not (demo.project / "left-over.py").exists()
    assert (demo.project / "bookshop.egg-info").exists()


def test_mark_that_cannot_be_found(demo):
    demo_module.copy_project(demo)
    (demo.project / "catalogue" / "mark.py").write_text("")

    with pytest.raises(DemoError, match=r"mark\.py has no line that begins with MARK =\.$"):
        demo_module.write_mark(demo, "second edition")


def test_a_command_that_fails(demo):
    demo_module.copy_project(demo)

    with pytest.raises(DemoError, match=r" -c raise SystemExit\(3\) \.\.\. failed with status 3\.$"):
        demo_module.run(demo, [sys.executable, "-c", "raise SystemExit(3)"])


def test_visit(demo, capsys):
    with site(demo.socket, {"/": PAGE, "/healthz/": json.dumps({"ok": True})}):
        address = demo_module.open_door(demo, 0)
        assert demo_module.open_door(demo, 0) == address
        answer = demo_module.visit(address)
    demo_module.stop(demo)

    assert answer == Answer(200, "first edition", "20261122T174500Z-3f9c2a1", healthy=True)
    port = address.split(":")[-1].strip("/")
    assert capsys.readouterr().out == (
        f"The front door on port {port} is closed.\n"
        "No site was running.\n"
        f"Its files are still in {demo.folder}\n"
    )


def test_visit_of_a_site_that_is_down(demo):
    address = demo_module.open_door(demo, 0)

    answer = demo_module.visit(address)

    demo_module.stop(demo)
    assert answer == Answer(502, "(not on the page)", "(not on the page)", healthy=False)


def test_stop_shuts_supervisord_down(demo, capsys):
    supervisor = Supervisor(demo.supervisor)
    with serving(supervisor):
        demo_module.stop(demo)
    demo_module.stop(demo)

    assert capsys.readouterr().out == (
        "No front door was open.\n"
        "The site's processes and their supervisord have stopped.\n"
        f"Its files are still in {demo.folder}\n"
        "No front door was open.\n"
        "No site was running.\n"
        f"Its files are still in {demo.folder}\n"
    )


def test_stop_when_there_never_was_a_demo(tmp_path, capsys):
    demo_module.stop(Demo(tmp_path / "none"))

    assert capsys.readouterr().out == "No front door was open.\nNo site was running.\n"


def test_stale_socket_is_no_supervisord(demo):
    Supervisor(demo.supervisor).server_close()

    assert demo_module.shut_down_supervisor(demo.supervisor) is False
