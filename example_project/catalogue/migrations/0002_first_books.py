"""A few books, so that a new shop is not empty."""

from django.db import migrations

BOOKS = [
    ("Jane Austen", "Emma", "emma", 1815),
    ("Mary Shelley", "Frankenstein", "frankenstein", 1818),
    ("Herman Melville", "Moby-Dick", "moby-dick", 1851),
    ("George Eliot", "Middlemarch", "middlemarch", 1871),
]


def put_on_the_shelf(apps, schema_editor):
    author_model = apps.get_model("catalogue", "Author")
    book_model = apps.get_model("catalogue", "Book")
    alias = schema_editor.connection.alias
    for name, title, slug, year in BOOKS:
        author, _ = author_model.objects.using(alias).get_or_create(name=name)
        book_model.objects.using(alias).get_or_create(
            slug=slug, defaults={"title": title, "author": author, "year": year, "stock": 3}
        )


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0001_initial")]

    operations = [migrations.RunPython(put_on_the_shelf, migrations.RunPython.noop)]
