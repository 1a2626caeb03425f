"""Sends a file to a host's store as a deployment does, and prints the seconds that it took.

usage: python send.py TARGET FILE        (TARGET is the target's settings as JSON)
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from contextlib import suppress
from pathlib import Path

from django_deploy.exceptions import RequestFailed
from django_deploy.host.protocol import ignore
from django_deploy.reading.keys import read_target
from django_deploy.transport.session import open_session
from django_deploy.transport.ssh import no_prompts


def main(settings: str, file: Path) -> None:
    target = read_target("benchmark", json.loads(settings), settings_module="bookshop.target")
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    session = open_session(target.hosts[0], target, report=ignore, prompts=no_prompts)
    started = time.monotonic()
    session.send_file(file, sha256, file.name, lambda size: None)
    # Requests wait behind files: that there is no transaction it says only when the file is there.
    with suppress(RequestFailed):
        session.request("preflight").result()
    print(time.monotonic() - started)
    session.close()
    session.wait_for_end(10)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
