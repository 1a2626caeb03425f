"""Authors and books."""

from django.core.validators import FileExtensionValidator
from django.db import models
from django.urls import reverse


class Author(models.Model):
    name = models.CharField(max_length=200, unique=True)

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name


class Book(models.Model):
    """A title on the shelf. ``restocked`` is when the worker last added copies."""

    title = models.CharField(max_length=200)
    slug = models.SlugField(unique=True)
    author = models.ForeignKey(Author, on_delete=models.PROTECT, related_name="books")
    year = models.SmallIntegerField()
    cover = models.FileField(
        upload_to="covers/",
        blank=True,
        validators=[FileExtensionValidator(["jpeg", "jpg", "png", "webp"])],
    )
    stock = models.PositiveIntegerField(default=0)
    restocked = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["title"]

    def __str__(self):
        return self.title

    def get_absolute_url(self):
        return reverse("book", args=[self.slug])
