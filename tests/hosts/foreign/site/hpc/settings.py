# ruff: noqa: F403, F405
import os

from coldfront.config.settings import *

INSTALLED_APPS = [*INSTALLED_APPS, "django_deploy"]
MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")

if "DJANGO_DEPLOY_RELEASE_DIR" in os.environ:
    STATIC_ROOT = os.path.join(os.environ["DJANGO_DEPLOY_RELEASE_DIR"], "static")

DEPLOY_TARGETS = {
    "staging": {
        "HOSTS": ["deploy@@ADDRESS@"],
        "ROOT": "@ROOT@",
        "PROCESSES": {"web": "gunicorn coldfront.config.wsgi --bind unix:{socket}"},
        "INDEX_URL": "@INDEX@",
    },
}
