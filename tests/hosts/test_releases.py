"""Releases that are no good: the site goes on as before, and the error says what to fix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .bookshop import WEB, WORKER
from .inspection import assert_serves, live, look

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .deployer import Result
    from .machines import Machine

MIGRATION = """\
from django.db import migrations

def work(apps, schema_editor):
    raise RuntimeError("book 7 has no author")

class Migration(migrations.Migration):
    dependencies = [("catalogue", "0002_first_books")]
    operations = [migrations.RunPython(work, migrations.RunPython.noop)]
"""


def assert_reverted(result: Result, host: Machine, old: str, message: str, *lines: str) -> None:
    """The deployment failed with this error, these lines of output in it, and the old release is served."""
    assert result.status == 1, result
    first, *others = result.err.splitlines()
    assert first == f"CommandError: deploy@{host.address}: {message}"
    assert others[-1] == f"Nothing changed: the host serves {old}, as before.", result
    for line in lines:
        assert line in others, result
    assert_serves(host, old)


def test_failing_migration(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    bookshop.write("catalogue/migrations/0003_authors.py", MIGRATION)

    result = bookshop.deploy()

    message = "step 'migrate --noinput' failed: RuntimeError: book 7 has no author"
    lines = ["  | RuntimeError: book 7 has no author", "Fix it and deploy again."]
    assert_reverted(result, host, old, message, *lines)
    bookshop.write("catalogue/migrations/0003_authors.py", MIGRATION.replace("raise", "return"))
    assert_serves(host, bookshop.deployed())
    forget_migration(host, "0003_authors")


def forget_migration(host: Machine, name: str) -> None:
    """The projects of other tests lack it, and a database that is ahead of the code is refused."""
    script = "import sqlite3, sys; database = sqlite3.connect(sys.argv[1]);"
    script += (
        "database.execute('DELETE FROM django_migrations WHERE name = ?', sys.argv[2:]); database.commit()"
    )
    host.run("python3", "-c", script, f"{host.root}/shared/database.sqlite3", name)


def test_release_that_fails_its_preflight(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    bookshop.write("bookshop/wsgi.py", "import bookshop.nothing\n")

    result = bookshop.deploy()

    message = "the new release does not start: its checks found errors"
    assert_reverted(result, host, old, message, "Fix it and deploy again.")
    assert (
        "  | WSGI_APPLICATION 'bookshop.wsgi.application' cannot be loaded:"
        " ModuleNotFoundError: No module named 'bookshop.nothing' ("
    ) in result.err


def test_settings_that_lack_the_environment(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    del bookshop.target["ENV"]["BOOKSHOP_SECRET_KEY"]

    result = bookshop.deploy()

    first = result.err.splitlines()[0]
    place = re.search(r" \(/srv/site/releases/.*/bookshop/settings\.py:\d+\)$", first)
    assert place, result
    message = f"the new release does not start: KeyError: 'BOOKSHOP_SECRET_KEY'{place[0]}"
    assert_reverted(result, host, old, message, "  | KeyError: 'BOOKSHOP_SECRET_KEY'")


def test_web_process_that_does_not_start(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    bookshop.target["PROCESSES"]["web"] = WEB.replace("bookshop.wsgi", "bookshop.nothing")

    result = bookshop.deploy()

    assert_reverted(
        result,
        host,
        old,
        "process 'web' of the new release does not stay up",
        "  | ModuleNotFoundError: No module named 'bookshop.nothing'",
        "Try its command in the project's own environment.",
    )


def test_worker_that_does_not_start(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    bookshop.target["PROCESSES"]["worker"] = "python manage.py restock --every soon"

    result = bookshop.deploy()

    message = "process 'worker' of the new release does not stay up"
    line = "  | manage.py restock: error: argument --every: invalid float value: 'soon'"
    assert_reverted(result, host, old, message, line)


def test_program_that_is_not_there(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    bookshop.target["PROCESSES"]["web"] = "uvicorn bookshop.asgi --uds {socket}"

    result = bookshop.deploy()

    message = (
        "process 'web' could not start: there is no program uvicorn, neither in the release nor on the host"
    )
    assert_reverted(result, host, old, message)


FAILING_VIEW = """\
from django.http import HttpResponse
from django.urls import path
from bookshop.urls import urlpatterns as others

urlpatterns = [path("broken/", lambda request: HttpResponse("the till is broken", status=500)), *others]
"""


def test_health_check_that_says_500(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    bookshop.write("catalogue/broken.py", FAILING_VIEW)
    bookshop.append("bookshop/settings.py", 'ROOT_URLCONF = "catalogue.broken"\n')
    bookshop.target["HEALTH_CHECK"] = "/broken/"

    result = bookshop.deploy()

    message = f"{host.root}/run/web.sock:/broken/ answered status 500; expected status 200"
    remedy = "Does the path work here, with the target's SETTINGS_MODULE and ENV?"
    assert_reverted(result, host, old, message, "  | the till is broken", remedy)


def test_singleton_that_was_stopped_runs_again(host: Machine, bookshop: Bookshop) -> None:
    bookshop.target["PROCESSES"]["worker"] = {"COMMAND": WORKER, "SINGLETON": True}
    old = bookshop.deployed()
    bookshop.target["PROCESSES"]["web"] = WEB.replace("bookshop.wsgi", "bookshop.nothing")

    result = bookshop.deploy("--json")

    stopped = [(event["process"], event["release"]) for event in result.all("process.stopping")]
    assert ("worker", old) in stopped
    assert_reverted(result, host, old, "process 'web' of the new release does not stay up")


def test_an_old_release_that_cannot_be_deleted_is_warned_of(host: Machine, bookshop: Bookshop) -> None:
    """Somebody ran its manage.py as root."""
    old = live(host)
    roots = f"{host.root}/releases/{old}/venv/of-root"
    host.run("sh", "-c", f"mkdir {roots}; touch {roots}/file", user="root")
    bookshop.target["KEEP_RELEASES"] = 1
    for _ in range(2):
        bookshop.new_edition()
        bookshop.deployed()
    notice = f"{host.root}/.deploy/cleanup-failed"
    host.run("timeout", "30", "sh", "-c", f"until test -e {notice}; do sleep 0.05; done")

    warned = bookshop.deploy()
    host.run("rm", "-r", f"{host.root}/releases/.{old}.deleted", user="root")

    assert warned.status == 0, warned
    assert (
        f"deploy@{host.address}: old releases could not be removed: Permission denied;"
        f" on the host, as root: rm -r {host.root}/releases/.{old}.deleted\n" in warned.out
    ), warned
    bookshop.new_edition()
    bookshop.deployed()
    assert_serves(host, live(host))
    assert "could not be removed" not in bookshop.deploy().out


def test_failed_releases_are_kept_to_look_at_but_not_to_go_back_to(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    bookshop.write("bookshop/wsgi.py", "import bookshop.nothing\n")
    for _ in range(3):
        assert bookshop.deploy().status == 1
    failed = failed_releases(host)
    assert len(failed) == 2

    result = bookshop.run("deploy_rollback", failed[-1])

    assert result.status == 1, result
    assert result.err.startswith(
        f"CommandError: Not every host has a release {failed[-1]} that was live.\nThere is: "
    )
    assert_serves(host, old)
    bookshop.restore()
    bookshop.new_edition()
    assert_serves(host, bookshop.deployed())
    assert failed_releases(host) == failed
    assert sorted(look(host)["folders"]) == sorted(look(host)["states"])  # nothing is left half deleted


def failed_releases(host: Machine) -> list[str]:
    return sorted(id for id, state in look(host)["states"].items() if state == "failed")
