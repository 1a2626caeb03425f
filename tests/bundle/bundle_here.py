"""A program: bundles the environment of the interpreter that runs it, and prints what came of it.

Its argument is a JSON object: ``cache``, ``target`` (fields of a Target), ``ignored_folders``, ``revision``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path, PurePosixPath

from django_deploy.bundle.assembly import build_bundle
from django_deploy.exceptions import BundleError
from django_deploy.target import Target


def main() -> None:
    options = json.loads(sys.argv[1])
    events: list[dict] = []
    target = Target("staging", (), PurePosixPath("/srv/site"), **options["target"])
    try:
        manifest = build_bundle(
            target,
            report=lambda event: events.append(event.as_dict()),
            cache=Path(options["cache"]),
            ignored_folders=map(Path, options["ignored_folders"]),
            revision=options.get("revision"),
        )
    except BundleError as error:
        print(json.dumps({"error": error.message, "remedy": error.remedy, "events": events}))
        return
    wheels = [{"path": str(wheel.path), "source": wheel.source} for wheel in manifest.wheels]
    pins = {pin.name: pin.hashes for pin in manifest.pins}
    answer = {**manifest.as_dict(), "warnings": manifest.warnings, "wheel_files": wheels, "pins": pins}
    print(json.dumps({**answer, "requires": dict(manifest.requires), "events": events}))


if __name__ == "__main__":
    main()
