from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("library", "0009_unique_isbn")]

    operations = [
        migrations.RenameField("book", "pages", "page_count"),
        migrations.RenameModel("Loan", "Lending"),
    ]
