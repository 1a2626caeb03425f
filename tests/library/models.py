"""The models of each edition, as its migrations make them."""

from __future__ import annotations

import os

from django.db import models

EDITION = int(os.environ["LIBRARY_EDITION"])


class Writer(models.Model):
    name = models.CharField(max_length=100)


class Book(models.Model):
    title = models.CharField(max_length=200 if EDITION < 5 else 300)
    isbn = models.CharField(max_length=13 if EDITION < 6 else 10, null=True)
    rank = models.SmallIntegerField() if EDITION < 5 else models.IntegerField()
    writer = models.ForeignKey(Writer, models.CASCADE)
    if EDITION < 10:
        pages = models.IntegerField(null=True)
    else:
        page_count = models.IntegerField(null=True)
    if EDITION < 11:
        price = models.DecimalField(max_digits=6, decimal_places=2, null=True)
    if EDITION < 12:
        shelf = models.CharField(max_length=20, null=True)
    if EDITION >= 2:
        copies = models.IntegerField(db_default=1)
        if EDITION < 7:
            subtitle = models.CharField(max_length=100, null=True)
        else:
            subtitle = models.CharField(max_length=100, default="")
    if EDITION >= 3:
        language = models.CharField(max_length=5, default="en")

    if EDITION >= 8:

        class Meta:
            ordering = ("title",)
            indexes = (models.Index(fields=["title"], name="by_title"),)
            if EDITION >= 9:
                constraints = (models.UniqueConstraint(fields=["isbn"], name="one_isbn"),)


if EDITION < 10:

    class Loan(models.Model):
        book = models.ForeignKey(Book, models.CASCADE)


elif EDITION < 12:

    class Lending(models.Model):
        book = models.ForeignKey(Book, models.CASCADE)
