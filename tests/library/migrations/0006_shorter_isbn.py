from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("library", "0005_wider")]

    operations = [
        migrations.AlterField("book", "isbn", models.CharField(max_length=10, null=True)),
    ]
