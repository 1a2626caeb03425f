"""What becomes of columns where the databases differ; the code beside them is asked on real ones."""

from __future__ import annotations

import pytest
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.indexes import HashIndex
from django.db import DatabaseError, connection, migrations, models
from django.db.migrations.state import ProjectState
from django.db.models import lookups
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Coalesce, Concat, Length, Lower, Trim, TruncMonth, Upper
from django.db.utils import ConnectionHandler

from django_deploy.host.judgement import Code, judge
from django_deploy.site.operations import judge_operation
from django_deploy.site.tables import model_marks
from tests.site.test_operations import ID, judged

NAME = ("name", models.CharField(max_length=200))

#: What a thing may point to.
OTHERS = [
    migrations.CreateModel("Writer", [ID]),
    migrations.CreateModel("Author", [], options={"proxy": True}, bases=("shop.writer",)),
    migrations.CreateModel("Poet", [], options={"proxy": True}, bases=("shop.author",)),
    migrations.CreateModel("Seller", [("code", models.CharField(max_length=9, primary_key=True))]),
]


@pytest.fixture(scope="module")
def base(server):
    """A database of each vendor."""
    pytest.importorskip("pymysql").install_as_MySQLdb()
    _, create = server
    connection = ConnectionHandler({"default": create("columns")})["default"]
    yield connection
    connection.close()


class Story:
    """One model before and after some operations: what is said of them, and how the code before fares."""

    def __init__(self, connection, fields, *operations, **options):
        self.connection = connection
        self.operations = operations
        self.states = [ProjectState()]
        for create in (*OTHERS, migrations.CreateModel("Thing", [ID, *fields], options)):
            create.state_forwards("shop", self.states[0])
        for operation in operations:
            self.states.append(self.states[-1].clone())
            operation.state_forwards("shop", self.states[-1])
        self.old, self.new = self.states[0], self.states[-1]

    def effects(self):
        """Of all operations."""
        return [
            effect
            for operation, before in zip(self.operations, self.states, strict=False)
            for effect in judge_operation(operation, "shop", before, self.connection).effects
        ]

    def refusals(self, *, state=None):
        """Of what the code of a state, the old one's, would not bear."""
        running = [Code("the live release", {"shop_thing": self._uses(state or self.old)})]
        plan = [{"name": "shop.0002", "needs": [], "operations": [judged(self.effects())]}]
        return [refusal.reason for refusal in judge(plan, running, "refuse").refusals]

    def _uses(self, state):
        model = state.apps.get_model("shop", "thing")
        columns = {field.column: f"shop.Thing.{field.name}" for field in model._meta.local_concrete_fields}
        return {"model": "shop.Thing", "columns": columns, "marks": model_marks(model, self.connection)}

    def breaks(self, *rows):
        """Whether the code before cannot insert rows once the operations are done."""
        thing = self.old.apps.get_model("shop", "thing")
        writer = self.old.apps.get_model("shop", "writer")
        with self.connection.schema_editor() as editor:
            editor.create_model(writer)
            editor.create_model(thing)
        self._insert(writer, {"id": 1})
        try:
            for operation, before, after in zip(self.operations, self.states, self.states[1:], strict=False):
                with self.connection.schema_editor() as editor:
                    operation.database_forwards("shop", editor, before, after)
            return [error for row in rows if (error := self._insert(thing, row))]
        finally:
            with self.connection.schema_editor() as editor:
                editor.delete_model(self.new.apps.get_model("shop", "thing"))
                editor.delete_model(writer)

    def _insert(self, thing, row):
        fields = [field for field in thing._meta.local_concrete_fields if field.name in row]
        names = ", ".join(self.connection.ops.quote_name(field.column) for field in fields)
        values = [field.get_db_prep_save(row[field.name], self.connection) for field in fields]
        places = ", ".join(["%s"] * len(values))
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO {thing._meta.db_table} ({names}) VALUES ({places})", values)
        except DatabaseError as error:
            return str(error)
        return ""


@pytest.mark.parametrize("key", [models.IntegerField, models.BigIntegerField])
def test_a_key_that_the_database_does_not_number_any_more(base, key):
    story = Story(base, [NAME], migrations.AlterField("thing", "id", key(primary_key=True)))
    what = "does not let the database number shop_thing.id any more"
    # SQLite numbers any integer that is the key.
    is_numbered = base.vendor == "sqlite" and key is models.IntegerField

    assert bool(story.breaks({"name": "x"})) is not is_numbered
    reasons = [reason for reason in story.refusals() if "number" in reason]
    assert reasons == ([] if is_numbered else [f"{what}; the live release uses it: shop.Thing.id"])
    assert story.refusals(state=story.new) == []
    assert not any(effect.is_needed for effect in story.effects() if effect.what == what)


def test_a_key_that_the_database_numbers_from_now_on(base):
    number = ("id", models.BigIntegerField(primary_key=True))
    operation = migrations.AlterField("thing", "id", models.BigAutoField(primary_key=True))
    story = Story(base, [NAME], operation)
    migrations.AlterField("thing", *number).state_forwards("shop", story.old)

    (effect,) = [effect for effect in story.effects() if "number" in effect.what]

    assert (effect.category, effect.what) == ("expand", "lets the database number shop_thing.id")
    assert story.refusals() == []


SLOT = migrations.AddField("thing", "slot", models.IntegerField(null=True))
NICK = migrations.AddField("thing", "nick", models.CharField(max_length=50, null=True))
WHEN = migrations.AddField("thing", "moment", models.DateTimeField(null=True))


class Shout(Upper):
    """Nobody knows what a project makes of it."""


def constrain(constraint):
    return migrations.AddConstraint("thing", constraint)


def unique(*expressions, name="u", **options):
    return constrain(models.UniqueConstraint(*expressions, name=name, **options))


def check(condition, name="c"):
    return constrain(models.CheckConstraint(condition=condition, name=name))


@pytest.mark.parametrize(
    ("condition", "reasons"),
    [
        # The old code takes a row back that the new code has cancelled, and its slot with it.
        (
            models.Q(cancelled=False),
            [
                "lets shop_thing.slot have no value twice where the condition of u holds;"
                " the live release uses it: shop.Thing.cancelled"
            ],
        ),
        (models.Q(slot__gt=0), []),
        (
            models.Q(lookups.Exact(RawSQL("1", []), 1)),
            [
                "lets shop_thing.slot have no value twice where the condition of u holds;"
                " the live release uses it: shop.Thing"
            ],
        ),
    ],
)
def test_what_is_unique_under_a_condition_is_for_who_writes_what_that_reads(condition, reasons):
    cancelled = ("cancelled", models.BooleanField(default=False))

    story = Story(connection, [NAME, cancelled], SLOT, unique(fields=["slot"], condition=condition))

    assert story.refusals() == reasons


TOGETHER = [NAME, ("year", models.IntegerField())]
BOTH = {"unique_together": {("name", "year")}}
ONCE = models.UniqueConstraint(fields=["name", "year"], name="old")
ADULT = models.CheckConstraint(condition=models.Q(year__gte=18), name="old")


@pytest.mark.parametrize(
    ("options", "operation"),
    [
        (BOTH, unique(fields=["year", "name"])),
        (BOTH, unique(fields=["name", "year"], include=["id"], violation_error_message="No.")),
        ({"constraints": [ONCE]}, unique(fields=["name", "year"])),
        ({"constraints": [ONCE]}, migrations.AlterUniqueTogether("thing", {("name", "year")})),
        ({"constraints": [ADULT]}, check(models.Q(year__gte=18))),
        ({}, unique(fields=["id"])),
    ],
)
def test_what_the_code_keeps_already_is_no_hindrance_under_another_name(options, operation):
    assert Story(connection, TOGETHER, operation, **options).refusals() == []


def test_one_column_is_unique_however_that_is_said():
    by_field = ("name", models.CharField(max_length=200, unique=True))
    named = models.UniqueConstraint(fields=["name"], name="old")
    again = migrations.AlterField("thing", *by_field)

    assert Story(connection, [by_field], unique(fields=["name"])).refusals() == []
    assert Story(connection, [NAME], again, constraints=[named]).refusals() == []


@pytest.mark.parametrize(
    ("options", "operation"),
    [
        (BOTH, unique(fields=["name"])),
        (BOTH, unique(fields=["name", "year"], nulls_distinct=False)),
        ({"constraints": [ADULT]}, check(models.Q(year__gte=21), name="old")),
    ],
)
def test_what_says_more_than_the_code_keeps_is_refused(options, operation):
    (reason,) = Story(connection, TOGETHER, operation, **options).refusals()

    assert "the live release uses it: shop.Thing" in reason


@pytest.mark.parametrize(
    ("operations", "is_borne"),
    [
        ((NICK, unique(Lower("nick"))), True),
        ((NICK, SLOT, unique(Lower("nick"), models.F("slot").desc())), True),
        ((NICK, unique(Upper(Trim("nick")), condition=models.Q(nick__gt=""))), True),
        ((WHEN, unique(TruncMonth("moment"))), True),
        ((WHEN, check(models.Q(moment__year__gte=2000))), True),
        ((WHEN, check(models.Q(moment__date__month=2) | ~models.Q(moment__hour=1))), True),
        ((NICK, unique(Lower("nick"), "name")), False),
        ((NICK, unique(Lower("nick"), condition=models.Q(name="x"))), False),
        ((NICK, unique(Coalesce("nick", models.Value("x")))), False),
        ((NICK, unique(Lower("nick"), nulls_distinct=False)), False),
        ((NICK, unique(RawSQL("lower(nick)", []))), False),
        ((NICK, check(models.Q(nick__range=("a", models.F("name"))))), False),
        ((NICK, check(models.Q(nick__length__gte=3))), False),
        ((NICK, unique(Shout("nick"))), False),
        ((NICK, unique(Lower("nick", template="coalesce(%(expressions)s, '')"))), False),
        ((WHEN, check(models.Q(moment__year__isnull=False))), False),
    ],
)
def test_constraints_of_new_columns_that_null_passes(operations, is_borne):
    story = Story(connection, [NAME], *operations)

    assert (story.refusals() == []) is is_borne


def test_an_exclusion_is_for_who_writes_what_it_compares():
    condition = models.Q(slot__gt=0)
    old, new = (
        ExclusionConstraint(expressions=[(name, "=")], condition=condition, name="e")
        for name in ("name", "slot")
    )

    assert Story(connection, [NAME], SLOT, constrain(new)).refusals() == []
    assert Story(connection, [NAME], SLOT, constrain(old)).refusals() == [
        "lets shop_thing accept only what fits the constraint e; the live release uses it: shop.Thing.name"
    ]


def test_rows_of_the_code_before_pass_constraints_of_new_columns(base):
    operations = [NICK, SLOT, WHEN, unique(fields=["slot"]), check(models.Q(moment__year__gte=2000))]
    if base.features.supports_expression_indexes:
        operations.append(unique(Lower("nick"), name="n"))
    story = Story(base, [NAME], *operations)

    assert story.refusals() == story.breaks({"name": "x"}, {"name": "x"}) == []


def key(model, **options):
    return models.ForeignKey(f"shop.{model}", models.CASCADE, **options)


WRITER = ("author", key("writer"))
NUMBER = models.BigIntegerField(db_column="author_id")


@pytest.mark.parametrize(
    ("before", "after", "what", "is_borne"),
    [
        (key("writer"), key("poet"), "", True),
        (key("poet"), key("author"), "", True),
        (key("author"), key("seller"), "lets shop_thing.author_id point elsewhere", False),
        (key("writer"), NUMBER, "lets shop_thing.author_id have what shop.writer has not", True),
        (key("poet", db_constraint=False), NUMBER, "", True),
        (NUMBER, key("author"), "lets shop_thing.author_id have only what it points to", False),
        (NUMBER, key("writer", db_constraint=False), "", True),
        (key("seller"), NUMBER, "changes the type of shop_thing.author_id", False),
        (key("writer"), models.CharField(max_length=9, db_column="author_id"), None, False),
    ],
)
def test_keys_that_point_elsewhere_or_nowhere(before, after, what, is_borne):
    story = Story(connection, [("author", before)], migrations.AlterField("thing", "author", after))

    said = [effect.what for effect in story.effects() if "index" not in effect.what]
    assert said == ([what] if what else [] if is_borne else ["changes the type of shop_thing.author_id"])
    assert (story.refusals() == []) is is_borne
    assert story.refusals(state=story.new) == []


@pytest.mark.parametrize("after", [key("poet"), NUMBER])
def test_rows_of_the_code_before_pass_where_a_key_is_loosened(base, after):
    story = Story(base, [WRITER], migrations.AlterField("thing", "author", after))

    assert story.refusals() == story.breaks({"author": 1}) == []


@pytest.mark.parametrize("name", ["C", "en-x-icu", "of_our_own"])
def test_collations(base, name):
    """In PostgreSQL, those that are known change the order alone."""
    sorted_by = models.CharField(max_length=200, db_collation=name)
    story = Story(base, [NAME], migrations.AlterField("thing", "name", sorted_by))

    (effect,) = story.effects()

    if base.vendor == "postgresql" and name != "of_our_own":
        assert (effect.category, effect.what) == ("expand", "sorts shop_thing.name in another way")
        assert story.refusals() == story.breaks({"name": "x"}) == []
    else:
        assert (effect.category, effect.what) == ("contract", "changes the collation of shop_thing.name")


NUMBERS = [("qty", models.IntegerField(null=True)), ("n", models.IntegerField(null=True))]
TEXT = ("notes", models.TextField(null=True))
QUOTIENT = models.F("qty") / models.F("n")
PRODUCT = models.F("qty") * models.F("n")
BAD_ROWS = [
    {"name": "x" * 150, "qty": 1, "n": 0, "notes": None},
    {"name": "x", "qty": 2**31 - 1, "n": 2, "notes": "x" * 20_000},
]


def generate(expression, output, **options):
    field = models.GeneratedField(expression=expression, output_field=output, db_persist=True, **options)
    return migrations.AddField("thing", "made", field)


@pytest.mark.parametrize(
    ("expression", "output", "uses"),
    [
        (QUOTIENT, models.IntegerField(), "shop.Thing.n, shop.Thing.qty"),
        (PRODUCT, models.IntegerField(), "shop.Thing.n, shop.Thing.qty"),
        (Lower("name"), models.CharField(max_length=5), "shop.Thing.name"),
    ],
)
def test_what_cannot_be_computed_of_all_rows_is_for_who_writes_them(base, expression, output, uses):
    story = Story(base, [NAME, TEXT, *NUMBERS], generate(expression, output))

    if base.vendor == "sqlite":
        assert story.refusals() == story.breaks(*BAD_ROWS) == []
    else:
        assert story.breaks(*BAD_ROWS)
        assert story.refusals() == [
            "adds shop_thing.made, which perhaps cannot be computed of all that others write;"
            f" the live release uses it: {uses}"
        ]
    assert story.refusals(state=story.new) == []


@pytest.mark.parametrize(
    ("expression", "output"),
    [
        (Concat("name", models.Value(" "), "name"), models.TextField()),
        (Lower(Coalesce("notes", "name")), models.TextField()),
        (Length("notes"), models.IntegerField()),
        (models.Q(qty__gt=models.F("n")) | models.Q(notes__isnull=True), models.BooleanField()),
    ],
)
def test_what_can_be_computed_of_any_row_is_borne(base, expression, output):
    story = Story(base, [NAME, TEXT, *NUMBERS], generate(expression, output))

    assert story.refusals() == story.breaks(*BAD_ROWS) == []


@pytest.mark.parametrize(
    ("expression", "output"),
    [
        (models.F("qty") ** models.F("n"), models.IntegerField()),  # by a function of Django's
        (RawSQL("qty / n", []), models.IntegerField()),
    ],
)
def test_what_may_fail_in_sqlite_too(expression, output):
    assert Story(connection, [*NUMBERS], generate(expression, output)).refusals()


def test_what_is_computed_of_new_columns_is_borne(base):
    operations = [migrations.AddField("thing", name, field) for name, field in NUMBERS]
    story = Story(base, [NAME], *operations, generate(QUOTIENT, models.IntegerField()))

    assert story.refusals() == story.breaks({"name": "x"}) == []


def test_another_way_to_compute_has_another_mark():
    old, new = (Story(connection, NUMBERS, generate(way, models.IntegerField())) for way in (PRODUCT, RAW))

    assert new.refusals(state=new.new) == []
    assert new.refusals(state=old.new)


RAW = RawSQL("qty / n", [])


def test_another_type_of_what_is_computed_has_another_mark():
    long, short = (generate(Lower("name"), models.CharField(max_length=size)) for size in (200, 5))
    shorter = migrations.AlterField("thing", "made", short.field)
    story = Story(connection, [NAME], long, shorter)

    (_, effect) = story.effects()

    assert effect.what == "computes shop_thing.made in another way"
    assert effect.mark not in story._uses(story.states[1])["marks"]
    assert effect.mark in story._uses(story.new)["marks"]


def index(*expressions, **options):
    return migrations.AddIndex("thing", models.Index(*expressions, name="i", **options))


def test_an_index_of_what_cannot_be_computed_of_all_rows(base):
    story = Story(base, [NAME, TEXT, *NUMBERS], index(QUOTIENT))

    if base.vendor == "postgresql":
        assert story.breaks(*BAD_ROWS)
        assert story.refusals() == [
            "adds i to shop_thing, which perhaps cannot be computed of all that others write;"
            " the live release uses it: shop.Thing.n, shop.Thing.qty"
        ]
    else:
        assert story.refusals() == story.breaks(*BAD_ROWS) == []
    assert story.refusals(state=story.new) == []


@pytest.mark.parametrize(
    ("operation", "is_borne"),
    [
        (index("qty", "-n"), True),
        (index(Upper(Trim("name")).desc(), "n"), True),
        (index(fields=["n"], condition=models.Q(notes__isnull=True, qty__in=[1, 2])), True),
        (index(fields=["n"], condition=models.Q(qty=PRODUCT)), False),
        (index(fields=["n"], condition=~models.Q(notes__length=3)), False),
        (index(Cast("notes", models.IntegerField())), False),
        (index(Shout("notes")), False),
        (index(fields=["n"], condition=models.Q(qty__in=[1, QUOTIENT])), False),
        (index(RAW), False),
    ],
)
def test_indexes(base, operation, is_borne):
    story = Story(base, [NAME, TEXT, *NUMBERS], operation)

    # MariaDB has neither expressions nor conditions in an index, and Django leaves such out.
    assert (story.refusals() == []) is (is_borne or base.vendor == "mysql")


ROOM = (
    "PostgreSQL has no room in it for more than about 2,700 bytes of shop_thing.notes:"
    " who writes more gets an error"
)


@pytest.mark.parametrize(
    ("operation", "hint"),
    [
        (index(fields=["-notes"]), ROOM),
        (index(Lower("notes")), ROOM),
        (index(fields=["name"], include=["notes"]), ROOM),
        (generate(Lower("notes"), models.TextField(), db_index=True), ROOM.replace("notes", "made")),
        (generate(Lower("notes"), models.TextField()), ""),
        (migrations.AlterField("thing", "notes", models.TextField(null=True, db_index=True)), ROOM),
        (index(fields=["name"]), ""),
        (index(Length("notes")), ""),
        (migrations.AddIndex("thing", HashIndex(fields=["notes"], name="i")), ""),
    ],
)
def test_a_long_text_in_an_index(base, operation, hint):
    """Who has no such texts, as most have not, is told and not hindered."""
    story = Story(base, [NAME, TEXT], operation)

    (effect,) = story.effects()

    assert (effect.category, effect.hint) == ("expand", hint if base.vendor == "postgresql" else "")


def test_a_long_text_does_not_fit(base):
    text = "".join(map(str, range(9_000)))

    assert bool(Story(base, [TEXT], index(fields=["notes"])).breaks({"notes": text})) is (
        base.vendor == "postgresql"
    )
