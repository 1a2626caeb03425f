import os
from pathlib import Path

SECRET_KEY = os.environ.get("SECRET_KEY", "insecure")
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost").split()
INSTALLED_APPS = ["django.contrib.staticfiles", "django_deploy", "newsroom"]
MIDDLEWARE = ["whitenoise.middleware.WhiteNoiseMiddleware"]
ROOT_URLCONF = "newsroom.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE", Path(__file__).parents[2] / "news.sqlite3"),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
STATIC_ROOT = os.environ.get("STATIC_ROOT", Path(__file__).parents[2] / "collected")

DEPLOY_TARGETS = {
    "staging": {
        "HOSTS": ["deploy@@ADDRESS@"],
        "ROOT": "@ROOT@",
        "INDEX_URL": "@INDEX@",
        "ENV": {
            "ALLOWED_HOSTS": "@ADDRESS@",
            "DATABASE": "@ROOT@/shared/news.sqlite3",
            "STATIC_ROOT": "@ROOT@/shared/static",
        },
        "PROCESSES": {"web": "gunicorn newsroom.wsgi --bind unix:{socket} --no-control-socket"},
    },
}
