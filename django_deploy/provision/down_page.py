"""What visitors see while no process of the site answers at all; it looks like the maintenance page."""

from __future__ import annotations

from django_deploy.host.maintenance_page import PAGE

TITLE = "Not available"
MESSAGE = "This site does not answer at the moment. Please try again in a few minutes."

#: On one line, without quotes and signs that mean something in a configuration.
DOWN_PAGE = " ".join(PAGE.format(title=TITLE, message=MESSAGE).split())
