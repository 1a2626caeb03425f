"""The site that the Django tests run in; TESTSITE_FOLDER gives it files of its own."""

import os
from pathlib import Path

FOLDER = os.environ.get("TESTSITE_FOLDER")

SECRET_KEY = "for tests" * 10
ALLOWED_HOSTS = ["testserver", "shop.example.com"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
    "django_deploy",
    "tests.testapp",
]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware"]
ROOT_URLCONF = "tests.testapp.urls"
WSGI_APPLICATION = "tests.testapp.wsgi.application"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(FOLDER, "database.sqlite3") if FOLDER else ":memory:",
    },
    "other": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(FOLDER, "other.sqlite3") if FOLDER else ":memory:",
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "static/"
if FOLDER:
    STATIC_ROOT = Path(FOLDER, "static")
    MEDIA_ROOT = Path(FOLDER, "media")
