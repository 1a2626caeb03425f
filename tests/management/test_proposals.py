from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from django_deploy.exceptions import DeployError
from django_deploy.management.proposals import (
    Answers,
    Proposal,
    add_health_view,
    extend_settings,
    target_entry,
)
from django_deploy.management.survey import Survey

URLS = '''\
"""The URLs."""
from django.contrib import admin
from django.urls import path

urlpatterns = [
    path('admin/', admin.site.urls),
]
'''

ANSWERS = Answers("staging", ("deploy@web1",), "/srv/shop", "shop.example.com")


def facts(**changes):
    found = {
        "name": "shop",
        "folder": Path("/home/ann/shop"),
        "settings_module": "no_such.settings",
        "settings_file": Path("/home/ann/shop/shop/settings.py"),
        "urls_file": None,
        "health_path": "",
        "processes": {"web": "gunicorn shop.wsgi --bind unix:{socket}"},
        "lacking": (),
        "constants": frozenset({"DEBUG", "SECRET_KEY", "ALLOWED_HOSTS"}),
        "variables": (),
        "sqlite_files": {},
        "media": "",
        "needs_static_root": False,
        "has_logging": True,
        "has_vcs": False,
    }
    return Survey(**{**found, **changes})


def test_the_health_view_becomes_the_first_url():
    assert (
        add_health_view(URLS)
        == '''\
"""The URLs."""
from django.contrib import admin
from django.urls import path

from django_deploy.site.health import health

urlpatterns = [
    path("healthz/", health),
    path('admin/', admin.site.urls),
]
'''
    )


def test_line_ends_stay_as_they_are():
    changed = add_health_view(URLS.replace("\n", "\r\n"))

    assert changed.count("\r\n") == changed.count("\n") == URLS.count("\n") + 3


@pytest.mark.parametrize(
    "source",
    [
        "from django.urls import path\nurlpatterns = [path('', home)]\n",
        "from django.urls import path\nurlpatterns = []\n",
        "from django.urls import path\nurlpatterns = make()\n",
        "from django.urls import re_path\nurlpatterns = [\n    re_path('', home),\n]\n",
        "urlpatterns = [\n    path('', home),\n]\n",
    ],
)
def test_unusual_urls_are_left_alone(source):
    assert add_health_view(source) is None


def test_settings_say_what_a_server_needs_once():
    answers, found = (
        ANSWERS,
        facts(
            needs_static_root=True,
            has_logging=False,
            media="media",
            sqlite_files={"default": "db.sqlite3"},
        ),
    )
    source = "from pathlib import Path\n\nDEBUG = True\n"

    extended = extend_settings(source, found, answers, target_entry(found, answers, "/healthz/"), False)

    assert (
        extended
        == """\
import os
from pathlib import Path

DEBUG = True


if "DJANGO_DEPLOY_RELEASE_DIR" in os.environ:  # on a server
    DEBUG = False
    SECRET_KEY = os.environ["SECRET_KEY"]
    ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split()
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    STATIC_ROOT = os.path.join(os.environ["DJANGO_DEPLOY_RELEASE_DIR"], "static")
    MEDIA_ROOT = os.path.join(os.environ["DJANGO_DEPLOY_SHARED"], "media")
    DATABASES["default"]["NAME"] = os.path.join(os.environ["DJANGO_DEPLOY_SHARED"], "db.sqlite3")
    LOGGING = {  # deploy_logs shows what goes wrong
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
    }

DEPLOY_TARGETS = {
    "staging": {
        "HOSTS": ["deploy@web1"],
        "ROOT": "/srv/shop",
        "WEB": "caddy",
        "DOMAIN": "shop.example.com",
        "ENV": {
            "ALLOWED_HOSTS": "shop.example.com",
            "SECRET_KEY": os.environ.get("STAGING_SECRET_KEY", ""),
        },
        "PROCESSES": {
            "web": "gunicorn shop.wsgi --bind unix:{socket}",
        },
        "HEALTH_CHECK": "/healthz/",
    },
}
"""
    )


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("SESSION_COOKIE_SECURE = not DEBUG\n", {}),  # whoever wrote that has thought of it
        ("DEBUG = True\n", {"domain": ""}),  # nothing says that visitors come by HTTPS
        ("DEBUG = True\n", {"hosts": ("local",)}),
    ],
)
def test_cookies_are_secure_where_https_is_sure(source, changes):
    answers, found = replace(ANSWERS, **changes), facts()

    extended = extend_settings(source, found, answers, target_entry(found, answers, ""), False)

    assert "SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True" not in extended


def test_a_second_target():
    answers = Answers("production", ("web2",), "/srv/shop")
    found = facts(has_vcs=True, constants=frozenset(), variables=("DATABASE_URL",))
    source = "import os\n\nDEPLOY_TARGETS = {}\n"

    extended = extend_settings(source, found, answers, target_entry(found, answers, ""), True)

    assert extended.endswith("""\
DEPLOY_TARGETS = {}


DEPLOY_TARGETS["production"] = {
    "HOSTS": ["web2"],
    "USER": "shop",
    "ROOT": "/srv/shop",
    "ENV": {
        "DATABASE_URL": os.environ.get("PRODUCTION_DATABASE_URL", ""),
    },
    "PROCESSES": {
        "web": "gunicorn shop.wsgi --bind unix:{socket}",
    },
    "REQUIRE_CLEAN": True,
}
""")


def test_the_folder_that_releases_share():
    beat = {"COMMAND": "celery beat --schedule {shared}/schedule", "SINGLETON": True}

    entry = target_entry(facts(processes={"web": "x {socket}", "beat": beat}), ANSWERS, "")

    assert entry["PROCESSES"] == {
        "web": "x {socket}",
        "beat": {"COMMAND": "celery beat --schedule /srv/shop/shared/schedule", "SINGLETON": True},
    }


def test_who_logs_in_to_one_host_does_so_to_all():
    answers = Answers("staging", ("ann@web1", "web2"), "/srv/shop")

    assert target_entry(facts(), answers, "")["USER"] == "ann"


@pytest.mark.parametrize(
    ("source", "start"),
    [
        ("X = 1\n", "\nimport os\nX = 1\n"),
        ('"""Settings."""\nX = 1\n', '"""Settings."""\n\nimport os\nX = 1\n'),
        ("from __future__ import annotations\nX = 1\n", "from __future__ import annotations\n\nimport os\n"),
        ("#!/usr/bin/env python\nfrom a import b\n", "#!/usr/bin/env python\nimport os\nfrom a import b\n"),
    ],
)
def test_where_os_is_imported(source, start):
    extended = extend_settings(source, facts(), ANSWERS, target_entry(facts(), ANSWERS, ""), False)

    assert extended.startswith(start)
    ast.parse(extended)


def test_strings_are_quoted_as_python_wants_it():
    answers = Answers("staging", ("web1",), '/srv/"\\', "x")

    extended = extend_settings("", facts(), answers, target_entry(facts(), answers, ""), False)

    [assignment] = [n for n in ast.parse(extended).body if ast.unparse(n).startswith("DEPLOY_TARGETS")]
    assert "'/srv/\"\\\\'" in ast.unparse(assignment)


def test_a_change_keeps_the_mode_of_the_file(tmp_path):
    file = tmp_path / "settings.py"
    file.write_text("old\r\n", newline="")
    file.chmod(0o640)

    Proposal(file, "old\r\n", "new\r\n").write()

    assert file.read_bytes() == b"new\r\n"
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_file_that_was_changed_meanwhile_is_left_alone(tmp_path):
    file = tmp_path / "settings.py"
    file.write_text("newer\n")

    with pytest.raises(DeployError) as caught:
        Proposal(file, "old\n", "new\n").write()

    assert str(caught.value) == f"{file} was changed meanwhile.\nRun the command again."
    assert file.read_text() == "newer\n"
