from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("library", "0002_subtitle")]

    operations = [
        migrations.AddField("book", "language", models.CharField(max_length=5, default="en")),
    ]
