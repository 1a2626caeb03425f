"""What is looked at before any host is asked: the real models, with migrations of a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.apps import apps
from django.test import override_settings

from django_deploy.exceptions import DeployError
from django_deploy.management import model_changes

MIGRATIONS = Path(__file__).parents[1] / "testapp" / "migrations"
INITIAL, SECOND = "0001_initial", "0002_note_is_read"


@pytest.fixture
def migrations(tmp_path, monkeypatch):
    """Lets the test app have these migrations: names, and whose text they are."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(**names):
        package = tmp_path / "other_migrations"
        package.mkdir()
        (package / "__init__.py").touch()
        for name, source in names.items():
            (package / f"{name}.py").write_text((MIGRATIONS / f"{source}.py").read_text())
        return override_settings(MIGRATION_MODULES={"testapp": package.name})

    yield put
    for name in [name for name in sys.modules if name.startswith("other_migrations")]:
        del sys.modules[name]


def check():
    with pytest.raises(DeployError) as caught:
        model_changes.check()
    return str(caught.value)


def test_models_that_their_migrations_make():
    model_changes.check()


def test_an_app_without_tables_needs_no_migration():
    app = apps.get_app_config("django_deploy")

    assert [model.__name__ for model in app.get_models()] == ["Deployment"]
    assert "site-packages" not in app.path  # so it is looked at as one's own
    model_changes.check()


def test_a_field_without_a_migration(migrations):
    with migrations(**{INITIAL: INITIAL}):
        error = check()

    assert error == (
        "Models have changed, and no migration says so:"
        " testapp.0002_note_is_read (Add field is_read to note).\n"
        "Run: manage.py makemigrations testapp."
    )


def test_two_last_migrations(migrations):
    with migrations(**{INITIAL: INITIAL, SECOND: SECOND, "0002_grade": SECOND}):
        error = check()

    assert error == (
        "The app 'testapp' has several last migrations: 0002_grade, 0002_note_is_read.\n"
        "Make one that follows all of them: manage.py makemigrations --merge testapp."
    )


def test_migrations_that_cannot_be_loaded(migrations):
    with migrations(**{SECOND: SECOND}):
        error = check()

    assert error.startswith(
        "The migrations cannot be loaded: Migration testapp.0002_note_is_read dependencies"
    )
    assert error.endswith("\nFix it. All of the traceback: manage.py showmigrations")


def test_a_migration_that_is_no_python(migrations, tmp_path):
    with migrations(**{INITIAL: INITIAL}):
        broken = tmp_path / "other_migrations" / "0002_broken.py"
        broken.write_text("class Migration(:\n")
        error = check()

    assert error == (
        "The migrations cannot be loaded: SyntaxError: invalid syntax (0002_broken.py, line 1)\n"
        "Fix it. All of the traceback: manage.py showmigrations"
    )


def test_an_app_without_any_migrations():
    """Django takes it for one that wants none; other apps have some."""
    with override_settings(MIGRATION_MODULES={"testapp": None}):
        error = check()

    assert error.startswith(
        "Models have changed, and no migration says so: testapp.0001_initial (Create model "
    )
