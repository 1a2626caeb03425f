import json
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("DJANGO_DEPLOY_SHARED", BASE_DIR))
SECRET_KEY = os.environ.get("KIOSK_SECRET_KEY", "for development")
ALLOWED_HOSTS = os.environ.get("KIOSK_ALLOWED_HOSTS", "localhost").split()
INSTALLED_APPS = ["django.contrib.staticfiles", "django_deploy", "kiosk"]
ROOT_URLCONF = "kiosk.urls"
WSGI_APPLICATION = "kiosk.wsgi.application"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": SHARED / "kiosk.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
STATIC_ROOT = Path(os.environ.get("DJANGO_DEPLOY_RELEASE_DIR", BASE_DIR)) / "static"

# The tests say where this is.
DEPLOY_TARGETS = {}
if "KIOSK_TARGETS" in os.environ:
    DEPLOY_TARGETS = json.loads(Path(os.environ["KIOSK_TARGETS"]).read_text())
