"""Django's own checks of the project, as a finding of the doctor."""

from __future__ import annotations

from django.core import checks

from django_deploy.doctor.finding import Finding, error, ok, warning
from django_deploy.wording import first_of

REMEDY = "manage.py check says all of it, with hints."

#: So many of them are named.
SHOWN = 3


def check_settings() -> Finding:
    """What ``manage.py check`` finds; the settings of the target itself were read before."""
    try:
        found = [message for message in checks.run_checks() if not message.is_silenced()]
    except Exception as failure:  # settings, URLs and models of a project can fail in any way
        return error(
            "settings", f"the project does not pass its checks: {type(failure).__name__}: {failure}", REMEDY
        )
    bad = [message for message in found if message.level >= checks.ERROR]
    doubtful = [message for message in found if checks.WARNING <= message.level < checks.ERROR]
    if bad:
        return error("settings", _listed(bad), REMEDY)
    if doubtful:
        return warning("settings", _listed(doubtful), REMEDY)
    return ok("settings", "the project passes its checks")


def _listed(messages: list[checks.CheckMessage]) -> str:
    return "; ".join(first_of([f"{message.id or 'unnamed'}: {message.msg}" for message in messages], SHOWN))
