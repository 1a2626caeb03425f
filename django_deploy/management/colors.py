"""Commands whose colours ``NO_COLOR`` turns off."""

from __future__ import annotations

import os
from typing import TextIO

from django.core.management.base import BaseCommand


class ColoredCommand(BaseCommand):
    """Django knows DJANGO_COLORS and ``--no-color`` only; ``--force-color`` is stronger than ``NO_COLOR``."""

    def __init__(
        self,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        no_color: bool = False,
        force_color: bool = False,
    ) -> None:
        is_unwanted = bool(os.environ.get("NO_COLOR")) and not force_color
        super().__init__(stdout, stderr, no_color or is_unwanted, force_color)

    def has_color(self) -> bool:
        """Whether standard output is to have colours."""
        return bool(self.style.SUCCESS(".") != ".")
