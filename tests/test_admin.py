"""The admin's page, asked by Django's test client, about a history that the host program wrote."""

from __future__ import annotations

import json
import os
import re
import sys
from html.parser import HTMLParser
from types import ModuleType

import pytest
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import path

from django_deploy.host import history
from django_deploy.host.layout import Layout
from django_deploy.site.deployments import NOT_DEPLOYED

SETTINGS = {
    "INSTALLED_APPS": [
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
        "django_deploy",
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "ROOT_URLCONF": "tests.admin_urls",
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ],
            },
        }
    ],
}
RECORD = {"settings_module": "s", "processes": [], "manager": "systemd", "restart": [], "health": None}
FIRST, SECOND = "20261121T174500Z-1111111", "20261122T174500Z-3f9c2a1"
LIST = "/admin/django_deploy/deployment/"
HOST = os.uname().nodename


@pytest.fixture
def admin(database):
    """A site with the admin; the test apps have none."""
    with override_settings(**SETTINGS):
        call_command("migrate", verbosity=0)
        yield


def client(name, *permissions, **fields):
    from django.contrib.auth.models import Permission, User

    user = User.objects.create_user(name, password="secret", **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    made = Client()
    made.force_login(user)
    return made


@pytest.fixture
def staff(admin):
    return client("anna", "view_deployment", is_staff=True)


@pytest.fixture
def layout(tmp_path, monkeypatch):
    layout = Layout(str(tmp_path / "site"))
    layout.create()
    monkeypatch.setenv("DJANGO_DEPLOY_ROOT", str(layout.root))
    for id, version, django in ((FIRST, "1.4", "5.2.1"), (SECOND, "1.5", "5.2.3")):
        layout.release(id).path.mkdir()
        revision = {"vcs": "git", "id": version[-1] * 40, "branch": "main", "dirty": False}
        record = {**RECORD, "version": version, "revision": revision, "distributions": {"django": django}}
        (layout.release(id).path / "release.json").write_text(json.dumps(record))
    return layout


def deploy(layout, id, previous, at, action="deploy", **fields):
    layout.point(layout.current, f"releases/{id}")
    entry = {"action": action, "release": id, "previous": previous, "by": "anna@laptop", "at": at}
    history.append(layout, {**entry, **fields})


PHASES = [
    {"phase": "prepare", "at": 190.0, "seconds": 4.0},
    {"phase": "steps", "step": "migrate --noinput", "at": 195.0, "seconds": 2.0},
]


class Page(HTMLParser):
    """Its text, and what a strict Content-Security-Policy would refuse, or a browser not find."""

    def __init__(self, response):
        super().__init__()
        self.words = []
        self.refused = []
        self.links = []
        self.open = []
        self.feed(response.content.decode())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.links += [values["href"]] if tag == "a" else []
        refused = [name for name in values if name == "style" or name.startswith("on")]
        inline = (tag == "script" and "src" not in values) or tag == "style"
        self.refused += [f"{tag} {name}" for name in refused] + ([tag] if inline else [])
        loaded = values.get("src") or (values.get("href") if tag == "link" else None)
        self.refused += [loaded] if loaded and "//" in loaded else []

    def handle_data(self, data):
        self.words += data.split()

    @property
    def text(self):
        return " ".join(self.words)


def get(staff, address):
    response = staff.get(address)
    assert response.status_code == 200, response.content.decode()
    page = Page(response)
    assert page.refused == []
    return page


def test_the_list_says_what_is_live_and_what_changed(staff, layout):
    deploy(layout, FIRST, None, 100.0)
    deploy(layout, SECOND, FIRST, 200.0, applied=["shop.0002_b", "shop.0003_c"], phases=PHASES)

    text = get(staff, LIST).text

    assert f"On {HOST} the release {SECOND} is live, version 1.5, git 555555555555 (main), since" in text
    rows = re.split(r"Deployed ", text)[1:]
    assert rows[0].startswith(
        f"{SECOND} live 1.4 → 1.5 git 444444444444 → 555555555555 (main)"
        " 1 distribution 2 migrations applied anna@laptop 10 s"
    )
    assert rows[1].startswith(f"{FIRST} 1.4 git 444444444444 (main) 1 distribution anna@laptop")
    assert text.count(" live ") == 1
    assert text.endswith("2 deployments")


def test_a_deployment_has_a_page(staff, layout):
    deploy(layout, FIRST, None, 100.0)
    deploy(
        layout,
        SECOND,
        FIRST,
        200.0,
        applied=["shop.0002_b"],
        unapplied=["shop.0009_z"],
        phases=PHASES,
        left_out=["web2"],
    )

    page = get(staff, LIST)
    (address,) = [link for link in page.links if link.endswith("/200000/")]
    text = get(staff, address).text

    assert f"Release {SECOND} live Before it {FIRST} Version 1.4 → 1.5" in text
    assert "Without the hosts web2" in text
    assert "Took 10 s, on this host" in text
    assert "prepare 0.0 s 4.0 s steps: migrate --noinput 5.0 s 2.0 s" in text
    assert "Name Before After What django 5.2.1 5.2.3 upgraded" in text
    assert "shop.0002_b applied shop.0009_z reversed" in text


def test_the_first_deployment_and_an_old_entry(staff, layout):
    (layout.private / "history.jsonl").write_text('{"at": 5, "action": "deploy"}\n')
    deploy(layout, FIRST, None, 100.0)

    assert "Before it nothing was live" in get(staff, f"{LIST}100000/").text
    old = get(staff, f"{LIST}5000/").text
    assert "By not known" in old
    assert "The history does not say what changed." in old
    assert "None on this host." in old


def test_what_is_live_without_a_history(staff, layout):
    layout.point(layout.current, f"releases/{FIRST}")

    text = get(staff, LIST).text

    assert f"On {HOST} the release {FIRST} is live; the history does not say since when." in text
    assert "Nothing was deployed yet." in text


def test_what_the_history_says_is_text(staff, layout):
    attack = "<script>alert(1)</script>\"'&"
    step = {"phase": "steps", "step": attack, "at": 1.0, "seconds": 1.0}
    deploy(layout, FIRST, None, 100.0, action=attack, applied=[attack], phases=[step], left_out=[attack])

    for address in (LIST, f"{LIST}100000/"):
        assert "<script>alert" not in staff.get(address).content.decode()
        assert attack in get(staff, address).text


def test_numbers_of_drawings_are_not_written_in_the_visitors_way(staff, layout):
    deploy(layout, FIRST, None, 200.0, phases=PHASES)

    with override_settings(LANGUAGE_CODE="de", USE_THOUSAND_SEPARATOR=True):
        content = staff.get(LIST).content.decode()

    assert '<rect x="500.0" y="0" width="200.0" height="12" fill="#008f68">' in content
    assert 'viewBox="0 0 1000 12"' in content
    assert f'href="{LIST}200000/"' in content


def test_many_deployments_take_several_pages(staff, layout):
    for number in range(120):
        deploy(layout, FIRST, FIRST, 1000.0 + number, action="restart")

    assert [get(staff, f"{LIST}?page={page}").text.count("Restarted") for page in (1, 2, 3, "x", 99)] == [
        *(50, 50, 20, 50, 20)
    ]
    assert "Newer Older 120 deployments" in get(staff, f"{LIST}?page=2").text


def test_a_deployment_that_is_not_there(staff, layout):
    response = staff.get(f"{LIST}5/")

    assert (response.status_code, response.headers["Location"]) == (302, LIST)
    warning = f"The history of {HOST} has no such deployment: it may be that of another host."
    assert warning in get(staff, LIST).text


def test_in_development_the_page_says_why_it_is_empty(staff, monkeypatch):
    monkeypatch.delenv("DJANGO_DEPLOY_ROOT", raising=False)

    assert NOT_DEPLOYED in get(staff, LIST).text


@pytest.mark.parametrize(
    ("fields", "permissions", "status"),
    [
        ({"is_staff": True, "is_superuser": True}, (), 200),
        ({"is_staff": True}, ("view_deployment",), 200),
        ({"is_staff": True}, ("view_user",), 403),
        ({}, ("view_deployment",), 302),
    ],
)
def test_who_may_see_it(admin, layout, fields, permissions, status):
    deploy(layout, FIRST, None, 100.0)
    visitor = client("ben", *permissions, **fields)

    assert visitor.get(LIST).status_code == status
    assert visitor.get(f"{LIST}100000/").status_code == status
    index = visitor.get("/admin/").content.decode()
    assert (f'href="{LIST}"' in index) == (status == 200)


def test_an_admin_site_of_ones_own(staff, layout, monkeypatch):
    from django.contrib.admin import AdminSite

    from django_deploy.admin import DeploymentAdmin
    from django_deploy.models import Deployment

    deploy(layout, FIRST, None, 100.0)
    site = AdminSite(name="backstage")
    site.register(Deployment, DeploymentAdmin)
    urls = ModuleType("backstage_urls")
    urls.urlpatterns = [path("backstage/", site.urls)]
    monkeypatch.setitem(sys.modules, urls.__name__, urls)

    with override_settings(ROOT_URLCONF=urls.__name__):
        page = get(staff, "/backstage/django_deploy/deployment/")
        (address,) = [link for link in page.links if link.endswith("/100000/")]

        assert address.startswith("/backstage/")
        assert f"Release {FIRST} live" in get(staff, address).text


def test_the_checks_have_nothing_to_say(admin):
    call_command("check", fail_level="WARNING")


def test_nobody_can_change_anything(admin, layout):
    deploy(layout, FIRST, None, 100.0)
    root = client("root", is_staff=True, is_superuser=True)

    for name in ("add/", "100000/change/", "100000/delete/", "100000/history/"):
        assert root.get(f"{LIST}{name}").status_code == 404
    for address in (LIST, f"{LIST}100000/"):
        assert root.post(address, {"action": "delete_selected"}).status_code == 405
    assert "/add/" not in "".join(link for link in Page(root.get("/admin/")).links if link.startswith(LIST))
