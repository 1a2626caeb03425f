"""Fails, after it has begun, where TESTAPP_MIGRATION_FAILS is set."""

import os

from django.db import migrations, models


def fail_if_told(apps, schema_editor):
    if os.environ.get("TESTAPP_MIGRATION_FAILS"):
        raise RuntimeError("this migration was told to fail")


class Migration(migrations.Migration):
    dependencies = [("testapp", "0001_initial")]

    operations = [
        migrations.AddField("Note", "is_read", models.BooleanField(default=False)),
        migrations.RunPython(fail_if_told, migrations.RunPython.noop),
    ]
