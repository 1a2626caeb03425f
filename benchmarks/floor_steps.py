"""Every step of the site in one Django process, as in a hand-written script."""

import django
from django.core.management import call_command

django.setup()
call_command("collectstatic", interactive=False)
call_command("migrate", interactive=False)
call_command("fix_permissions")
call_command("compress", force=True)
