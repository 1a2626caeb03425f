"""What visitors and booksellers can do."""

import tempfile

from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import TestCase, override_settings

from .mark import MARK
from .models import Book

PICTURE = b"\x89PNG\r\n\x1a\n"


class VisitorTests(TestCase):
    def test_the_first_books_are_on_the_shelf(self):
        response = self.client.get("/")

        self.assertContains(response, "Frankenstein")
        self.assertContains(response, f'<span id="mark">{MARK}</span>', html=True)
        self.assertContains(response, "this is development")

    def test_a_book_shows_its_reviews(self):
        emma = Book.objects.get(slug="emma")
        emma.reviews.create(reader="Ada", stars=4, text="Handsome, clever, and rich.")

        response = self.client.get(emma.get_absolute_url())

        self.assertContains(response, "★★★★☆")
        self.assertContains(response, "Handsome, clever, and rich.")

    def test_a_book_without_reviews(self):
        self.assertContains(self.client.get("/books/emma/"), "Nobody has reviewed this book yet.")

    def test_a_book_without_a_cover(self):
        assert self.client.get("/books/emma/cover/").status_code == 404

    def test_covers_are_not_for_visitors_to_change(self):
        response = self.client.get("/books/emma/cover/change/")

        self.assertRedirects(
            response, "/admin/login/?next=/books/emma/cover/change/", fetch_redirect_response=False
        )


class BooksellerTests(TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = override_settings(MEDIA_ROOT=folder.name)
        settings.enable()
        self.addCleanup(settings.disable)
        bookseller = User.objects.create_user("ada")
        bookseller.user_permissions.add(Permission.objects.get(codename="change_book"))
        self.client.force_login(bookseller)

    def upload(self, name):
        picture = SimpleUploadedFile(name, PICTURE)
        return self.client.post("/books/emma/cover/change/", {"cover": picture})

    def test_an_uploaded_cover_is_shown(self):
        self.assertRedirects(self.upload("emma.png"), "/books/emma/")

        response = self.client.get("/books/emma/cover/")

        assert b"".join(response.streaming_content) == PICTURE
        assert response.headers["Content-Type"] == "image/png"

    def test_only_pictures_are_taken(self):
        response = self.upload("emma.html")

        self.assertContains(response, "File extension “html” is not allowed.")
        assert Book.objects.get(slug="emma").cover.name == ""


class WorkerTests(TestCase):
    def test_the_scarcest_book_is_restocked(self):
        Book.objects.filter(slug="moby-dick").update(stock=1)

        call_command("restock", "--once", verbosity=0)

        moby_dick = Book.objects.get(slug="moby-dick")
        assert moby_dick.stock == 4
        assert moby_dick.restocked is not None

    def test_an_empty_shop_needs_nothing(self):
        Book.objects.all().delete()

        call_command("restock", "--once", verbosity=0)
