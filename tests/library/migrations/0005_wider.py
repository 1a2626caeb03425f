from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("library", "0004_fill")]

    operations = [
        migrations.AlterField("book", "title", models.CharField(max_length=300)),
        migrations.AlterField("book", "rank", models.IntegerField()),
    ]
