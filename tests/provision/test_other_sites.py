"""The programs of awk run here; that they are fed by nginx and Caddy is seen in ``tests/hosts``."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from django_deploy.provision.other_sites import asking_for_others

from .sites import SERVED

NGINX_FILES = {
    "/etc/nginx/nginx.conf": "http {\n    include sites-enabled/*;  # server_name shop.example.com;\n}\n",
    "first": "server { listen 80 default_server; server_name _; location / { return 404; } }\n",
    "second": "server {\n  server_name www.example.com\n    Shop.example.com;\n}\n",
    "third": 'server { listen [::]:443 ssl; server_name "shop.example.com"; location ~ "a{2}" { } }\n',
    "fourth": "server { listen 127.0.0.1:8080; server_name shop.example.com; }\n",
    "fifth": "server { listen localhost; server_name .shop.example.com; }\n",
    "sixth": "server { listen 80; server_name .example.com myshop.example.com shop.example.com.org; }\n",
    "seventh": "upstream shop.example.com { server unix:/run/shop; }\nserver { listen unix:/run/a; }\n",
}


def answers(text):
    run = subprocess.run(["sh"], input=f"{text}true\n", capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return run.stdout.splitlines()


def test_names_that_nginx_serves(tmp_path):
    dump = "".join(f"# configuration file {path}:\n{text}\n" for path, text in NGINX_FILES.items())
    (tmp_path / "dump").write_text(dump)
    text = asking_for_others(replace(SERVED, web="nginx"), PurePosixPath("/nowhere/site"))

    assert answers(text.replace("nginx -T", f"cat {tmp_path}/dump")) == [
        "other=fifth",
        "other=second",
        "other=third",
    ]


@pytest.mark.parametrize(
    ("address", "is_other"),
    [
        ("shop.example.com {", True),
        ("www.example.com, https://Shop.example.com:443 {", True),
        ("http://shop.example.com/cart {  # {$OLD}", True),
        ("www.example.com {\n    redir https://shop.example.com\n}", False),
        ("{\n    email shop.example.com\n}\nwww.example.com {", False),
        ("shop.example.com:8443 {", False),
        ("# shop.example.com {\nmyshop.example.com {", False),
    ],
)
def test_addresses_that_caddy_serves(tmp_path, address, is_other):
    """In a file that is imported by one that the Caddyfile imports, which is a link to elsewhere."""
    (tmp_path / "caddy/conf.d/more").mkdir(parents=True)
    (tmp_path / "real").write_text("import sites/*.caddy\nimport conf.d/*\nimport snippet\n")
    (tmp_path / "caddy/Caddyfile").symlink_to(tmp_path / "real")
    (tmp_path / "caddy/conf.d/all").write_text("import more/*\nimport ../Caddyfile\n")
    (tmp_path / "caddy/conf.d/more/one").write_text(f"{address}\n    respond hello\n}}\n")
    ours = tmp_path / "caddy/sites/shop.example.com.caddy"
    ours.parent.mkdir()
    ours.write_text("shop.example.com {\n}\n")

    text = asking_for_others(replace(SERVED, web="caddy"), PurePosixPath(ours))

    others = answers(text.replace("/etc/caddy", f"{tmp_path}/caddy"))
    assert others == ([f"other={tmp_path}/caddy/conf.d/more/one"] if is_other else [])


@pytest.mark.parametrize(
    ("web", "socket"), [("nginx", "unix:/srv/shop/run/web.sock"), ("caddy", "unix//srv/shop/run/web.sock")]
)
def test_another_site_of_ours(tmp_path, web, socket):
    ours = tmp_path / "site"
    text = asking_for_others(replace(SERVED, web=web), PurePosixPath(ours))
    mark = "# Written by manage.py deploy_setup staging, ...\n"

    ours.write_text(f"{mark}{socket}\n")
    assert answers(text) == []
    ours.write_text(f"{mark}{socket.replace('shop/run', 'bakery/run')}\n")
    assert answers(text) == [f"other={ours}"]


def test_a_site_of_ours_by_another_domain(tmp_path):
    enabled, available = tmp_path / "nginx/sites-enabled", tmp_path / "nginx/sites-available"
    for name, root in (("shop", "shop"), ("old", "shop"), ("bakery", "bakery")):
        for folder in (enabled, available):
            folder.mkdir(parents=True, exist_ok=True)
        text = f"# Written by manage.py deploy_setup staging, ...\nserver unix:/srv/{root}/run/web.sock;\n"
        (available / name).write_text(text)
        (enabled / name).symlink_to(available / name)

    text = asking_for_others(replace(SERVED, web="nginx"), PurePosixPath(available / "shop"))

    assert answers(text.replace("/etc/nginx", f"{tmp_path}/nginx")) == [f"former={enabled}/old"]
