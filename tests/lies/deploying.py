"""Deploys a small bundle to the liar: ``python -m tests.lies.deploying LIE FOLDER`` tells how it ended.

In a process of its own, whose memory is measured; importing it deploys nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
from pathlib import Path, PurePosixPath

from django_deploy import deployment, rollout
from django_deploy.bundle.fitting import marker_variables
from django_deploy.bundle.manifest import Manifest, Wheel
from django_deploy.exceptions import DeployError
from django_deploy.reporters.live import LiveReporter
from django_deploy.reporters.secrets import Secrets
from django_deploy.target import Host, Target
from django_deploy.transport import program
from tests.bundle.archives import make_wheel
from tests.lies import liar

ROOT = PurePosixPath("/nowhere")


def make_manifest(folder):
    path = make_wheel(folder / "built", "shop")
    content = path.read_bytes()
    wheel = Wheel("shop", "1.0", path, hashlib.sha256(content).hexdigest(), len(content))
    version = marker_variables()["python_full_version"]
    return Manifest("shop", "1.0", version, (wheel,), (), created=1.0, created_by="ann@laptop")


def lie_on_this_machine(lie):
    """From here on the program of the host ``local`` is the liar."""
    program.command = lambda hello: [sys.executable, "-S", liar.__file__, lie]


def deploy(folder, report):
    target = Target("demo", (Host("local"),), ROOT, settings_module="shop.settings")
    manifest = make_manifest(folder)
    return deployment.deploy(target, lambda report: manifest, report=report)


def peak():
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main(lie, folder):
    os.environ["XDG_CACHE_HOME"] = folder
    rollout.ASK_AGAIN_TIMEOUT = 1.0
    lie_on_this_machine("is honest")
    deploy(Path(folder), lambda event: None)  # what is imported late is here by now
    before, started = peak(), time.monotonic()
    print("deploying", flush=True)
    lie_on_this_machine(lie)
    with open(os.devnull, "w") as nowhere, LiveReporter(nowhere, Secrets()) as reporter:
        warnings = []

        def report(event):
            reporter(event)
            if event.kind == "warning":
                warnings[:-3] = []
                warnings.append(event["message"])

        try:
            ended = deploy(Path(folder), report).outcome
        except DeployError as error:
            ended = str(error)
    fields = {"ended": ended, "warnings": warnings, "grown": peak() - before}
    print(json.dumps({**fields, "seconds": time.monotonic() - started}))


if __name__ == "__main__":
    main(*sys.argv[1:])
