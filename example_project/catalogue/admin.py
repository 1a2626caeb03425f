"""The catalogue in the admin."""

from django.contrib import admin

from .models import Author, Book


@admin.register(Author)
class AuthorAdmin(admin.ModelAdmin):
    search_fields = ["name"]


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ["title", "author", "year", "stock"]
    list_select_related = ["author"]
    prepopulated_fields = {"slug": ["title"]}
    search_fields = ["title", "author__name"]
