"""What becomes of columns where the databases differ; the code beside them is asked on real ones."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, migrations, models
from django.db.migrations.state import ProjectState
from django.db.utils import ConnectionHandler

from django_deploy.host.judgement import Code, judge
from django_deploy.site.columns import marks
from django_deploy.site.operations import judge_operation
from tests.site.test_operations import ID, judged

NAME = ("name", models.CharField(max_length=200))


@pytest.fixture(scope="module")
def base(server):
    """A database of each vendor."""
    pytest.importorskip("pymysql").install_as_MySQLdb()
    _, create = server
    connection = ConnectionHandler({"default": create("columns")})["default"]
    yield connection
    connection.close()


class Story:
    """One model before and after an operation: what is said of that, and how the code before fares."""

    def __init__(self, connection, fields, operation, *, options=None):
        self.connection = connection
        self.old = ProjectState()
        create = migrations.CreateModel("Thing", [ID, *fields], options=options or {})
        create.state_forwards("shop", self.old)
        self.new = self.old.clone()
        operation.state_forwards("shop", self.new)
        self.operation = operation

    def effects(self):
        return judge_operation(self.operation, "shop", self.old, self.connection).effects

    def refusals(self, *, state=None):
        """Of what the code of a state, the old one's, would not bear."""
        running = [Code("the live release", {"shop_thing": self._uses(state or self.old)})]
        plan = [{"name": "shop.0002", "needs": [], "operations": [judged(self.effects())]}]
        return [refusal.reason for refusal in judge(plan, running, "refuse").refusals]

    def _uses(self, state):
        fields = state.apps.get_model("shop", "thing")._meta.local_concrete_fields
        return {
            "model": "shop.Thing",
            "columns": {field.column: f"shop.Thing.{field.name}" for field in fields},
            "marks": [mark for field in fields for mark in marks(field, self.connection)],
        }

    def breaks(self, *rows):
        """Whether the code before cannot insert rows once the operation is done."""
        thing = self.old.apps.get_model("shop", "thing")
        with self.connection.schema_editor() as editor:
            editor.create_model(thing)
        try:
            with self.connection.schema_editor() as editor:
                self.operation.database_forwards("shop", editor, self.old, self.new)
            return [error for row in rows if (error := self._insert(thing, row))]
        finally:
            with self.connection.schema_editor() as editor:
                editor.delete_model(self.new.apps.get_model("shop", "thing"))

    def _insert(self, thing, row):
        fields = [field for field in thing._meta.local_concrete_fields if field.name in row]
        names = ", ".join(self.connection.ops.quote_name(field.column) for field in fields)
        values = [field.get_db_prep_save(row[field.name], self.connection) for field in fields]
        places = ", ".join(["%s"] * len(values))
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO shop_thing ({names}) VALUES ({places})", values)
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
