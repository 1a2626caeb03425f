from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("library", "0011_forget_price")]

    operations = [
        migrations.RemoveField("book", "shelf"),
        migrations.DeleteModel("Lending"),
    ]
