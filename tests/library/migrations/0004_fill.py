from django.db import migrations


def fill_subtitles(apps, schema_editor):
    apps.get_model("library", "Book").objects.filter(subtitle=None).update(subtitle="")


class Migration(migrations.Migration):
    dependencies = [("library", "0003_language")]

    operations = [
        migrations.RunPython(fill_subtitles, migrations.RunPython.noop),
        migrations.RunSQL("UPDATE library_book SET copies = 1 WHERE copies < 1"),
    ]
