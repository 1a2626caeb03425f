"""Measures what a changed wheel costs as its difference, against the whole wheel and rsync; prints a table.

usage: python -m benchmarks.delta [--runs N]

See README.rst beside it. The exit status is 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from django_deploy.bundle.delta import write_recipe
from django_deploy.host.delta import rebuild

from .figures import Figure, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Files of the wheel, RECORD and metadata not counted.
FILES = 1_200

#: The largest modules are left out, so that the wheel has some 5 MB.
LARGEST = 60

#: What the same change took with a list of changed members, in bytes and milliseconds: the first attempt.
GOAL_BYTES, GOAL_MILLISECONDS = 79_000, 41.0


def sources() -> dict[str, str]:
    """Modules of the standard library: code that people wrote, of all sizes."""
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in folder.rglob("*.py") if "site-packages" not in path.parts)
    found = {f"shop/{path.relative_to(folder)}": path.read_text("utf-8", "replace") for path in files}
    chosen = sorted(found, key=lambda name: len(found[name]))[-FILES - LARGEST : -LARGEST]
    return {name: found[name] for name in sorted(chosen)}


def write_wheel(path: Path, files: Mapping[str, str]) -> Path:
    contents = {**files, "shop-1.0.dist-info/METADATA": "Metadata-Version: 2.4\nName: shop\nVersion: 1.0\n"}
    rows = "".join(_row(name, text) for name, text in contents.items())
    contents["shop-1.0.dist-info/RECORD"] = rows + "shop-1.0.dist-info/RECORD,,\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in contents.items():
            member = zipfile.ZipInfo(name, (2020, 2, 2, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, text)
    return path


def _row(name: str, text: str) -> str:
    content = text.encode()
    sha256 = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={sha256},{len(content)}\n"


def change_line(files: Mapping[str, str]) -> dict[str, str]:
    """In a file in the middle."""
    name = sorted(files)[len(files) // 2]
    return {**files, name: files[name].replace("\n", "\nCHANGED = True\n", 1)}


def rsync(base: Path, new: Path, folder: Path) -> tuple[int, int]:
    """Bytes that ``rsync -z`` sends and receives to make one of the other."""
    there = shutil.copy(base, folder / "there.whl")
    argv = ["rsync", "-z", "--no-whole-file", "--ignore-times", "--stats", str(new), str(there)]
    stats = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    sent, received = (re.search(rf"Total bytes {word}: ([\d,.]+)", stats) for word in ("sent", "received"))
    assert sent, stats
    assert received, stats
    return _number(sent[1]), _number(received[1])


def _number(text: str) -> int:
    return int(re.sub(r"\D", "", text))


def milliseconds(work: Callable[[], object], runs: int) -> tuple[float, str]:
    """The median, and the range for people."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return median(times), f"{min(times):.0f}-{max(times):.0f} ms, {runs} runs"


def measure(folder: Path, runs: int) -> list[Figure]:
    files = sources()
    base = write_wheel(folder / "base.whl", files)
    new = write_wheel(folder / "new.whl", change_line(files))
    recipe, whole = folder / "recipe", new.stat().st_size

    def make() -> None:
        assert write_recipe(base, new, recipe, limit=whole)

    def apply() -> None:
        digest = hashlib.sha256()
        with base.open("rb", buffering=0) as old, (folder / "made").open("wb") as made:
            for piece in rebuild(old, iter([memoryview(recipe.read_bytes())]), whole):
                digest.update(piece)
                made.write(piece)
        assert digest.hexdigest() == hashlib.sha256(new.read_bytes()).hexdigest()

    making, made_range = milliseconds(make, runs)
    applying, applied_range = milliseconds(apply, runs)
    size = recipe.stat().st_size
    figures = [
        Figure("a changed line, to send", f"of {whole} bytes in {len(files)} files", size, "B", GOAL_BYTES),
        Figure("to find it, here", made_range, making, "ms", GOAL_MILLISECONDS),
        Figure("to make the wheel of it and to hash it, there", applied_range, applying, "ms"),
    ]
    if shutil.which("rsync"):
        sent, received = rsync(base, new, folder)
        figures.append(Figure("the same with rsync -z", f"and {received} bytes back", sent, "B"))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.delta", description="What a changed wheel costs as its difference."
    )
    parser.add_argument("--runs", type=int, default=15, help="of each measure of time (default: 15)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.runs)
    print(table(figures))
    return 1 if any(figure.is_missed for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
