"""What a host makes of the way to an earlier release; the rest is in tests/test_way_back_deployment.py."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from django_deploy.host.layout import LIVE, RETIRED, Layout
from django_deploy.host.way_back import WayBack
from tests.host.conftest import Link
from tests.host.test_judgement import ADD, DROP, TABLES, migration

RELEASE = "20261122T174500Z-3f9c2a1"
SECOND = "20261123T174500Z-2222222"
THIRD = "20261124T174500Z-3333333"
HERE, THERE = "postgresql shop on db1", "postgresql other on db1"
PLAN = {"database": "default", "place": HERE, "ahead": ["shop.0002_new"]}


class Site:
    """The site's side of one release: the files that it has, and the database that it uses."""

    def __init__(self, place, *migrations, fingerprint=""):
        self.place, self.fingerprint = place, fingerprint
        self.migrations = {each["name"]: each for each in migrations}
        self.asked = []

    def ask(self, request):
        self.asked.append(request["do"])
        return getattr(self, request["do"])(request)

    def identify(self, request):
        [[_, _, alias]] = request["commands"]
        told = {"place": self.place, "vendor": "postgresql", "fingerprint": self.fingerprint}
        return {"ok": True, "databases": {alias: told}}

    def judge_applied(self, request):
        found = [self.migrations[name] for name in request["migrations"] if name in self.migrations]
        lacks = [name for name in request["migrations"] if name not in self.migrations]
        return {"ok": True, "applied": {"place": self.place, "lacks": lacks, "migrations": found}}

    def tables(self, request):
        return {"ok": True, "tables": TABLES}

    def losses(self, request):
        return {"ok": True, "losses": []}


class Way(WayBack):
    """Asks sites instead of starting releases' Django."""

    sites = {}

    @contextmanager
    def opened(self, release):
        yield self.sites[release.id].ask


@pytest.fixture
def way_back(tmp_path):
    layout = Layout(str(tmp_path))
    layout.create()
    made = Way(layout, Link(), -1, layout.release(RELEASE), lambda stream, line: None)
    made.sites = {}
    return made


def have(way_back, id, site, *, is_live=False):
    """The host has that release."""
    release = way_back._layout.release(id)
    release.python.parent.mkdir(parents=True)
    release.python.touch()
    release.mark(LIVE if is_live else RETIRED)
    if is_live:
        way_back._layout.current.symlink_to(f"releases/{id}")
    way_back.sites[id] = site


def go_back(way_back, *ahead, site=None):
    """Plan the way to the release, whose database has more than it knows."""
    site = site or Site(HERE)
    with way_back.planning():
        way_back.plan(site.ask, {**PLAN, "ahead": list(ahead)})


def refuse(request):
    raise AssertionError(request)


def test_nothing_is_taken_back_where_the_release_knows_all(way_back):
    go_back(way_back)

    assert (way_back.reversals, way_back.moves()) == ([], [])


def test_what_no_release_has_the_file_of_cannot_be_taken_back(way_back):
    go_back(way_back, "shop.0002_new")

    assert [reversal.as_dict() for reversal in way_back.reversals] == [
        {
            "database": "default",
            "place": HERE,
            "needed": ["shop.0002_new"],
            "kept": [],
            "irreversible": ["shop.0002_new: no release of this host has its file"],
        }
    ]


def test_it_is_taken_back_in_the_database_that_the_release_uses(way_back):
    """The live release has the files as well, but another database."""
    drop = migration("shop.0002_new", DROP)
    have(way_back, SECOND, Site(HERE, drop))
    have(way_back, THIRD, Site(THERE, drop), is_live=True)

    go_back(way_back, "shop.0002_new")

    assert way_back.moves() == [{"owner": SECOND, "database": "default", "migrations": ["shop.0002_new"]}]
    assert "losses" not in way_back.sites[THIRD].asked


def test_what_only_a_release_of_another_database_has_the_files_of_is_not_taken_back(way_back):
    have(way_back, THIRD, Site(THERE, migration("shop.0002_new", DROP)), is_live=True)

    go_back(way_back, "shop.0002_new")

    [reversal] = way_back.reversals
    assert (reversal.owner, reversal.needed) == (None, ["shop.0002_new"])
    assert reversal.irreversible == [
        f"shop.0002_new: {THIRD}, which has the files, uses {THERE}, and {RELEASE} uses {HERE}"
    ]


def test_what_does_not_hurt_is_judged_by_whichever_files_there_are(way_back):
    have(way_back, THIRD, Site(THERE, migration("shop.0002_new", ADD)), is_live=True)

    go_back(way_back, "shop.0002_new")

    [reversal] = way_back.reversals
    assert (reversal.needed, reversal.kept, reversal.irreversible) == ([], ["shop.0002_new"], [])


def test_several_releases_know_together_what_was_done(way_back):
    """Branches: each has its own file."""
    have(way_back, SECOND, Site(HERE, migration("shop.0002_x", ADD)), is_live=True)
    have(way_back, THIRD, Site(HERE, migration("shop.0002_y", ADD)))

    go_back(way_back, "shop.0002_x", "shop.0002_y")

    [reversal] = way_back.reversals
    assert (reversal.needed, reversal.kept) == ([], ["shop.0002_x", "shop.0002_y"])


def test_nothing_is_taken_back_by_who_does_not_know_what_else_is_in_the_tables(way_back):
    have(way_back, SECOND, Site(HERE, migration("shop.0002_x", ADD)), is_live=True)
    have(way_back, THIRD, Site(HERE, migration("shop.0002_y", DROP)))

    go_back(way_back, "shop.0002_x", "shop.0002_y")

    [reversal] = way_back.reversals
    assert (reversal.owner, reversal.needed, reversal.kept) == (None, ["shop.0002_y"], ["shop.0002_x"])
    assert reversal.irreversible == [
        f"shop.0002_y: no single release of this host has the files of all that {RELEASE} lacks"
    ]


def test_that_the_site_will_use_another_database_is_told(way_back):
    have(way_back, THIRD, Site(THERE), is_live=True)
    for id, name in ((RELEASE, "shop"), (THIRD, "other")):
        way_back._layout.release(id).path.mkdir(exist_ok=True)
        (way_back._layout.release(id).path / "environment.json").write_text(json.dumps({"DB": name}))

    go_back(way_back)

    assert way_back._link.events == [
        (
            "warning",
            {
                "message": f"the database 'default' of {RELEASE} is another one: {HERE}; that of the live"
                f" release is {THERE}, and what was written there is not seen any more",
                "remedy": "Their ENV differs in DB. To go back with the code alone, deploy it anew:"
                " manage.py deploy --revision.",
            },
        )
    ]


@pytest.mark.parametrize(
    ("place", "fingerprint", "warnings"),
    [
        pytest.param(HERE, "", 0, id="of the same name"),
        pytest.param(THERE, "a", 0, id="another name of the same"),
        pytest.param(HERE, "b", 1, id="of the same name elsewhere"),
    ],
)
def test_the_server_knows_which_database_it_is(way_back, place, fingerprint, warnings):
    have(way_back, THIRD, Site(place, fingerprint=fingerprint), is_live=True)

    go_back(way_back, site=Site(HERE, fingerprint="a"))

    assert len(way_back._link.warnings()) == warnings


def test_a_live_release_that_is_too_old_to_tell_is_taken_for_one_of_the_same_database(way_back):
    site = Site(THERE)
    site.identify = lambda request: {"ok": False, "error": "A request does one of describe, run"}
    have(way_back, THIRD, site, is_live=True)

    go_back(way_back)

    assert way_back._link.events == []
