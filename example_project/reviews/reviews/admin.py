"""The reviews in the admin."""

from django.contrib import admin

from .models import Review


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    list_display = ["book", "reader", "stars", "written"]
    list_select_related = ["book"]
