"""A host that is well, and changes of it."""

from __future__ import annotations

import sys

from django_deploy.doctor.subject import Subject
from django_deploy.reading.keys import read_target
from django_deploy.target import Host

LIVE = "20261122T174500Z-3f9c2a1"
OTHER = "20261121T090000Z-aaaaaaa"
TARGET = read_target(
    "staging",
    {
        "HOSTS": ["deploy@web1"],
        "ROOT": "/srv/shop",
        "PROCESSES": {"web": "gunicorn shop.wsgi --bind unix:{socket}", "worker": "celery"},
    },
    settings_module="shop.settings",
)
FACTS = {
    "user": "deploy",
    "python": {
        "version": [*sys.version_info[:3]],
        "machine": "x86_64",
        "glibc": "2.36",
        "musl": None,
    },
    "manager": "systemd",
    "systemd": True,
    "lingers": True,
    "lock": None,
    "live": LIVE,
    "current": LIVE,
    "linked": True,
    "releases": [{"id": LIVE, "state": "live", "processes": [{"name": "web"}, {"name": "worker"}]}],
    "deferred": [],
    "durations": [],
    "processes": [
        {"name": "web", "release": LIVE, "state": "running", "since": 1.0, "restarts": 0},
        {"name": "worker", "release": LIVE, "state": "starting", "since": 1.0, "restarts": 7},
        {"name": "web", "release": OTHER, "state": "stopped", "since": 0.0},
    ],
    "obstacle": None,
    "unfinished": False,
    "transaction": {"release": None, "phase": None},
    "cleanup_failed": "",
}
SOCKET = {
    "process": "web",
    "link": "/srv/shop/run/web.sock",
    "leads_to": f"web.{LIVE}.sock",
    "own": f"web.{LIVE}.sock",
    "is_in_maintenance": False,
    "failure": None,
}
DISK = {
    "path": "/srv/shop",
    "bytes": 40 * 10**9,
    "free_bytes": 20 * 10**9,
    "inodes": 1000,
    "free_inodes": 900,
    "is_read_only": False,
}
NGINX = {"name": "nginx", "is_running": True, "user": "www-data", "uid": 33, "groups": [33]}
WAY = [
    {"path": path, "is_folder": is_folder, "mode": mode, "uid": uid, "gid": uid, "has_acl": False}
    for path, is_folder, mode, uid in [
        ("/", True, 0o755, 0),
        ("/srv", True, 0o755, 0),
        ("/srv/shop", True, 0o711, 1000),
        ("/srv/shop/run", True, 0o755, 1000),
        (f"/srv/shop/run/web.{LIVE}.sock", False, 0o777, 1000),
    ]
]
CONFIGURATION = {
    "server": "nginx",
    "files": ["/etc/nginx/sites-enabled/shop"],
    "status": 1,
    "lines": [
        'nginx: [warn] the "user" directive makes sense only if the master process runs with super-user',
        "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok",
        'nginx: [emerg] open() "/run/nginx.pid" failed (13: Permission denied)',
        "nginx: configuration file /etc/nginx/nginx.conf test failed",
    ],
}
EXAMINATION = {
    "disks": [DISK],
    "interpreter": {"made": "3.11.2", "now": "3.11.9", "error": ""},
    "manager": "systemd",
    "left_to_hand": [],
    "sockets": [SOCKET],
    "way": WAY,
    "servers": [NGINX],
    "configuration": CONFIGURATION,
    "index": {"address": "https://index.example.com/simple", "status": 200, "error": ""},
    "time": 0.0,
}
DATABASES = {"databases": {"default": {"vendor": "postgresql", "place": "postgresql shop on db1:5432"}}}


ENVIRONMENT = {"settings": ["A", "B"], "host": ["SECRET_KEY"]}


def subject(
    *, clock=0.2, databases=DATABASES, environment=ENVIRONMENT, examination=None, target=TARGET, **facts
):
    return Subject(
        Host("web1", user="deploy"),
        target,
        {**FACTS, **facts},
        {**EXAMINATION, **(examination or {})},
        clock,
        databases,
        environment,
    )


def bare():
    """Before the first deployment."""
    return subject(
        current=None, live=None, releases=[], processes=[], examination={"interpreter": None, "sockets": []}
    )
