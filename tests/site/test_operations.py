"""What single operations do to the database, as the code beside them sees it."""

from __future__ import annotations

import pytest
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.operations import AddIndexConcurrently, TrigramExtension
from django.db import connection, migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import lookups
from django.db.models.functions import Lower

from django_deploy.host.judgement import Code, judge
from django_deploy.site.constraints import constraint_mark
from django_deploy.site.effects import Judged
from django_deploy.site.operations import judge_operation, judge_reversal

ID = ("id", models.BigAutoField(primary_key=True))

#: The models before each operation.
MODELS = [
    migrations.CreateModel("Shelf", [ID]),
    migrations.CreateModel(
        "Book",
        [
            ID,
            ("title", models.CharField(max_length=200)),
            ("isbn", models.CharField(max_length=13, null=True, unique=True)),
            ("count", models.IntegerField(db_default=0)),
            ("price", models.DecimalField(max_digits=6, decimal_places=2)),
            ("notes", models.TextField(null=True)),
            ("sizes", ArrayField(models.CharField(max_length=20), null=True)),
            ("shelf", models.ForeignKey("shop.shelf", models.CASCADE, db_constraint=False)),
            ("tags", models.ManyToManyField("shop.shelf", related_name="+")),
            (
                "sum",
                models.GeneratedField(
                    expression=models.F("count") + 1, output_field=models.IntegerField(), db_persist=True
                ),
            ),
        ],
        options={"unique_together": {("title", "count")}},
    ),
    migrations.CreateModel("Foreign", [ID, ("name", models.TextField())], options={"managed": False}),
    migrations.CreateModel("Special", [], options={"proxy": True}, bases=("shop.book",)),
    migrations.CreateModel(
        "Named",
        [
            ID,
            ("places", models.ManyToManyField("shop.shelf", db_table="shop_named_places", related_name="+")),
            ("like", models.ManyToManyField("self", db_table="shop_named_like")),
        ],
        options={"db_table": "names"},
    ),
    migrations.CreateModel("Other", [ID], options={"db_table": "others"}),
]


class Unknown(Operation):
    """As a third party writes them."""

    def state_forwards(self, app_label, state):
        pass


class Kept(migrations.RemoveField):
    """Derived from one of Django's: it may do something else."""


def do_nothing(apps, schema_editor):
    """Not that anybody could know."""


@pytest.fixture(scope="module")
def before():
    state = ProjectState()
    for operation in MODELS:
        operation.state_forwards("shop", state)
    return state


def alter(name, field):
    return migrations.AlterField("book", name, field)


def add(name, field, model="book"):
    return migrations.AddField(model, name, field)


EXPAND = [
    (migrations.CreateModel("New", [ID]), "creates the table shop_new"),
    (migrations.CreateModel("New", [ID], options={"managed": False}), ""),
    (migrations.CreateModel("New", [], options={"proxy": True}, bases=("shop.book",)), ""),
    (migrations.DeleteModel("Foreign"), ""),
    (migrations.DeleteModel("Special"), ""),
    (migrations.RenameModel("Other", "Renamed"), ""),
    (migrations.CreateModel("New", [ID], options={"swappable": "AUTH_USER_MODEL"}), ""),
    (migrations.CreateModel("New", [ID], options={"required_db_vendor": "oracle"}), ""),
    (migrations.CreateModel("New", [ID], options={"required_db_features": ["gis_enabled"]}), ""),
    (migrations.AlterModelTable("Named", "names"), ""),
    (add("blurb", models.TextField(null=True)), "adds the column shop_book.blurb"),
    (add("stock", models.IntegerField(db_default=3)), "adds the column shop_book.stock"),
    (add("more", models.ManyToManyField("shop.shelf", related_name="+")), "creates the table shop_book_more"),
    (
        add(
            "twice",
            models.GeneratedField(
                expression=models.F("count") * 2, output_field=models.IntegerField(), db_persist=True
            ),
        ),
        "adds the column shop_book.twice",
    ),
    (add("size", models.IntegerField(default=1), "foreign"), ""),
    (migrations.RemoveField("foreign", "name"), ""),
    (alter("title", models.CharField("the title", max_length=200, help_text="Shown.")), ""),
    (alter("title", models.TextField()), "widens shop_book.title from varchar(200) to text"),
    (
        alter("isbn", models.CharField(max_length=13, null=True)),
        "lets shop_book.isbn have the same value twice",
    ),
    (alter("count", models.BigIntegerField(db_default=0)), "widens shop_book.count from integer to bigint"),
    (alter("count", models.IntegerField(db_default=5)), "gives shop_book.count a default"),
    (
        alter("price", models.DecimalField(max_digits=8, decimal_places=2, null=True)),
        "lets shop_book.price be null",
    ),
    (alter("notes", models.TextField(null=True, db_index=True)), "adds an index to shop_book.notes"),
    (alter("shelf", models.ForeignKey("shop.shelf", models.PROTECT, db_constraint=False)), ""),
    (alter("shelf", models.ForeignKey("Shelf", models.CASCADE, db_constraint=False)), ""),
    (alter("tags", models.ManyToManyField("shop.shelf", related_name="tagged")), ""),
    (migrations.RenameField("foreign", "name", "title"), ""),
    (migrations.AddIndex("book", models.Index(fields=["count"], name="i")), "adds an index to shop_book"),
    (AddIndexConcurrently("book", models.Index(fields=["count"], name="i")), "adds an index to shop_book"),
    (migrations.AlterUniqueTogether("book", set()), "loosens shop_book"),
    (migrations.AlterModelOptions("book", {"verbose_name": "volume"}), ""),
    (migrations.AlterModelManagers("book", []), ""),
    (migrations.RunPython(migrations.RunPython.noop), ""),
    (migrations.RunSQL(""), ""),
    (migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel("Book")]), ""),
    (TrigramExtension(), "adds to what the database knows"),
]

CONTRACT = [
    (migrations.DeleteModel("Book"), "drops the table shop_book"),
    (
        migrations.RenameModel("Book", "Volume"),
        "renames the table shop_book to shop_volume; renames the table shop_book_tags to shop_volume_tags;"
        " renames shop_book_tags.book_id to volume_id",
    ),
    (
        migrations.RenameModel("Shelf", "Rack"),
        "renames the table shop_shelf to shop_rack; renames shop_book_tags.shelf_id to rack_id;"
        " renames shop_named_places.shelf_id to rack_id",
    ),
    # Its table keeps its name, and not all that belongs to it.
    (
        migrations.RenameModel("Named", "Renamed"),
        "renames shop_named_places.named_id to renamed_id; renames shop_named_like.from_named_id to"
        " from_renamed_id; renames shop_named_like.to_named_id to to_renamed_id",
    ),
    (migrations.AlterModelTable("Book", "books"), "renames the table shop_book to books"),
    (
        migrations.AlterOrderWithRespectTo("book", "shelf"),
        "adds shop_book._order, which has no default in the database, so that others cannot insert",
    ),
    (
        add("stock", models.IntegerField(default=3)),
        "adds shop_book.stock, which has no default in the database, so that others cannot insert",
    ),
    (
        add("seller", models.ForeignKey("shop.shelf", models.CASCADE, default=1)),
        "adds shop_book.seller_id, which has no default in the database, so that others cannot insert",
    ),
    (migrations.RemoveField("book", "title"), "drops shop_book.title"),
    (migrations.RemoveField("book", "shelf"), "drops shop_book.shelf_id"),
    (migrations.RemoveField("book", "tags"), "drops the table shop_book_tags"),
    (migrations.RenameField("book", "title", "name"), "renames shop_book.title to name"),
    (
        migrations.RenameField("book", "tags", "labels"),
        "renames the table shop_book_tags to shop_book_labels",
    ),
    (alter("title", models.CharField(max_length=200, db_column="name")), "renames shop_book.title to name"),
    (
        alter("title", models.CharField(max_length=100)),
        "narrows shop_book.title from varchar(200) to varchar(100)",
    ),
    (
        alter("title", models.CharField(max_length=200, unique=True)),
        "lets shop_book.title have no value twice",
    ),
    (alter("title", models.IntegerField()), "changes shop_book.title from varchar(200) to integer"),
    (
        alter("title", models.CharField(max_length=200, db_collation="nocase")),
        "changes the collation of shop_book.title",
    ),
    (
        alter("title", models.CharField(max_length=200, primary_key=True)),
        "makes shop_book.title the primary key",
    ),
    (
        alter("notes", models.CharField(max_length=50, null=True)),
        "narrows shop_book.notes from text to varchar(50)",
    ),
    (alter("notes", models.TextField()), "does not let shop_book.notes be null any more"),
    (alter("count", models.IntegerField()), "takes the default of shop_book.count away"),
    (
        alter("count", models.SmallIntegerField(db_default=0)),
        "narrows shop_book.count from integer to smallint",
    ),
    (
        alter("count", models.PositiveIntegerField(db_default=0)),
        'narrows shop_book.count from integer to integer unsigned, "count" >= 0',
    ),
    (
        alter("price", models.DecimalField(max_digits=6, decimal_places=1)),
        "narrows shop_book.price from decimal to decimal",
    ),
    (
        alter("price", models.DecimalField(max_digits=6, decimal_places=3)),
        "narrows shop_book.price from decimal to decimal",
    ),
    (
        alter("shelf", models.ForeignKey("shop.shelf", models.CASCADE)),
        "lets shop_book.shelf_id have only what it points to",
    ),
    (
        alter("shelf", models.ForeignKey("shop.named", models.CASCADE, db_constraint=False)),
        "lets shop_book.shelf_id point elsewhere",
    ),
    (
        alter("tags", models.ManyToManyField("shop.named", related_name="+")),
        "lets shop_book_tags point to another table",
    ),
    (
        alter(
            "sum",
            models.GeneratedField(
                expression=models.F("count") + 2, output_field=models.IntegerField(), db_persist=True
            ),
        ),
        "computes shop_book.sum in another way",
    ),
    (
        migrations.AlterUniqueTogether("book", {("title", "count"), ("title", "isbn")}),
        "lets title, isbn of shop_book together have no value twice",
    ),
    (
        add("code", models.CharField(max_length=9, db_default="", unique=True)),
        "adds the column shop_book.code; lets shop_book.code have no value twice",
    ),
    (
        add(
            "twice",
            models.GeneratedField(
                expression=models.F("count") * 2,
                output_field=models.IntegerField(),
                db_persist=True,
                unique=True,
            ),
        ),
        "adds the column shop_book.twice; lets shop_book.twice have no value twice",
    ),
    (
        alter("sizes", ArrayField(models.CharField(max_length=10), null=True)),
        "changes shop_book.sizes from varchar(20)[] to varchar(10)[]",
    ),
    (
        migrations.AddConstraint("book", models.UniqueConstraint(fields=["notes"], name="u")),
        "lets shop_book.notes have no value twice",
    ),
    (
        migrations.AddConstraint("book", models.CheckConstraint(condition=models.Q(count__gt=0), name="c")),
        "lets shop_book accept only what fits the constraint c",
    ),
    (
        migrations.SeparateDatabaseAndState(
            [migrations.RemoveField("book", "title"), migrations.RenameField("book", "notes", "title")]
        ),
        "drops shop_book.title; renames shop_book.notes to title",
    ),
]

OPAQUE = [
    (migrations.RunPython(do_nothing), "runs code with an unknown effect"),
    (migrations.RunSQL("SELECT 1"), "runs SQL with an unknown effect"),
    (migrations.RunSQL([("SELECT %s", [1])]), "runs SQL with an unknown effect"),
    (Unknown(), "has an unknown effect"),
    (Kept("book", "title"), "has an unknown effect"),
    (
        migrations.SeparateDatabaseAndState([migrations.RunSQL("SELECT 1")]),
        "runs SQL with an unknown effect",
    ),
]


def cases():
    for category, found in (("expand", EXPAND), ("contract", CONTRACT), ("opaque", OPAQUE)):
        for operation, what in found:
            yield pytest.param(operation, category, what, id=f"{category}-{what or operation.describe()}")


@pytest.mark.parametrize(("operation", "category", "what"), [*cases()])
def test_what_an_operation_does(before, operation, category, what):
    judged = judge_operation(operation, "shop", before, connection)

    assert "; ".join(effect.what for effect in judged.effects) == what
    assert judged.category == category


def test_an_operation_that_changes_and_runs_is_contract(before):
    operation = migrations.SeparateDatabaseAndState(
        [migrations.RunSQL("SELECT 1"), migrations.RemoveField("book", "title")]
    )

    assert judge_operation(operation, "shop", before, connection).category == "contract"


@pytest.mark.parametrize(
    ("operation", "is_for_all"),
    [
        (alter("notes", models.TextField()), True),
        (alter("notes", models.TextField(db_default="")), False),
        (alter("notes", models.TextField(null=True, unique=True)), False),
        (alter("count", models.IntegerField(db_default=0, unique=True)), True),
        (alter("count", models.IntegerField()), True),
        (alter("count", models.IntegerField(null=True)), False),
        (migrations.AddConstraint("book", models.UniqueConstraint(fields=["notes"], name="u")), False),
        (migrations.AddConstraint("book", models.UniqueConstraint(fields=["count"], name="u")), True),
    ],
)
def test_what_code_that_leaves_the_column_out_does_not_bear(before, operation, is_for_all):
    effects = judge_operation(operation, "shop", before, connection).effects

    assert any(effect.is_for_all for effect in effects) is is_for_all
    running = [Code("the live release", {"shop_book": {"model": "shop.Book", "columns": {}, "marks": []}})]
    plan = [{"name": "shop.0002", "needs": [], "operations": [judged(effects)]}]
    reasons = [refusal.reason for refusal in judge(plan, running, "refuse").refusals]
    assert [reason.endswith("; the live release uses it: shop.Book") for reason in reasons] == (
        [True] if is_for_all else []
    )


def judged(effects):
    return Judged("Change it", True, tuple(effects)).as_dict()


def test_a_constraint_of_the_same_name_is_another_one(before):
    """makemigrations removes the one and adds the other."""
    old, new = (models.CheckConstraint(condition=models.Q(count__gte=least), name="c") for least in (0, 10))
    (effect,) = judge_operation(migrations.AddConstraint("book", new), "shop", before, connection).effects

    assert effect.mark == constraint_mark(new.clone(), {})
    assert effect.mark != constraint_mark(old, {})


@pytest.mark.parametrize(
    ("operation", "is_needed"),
    [
        (migrations.RemoveField("book", "notes"), False),
        (migrations.RemoveField("book", "count"), False),
        (migrations.RemoveField("book", "title"), True),
        (migrations.DeleteModel("book"), False),
        (migrations.RenameField("book", "title", "name"), True),
        (alter("notes", models.TextField()), False),
        (add("stock", models.IntegerField(default=3)), True),
        (add("stock", models.IntegerField(null=True)), True),
        (migrations.AddIndex("book", models.Index(fields=["count"], name="i")), False),
        (migrations.RunSQL("SELECT 1"), True),
    ],
)
def test_what_new_code_does_not_run_without(before, operation, is_needed):
    (effect,) = judge_operation(operation, "shop", before, connection).effects

    assert effect.is_needed is is_needed


@pytest.mark.parametrize(
    ("operation", "words", "is_reversible"),
    [
        (migrations.RemoveField("book", "notes"), "Remove field notes from book", True),
        (migrations.RunPython(do_nothing), "Raw Python operation: do_nothing", False),
        (
            migrations.RunPython(do_nothing, migrations.RunPython.noop),
            "Raw Python operation: do_nothing",
            True,
        ),
        (migrations.RunSQL("UPDATE x\n  SET y = 1"), "Raw SQL operation: UPDATE x SET y = 1", False),
        (
            migrations.SeparateDatabaseAndState([migrations.RunSQL("SELECT 1")]),
            "Custom state/database change combination",
            False,
        ),
    ],
)
def test_words(before, operation, words, is_reversible):
    judged = judge_operation(operation, "shop", before, connection)

    assert (judged.words, judged.is_reversible) == (words, is_reversible)


def test_what_is_taken_back_is_opaque():
    judged = judge_reversal(add("stock", models.IntegerField(null=True)))

    assert judged.category == "opaque"


def test_nothing_happens_in_a_database_that_a_router_keeps_the_model_from(before, settings_router):
    settings_router("default", {"book"})

    operation = migrations.RemoveField("book", "title")

    assert judge_operation(operation, "shop", before, connection).effects == ()


@pytest.fixture
def settings_router(monkeypatch):
    """Keeps models away from a database."""
    from django.db import router

    def keep(alias, names):
        class Router:
            def allow_migrate(self, db, app_label, model_name=None, model=None, **hints):
                assert model is not None
                return not (db == alias and model_name in names)

        monkeypatch.setitem(router.__dict__, "routers", [Router()])

    return keep


@pytest.mark.parametrize(
    ("condition", "columns"),
    [
        (models.Q(notes__lt="m"), ("notes",)),
        (models.Q(isbn=models.F("notes")) | ~models.Q(notes="x"), ("isbn", "notes")),
        # Null does not pass these, or nobody knows.
        (models.Q(notes__isnull=False), ()),
        (models.Q(notes=None), ()),
        (models.Q(notes="a") ^ models.Q(isbn="b"), ()),
        (models.Q(notes__lt="m") & models.Q(isbn__isnull=True), ()),
        (models.Q(notes=Lower("isbn")), ()),
        (models.Q(notes__length__lt=3), ()),
        (models.Q(lookups.Exact(models.F("notes"), "x")), ()),
        # The database fills it in for whoever does not know it.
        (models.Q(count__gt=0), ()),
        (models.Q(notes__lt=models.F("shelf__name")), ()),
    ],
)
def test_a_check_that_null_passes_is_for_who_knows_its_columns(before, condition, columns):
    constraint = models.CheckConstraint(condition=condition, name="c")

    (effect,) = judge_operation(
        migrations.AddConstraint("book", constraint), "shop", before, connection
    ).effects

    assert effect.columns == columns


def test_what_is_unique_by_what_the_database_fills_in_is_for_all(before):
    for fields in (["count"], ["title", "sum"]):
        constraint = models.UniqueConstraint(fields=fields, name="u")
        operation = migrations.AddConstraint("book", constraint)
        (effect,) = judge_operation(operation, "shop", before, connection).effects
        assert effect.is_for_all
