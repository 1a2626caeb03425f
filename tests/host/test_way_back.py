"""What a host makes of the way to an earlier release; the rest is in tests/test_way_back_deployment.py."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from django_deploy.host.layout import LIVE, RETIRED, Layout
from django_deploy.host.migrations import Migrations
from django_deploy.host.protocol import Failure
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
        self.cannot, self.pending = "", set()

    def ask(self, request, timeout=None, stop=None):
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

    def guard(self, request):
        return {"ok": True}

    unguard = guard

    def move(self, request):
        """One after the other, to the one that it ``cannot``."""
        names = request["migrations"]
        for name in reversed(names) if request["backwards"] else names:
            if name == self.cannot:
                return {"ok": False, "error": "IntegrityError: no"}
            (self.pending.add if request["backwards"] else self.pending.discard)(name)
        return {"ok": True, "seconds": 0.1, "result": {}}

    def plan_migrations(self, request):
        assert request["command"] == ["migrate", "--database", "default"]
        return {"ok": True, "plan": {"migrations": [{"name": name} for name in sorted(self.pending)]}}


class Way(WayBack):
    """Asks ``sites`` instead of starting releases' Django."""

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
        f"shop.0002_new: {THIRD}, which has the files, uses {THERE}, and {RELEASE} uses {HERE}: reverse it"
        f" there by hand, or deploy the code of {RELEASE} again"
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
                f" release is {THERE}, and data written there will no longer be used",
                "remedy": "Their ENV differs in DB. To go back with the code alone, deploy it again:"
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


TWO = [migration("shop.0002_b", DROP), migration("shop.0003_c", DROP, needs=["shop.0002_b"])]


@pytest.fixture
def begun(way_back):
    """Two are to be taken back, by the live release."""
    have(way_back, THIRD, Site(HERE, *TWO), is_live=True)
    go_back(way_back, "shop.0002_b", "shop.0003_c")
    way_back.migrations = Migrations(way_back._layout, way_back._link, -1, "staging")
    way_back.site = way_back.sites[THIRD]
    return way_back


def moved(*names):
    return [{"owner": THIRD, "database": "default", "migrations": [*names]}] if names else []


def steps(way_back):
    return [fields["step"] for kind, fields in way_back._link.events if kind == "step.started"]


def test_what_was_taken_back_is_applied_again(begun):
    assert begun.moves() == moved("shop.0002_b", "shop.0003_c")
    assert begun.reverse(begun.migrations, None) == ["shop.0002_b", "shop.0003_c"]
    assert begun.moves() == moved("shop.0002_b", "shop.0003_c")

    assert begun.apply_again(begun.moves()) == ["shop.0002_b", "shop.0003_c"]

    assert begun.site.pending == set()
    assert steps(begun) == ["reverse shop.0002_b, shop.0003_c", "apply again shop.0002_b, shop.0003_c"]


@pytest.mark.parametrize(
    ("cannot", "unapplied"), [("shop.0003_c", []), ("shop.0002_b", ["shop.0003_c"])], ids=["first", "second"]
)
def test_a_failure_tells_what_was_taken_back_before(begun, cannot, unapplied):
    begun.site.cannot = cannot

    with pytest.raises(Failure) as caught:
        begun.reverse(begun.migrations, None)

    assert caught.value.message == "could not reverse shop.0002_b, shop.0003_c: IntegrityError: no"
    assert caught.value.remedy == "Fix it, and roll back again."
    assert caught.value.details == {"unapplied": unapplied}
    assert begun.moves() == moved(*unapplied)


def test_a_part_of_one_may_be_taken_back_where_it_fails(begun):
    """As in MySQL, which cannot take back changes of tables."""
    begun.reversals[0].torn, begun.site.cannot = ["shop.0002_b"], "shop.0002_b"

    with pytest.raises(Failure) as caught:
        begun.reverse(begun.migrations, None)

    assert caught.value.details == {"unapplied": ["shop.0003_c"], "torn": ["shop.0002_b"]}
    assert caught.value.remedy == (
        f"shop.0002_b may be partly reversed, and {HERE} cannot undo that. Look at its"
        " tables, apply that part again by hand or restore a backup, and roll back again."
    )


def test_nothing_is_torn_where_nothing_was_begun(begun):
    begun.reversals[0].torn = ["shop.0002_b", "shop.0003_c"]
    begun.site.guard = lambda request: {"ok": False, "error": "another migration did not end"}

    with pytest.raises(Failure, match="not migrated: another migration did not end") as caught:
        begun.reverse(begun.migrations, None)

    assert caught.value.details == {"unapplied": []}
    assert begun.moves() == []


def test_whoever_died_at_it_does_not_say_what_he_did(begun):
    def die(request):
        begun.site.pending.add("shop.0003_c")
        raise Failure("StepFailed", "manage.py ended with status -9", exit=-9, lines=["Killed"])

    begun.site.move = die

    with pytest.raises(Failure) as caught:
        begun.reverse(begun.migrations, None)

    assert caught.value.message == (
        "could not reverse shop.0002_b, shop.0003_c: manage.py ended with status -9"
    )
    assert caught.value.details == {"exit": -9, "lines": ["Killed"], "unapplied": ["shop.0003_c"]}


def test_what_was_not_taken_back_in_the_end_is_not_applied_again(begun):
    """The journal of one that was killed says what was to be taken back."""
    begun.site.pending.add("shop.0003_c")

    assert begun.apply_again(moved("shop.0002_b", "shop.0003_c")) == ["shop.0003_c"]
    assert begun.apply_again(moved("shop.0002_b", "shop.0003_c")) == []

    assert steps(begun) == ["apply again shop.0003_c"]


def test_what_cannot_be_applied_again_is_named(begun):
    begun.site.pending, begun.site.cannot = {"shop.0002_b", "shop.0003_c"}, "shop.0003_c"

    with pytest.raises(Failure) as caught:
        begun.apply_again(moved("shop.0002_b", "shop.0003_c"))

    assert caught.value.message == (
        "reversed, and not applied again: shop.0003_c: could not apply again shop.0002_b, shop.0003_c:"
        " IntegrityError: no"
    )
