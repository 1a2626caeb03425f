from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("library", "0001_initial")]

    operations = [
        migrations.AddField("book", "subtitle", models.CharField(max_length=100, null=True)),
        migrations.AddField("book", "copies", models.IntegerField(db_default=1)),
    ]
