from .base import *

DEPLOY_TARGETS = {
    "staging": {
        "HOSTS": ["deploy@@ADDRESS@"],
        "ROOT": "@ROOT@",
        "INDEX_URL": "@INDEX@",
        "ENV": {"ALLOWED_HOSTS": "@ADDRESS@", "STATIC_ROOT": "@ROOT@/shared/static"},
        "PROCESSES": {"web": "gunicorn config.wsgi --bind unix:{socket} --no-control-socket"},
    },
}
