"""nginx and Caddy as the site's user sees them; with the real nginx in ``tests/hosts/test_doctor.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_deploy.host import web_server

LINK = Path("/srv/shop/run/web.sock")
RUNNING = [{"name": "nginx", "is_running": True, "user": "www-data", "uid": 33, "groups": [33]}]


@pytest.fixture
def nginx(tmp_path, monkeypatch):
    """A folder of configuration, and a program that tests it."""
    folder = tmp_path / "nginx"
    for name in ("sites-available", "sites-enabled"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setitem(web_server.SERVERS, "nginx", (folder / "nginx.conf", ["nginx", "-t"]))
    program = tmp_path / "nginx-program"
    program.write_text("#!/bin/sh\necho out\necho 'syntax is ok' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(web_server, "_program", lambda name: str(program))
    return folder


def test_configuration(nginx):
    text = f"server {{ location / {{ proxy_pass http://unix:{LINK}; }} }}"
    (nginx / "sites-available/shop").write_text(text)
    (nginx / "nginx.conf").write_bytes(b"# \xff\xfe\nhttp { include sites-enabled/*; }\n")

    found = web_server.find_configuration(RUNNING, [LINK])
    (nginx / "sites-enabled/shop").symlink_to("../sites-available/shop")
    then = web_server.find_configuration(RUNNING, [LINK])

    assert found == {"server": "nginx", "files": [], "status": 1, "lines": ["syntax is ok"]}
    assert then["files"] == [str(nginx / "sites-enabled/shop")]


def test_the_server_that_is_wanted_is_chosen_though_another_one_runs(nginx):
    stopped = {"name": "caddy", "is_running": False, "user": "", "uid": -1, "groups": []}

    assert web_server.find_configuration([*RUNNING, stopped], [], "caddy")["server"] == "caddy"
    assert web_server.find_configuration([stopped, *RUNNING], [])["server"] == "nginx"
    assert web_server.find_configuration([], [], "nginx") is None


@pytest.fixture
def caddy(tmp_path, monkeypatch):
    """A folder of configuration."""
    (tmp_path / "sites").mkdir()
    monkeypatch.setitem(web_server.SERVERS, "caddy", (tmp_path / "Caddyfile", ["caddy", "adapt"]))
    return tmp_path


def files(server, folder):
    return [str(path.relative_to(folder)) for path, text in web_server._texts(server) if str(LINK) in text]


def test_what_caddy_reads(caddy):
    """Not what ``deploy_setup`` has kept of an earlier file, and no comment."""
    text = f"shop.example.com {{\n    reverse_proxy unix/{LINK}\n}}\n"
    (caddy / "Caddyfile").write_text("(snippet) {\n}\nimport sites/*.caddy\n# import other\nimport snippet\n")
    for name in ("sites/shop.caddy.before", "other", "sites/nested"):
        (caddy / name).write_text(text)

    assert files("caddy", caddy) == []
    (caddy / "sites/shop.caddy").write_text(f"# {LINK}\n")
    assert files("caddy", caddy) == []
    (caddy / "sites/shop.caddy").write_text("import nested\nimport shop.caddy\nimport /nowhere/*\n")
    assert files("caddy", caddy) == ["sites/nested"]
    (caddy / "sites/shop.caddy").write_text(text)
    assert files("caddy", caddy) == ["sites/shop.caddy"]


def test_what_nginx_reads(nginx):
    text = f"location / {{ proxy_pass http://unix:{LINK}; }}"
    (nginx / "snippets").mkdir()
    (nginx / "nginx.conf").write_text(
        f"events {{}}\nhttp {{ include '{nginx}/conf.d/*.conf'; }} #include other;\n"
    )
    (nginx / "conf.d").mkdir()
    (nginx / "conf.d/shop.conf").write_text('server {include "snippets/shop"; include\tmime.types;}')
    for name in ("snippets/shop", "other", "conf.d/shop.conf.before"):
        (nginx / name).write_text(text)

    assert files("nginx", nginx) == ["snippets/shop"]


def test_no_server():
    assert web_server.find_configuration([], [LINK]) is None


def test_program_that_is_gone(nginx, monkeypatch):
    monkeypatch.setattr(web_server, "_program", lambda name: "/nowhere/nginx")

    found = web_server.find_configuration(RUNNING, [LINK])

    assert found["status"] is None
    assert found["lines"] == ["cannot run /nowhere/nginx: No such file or directory"]


def test_who_runs(monkeypatch):
    def status(pid):
        rows = {
            "1": {"Name": "nginx", "Uid": "0 0 0 0", "Gid": "0 0 0 0", "Groups": ""},
            "2": {"Name": "nginx", "Uid": "4294 4294 4294 4294", "Gid": "7 7 7 7", "Groups": "7 1000"},
            "4": {"Name": "caddy", "Uid": "9 9 9 9", "Gid": "9 9 9 9", "Groups": "", "NSpid": "4 1"},
            "3": {"Name": "caddyshack", "Uid": "9 9 9 9", "Gid": "9 9 9 9", "Groups": ""},
        }
        return rows.get(pid)

    monkeypatch.setattr(web_server.os, "listdir", lambda path: ["1", "2", "3", "4", "self"])
    monkeypatch.setattr(web_server, "_status", status)
    monkeypatch.setattr(web_server, "_program", lambda name: None)

    assert web_server.find_servers() == [
        {"name": "nginx", "is_running": True, "user": "4294", "uid": 4294, "groups": [7, 1000]}
    ]


def test_the_kernel_tells_of_us():
    import os

    assert web_server._status(str(os.getpid()))["Uid"].split()[1] == str(os.geteuid())
    assert web_server._status("self") is None
