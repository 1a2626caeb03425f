"""The shelf, a book, its cover and the form that changes the cover."""

from django.contrib.auth.mixins import PermissionRequiredMixin
from django.http import FileResponse, Http404
from django.shortcuts import get_object_or_404
from django.views.generic import DetailView, ListView, UpdateView

from .models import Book


class BookList(ListView):
    queryset = Book.objects.select_related("author")


class BookDetail(DetailView):
    queryset = Book.objects.select_related("author")


class CoverUpload(PermissionRequiredMixin, UpdateView):
    model = Book
    fields = ["cover"]
    permission_required = "catalogue.change_book"


def cover(request, slug):
    """The uploaded picture. Only the types that the model accepts are ever sent."""
    book = get_object_or_404(Book, slug=slug)
    try:
        return FileResponse(book.cover.open())
    except (ValueError, FileNotFoundError):
        raise Http404(f"{book} has no cover.") from None
