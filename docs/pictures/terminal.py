"""Makes the pictures of the terminal: real commands against three real hosts, as a person sees them.

As root on Linux, where the host tests run::

    $ sudo make PYTHON=python3 .venv/.test
    $ sudo .venv/bin/python -m pip install pyte
    $ sudo apt install chromium
    $ sudo .venv/bin/python docs/pictures/terminal.py

It boots the hosts, deploys ``example_project`` three times, and writes ``terminal-*.svg`` and
``report-*.png`` beside this file. It is no part of ``make docs``: run it when what is shown changes.
"""

from __future__ import annotations

import io
import os
import re
import select
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyte
from browser import SCHEMES, find_browser, photograph
from rich.console import Console
from rich.style import Style
from rich.text import Text

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.hosts import base  # noqa: E402
from tests.hosts.bookshop import Bookshop  # noqa: E402
from tests.hosts.index import Index  # noqa: E402
from tests.hosts.keyboard import Keyboard  # noqa: E402
from tests.hosts.laptop import Laptop  # noqa: E402
from tests.hosts.machines import Machine, boot  # noqa: E402
from tests.hosts.network import Network  # noqa: E402

COLUMNS, ROWS = 100, 40

NAMES = ("web1", "web2", "web3")

#: What the machine is called from which anna deploys: no picture tells what yours is.
HERE_CALLED = "laptop"

#: What the hosts are called, and where they are.
ALIAS = """\
Host {name}
    HostName {address}
    HostKeyAlias {address}
"""

#: The fonts of a page's reader: a picture fetches nothing.
FONT_FACES = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


def main() -> None:
    if socket.gethostname() != HERE_CALLED:
        rename = f'hostname {HERE_CALLED} && exec "$@"'
        os.execvp("unshare", ["unshare", "--uts", "sh", "-c", rename, "sh", sys.executable, *sys.argv])
    os.environ["LOGNAME"] = "anna"
    browser = find_browser()
    with ExitStack() as stack:
        bookshop = open_bookshop(stack)
        bookshop.deployed()
        bookshop.new_edition()
        bookshop.append("bookshop/settings.py", "SESSION_COOKIE_AGE = 60\n")
        picture("plan", bookshop, "deploy", "--plan")
        picture("live", bookshop, "deploy", "--yes", wanted=is_at_work)
        picture("status", bookshop, "deploy_status")
        report = bookshop.folder.with_name("report.html")
        bookshop.new_edition()
        bookshop.deployed("--report", str(report))
        for scheme in SCHEMES:
            photograph(browser, report.as_uri(), f"report-{scheme}", scheme, 1100)
        bookshop.target["HOSTS"] = bookshop.target["HOSTS"][:1]
        picture("doctor", bookshop, "deploy_doctor")


def open_bookshop(stack: ExitStack) -> Bookshop:
    disk, network = base.build(), stack.enter_context(Network())
    index = stack.enter_context(Index(network.gateway))
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pictures-")))
    laptop = Laptop(folder / "home")
    machines = [Machine(disk, network, laptop) for _ in NAMES]
    for machine in machines:
        stack.callback(machine.destroy)
    boot(machines)
    addresses = [ALIAS.format(name=name, address=m.address) for name, m in zip(NAMES, machines, strict=True)]
    settings = laptop.config.read_text().replace("Host 10.77", f"Host {' '.join(NAMES)} 10.77", 1)
    laptop.config.write_text("".join(addresses) + settings)
    bookshop = Bookshop(folder, laptop, index)
    steps = ["collectstatic", {"COMMAND": "migrate", "ON": "each"}]  # each has a database of its own
    bookshop.aim(machines, [f"deploy@{name}" for name in NAMES], BATCH=1, STEPS=steps)
    return bookshop


def is_at_work(lines: list[str]) -> bool:
    """A moment in the middle: the first host has the release, the others get it one after the other."""
    return any(re.match(r" \S activate ", line) for line in lines)


def picture(
    name: str, bookshop: Bookshop, *command: str, wanted: Callable[[list[str]], bool] | None = None
) -> None:
    """Run the command; keep the last screen, or the first that is ``wanted``."""
    shown = None
    with Watched(bookshop, *command) as terminal:
        for screen in terminal.screens():
            if wanted is None or (shown is None and wanted(screen.display)):
                shown = drawn(screen)
    assert shown is not None, f"{name}: no such moment"
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ python manage.py {' '.join((command[0], 'staging', *command[1:]))}", style="bold"))
    console.print(shown, end="")
    svg = console.export_svg(title="")
    (HERE / f"terminal-{name}.svg").write_text(FONT_FACES.sub("", svg))


class Watched(Keyboard):
    """A command at a terminal whose screen is drawn."""

    def __init__(self, bookshop: Bookshop, command: str, *words: str) -> None:
        super().__init__(*bookshop.command(command, *words))
        self.resize(COLUMNS, ROWS)

    def screens(self) -> Iterator[pyte.Screen]:
        """The screen each time that something was written, until the command ends."""
        screen = pyte.Screen(COLUMNS, ROWS)
        stream = pyte.ByteStream(screen)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if not select.select([self._screen], [], [], 0.2)[0]:
                continue
            try:
                stream.feed(os.read(self._screen, 65536))
            except OSError:  # the terminal is closed, by the command's end
                return
            yield screen


def drawn(screen: pyte.Screen) -> Text:
    """The screen as rich's text, without the empty lines at its end."""
    rows = [row_of(screen, number) for number in range(screen.lines)]
    while rows and not rows[-1].plain:
        rows.pop()
    return Text("\n").join([*rows, Text()])


def row_of(screen: pyte.Screen, number: int) -> Text:
    row = Text()
    for column in range(screen.columns):
        cell = screen.buffer[number][column]
        style = Style(color=colour(cell.fg), bgcolor=colour(cell.bg), bold=cell.bold, reverse=cell.reverse)
        row.append(cell.data, style)
    row.rstrip()
    return row


def colour(name: str) -> str | None:
    """pyte's name for a colour in rich's words."""
    if name == "default":
        return None
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    bright, plain = name.startswith("bright"), name.removeprefix("bright")
    plain = {"brown": "yellow"}.get(plain, plain)
    return f"bright_{plain}" if bright else plain


if __name__ == "__main__":
    main()
