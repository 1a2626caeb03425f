"""Static files while releases come and go: pages that people have open, and workers that start again."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from .inspection import assert_serves, live, look, visit

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .machines import Machine

#: All releases collect into one folder, and Django's own manifest tells them what their files are called.
SHARED_STATIC_FILES = """
STATIC_ROOT = SHARED / "static"
COMPRESS_ENABLED = COMPRESS_OFFLINE = False
"""


def get(host: Machine, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://{host.address}{path}", timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


def files_of(host: Machine) -> dict[str, tuple[int, bytes]]:
    """What the site's first page refers to, as its reader gets it."""
    page = get(host, "/")[1].decode()
    found = {path: get(host, path) for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page)}
    assert len(found) > 1
    assert {status for status, _ in found.values()} == {200}
    return found


def restyle(bookshop: Bookshop) -> None:
    """Other static files, with other hashes in their names."""
    mark = bookshop.new_edition()
    name = mark.replace(" ", "-")
    bookshop.append("catalogue/static/catalogue/shop.js", f"// {name}\n")
    bookshop.append("catalogue/static/catalogue/shop.css", f".{name} {{ color: red }}\n")


def test_pages_that_are_open_find_their_files(host: Machine, bookshop: Bookshop) -> None:
    bookshop.target["KEEP_RELEASES"] = 2
    restyle(bookshop)
    first = bookshop.deployed()
    old = files_of(host)
    restyle(bookshop)
    second = bookshop.deployed()
    new = files_of(host)

    assert len(old.keys() - new.keys()) == 2
    assert {path: get(host, path) for path in old} == old
    assert bookshop.run("deploy_rollback", first).status == 0
    assert {path: get(host, path) for path in {**old, **new}} == {**old, **new}
    assert bookshop.run("deploy_rollback", second).status == 0
    for _ in range(3):
        restyle(bookshop)
        last = bookshop.deployed()
        assert_serves(host, last)
    assert first not in look(host)["folders"]
    assert {get(host, path)[0] for path in old.keys() - new.keys()} == {404}


def test_worker_of_the_live_release_starts_again_after_another_one_failed(
    host: Machine, bookshop: Bookshop
) -> None:
    """It must not meet the other one's manifest, which knows other files."""
    bookshop.append("bookshop/settings.py", SHARED_STATIC_FILES)
    old = bookshop.deployed()
    before = files_of(host)
    rename_a_file(bookshop)
    bookshop.target["PROCESSES"]["worker"] = "false"
    assert bookshop.deploy().status == 1

    restart_web_workers(host, old)

    assert visit(host).release == old
    assert files_of(host) == before


def test_going_back_to_a_release_with_other_files(host: Machine, bookshop: Bookshop) -> None:
    bookshop.append("bookshop/settings.py", SHARED_STATIC_FILES)
    old = bookshop.deployed()
    before = files_of(host)
    rename_a_file(bookshop)
    new = bookshop.deployed()
    assert files_of(host).keys() != before.keys()

    assert bookshop.run("deploy_rollback", old).status == 0

    assert live(host) == old != new
    assert files_of(host) == before


def rename_a_file(bookshop: Bookshop) -> None:
    (bookshop.folder / "catalogue/static/catalogue/shop.js").rename(
        bookshop.folder / "catalogue/static/catalogue/till.js"
    )
    template = bookshop.folder / "catalogue/templates/catalogue/base.html"
    template.write_text(template.read_text().replace("catalogue/shop.js", "catalogue/till.js"))


def restart_web_workers(host: Machine, release: str) -> None:
    """gunicorn starts those again that fall, and they read everything anew."""
    [unit] = [unit for unit in look(host)["units"] if "-web@" in unit and release in unit]
    main = host.systemctl("show", "--property=MainPID", "--value", unit).stdout.strip()
    host.run("pkill", "-KILL", "--parent", main)
    time.sleep(3)


def test_clear_of_a_folder_that_releases_share_is_warned_of(host: Machine, bookshop: Bookshop) -> None:
    bookshop.append("bookshop/settings.py", SHARED_STATIC_FILES)
    bookshop.target["STEPS"] = ["collectstatic --noinput --clear", "migrate --noinput"]

    result = bookshop.deploy("--json")

    assert result.status == 0, result
    assert [event["message"] for event in result.all("warning")] == [
        f"collectstatic --clear empties {host.root}/shared/static, where the live release has its files, too"
    ]
    bookshop.restore()
    bookshop.aim([host])
    assert_serves(host, bookshop.deployed())
