"""Becomes a ``manage.py`` command of the live release, with the streams that it was started with."""

from __future__ import annotations

import os
from typing import Any

from . import launch

#: The exit status when nothing could be run, as of ssh(1).
NOT_RUN = 255


def main(hello: dict[str, Any]) -> int:
    """``root`` and ``words``, the command's own; returns only when there is nothing to become.

    The release's real folder, not ``current``, so that a deployment in the meantime does not move the ground
    under a command that runs. No shell reads the words.
    """
    release = os.path.realpath(os.path.join(hello["root"], "current"))
    python, manage = os.path.join(release, "venv", "bin", "python"), os.path.join(release, "manage.py")
    try:
        os.chdir(launch.working_folder(release))
        os.execv(python, [python, manage, *hello["words"]])
    except OSError:
        os.write(2, f"No release is live in {hello['root']}: deploy first.\n".encode())
    return NOT_RUN
