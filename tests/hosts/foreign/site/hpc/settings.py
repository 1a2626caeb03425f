# ruff: noqa: F403, F405
from coldfront.config.settings import *

INSTALLED_APPS = [*INSTALLED_APPS, "django_deploy"]
MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")

DEPLOY_TARGETS = {
    "staging": {
        "HOSTS": ["deploy@@ADDRESS@"],
        "ROOT": "@ROOT@",
        "PROCESSES": {"web": "gunicorn coldfront.config.wsgi --bind unix:{socket}"},
        "INDEX_URL": "@INDEX@",
    },
}
