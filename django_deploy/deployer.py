"""Who deploys."""

from __future__ import annotations

import getpass
import os
import socket


def deployer() -> str:
    """user@machine of whoever deploys."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a uid without a name, in a container
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
