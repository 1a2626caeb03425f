"""``deploy --plan`` of the example project on this machine: what it foretells, and what it leaves alone."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from django_deploy.rehearsal import after_rehearsal
from tests.plan.test_making import ONE, TARGET, TWO, plan
from tests.test_local_deployment import Shop

#: What is sent and made ahead of a deployment, what tools keep, and what the site itself writes meanwhile.
LEFT_OUT = {".deploy": {"store", "rehearsal", "rehearsal.lock", "cache"}, ".": {"shared", "run"}}

ADD_PAGES = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0002_first_books")]
    operations = [migrations.AddField("book", "pages", models.IntegerField(null=True))]
"""

DROP_RESTOCKED = """\
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0003_pages")]
    operations = [migrations.RemoveField("book", "restocked")]
"""


@pytest.fixture(scope="module")
def bare():
    # Not pytest's own folder: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        made = Shop(Path(folder))
        yield made
        made.stop()


@pytest.fixture(scope="module")
def live(bare):
    bare.deploy()
    settle(bare)
    return bare


@pytest.fixture
def shop(live):
    """Each test changes the project, and the next one finds it as it was deployed."""
    with changed_for_once(live):
        yield live


@contextmanager
def changed_for_once(shop):
    kept = shop.project.with_name("kept")
    shutil.copytree(shop.project, kept, symlinks=True)
    try:
        yield
    finally:
        shutil.rmtree(shop.project)
        kept.rename(shop.project)


@contextmanager
def elsewhere(shop, root):
    """The same project and environment, and a folder where nothing is."""
    other = copy.copy(shop)
    other.root, other.environment = root, {**shop.environment, "BOOKSHOP_DEMO_ROOT": str(root)}
    with changed_for_once(other):
        yield other


def settle(shop):
    """The host tidies up when the deployer has left."""
    private = shop.root / ".deploy"
    while (private / "transaction.json").exists() or (private / "lock").stat().st_size:
        time.sleep(0.1)


def tree(shop):
    """Every path of the host but what ``--plan`` may write, with what tells a change of it."""
    found = {}
    for folder, names, files in os.walk(shop.root):
        left_out = LEFT_OUT.get(os.path.relpath(folder, shop.root), set())
        names[:] = set(names) - left_out
        for name in {*names, *files} - left_out - {".deploy"}:
            status = Path(folder, name).lstat()
            found[str(Path(folder, name))] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return found


def applied(shop):
    with closing(sqlite3.connect(shop.root / "shared/database.sqlite3")) as database:
        rows = database.execute("SELECT name FROM django_migrations WHERE app = 'catalogue' ORDER BY name")
        return [name for (name,) in rows]


def add_pages(shop):
    (shop.project / "catalogue/migrations/0003_pages.py").write_text(ADD_PAGES)
    models = shop.project / "catalogue/models.py"
    field = "    title = models.CharField("
    assert field in models.read_text()
    models.write_text(
        models.read_text().replace(field, f"    pages = models.IntegerField(null=True)\n{field}", 1)
    )


def drop_restocked(shop):
    (shop.project / "catalogue/migrations/0004_no_restocked.py").write_text(DROP_RESTOCKED)
    models = shop.project / "catalogue/models.py"
    lines = models.read_text().splitlines(keepends=True)
    models.write_text("".join(line for line in lines if "restocked = " not in line))
    worker = shop.project / "catalogue/management/commands/restock.py"
    worker.write_text(worker.read_text().replace('["stock", "restocked"]', '["stock"]'))


def change(shop):
    """One of everything that a deployment can change."""
    add_pages(shop)
    (shop.project / "catalogue/static/catalogue/new.css").write_text("p { color: green }\n")
    (shop.project / "catalogue/static/catalogue/shop.js").write_text("// changed\n")
    with (shop.project / "bookshop/settings.py").open("a") as settings:
        settings.write("\nSESSION_COOKIE_AGE = 60\nINSTALLED_APPS.append('django.contrib.humanize')\n")
        settings.write("DEPLOY_TARGETS['demo']['ENV']['BOOKSHOP_COLOUR'] = 'a very secret green'\n")
        settings.write("COLOUR = os.environ.get('BOOKSHOP_COLOUR')\n")


def test_the_plan_tells_what_would_change_and_changes_nothing(shop):
    change(shop)
    before = tree(shop)

    status, out, err = shop.run("deploy", "demo", "--plan")
    again = shop.run("deploy", "demo", "--plan", "--json")

    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert "    environment: + BOOKSHOP_COLOUR" in lines
    assert "    setting SESSION_COOKIE_AGE: 1209600 -> 60" in lines
    assert "    setting INSTALLED_APPS: + 'django.contrib.humanize'" in lines
    assert "    setting COLOUR: not set -> set" in lines
    assert "    static files added: catalogue/new.css" in lines
    assert "    static files changed: catalogue/shop.js" in lines
    assert "catalogue.0003_pages" in out
    assert re.fullmatch(
        r"  time: about (\d+ min )?\d+ s once all is sent, by the last deployment", lines[-1]
    ), out
    assert "secret green" not in out
    assert again[0] == 0, again
    events = [json.loads(line) for line in again[1].splitlines()]
    assert "install.started" not in [event["event"] for event in events]
    [host] = next(event["plan"]["hosts"] for event in events if event["event"] == "plan.ready")
    assert host["rehearsal"]["environment"] == {"added": ["BOOKSHOP_COLOUR"], "changed": [], "removed": []}
    assert tree(shop) == before
    assert applied(shop) == ["0001_initial", "0002_first_books"]
    assert shop.mark() == "first edition"


def test_what_would_be_refused_is_said_ahead(shop):
    add_pages(shop)
    drop_restocked(shop)
    with (shop.project / "bookshop/settings.py").open("a") as settings:
        settings.write("\nSESSION_COOKIE_AGE = 60\n")
    before = tree(shop)

    status, out, err = shop.run("deploy", "demo", "--plan")

    assert status == 1, out + err
    assert "    setting SESSION_COOKIE_AGE: 1209600 -> 60" in out.splitlines()
    assert f"Release {out.partition('Release ')[2][:24]} on demo:" in out.splitlines()
    assert err.splitlines()[:3] == [
        "CommandError: local: these migrations would break the live release",
        "  | catalogue.0004_no_restocked: Remove field restocked from book",
        "  |     drops catalogue_book.restocked; the live release uses it: catalogue.Book.restocked",
    ]
    assert err.splitlines()[-1] == "Nothing was changed."
    assert tree(shop) == before
    assert applied(shop) == ["0001_initial", "0002_first_books"]


def test_a_site_that_does_not_start_is_known_ahead(shop):
    settings = shop.project / "bookshop/settings.py"
    settings.write_text(f"{settings.read_text()}\nif IS_DEPLOYED:\n    os.environ['BOOKSHOP_NOWHERE']\n")

    status, out, err = shop.run("deploy", "demo", "--plan")

    assert status == 1, out + err
    assert "local: the new release does not start: " in err
    assert "KeyError: 'BOOKSHOP_NOWHERE'" in err
    assert err.splitlines()[-1] == "Nothing was changed."


def test_a_first_release_is_rehearsed_too(bare):
    with elsewhere(bare, bare.root.with_name("first")) as shop:
        status, out, err = shop.run("deploy", "demo", "--plan")
        before = tree(shop)
        again = shop.run("deploy", "demo", "--plan")

        assert (status, err) == (0, "")
        lines = out.splitlines()
        assert "    environment: + BOOKSHOP_ALLOWED_HOSTS, + BOOKSHOP_SECRET_KEY" in lines
        [added] = [line for line in lines if line.startswith("    static files added: ")]
        assert re.fullmatch(r".*: (\S+, ){4}\S+ and \d+ more", added)
        assert "    setting " not in out
        assert again[0] == 0, again
        assert [line for line in again[1].splitlines() if line.startswith("    ")] == [
            line for line in lines if line.startswith("    ")
        ]
        assert tree(shop) == before
        assert not (shop.root / "current").exists()
        assert list((shop.root / "shared").iterdir()) == []


def test_what_a_first_release_would_lose_is_known_ahead(bare):
    with elsewhere(bare, bare.root.with_name("lossy")) as shop:
        with (shop.project / "bookshop/settings.py").open("a") as settings:
            settings.write("\nMEDIA_ROOT = BASE_DIR / 'uploads'\n")

        status, out, err = shop.run("deploy", "demo", "--plan")

        assert status == 1, out + err
        assert "MEDIA_ROOT is " in err
        assert '    MEDIA_ROOT = os.environ.get("MEDIA_ROOT", MEDIA_ROOT)' in err.replace("  | ", "")
        assert err.splitlines()[-1] == "Nothing was changed."


def test_who_is_asked_is_shown_what_the_plan_shows(shop):
    change(shop)
    before, kept = tree(shop), applied(shop)

    with sit_at_wide(shop, "deploy", "demo") as keyboard:
        shown = keyboard.read_until("Deploy to demo? [Y/n]")
        keyboard.type("n\n")
        keyboard.read_until("Nothing was deployed, as you wished.")

    assert "environment: + BOOKSHOP_COLOUR" in shown
    assert "setting SESSION_COOKIE_AGE: 1209600 -> 60" in shown
    assert "static files added: catalogue/new.css" in shown
    assert shown.count("catalogue.0003_pages, before the switch") == 1
    assert "very secret" not in shown
    assert (tree(shop), applied(shop)) == (before, kept)


def test_who_is_asked_is_not_asked_about_what_the_host_would_refuse(shop):
    add_pages(shop)
    drop_restocked(shop)

    with sit_at_wide(shop, "deploy", "demo") as keyboard:
        shown = keyboard.read_until("Nothing was changed.")

    assert "these migrations would break the live release" in shown
    assert "Deploy to demo?" not in shown


def test_what_a_rehearsal_has_sent_is_not_sent_again():
    first, second = plan(replace(TARGET, hosts=(ONE, TWO))).hosts
    rehearsed = replace(plan(), hosts=(replace(first, rehearsal={}), second))

    assert [len(host.send) for host in after_rehearsal(rehearsed).hosts] == [0, 1]


@contextmanager
def sit_at_wide(shop, *command):
    with shop.sit_at(*command) as keyboard:
        keyboard.resize(200, 60)
        yield keyboard


def test_where_nobody_is_asked_the_deployment_tells_what_the_plan_would_have_told(shop):
    change(shop)
    told = {"BOOKSHOP_COLOUR", "SESSION_COOKIE_AGE", "COLOUR", "catalogue/new.css", "catalogue/shop.js"}
    foretold = shop.run("deploy", "demo", "--plan", "--json")

    status, out, err = shop.run("deploy", "demo", "--yes", "--json")

    assert (foretold[0], status) == (0, 0), out + err
    plan, events = ([json.loads(line) for line in text.splitlines()] for text in (foretold[1], out))
    [host] = next(event["plan"]["hosts"] for event in plan if event["event"] == "plan.ready")
    kinds = [event["event"] for event in events]
    [found] = [event for event in events if event["event"] == "changes.found"]
    assert found["hosts"] == ["local"]
    assert {name: found[name] for name in host["rehearsal"]} == host["rehearsal"]
    assert told <= set(re.findall(r"[\w/.]+", json.dumps(found)))
    assert kinds.index("changes.found") < kinds.index("step.started") < kinds.index("switched")
    assert "secret green" not in out + err


def test_the_deployment_is_as_foretold_and_throws_the_rehearsal_away(shop):
    add_pages(shop)
    drop_restocked(shop)
    assert shop.run("deploy", "demo", "--plan")[0] == 1
    assert (shop.root / ".deploy/rehearsal").exists()

    with sit_at_wide(shop, "deploy", "demo", "--allow-breaking") as keyboard:
        keyboard.read_until("Deploy to demo? [Y/n]")
        keyboard.type("\n")
        told = keyboard.read_until("is live: deployed in")
        assert keyboard.end() == 0

    assert "0004_no_restocked, before" not in told  # it was told ahead of the question
    assert applied(shop) == ["0001_initial", "0002_first_books", "0003_pages", "0004_no_restocked"]
    settle(shop)
    assert not (shop.root / ".deploy/rehearsal").exists()
