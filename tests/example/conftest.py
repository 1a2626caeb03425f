"""The example's own modules; they run before anything is installed."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "example_project"))
