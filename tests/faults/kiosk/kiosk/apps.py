import sys

from django.apps import AppConfig

from kiosk.gates import wait_at


class KioskConfig(AppConfig):
    name = "kiosk"

    def ready(self):
        if "deploy_steps" in sys.argv:
            wait_at("preflight")
