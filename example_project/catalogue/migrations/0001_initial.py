import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Author",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=200, unique=True)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Book",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=200)),
                ("slug", models.SlugField(unique=True)),
                ("year", models.SmallIntegerField()),
                (
                    "cover",
                    models.FileField(
                        blank=True,
                        upload_to="covers/",
                        validators=[
                            django.core.validators.FileExtensionValidator(["jpeg", "jpg", "png", "webp"])
                        ],
                    ),
                ),
                ("stock", models.PositiveIntegerField(default=0)),
                ("restocked", models.DateTimeField(editable=False, null=True)),
                (
                    "author",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="books",
                        to="catalogue.author",
                    ),
                ),
            ],
            options={
                "ordering": ["title"],
            },
        ),
    ]
