"""What a host does with what its release plans to migrate; the plans are as the site writes them."""

from __future__ import annotations

import json

import pytest

from django_deploy.host.layout import Layout
from django_deploy.host.migrations import Migrations, Planned
from django_deploy.host.protocol import Failure
from tests.host.test_judgement import ADD, DROP, RUN, TABLES, migration

COMMAND = ["migrate", "--noinput"]
MESSAGE = {
    "commands": [COMMAND],
    "policy": "refuse",
    "target": "staging",
    "shared_with": [],
    "others": [{"name": "the live release of web2", "tables": TABLES, "stays": False}],
    "asks": False,
}


class Site:
    """The site's side: answers with a plan, or with an error at first."""

    def __init__(self, *migrations, errors=(), **changes):
        self.asked = []
        self.errors = list(errors)
        self.unmigrated = {}
        self.plan = {
            "database": "default",
            "place": "postgresql shop on db1",
            "owners": [],
            "is_for_all": True,
            "conflicts": {},
            "ahead": [],
            "migrations": list(migrations),
            **changes,
        }

    def ask(self, request):
        if request["do"] == "unmigrated":
            return {"ok": True, "unmigrated": self.unmigrated}
        self.asked.append(request["do"])
        if self.errors:
            return {"ok": False, "error": self.errors.pop(0)}
        return {"ok": True, "plan": self.plan}


@pytest.fixture
def migrations(tmp_path, link):
    return Migrations(Layout(str(tmp_path)), link, -1, "staging")


def test_what_is_planned_is_told(migrations, link):
    assert migrations.plan(Site(migration("shop.0002", ADD)).ask, MESSAGE) == {"opaque": [], "deferred": []}

    ((kind, fields),) = link.events
    assert (kind, fields["place"], fields["is_live"]) == (
        "migrations.planned",
        "postgresql shop on db1",
        True,
    )
    assert [planned["name"] for planned in fields["migrations"]] == ["shop.0002"]
    assert migrations.find(COMMAND).commands() == [COMMAND]


def test_very_many_are_told_in_pieces(migrations, link):
    """The deployer takes no event of more than 256 kB."""
    many = [migration(f"shop.{number:04}", *[ADD] * 5) for number in range(1, 400)]
    huge = migration("shop.9999", *[ADD] * 1000)

    migrations.plan(Site(*many, huge).ask, MESSAGE)

    told = [planned for _, fields in link.events for planned in fields["migrations"]]
    assert [planned["name"] for planned in told] == [each["name"] for each in [*many, huge]]
    assert told[-1]["operations"] == []
    assert len(link.events) > 1
    assert max(len(json.dumps(fields)) for _, fields in link.events) < 110_000


def test_a_refusal_names_the_operations(migrations):
    with pytest.raises(Failure) as caught:
        migrations.plan(Site(migration("shop.0002", DROP)).ask, MESSAGE)

    failure = caught.value
    reason = "drops isbn; the live release of web2 uses it: shop.Book.isbn"
    assert failure.type == "MigrationsRefused"
    assert failure.details["operations"] == [
        {"migration": "shop.0002", "operation": "Operation 1", "reason": reason}
    ]
    assert failure.details["lines"] == ["shop.0002: Operation 1", f"    {reason}"]


def test_the_last_of_what_comes_before_brings_the_others_along(migrations):
    plan = [
        migration("shop.0002", ADD),
        migration("blog.0005", ADD, needs=["shop.0002"]),
        migration("shop.0003", ADD, needs=["shop.0002"]),
        migration("shop.0004", DROP, needs=["shop.0003"]),
    ]

    answer = migrations.plan(Site(*plan).ask, {**MESSAGE, "policy": "phased"})

    assert answer["deferred"] == ["shop.0004"]
    assert migrations.find(COMMAND).commands() == [
        [*COMMAND, "blog", "0005"],
        [*COMMAND, "shop", "0003"],
    ]


def test_nobody_uses_a_database_in_which_there_is_nothing(migrations, link):
    """Another one than that of the live release: its steps back and forth concern nobody."""
    site = Site(migration("shop.0002", ADD, RUN), migration("shop.0003", DROP), is_empty=True)

    for policy in ("refuse", "phased"):
        assert migrations.plan(site.ask, {**MESSAGE, "policy": policy}) == {"opaque": [], "deferred": []}

    assert [fields["is_live"] for _, fields in link.events] == [False, False]


def test_a_command_for_one_app_is_not_cut_in_two(migrations):
    with pytest.raises(Failure, match="these migrations would break the live release"):
        migrations.plan(
            Site(migration("shop.0002", DROP), is_for_all=False).ask, {**MESSAGE, "policy": "phased"}
        )


def test_several_last_migrations(migrations):
    with pytest.raises(Failure) as caught:
        migrations.plan(Site(conflicts={"shop": ["0002_a", "0002_b"]}).ask, MESSAGE)

    assert caught.value.message == "the app 'shop' has several last migrations: 0002_a, 0002_b"


def test_a_database_that_is_ahead(migrations, link):
    site = Site(ahead=["shop.0009_later"])
    message = "the database 'default' is ahead of this code, which lacks: shop.0009_later"

    with pytest.raises(Failure) as caught:
        migrations.plan(site.ask, MESSAGE)
    migrations.plan(site.ask, {**MESSAGE, "policy": "allow"})

    assert caught.value.message == message
    assert caught.value.remedy.endswith(
        "deploy --allow-breaking, and then, so that the database forgets them:"
        " deploy_run staging -- migrate APP --prune."
    )
    assert link.warnings() == [message]


@pytest.mark.parametrize("policy", ["refuse", "allow", "phased"])
def test_the_database_of_another_target(migrations, policy):
    owner = {"target": "production", "root": "/srv/shop", "host": "web1", "at": 1795000000.0}

    with pytest.raises(Failure) as caught:
        migrations.plan(Site(owners=[owner]).ask, {**MESSAGE, "policy": policy})

    assert caught.value.type == "DatabaseRefused"
    assert caught.value.message == (
        "the database 'default' of 'staging' is that of 'production': postgresql shop on db1,"
        " which 'production' (/srv/shop on web1) migrated last on 2026-11-18"
    )
    migrations.plan(Site(owners=[owner]).ask, {**MESSAGE, "shared_with": ["production"]})


def test_opaque_operations_are_warned_of_where_nobody_can_be_asked(migrations, link):
    site = Site(migration("shop.0002", RUN))

    for asks in (True, False):
        assert migrations.plan(site.ask, {**MESSAGE, "asks": asks})["opaque"] == ["shop.0002: Operation 1"]

    assert link.warnings() == [
        "it is unknown whether these migrations break the live release: shop.0002: Operation 1"
    ]


def test_a_database_that_an_earlier_step_makes(migrations, link):
    """A folder for SQLite, a role, a schema: it cannot be planned ahead, and is when its turn comes."""
    site = Site(migration("shop.0002", DROP), errors=["no such folder"])

    assert migrations.plan(site.ask, MESSAGE) == {"opaque": [], "deferred": []}
    with pytest.raises(Failure, match="these migrations would break the live release"):
        migrations.plan_late(site.ask, COMMAND)

    migrations.plan_late(site.ask, COMMAND)
    assert site.asked == ["plan_migrations", "plan_migrations"]


def test_a_database_that_no_step_migrates_is_told(migrations, link):
    site = Site()
    site.unmigrated = {"logs": ["shop.0002_a", "audit.0001_initial"]}

    migrations.plan(site.ask, MESSAGE)

    assert link.events == [
        (
            "warning",
            {
                "message": "the database 'logs' has migrations that no step applies:"
                " shop.0002_a, audit.0001_initial",
                "remedy": 'If it is to be migrated, add it to STEPS: "migrate --noinput --database logs".',
            },
        )
    ]


def test_what_can_never_be_planned_is_refused(migrations, link):
    site = Site(errors=["no such folder"] * 4)

    migrations.plan(site.ask, MESSAGE)
    with pytest.raises(Failure) as caught:
        migrations.plan_late(site.ask, COMMAND)
    migrations.plan(site.ask, {**MESSAGE, "policy": "allow"})
    with pytest.raises(Failure):  # nobody would know whose database it is, and none would be backed up
        migrations.plan_late(site.ask, COMMAND)

    assert caught.value.message == "the migrations cannot be planned: no such folder"
    assert migrations.find(COMMAND) is None


@pytest.mark.parametrize(
    ("applied", "is_torn"),
    [
        ([], False),  # the first one is taken back by its transaction
        (["shop.0002 (other)"], True),
        (["shop.0002", "shop.0003"], False),  # what failed comes behind the migrations
    ],
)
def test_a_part_of_a_migration_may_stay_where_it_fails(migrations, applied, is_torn):
    plan = [migration("shop.0002", ADD), {**migration("shop.0003", ADD, ADD), "is_whole": False}]
    migrations.plan(Site(*plan).ask, MESSAGE)
    failure = Failure("StepFailed", "step 'migrate' failed", "Fix it.", applied=applied)

    migrations.find(COMMAND).tell_what_is_torn(failure)

    assert failure.details.get("torn") == (["shop.0003"] if is_torn else None)
    assert failure.remedy == (
        "shop.0003 may be partly applied, and postgresql shop on db1 cannot roll that back."
        " Look at its tables, undo that part by hand or from a backup, and deploy again."
        if is_torn
        else "Fix it."
    )


def test_so_may_it_of_one_that_waited_for_confirm(migrations):
    plan = [
        migration("shop.0002", ADD),
        {**migration("shop.0003", DROP), "is_whole": False},
        migration("shop.0004", DROP, needs=["shop.0003"]),
    ]
    migrations.plan(Site(*plan).ask, {**MESSAGE, "policy": "phased"})
    failure = Failure("StepFailed", "step 'migrate' failed", "Fix it.", applied=[])

    step = migrations.find(COMMAND).deferred_step({"command": COMMAND, "isolated": False})
    Planned.of_deferred(step).tell_what_is_torn(failure)

    assert step == {
        "command": COMMAND,
        "isolated": False,
        "database": "default",
        "place": "postgresql shop on db1",
        "migrations": ["shop.0003", "shop.0004"],
        "torn": ["shop.0003"],
    }
    assert failure.details["torn"] == ["shop.0003"]


def test_what_an_earlier_version_let_wait_may_be_torn_unseen():
    failure = Failure("StepFailed", "step 'migrate' failed", "Fix it.", applied=[])

    Planned.of_deferred(
        {"command": COMMAND, "database": "default", "migrations": ["shop.0003"]}
    ).tell_what_is_torn(failure)

    assert failure.details == {"applied": []}


def test_a_site_without_a_database(migrations, link):
    site = Site()
    site.plan = None

    assert migrations.plan(site.ask, MESSAGE) == {"opaque": [], "deferred": []}
    assert link.events == []


def test_a_guard_that_is_refused_is_given_back(migrations):
    site = Site(errors=["another migration of this database did not end within 60 s: process 7"])

    with pytest.raises(Failure) as caught, migrations.guard(site.ask, "default"):
        pass

    assert caught.value.message == (
        "not migrated: another migration of this database did not end within 60 s: process 7"
    )
    assert site.asked == ["guard", "unguard"]
