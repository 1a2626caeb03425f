"""An index that wants to know who asks: both ends tell it, and neither keeps what was told."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from .index import Index
from .inspection import assert_serves

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .bookshop import Bookshop
    from .laptop import Laptop
    from .machines import Machine
    from .network import Network

PASSWORD = "m4rked-p@ss"
QUOTED = "m4rked-p%40ss"


@pytest.fixture
def private_index(network: Network) -> Iterator[Index]:
    with Index(network.gateway, user=f"me:{PASSWORD}") as index:
        yield index


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_password_of_the_index_stays_nowhere(
    machine: Machine, laptop: Laptop, bookshop: Bookshop, private_index: Index, installer: str
) -> None:
    url = private_index.url.replace("://", f"://me:{QUOTED}@")
    bookshop.aim([machine], INDEX_URL=url, INSTALLER=installer)

    mark = bookshop.new_edition()
    result = bookshop.deploy("--json", "--verbosity", "3")
    assert result.status == 0, result
    assert_serves(machine, result.release, mark)
    bookshop.new_edition()
    again = bookshop.deploy("--verbosity", "3")
    assert again.status == 0, again
    status = bookshop.run("deploy_status")

    for told in (result, again, status):
        assert "m4rked" not in str(told)
    assert keepers(bookshop.folder.parent) == [str(bookshop.folder.parent / "targets.json")]
    assert keepers(machine.folder / "upper") == []
    assert keepers(laptop.home) == []


def keepers(folder: Path) -> list[str]:
    """The files that hold the password, in any of its forms."""
    forms = ("m4rked", b64encode(f"me:{PASSWORD}".encode()).decode())
    patterns = [word for form in forms for word in ("-e", form)]
    done = subprocess.run(
        ["grep", "--recursive", "--files-with-matches", "--binary-files=text", *patterns, folder],
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()
