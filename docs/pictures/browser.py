"""Photographs a page with Chromium, for the pictures that are of pages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

#: What Chromium calls the visitor's wish for a light or a dark page.
SCHEMES = {"light": 1, "dark": 0}


def find_browser() -> str:
    return shutil.which("chromium") or sys.exit("There is no chromium: apt install chromium")


def photograph(browser: str, address: str, name: str, scheme: str, height: int) -> None:
    """Write ``<name>.png`` beside this file: the page at an address, in a window of that height."""
    file = HERE / f"{name}.png"
    with tempfile.TemporaryDirectory() as profile:
        options = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
            *(f"--user-data-dir={profile}", f"--window-size=1280,{height}", "--virtual-time-budget=5000"),
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
        ]
        command = [browser, *options, f"--screenshot={file}", address]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    print(f"{file}: {file.stat().st_size} bytes")
