from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("library", "0007_subtitle_required")]

    operations = [
        migrations.AddIndex("book", models.Index(fields=["title"], name="by_title")),
        migrations.AlterModelOptions("book", {"ordering": ("title",)}),
    ]
