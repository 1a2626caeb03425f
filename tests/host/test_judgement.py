"""Which migrations are refused, and which wait; the words for what they do are in ``tests/site``."""

from __future__ import annotations

from django_deploy.host.judgement import Code, judge

TABLES = {
    "shop_book": {
        "model": "shop.Book",
        "columns": {"id": "shop.Book.id", "isbn": "shop.Book.isbn"},
        "marks": ["id", "isbn", "isbn not null"],
    }
}
LIVE = Code("the live release", TABLES)


def effect(category, what, *, columns=(), mark="", needed=False, table="shop_book", remedy=""):
    return {
        "category": category,
        "what": what,
        "table": table,
        "columns": list(columns),
        "mark": mark,
        "is_needed": needed,
        "remedy": remedy,
    }


ADD = effect("expand", "adds blurb", columns=["blurb"], needed=True)
DROP = effect("contract", "drops isbn", columns=["isbn"])
RUN = effect("opaque", "runs code", table="", needed=True)


def migration(name, *effects, needs=()):
    operations = [
        {
            "words": f"Operation {number}",
            "category": each["category"],
            "reversible": True,
            "hint": "",
            "effects": [each],
        }
        for number, each in enumerate(effects, 1)
    ]
    return {"name": name, "needs": list(needs), "operations": operations}


def reasons(verdict):
    return [(refusal.migration, refusal.reason) for refusal in verdict.refusals]


def test_what_nobody_uses_goes():
    gone = effect("contract", "drops notes", columns=["notes"])
    other = effect("contract", "drops isbn", columns=["isbn"], table="shop_author")
    known = effect("contract", "requires isbn", columns=["isbn"], mark="isbn not null")

    assert judge([migration("shop.0002", gone, other, known)], [LIVE], "refuse").refusals == []


def test_what_is_unique_is_for_who_writes_a_part_of_it():
    """It may change that part in a row whose other part the new code has written."""
    columns = ["isbn", "blurb"]
    together = effect("contract", "isbn, blurb unique", columns=columns)
    unknown = effect("contract", "blurb unique", columns=["blurb"])

    assert len(judge([migration("shop.0002", together)], [LIVE], "refuse").refusals) == 1
    assert judge([migration("shop.0002", unknown)], [LIVE], "refuse").refusals == []
    filled = {**unknown, "is_for_all": True}
    assert len(judge([migration("shop.0002", filled)], [LIVE], "refuse").refusals) == 1


def test_each_release_that_runs_is_asked():
    other = Code("the live release of web2", {"shop_book": {**TABLES["shop_book"], "columns": {}}})

    verdict = judge([migration("shop.0002", DROP)], [LIVE, other], "refuse")

    assert reasons(verdict) == [
        ("shop.0002", "drops isbn; the live release uses it: shop.Book.isbn"),
    ]


def test_everything_may_be_allowed():
    verdict = judge([migration("shop.0002", DROP)], [LIVE], "allow")

    assert (verdict.refusals, verdict.deferred) == ([], [])
    (planned,) = verdict.planned
    assert planned["operations"][0]["unsafe"] == ["drops isbn; the live release uses it: shop.Book.isbn"]


def test_what_only_takes_away_waits():
    plan = [migration("shop.0002", ADD), migration("shop.0003", DROP, needs=["shop.0002"])]

    verdict = judge(plan, [LIVE], "phased")

    assert (verdict.refusals, verdict.deferred) == ([], ["shop.0003"])
    assert [planned["when"] for planned in verdict.planned] == ["before the switch", "after confirm"]


def test_what_comes_after_a_migration_that_waits_cannot_be_needed():
    plan = [migration("shop.0002", DROP), migration("blog.0007", ADD, needs=["shop.0002"])]

    verdict = judge(plan, [LIVE], "phased")

    (refusal,) = verdict.refusals
    assert verdict.deferred == ["shop.0002", "blog.0007"]
    assert refusal.reason == (
        "adds blurb; the new release needs that before the switch,"
        " but it comes after shop.0002, which has to wait"
    )
    assert refusal.remedy == "Let it come before shop.0002."


def test_a_migration_that_adds_and_takes_away_has_to_be_split():
    verdict = judge([migration("shop.0002", DROP, ADD)], [LIVE], "phased")

    (refusal,) = verdict.refusals
    assert (refusal.operation, refusal.reason) == (
        "Operation 2",
        "adds blurb; the new release needs that before the switch, but the same migration has to wait,"
        " as it drops isbn; the live release uses it: shop.Book.isbn",
    )
    assert refusal.remedy == (
        "Split the migration: first what is new, then, with nothing else in it, what goes."
    )


def test_what_can_neither_be_done_nor_wait():
    rename = effect("contract", "renames isbn", columns=["isbn"], needed=True)

    verdict = judge([migration("shop.0002", rename)], [LIVE], "phased")

    assert reasons(verdict) == [
        (
            "shop.0002",
            "renames isbn; the live release uses it: shop.Book.isbn;"
            " and it cannot wait, as the new release needs it",
        )
    ]


def test_code_that_stays_after_confirm_is_not_waited_for():
    left_out = Code("what runs on web3, which is left out,", None, stays=True)

    verdict = judge([migration("shop.0002", DROP)], [left_out], "phased")

    assert reasons(verdict) == [
        (
            "shop.0002",
            "drops isbn; whether what runs on web3, which is left out, uses it is not known",
        )
    ]


def test_opaque_operations_are_named_where_something_runs():
    plan = [migration("shop.0002", RUN, ADD)]

    assert judge(plan, [LIVE], "refuse").opaque == ["shop.0002: Operation 1"]
    assert judge(plan, [], "refuse").opaque == []


def test_of_two_operations_of_the_same_words_the_right_one_is_unsafe():
    """A column that becomes wider and then, in the same migration, narrower."""
    made = migration("shop.0002", ADD, DROP)
    for operation in made["operations"]:
        operation["words"] = "Alter field isbn on book"

    (planned,) = judge([made], [LIVE], "allow").planned

    assert [operation["unsafe"] for operation in planned["operations"]] == [
        [],
        ["drops isbn; the live release uses it: shop.Book.isbn"],
    ]
