from __future__ import annotations

from dataclasses import replace

import pytest

from django_deploy.doctor import front
from django_deploy.doctor.finding import Finding

from .subjects import CONFIGURATION, LIVE, NGINX, TARGET, WAY, bare, subject


def way(**changes):
    """The way with one part changed, by its place from the end."""
    position = changes.pop("position")
    parts = [dict(part) for part in WAY]
    parts[position].update(changes)
    return {"way": parts}


def test_permissions():
    assert front.check_permissions(subject()) == Finding(
        "permissions", "ok", "www-data (nginx) can reach the sockets"
    )


def test_folder_that_does_not_let_it_in():
    found = front.check_permissions(subject(examination=way(position=2, mode=0o750)))

    assert found == Finding(
        "permissions",
        "error",
        "www-data, the user of nginx, may not enter /srv/shop (mode 0750)",
        "On the host, as its owner or as root: chmod o+x /srv/shop",
    )


def test_path_that_a_shell_would_take_apart():
    found = front.check_permissions(subject(examination=way(position=2, mode=0o750, path="/srv/my shop")))

    assert found.remedy == "On the host, as its owner or as root: chmod o+x '/srv/my shop'"


def test_server_that_is_not_told_of_the_sockets():
    hindrance = way(position=2, mode=0o750)

    found = front.check_permissions(
        subject(examination={**hindrance, "configuration": {**CONFIGURATION, "files": []}})
    )

    assert found.outcome == "warning"


def test_socket_that_takes_nothing():
    found = front.check_permissions(subject(examination=way(position=4, mode=0o755)))

    assert found == Finding(
        "permissions",
        "error",
        f"www-data, the user of nginx, may not write to /srv/shop/run/web.{LIVE}.sock (mode 0755)",
        "Have the web process make a socket that others may write to (gunicorn: --umask 0).",
    )


def test_modes_do_not_say_all():
    found = front.check_permissions(subject(examination=way(position=2, mode=0o750, has_acl=True)))

    assert found == Finding(
        "permissions",
        "not checked",
        "/srv/shop has an access control list, not read here",
        "On the host: getfacl /srv/shop",
    )


@pytest.mark.parametrize(
    ("server", "mode", "passes"),
    [
        ({}, 0o751, True),
        ({}, 0o750, False),
        ({"groups": [33, 1000]}, 0o710, True),
        ({"groups": [33, 1000]}, 0o701, False),  # the first class that fits decides
        ({"uid": 1000}, 0o700, True),
        ({"uid": 1000}, 0o077, False),
        ({"uid": 0}, 0o000, True),
    ],
)
def test_the_kernel_judges_so(server, mode, passes):
    assert front.may_pass({**NGINX, **server}, {**WAY[2], "mode": mode}) == passes


def test_no_server_runs():
    stopped = {**NGINX, "is_running": False, "user": "", "uid": -1, "groups": []}

    assert front.check_permissions(subject(examination={"servers": []})) == Finding(
        "permissions", "not checked", "no nginx or Caddy is seen running on this host"
    )
    assert front.check_web_server(subject(examination={"servers": [stopped]})) == Finding(
        "web server",
        "error",
        "nginx is installed and does not run",
        "On the host, as root: systemctl start nginx; journalctl --unit nginx says why it ended.",
    )
    assert front.check_web_server(subject(examination={"servers": [], "configuration": None})) == Finding(
        "web server",
        "not checked",
        "neither nginx nor Caddy is on this host",
        "The site can be served from elsewhere; look there.",
    )


def server(**changes):
    return front.check_web_server(subject(examination={"configuration": {**CONFIGURATION, **changes}}))


def test_configuration():
    sound = "nginx runs, and its configuration is sound: /etc/nginx/sites-enabled/shop"

    assert server() == Finding("web server", "ok", sound)
    assert server(status=0, lines=[]) == Finding("web server", "ok", sound)
    assert server(files=[]) == Finding(
        "web server",
        "warning",
        "nginx runs, and no file that it reads names /srv/shop/run/web.sock",
        "Where it passes requests on, say: proxy_pass http://unix:/srv/shop/run/web.sock;",
    )


@pytest.mark.parametrize(
    ("name", "directive"),
    [
        ("nginx", "proxy_pass http://unix:/srv/shop/run/web.sock;"),
        ("caddy", "reverse_proxy unix//srv/shop/run/web.sock"),
    ],
)
def test_the_server_of_the_target_does_not_name_the_sockets(name, directive):
    configuration = {**CONFIGURATION, "server": name, "files": []}
    target = replace(TARGET, web=name)

    servers = [{**NGINX, "name": name}]
    assert front.check_web_server(
        subject(target=target, examination={"configuration": configuration, "servers": servers})
    ) == Finding(
        "web server",
        "error",
        f"{name} runs, and no file that it reads names /srv/shop/run/web.sock",
        "manage.py deploy_setup staging fixes it. In a file of your own: Where it passes requests on, say:"
        f" {directive}",
    )


def test_another_server_than_that_of_the_target_is_not_judged():
    """nginx runs for somebody else, and the Caddy that is to serve the site does not."""
    caddy = {"name": "caddy", "is_running": False, "user": "", "uid": -1, "groups": []}
    there = {"servers": [NGINX, caddy], "configuration": {**CONFIGURATION, "server": "caddy", "lines": []}}
    target = replace(TARGET, web="caddy")

    assert front.check_permissions(subject(target=target, examination=there)) == Finding(
        "permissions", "not checked", "no caddy is seen running on this host"
    )
    assert front.check_web_server(subject(target=target, examination=there)) == Finding(
        "web server",
        "error",
        "caddy is installed and does not run",
        "On the host, as root: systemctl start caddy; journalctl --unit caddy says why it ended.",
    )
    assert front.check_web_server(subject(target=target)) == Finding(
        "web server",
        "error",
        "caddy, which WEB names, is not on this host; nginx is",
        "manage.py deploy_setup staging installs it.",
    )


@pytest.mark.parametrize(
    ("name", "line", "trouble", "test"),
    [
        (
            "nginx",
            '2026/11/28 23:00:00 [emerg] 12#12: unknown directive "foo" in /etc/nginx/nginx.conf:3',
            'unknown directive "foo" in /etc/nginx/nginx.conf:3',
            "nginx -t",
        ),
        (
            "caddy",
            "Error: adapting config using caddyfile: Caddyfile:3: unrecognized directive: foo",
            "adapting config using caddyfile: Caddyfile:3: unrecognized directive: foo",
            "caddy validate --config /etc/caddy/Caddyfile",
        ),
    ],
)
def test_configuration_that_is_refused(name, line, trouble, test):
    assert server(server=name, lines=[line], status=1) == Finding(
        "web server",
        "error",
        f"{name} refuses its configuration: {trouble}",
        f"Fix it there, then as root: {test} && systemctl reload {name}",
    )


def test_configuration_that_only_root_may_read():
    line = 'nginx: [emerg] cannot load certificate key "/etc/ssl/private/shop.key": ... Permission denied'

    assert server(lines=[line]) == Finding(
        "web server",
        "not checked",
        "nginx runs, and only root may test its configuration",
        "On the host: sudo nginx -t",
    )


def test_before_the_first_deployment():
    assert front.check_permissions(bare()) == Finding("permissions", "not checked", "nothing is live yet")
    assert front.check_web_server(bare()).outcome == "ok"
