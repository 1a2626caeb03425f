"""The addresses of the catalogue."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.BookList.as_view(), name="books"),
    path("books/<slug:slug>/", views.BookDetail.as_view(), name="book"),
    path("books/<slug:slug>/cover/", views.cover, name="cover"),
    path("books/<slug:slug>/cover/change/", views.CoverUpload.as_view(), name="change-cover"),
]
