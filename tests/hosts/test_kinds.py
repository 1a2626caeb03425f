"""Projects of three kinds, unchanged but for DEPLOY_TARGETS and the lines that the tool asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .inspection import assert_consistent
from .kinds import Project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .index import Index
    from .laptop import Laptop
    from .machines import Machine


@pytest.fixture
def project(tmp_path: Path, laptop: Laptop, index: Index, machine: Machine) -> Callable[..., Project]:
    def make(kind: str, **options: object) -> Project:
        return Project(kind, tmp_path, laptop, index, machine, **options)

    return make


def test_a_package_in_a_src_folder(project: Callable[..., Project]) -> None:
    newsroom = project("newsroom")
    newsroom.install("--editable", str(newsroom.folder), "pytest")

    first = newsroom.deployed()

    assert "<p>Water found</p>" in newsroom.read("/")
    assert "color: navy" in newsroom.read("/static/newsroom/paper.css")
    assert_consistent(newsroom.machine, first.release, processes=("web",))
    newsroom.replace("src/newsroom/templates/newsroom/front.html", "first", "second")
    newsroom.deployed()
    assert "<h1>The second edition</h1>" in newsroom.read("/")
    assert newsroom.run("deploy_rollback").status == 0
    assert "<h1>The first edition</h1>" in newsroom.read("/")


def test_one_package_and_no_pyproject(project: Callable[..., Project]) -> None:
    """As ``startproject`` left it, its database would be a file of the release."""
    wiki = project("wiki", requirements=("django~=5.2.0", "gunicorn"))

    refused = wiki.run("deploy", "--yes")

    assert refused.status == 1, refused
    shared = f"{wiki.machine.root}/shared/db.sqlite3"
    for line in (
        '  | DATABASES["default"]["NAME"] is /srv/site/releases/',
        "  |   At the end of wiki.settings:",
        '  |     DATABASES["default"]["NAME"] = os.environ.get(',
        "  |   In the target's ENV:",
        f'  |     "DATABASE_DEFAULT": "{shared}",',
    ):
        assert f"\n{line}" in refused.err
    said = [line.removeprefix("  |     ") for line in refused.err.splitlines()]
    [fix] = [line for line in said if line.startswith('DATABASES["default"]["NAME"] = ')]
    [value] = [line for line in said if line.startswith('"DATABASE_DEFAULT"')]
    wiki.replace("wiki/settings.py", "\nDEPLOY_TARGETS", f"\n{fix}\nDEPLOY_TARGETS")
    wiki.replace("wiki/settings.py", '"ENV": {', '"ENV": {' + value)
    first = wiki.deployed()
    assert "<p>pages: 1</p>" in wiki.read("/?write")
    assert_consistent(wiki.machine, first.release, processes=("web",))
    wiki.replace("wiki/templates/wiki/page.html", "Everybody", "Nobody")
    wiki.deployed()
    assert "<h1>Nobody may write</h1>\n<p>pages: 1</p>" in wiki.read("/")


def test_many_apps_with_templates_and_static_files_at_the_top(project: Callable[..., Project]) -> None:
    club = project("club")
    built = club.folder / "static/dist/app.js"
    built.parent.mkdir()
    built.write_text("row()\n")

    first = club.deployed()

    assert "<h1>The rowing club</h1>" in club.read("/")
    assert club.read("/members/") == "captain, mate"
    assert "regatta" in club.read("/events/")
    assert "row()" in club.read("/static/dist/app.js")
    assert_consistent(club.machine, first.release, processes=("web",))
