"""paramiko without ``invoke``, a third of its import time: OpenSSH does for us what it is for."""

from __future__ import annotations

import logging
import sys

# paramiko only wants invoke for "Match exec" in its own reader of ssh_config and does without it
# where it is missing; None in sys.modules says that it is.
_is_our_mark = "invoke" not in sys.modules
if _is_our_mark:
    sys.modules["invoke"] = None  # type: ignore[assignment]
try:
    import paramiko
    import paramiko.agent
    import paramiko.pkey
finally:
    if _is_our_mark:
        sys.modules.pop("invoke", None)

# What paramiko logs is in our own errors already. It goes neither to standard error, which it would
# without any handler, nor to the handlers of the site, which print, write and mail whatever comes;
# but to those that the site's LOGGING has for paramiko.
_log = logging.getLogger("paramiko")
if _log.level == logging.NOTSET and not _log.handlers:
    _log.propagate = False
_log.addHandler(logging.NullHandler())

__all__ = ["paramiko"]
