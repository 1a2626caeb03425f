"""Sphinx's configuration."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from django_deploy import __version__

project = "django-deploy"
author = "the authors of django-deploy"
release = version = __version__

exclude_patterns = ["_build"]
nitpicky = True
highlight_language = "console"

html_theme = "furo"
html_title = f"django-deploy {version}"
html_show_copyright = False
