"""What users are called."""

from __future__ import annotations

import os
import pwd
from typing import Optional


def user_name(uid: Optional[int] = None) -> str:
    """The name of a user, by default of the one that we run as; a uid that has none is called by itself."""
    uid = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # in a container, for one
        return str(uid)
