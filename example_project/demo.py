"""``make demo`` and ``make demo-stop``: the bookshop deployed to a folder of this machine.

``demo.py start`` works on a copy of this project, in one folder (BOOKSHOP_DEMO_FOLDER; by default
``bookshop-UID`` among the temporary files), so that nothing changes here:

    bookshop/   the copy, whose mark is changed for the second deployment
    venv/       where the copy and django-deploy are installed with ``pip install -e``
    site/       the ROOT that is deployed to
    door        process id and port of the front door

The standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import front_door

EXAMPLE = Path(__file__).resolve().parent
CHECKOUT = EXAMPLE.parent

#: What is not the project's source; metadata of the copy's own installation stays with the copy.
NO_SOURCE = shutil.ignore_patterns("var", "build", "dist", "*.egg-info", "__pycache__", ".*cache")

#: Room that the path of a Unix socket leaves, in bytes, on the narrowest system (macOS).
SOCKET_PATH_LIMIT = 103

#: Settings of other projects and environments that must not reach this one.
FOREIGN = re.compile(r"DJANGO_.*|BOOKSHOP_.*|PYTHONPATH|PYTHONHOME|VIRTUAL_ENV|UV_.*ENVIRONMENT")

MARKS = ("first edition", "second edition")


class DemoError(Exception):
    """What the person at the keyboard has to know; no traceback."""


class Demo:
    """The paths of one demo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "bookshop"
        self.venv = folder / "venv"
        self.python = self.venv / "bin" / "python"
        self.root = folder / "site"
        self.socket = self.root / "run" / "web.sock"
        self.supervisor = self.root / ".deploy" / "supervisor" / "supervisor.sock"
        self.door = folder / "door"

    def create(self) -> None:
        """Make the folder, for this user only: others can write among the temporary files, too."""
        longest = self.root / "run" / "web.20261122T174500Z-3f9c2a1.sock"
        if len(os.fsencode(longest)) > SOCKET_PATH_LIMIT:
            raise DemoError(
                f"{self.folder} is too long for Unix sockets. Set BOOKSHOP_DEMO_FOLDER to a short path."
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.folder.lstat()
        if self.folder.is_symlink() or status.st_uid != os.getuid():
            raise DemoError(f"{self.folder} is not yours. Set BOOKSHOP_DEMO_FOLDER to another.")
        self.folder.chmod(0o700)

    def secret_key(self) -> str:
        """The site's secret key, made once."""
        path = self.folder / "secret-key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(50))
        return path.read_text()

    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
        return {
            **own,
            "BOOKSHOP_DEMO_ROOT": str(self.root),
            "BOOKSHOP_SECRET_KEY": self.secret_key(),
        }


def start(demo: Demo, port: int) -> None:
    """Deploy, look, change one line, deploy again, look again."""
    demo.create()
    say(f"A copy of the bookshop, installed with pip install -e, in {demo.folder}")
    copy_project(demo)
    install(demo)
    first = deploy(demo)
    address = open_door(demo, port)
    show(address)
    say(f"One line changes: MARK = {MARKS[1]!r}")
    write_mark(demo, MARKS[1])
    second = deploy(demo)
    show(address)
    print(f"\nThe first deployment took {first:.1f} s, the second {second:.1f} s.")
    print(f"The bookshop is open at {address}")
    print("Close it with: make demo-stop")


def stop(demo: Demo) -> None:
    """Close the front door, then the site; what they wrote stays."""
    door = front_door.find(demo.door)
    if door:
        os.kill(door.pid, signal.SIGTERM)
        wait_until(lambda: front_door.find(demo.door) is None, "the front door", seconds=10)
        print(f"The front door on port {door.port} is closed.")
    else:
        print("No front door was open.")
    if shut_down_supervisor(demo.supervisor):
        print("The site's processes and their supervisord have stopped.")
    else:
        print("No site was running.")
    if demo.folder.exists():
        print(f"Its files are still in {demo.folder}")


def copy_project(demo: Demo) -> None:
    """The project as it is now; the copy keeps the metadata of its installation."""
    demo.project.mkdir(exist_ok=True)
    for path in demo.project.iterdir():
        if path.suffix != ".egg-info":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(EXAMPLE, demo.project, ignore=NO_SOURCE, dirs_exist_ok=True)
    write_mark(demo, MARKS[0])


def write_mark(demo: Demo, mark: str) -> None:
    path = demo.project / "catalogue" / "mark.py"
    text, count = re.subn(r"^MARK = .*$", f'MARK = "{mark}"', path.read_text(), flags=re.MULTILINE)
    if count != 1:
        raise DemoError(f"{path} has no line that begins with MARK =.")
    path.write_text(text)


def install(demo: Demo) -> None:
    """Once, and again when the interpreter or what the projects say of themselves has changed."""
    projects = (CHECKOUT, demo.project / "reviews", demo.project)
    wanted = "\n".join(
        [sys.version, str(CHECKOUT), *((project / "pyproject.toml").read_text() for project in projects)]
    )
    stamp = demo.folder / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    stamp.unlink(missing_ok=True)
    shutil.rmtree(demo.venv, ignore_errors=True)
    editables = [word for project in projects for word in ("-e", str(project))]
    for command in installation_commands(demo, editables):
        run(demo, command)
    stamp.write_text(wanted)


def installation_commands(demo: Demo, packages: list[str]) -> list[list[str]]:
    """By uv where it is at hand, else by pip, which takes longer."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv:
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, str(demo.venv)],
            [uv, "pip", "install", "--quiet", "--python", str(demo.python), *packages],
        ]
    pip = [str(demo.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [[sys.executable, "-m", "venv", str(demo.venv)], [*pip, *packages]]


def deploy(demo: Demo) -> float:
    """The real command; answers its seconds."""
    say("python manage.py deploy demo --yes")
    started = time.monotonic()
    run(demo, [str(demo.python), "manage.py", "deploy", "demo", "--yes"])
    return time.monotonic() - started


def run(demo: Demo, command: list[str]) -> None:
    status = subprocess.call(command, cwd=demo.project, env=demo.environment())
    if status:
        raise DemoError(f"{' '.join(command[:4])} ... failed with status {status}.")


def open_door(demo: Demo, port: int) -> str:
    """The site's address; the front door of an earlier run stays."""
    door = front_door.find(demo.door)
    if door is None:
        door = front_door.open_for(demo.socket, demo.door, demo.folder / "door.log", port)
    return f"http://127.0.0.1:{door.port}/"


class Answer(NamedTuple):
    """What a visitor sees."""

    status: int
    mark: str
    release: str
    healthy: bool


def visit(address: str) -> Answer:
    status, page = get(address)
    _, health = get(f"{address}healthz/")
    return Answer(
        status,
        mark=text_of("mark", page),
        release=text_of("release", page),
        healthy=bool(health.startswith("{") and json.loads(health)["ok"]),
    )


def show(address: str) -> None:
    answer = visit(address)
    say(f"GET {address}")
    print(f"status {answer.status}, healthy: {'yes' if answer.healthy else 'no'}")
    print(f"mark:    {answer.mark}")
    print(f"release: {answer.release}")


def get(address: str) -> tuple[int, str]:
    """Status and text. Directly, whatever proxy the environment names."""
    authority, _, path = address.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(authority, timeout=30)
    try:
        connection.request("GET", f"/{path}")
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError as error:
        raise DemoError(f"{address} does not answer: {error}") from None
    finally:
        connection.close()


def text_of(id: str, page: str) -> str:
    found = re.search(rf'id="{id}">([^<]*)<', page)
    return found[1] if found else "(not on the page)"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket; ``host`` is its path."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


class UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        self._connection = host, UnixConnection(str(self._path))  # where close() looks for it
        return self._connection[1]


def shut_down_supervisor(path: Path) -> bool:
    """Ask it to stop its processes and itself, and wait; false when there is none."""
    if not accepts(path):
        return False
    # It may be leaving already, or leave before it has answered; whether it has left is seen below.
    with (
        suppress(OSError, xmlrpc.client.Fault),
        xmlrpc.client.ServerProxy("http://unix", transport=UnixTransport(path)) as server,
    ):
        server.supervisor.shutdown()
    wait_until(lambda: not accepts(path), "the site", seconds=60)
    return True


def accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:  # nobody listens, or the path is too long for anybody to
            return False
        return True


def wait_until(condition, what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DemoError(f"Waited {seconds:g} s for {what}, in vain.")
        time.sleep(0.05)


def say(line: str) -> None:
    print(f"\n--- {line}", flush=True)


@contextmanager
def plain_errors():
    try:
        yield
    except DemoError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def main() -> None:
    parser = argparse.ArgumentParser(description="Deploys the bookshop to a folder of this machine.")
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("--port", type=int, default=8000, help="preferred port; a free one if it is taken")
    arguments = parser.parse_args()
    default = Path(tempfile.gettempdir(), f"bookshop-{os.getuid()}")
    demo = Demo(Path(os.environ.get("BOOKSHOP_DEMO_FOLDER", default)).absolute())
    with plain_errors():
        start(demo, arguments.port) if arguments.action == "start" else stop(demo)


if __name__ == "__main__":
    main()
