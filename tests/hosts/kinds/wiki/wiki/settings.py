import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "insecure"
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost").split()
INSTALLED_APPS = ["django_deploy", "wiki"]
ROOT_URLCONF = "wiki.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DEPLOY_TARGETS = {
    "staging": {
        "HOSTS": ["deploy@@ADDRESS@"],
        "ROOT": "@ROOT@",
        "INDEX_URL": "@INDEX@",
        "ENV": {"ALLOWED_HOSTS": "@ADDRESS@"},
        "PROCESSES": {"web": "gunicorn wiki.wsgi --bind unix:{socket} --no-control-socket"},
    },
}
