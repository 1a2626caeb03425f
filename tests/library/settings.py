"""A site whose models and migrations are those of one edition of it: LIBRARY_EDITION, 1 to 12."""

import json
import os

DATABASES = {"default": json.loads(os.environ["LIBRARY_DATABASE"])}
if "LIBRARY_OTHER" in os.environ:
    DATABASES["other"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["LIBRARY_OTHER"]}

if DATABASES["default"]["ENGINE"].endswith(".mysql"):
    import pymysql

    pymysql.install_as_MySQLdb()

SECRET_KEY = "for tests" * 10
INSTALLED_APPS = ["django_deploy", "tests.library"]
MIGRATION_MODULES = {"library": os.environ["LIBRARY_MIGRATIONS"]}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
