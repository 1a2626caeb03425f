from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("library", "0010_names")]

    operations = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("book", "price")]),
    ]
