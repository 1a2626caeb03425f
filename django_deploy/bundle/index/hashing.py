"""A program: hashes of pinned requirements as pip-tools finds them, where we cannot.

Its arguments are requirements (``name==version``); it prints a JSON object of lists of sha256, without
those that it could not find. pip-tools speaks to indexes with pip's own session (keyrings, client
certificates, the system's certificates) and downloads what has no hash: slow, but thorough. It is a
program of its own because pip writes to the standard streams.
"""

from __future__ import annotations

import json
import sys
import tempfile

from pip._internal.exceptions import PipError
from pip._internal.req.constructors import install_req_from_line
from piptools.exceptions import PipToolsError
from piptools.repositories import PyPIRepository


def main(requirements: list[str]) -> None:
    """Prints what is found; a requirement that fails does not stop the others."""
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="django-deploy-") as folder:
        repository = PyPIRepository([], cache_dir=folder)
        for requirement in requirements:
            hashes = _find(repository, requirement)
            if hashes:
                found[requirement] = hashes
    print(json.dumps(found))


def _find(repository: PyPIRepository, requirement: str) -> list[str]:
    try:
        with repository.allow_all_wheels():
            hashes = repository.get_hashes(install_req_from_line(requirement))
    except (PipToolsError, PipError, OSError, IndexError) as error:
        # IndexError: pip-tools does not expect that a version is not there at all.
        print(f"{requirement}: {error}", file=sys.stderr)
        return []
    return sorted(value.removeprefix("sha256:") for value in hashes if value.startswith("sha256:"))


if __name__ == "__main__":
    main(sys.argv[1:])
