"""Settings of the bookshop, for development and for servers.

Nothing has to be set in development. A deployed release knows its own folders (django-deploy sets
DJANGO_DEPLOY_SHARED and DJANGO_DEPLOY_RELEASE_DIR) and is told the rest through ENV of its target:

BOOKSHOP_SECRET_KEY
    Required on a server.
BOOKSHOP_ALLOWED_HOSTS
    Host names, separated by spaces.
BOOKSHOP_DEBUG
    "1" or "0"; on in development, off on a server.
BOOKSHOP_DATABASE
    Path of the SQLite file; by default it lies in the shared folder.
BOOKSHOP_HTTPS
    "1" when a front server speaks HTTPS and sets X-Forwarded-Proto.
"""

import os
import tempfile
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
RELEASE_DIR = os.environ.get("DJANGO_DEPLOY_RELEASE_DIR")
IS_DEPLOYED = RELEASE_DIR is not None
SHARED = Path(os.environ.get("DJANGO_DEPLOY_SHARED", BASE_DIR / "var"))

DEBUG = os.environ.get("BOOKSHOP_DEBUG", "0" if IS_DEPLOYED else "1") == "1"
ALLOWED_HOSTS = os.environ.get("BOOKSHOP_ALLOWED_HOSTS", "").split()
if IS_DEPLOYED:
    SECRET_KEY = os.environ["BOOKSHOP_SECRET_KEY"]
else:
    SECRET_KEY = os.environ.get("BOOKSHOP_SECRET_KEY", "for development, not a secret at all")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "compressor",
    "django_deploy",
    "catalogue",
    "reviews",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    # runserver serves static files itself.
    *([] if DEBUG else ["whitenoise.middleware.WhiteNoiseMiddleware"]),
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "bookshop.urls"
WSGI_APPLICATION = "bookshop.wsgi.application"
LOGIN_URL = "admin:login"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "catalogue.context.shop",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("BOOKSHOP_DATABASE", SHARED / "database.sqlite3"),
        # The web server, the worker and a migration share the file: readers do not wait for the
        # writer (WAL), and a writer waits its turn instead of failing half-way (IMMEDIATE).
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Static files belong to a release, uploads and the database to the site.
STATIC_URL = "/static/"
STATIC_ROOT = Path(RELEASE_DIR or SHARED) / "static"
MEDIA_ROOT = SHARED / "media"
FILE_UPLOAD_PERMISSIONS = 0o644
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "compressor.finders.CompressorFinder",
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
COMPRESS_ENABLED = COMPRESS_OFFLINE = not DEBUG

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"

if os.environ.get("BOOKSHOP_HTTPS") == "1":
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 3600

if not IS_DEPLOYED:
    SHARED.mkdir(exist_ok=True)

# Where `python manage.py deploy NAME` takes the site.
DEPLOY_TARGETS = {
    # This machine, in a folder: what `make demo` deploys. The path is short because the path of a
    # Unix socket inside it may not be longer than 107 bytes.
    "demo": {
        "HOSTS": ["local"],
        "ROOT": os.environ.get("BOOKSHOP_DEMO_ROOT", f"{tempfile.gettempdir()}/bookshop-{os.getuid()}/site"),
        "ENV": {
            "BOOKSHOP_SECRET_KEY": SECRET_KEY,
            "BOOKSHOP_ALLOWED_HOSTS": "127.0.0.1 localhost",
        },
        "PROCESSES": {
            # gunicorn's control socket has one fixed place per user, and two releases run side by
            # side during a deployment.
            "web": "gunicorn bookshop.wsgi --bind unix:{socket} --workers 2 --no-control-socket",
            "worker": "python manage.py restock",
        },
        "PROCESS_MANAGER": "supervisor",
        "HEALTH_CHECK": "/healthz/",
    },
    # Two servers behind a load balancer, with nginx in front of ROOT/run/web.sock on each. (Several
    # servers want a database that they share, so not SQLite.)
    #
    # "staging": {
    #     "HOSTS": ["deploy@web1.staging.example.com", "deploy@web2.staging.example.com:2222"],
    #     "ROOT": "/srv/bookshop",
    #     "ENV": {
    #         "BOOKSHOP_SECRET_KEY": os.environ.get("STAGING_SECRET_KEY", ""),
    #         "BOOKSHOP_ALLOWED_HOSTS": "staging.example.com",
    #         "BOOKSHOP_HTTPS": "1",
    #     },
    #     "PROCESSES": {
    #         "web": "gunicorn bookshop.wsgi --bind unix:{socket} --workers 4 --no-control-socket",
    #         "worker": {"COMMAND": "python manage.py restock", "SINGLETON": True},
    #     },
    #     "HEALTH_CHECK": "/healthz/",
    # },
}
