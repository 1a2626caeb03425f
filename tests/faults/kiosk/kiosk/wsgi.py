import sys

from django.core.wsgi import get_wsgi_application

from kiosk.gates import wait_at

application = get_wsgi_application()

# The preflight imports this as well, and is not to wait here.
if "deploy_steps" not in sys.argv:
    wait_at("start")
