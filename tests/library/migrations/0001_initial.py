from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    operations = [
        migrations.CreateModel(
            "Writer",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
            ],
        ),
        migrations.CreateModel(
            "Book",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=200)),
                ("isbn", models.CharField(max_length=13, null=True)),
                ("rank", models.SmallIntegerField()),
                ("pages", models.IntegerField(null=True)),
                ("price", models.DecimalField(max_digits=6, decimal_places=2, null=True)),
                ("shelf", models.CharField(max_length=20, null=True)),
                ("writer", models.ForeignKey("library.writer", models.CASCADE)),
            ],
        ),
        migrations.CreateModel(
            "Loan",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("book", models.ForeignKey("library.book", models.CASCADE)),
            ],
        ),
    ]
