"""A program: makes a bundle of the environment that it runs in, or a lock, and tells what it took.

usage: python bundle_once.py bundle|lock CACHE

Django and the target are there before the clock starts, as under manage.py; what a bundle imports counts.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath


def bundle(cache: Path) -> Callable[[], int]:
    from django_deploy.target import Target

    target = Target("staging", (), PurePosixPath("/srv/shop"), settings_module="shop.settings")

    def work() -> int:
        from django_deploy.bundle.assembly import build_bundle

        return len(build_bundle(target, cache=cache, modules=sys.modules).distributions)

    return work


def lock(cache: Path) -> Callable[[], int]:
    from django_deploy.bundle.environment import discover
    from django_deploy.bundle.index.sources import read_sources

    pinned = [item for item in discover().distributions if item.kind == "index"]

    def work() -> int:
        from django_deploy.bundle.index.lock import lock

        return len(lock(pinned, read_sources(), cache=cache).pins)

    return work


def used() -> float:
    """CPU of this process and of what it has run, in seconds."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    importlib.import_module("django.core.management")
    work = {"bundle": bundle, "lock": lock}[sys.argv[1]](Path(sys.argv[2]))
    started, before = time.monotonic(), used()
    count = work()
    print(json.dumps({"wall": time.monotonic() - started, "cpu": used() - before, "distributions": count}))
