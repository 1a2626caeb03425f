"""A model without a table must be in nobody's way."""

from __future__ import annotations

import io

from django.core.management import call_command
from django.db import connections

from django_deploy.models import Deployment


def test_it_wants_no_migration(database):
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_it_gets_no_table_but_a_permission_to_look(database):
    from django.contrib.auth.models import Permission

    call_command("migrate", run_syncdb=True, verbosity=0)

    assert Deployment._meta.db_table not in connections["default"].introspection.table_names()
    names = Permission.objects.filter(content_type__app_label="django_deploy").values_list("codename")
    assert list(names) == [("view_deployment",)]


def test_all_data_can_be_dumped(database):
    call_command("migrate", verbosity=0)

    for every_manager in ({}, {"use_base_manager": True}):
        out = io.StringIO()
        call_command("dumpdata", "django_deploy", "testapp", stdout=out, **every_manager)
        assert out.getvalue().strip() == "[]"


def test_it_asks_no_database(database):
    assert list(Deployment.objects.order_by("key")) == []
    assert list(Deployment._base_manager.filter(key=1)) == []
    assert Deployment.objects.using("other").count() == 0
