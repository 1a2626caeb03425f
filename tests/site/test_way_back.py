"""What a host makes of real databases when it takes migrations back, and one of them fails."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from django_deploy.host.layout import LIVE, Layout
from django_deploy.host.migrations import Migrations
from django_deploy.host.protocol import Failure
from django_deploy.host.way_back import WayBack
from tests.host.conftest import Link

EARLIER, LATER = "20261122T174500Z-3f9c2a1", "20261123T174500Z-2222222"
MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("library", "{after}")]
    operations = [{operations}]
"""
TITLE = 'migrations.AlterField("book", "title", models.CharField(max_length=200, unique={}))'
REQUIRED = 'migrations.AddField("book", "{}", models.CharField(max_length=9, default="x"))'
#: The first cannot be taken back once two books have the same title.
OPERATIONS = {
    "0003_unique": [TITLE.format(True)],
    "0004_two": [TITLE.format(False), REQUIRED.format("memo")],
    "0005_note": [REQUIRED.format("note")],
}
TWO, NOTE = "library.0004_two", "library.0005_note"


@pytest.fixture
def shelf(library):
    """Two books of the same title, and what the later release has migrated since."""
    with library.edition(2) as edition:
        pass  # makes its folder
    after = "0002_subtitle"
    for name, operations in OPERATIONS.items():
        text = MIGRATION.format(after=after, operations=", ".join(operations))
        (library.folder / "edition_2" / f"{name}.py").write_text(text)
        after = name
    with library.edition(2) as edition:
        edition.migrate()
    columns = "title, isbn, rank, pages, price, shelf, writer_id, copies, subtitle, memo, note"
    if library.vendor == "mysql":
        columns = columns.replace("rank", "`rank`")
    library.execute("INSERT INTO library_writer (name) VALUES ('Ada')")
    values = "'Emma', NULL, 1, 1, 1, 'A', min(id), 1, 'x', 'gold', 'gold'"
    for _ in range(2):
        library.execute(f"INSERT INTO library_book ({columns}) SELECT {values} FROM library_writer")
    return library


@pytest.fixture
def way_back(shelf, tmp_path):
    with shelf.edition(2) as later, shelf.edition(1) as earlier:
        sites = {EARLIER: earlier, LATER: later}

        class Way(WayBack):
            @contextmanager
            def opened(self, release):
                yield lambda request, timeout=None, stop=None: sites[release.id].ask(**request)

        layout, link = Layout(str(tmp_path / "site")), Link()
        layout.create()
        made = Way(layout, link, -1, layout.release(EARLIER), lambda stream, line: None)
        layout.release(LATER).python.parent.mkdir(parents=True)
        layout.release(LATER).python.touch()
        layout.release(LATER).mark(LIVE)
        layout.current.symlink_to(f"releases/{LATER}")
        made.earlier = layout.release(EARLIER)
        made.migrations = Migrations(layout, link, -1, "staging")
        yield made


def test_what_is_told_of_a_failure_is_what_is_so(shelf, way_back):
    is_mysql = shelf.vendor == "mysql"
    ahead = [f"library.{name}" for name in OPERATIONS]
    with way_back.planning(), way_back.opened(way_back.earlier) as ask:
        way_back.plan(ask, {"database": "default", "place": "", "ahead": ahead})
    [reversal] = way_back.reversals
    assert (reversal.owner, reversal.needed[-2:]) == (LATER, [TWO, NOTE])

    with pytest.raises(Failure) as caught:
        way_back.reverse(way_back.migrations, None)

    told = {"unapplied": [NOTE], **({"torn": [TWO]} if is_mysql else {})}
    assert caught.value.details == told
    assert ("library.0004_two may be partly reversed" in caught.value.remedy) is is_mysql
    columns = shelf.execute("SELECT * FROM library_book")[0][0]
    assert ("gold" in columns) is not is_mysql  # the memo

    assert way_back.apply_again(way_back.moves()) == [NOTE]
    assert way_back.apply_again(way_back.moves()) == []
