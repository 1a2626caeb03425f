from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("library", "0006_shorter_isbn")]

    operations = [
        migrations.AlterField("book", "subtitle", models.CharField(max_length=100, default="")),
    ]
