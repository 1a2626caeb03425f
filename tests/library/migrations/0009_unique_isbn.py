from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("library", "0008_index")]

    operations = [
        migrations.AddConstraint("book", models.UniqueConstraint(fields=["isbn"], name="one_isbn")),
    ]
