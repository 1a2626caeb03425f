"""Values that mean something to shells, terminals and process managers; secrets, which nobody sees."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from .bookshop import WEB
from .inspection import at_rest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .bookshop import Bookshop
    from .deployer import Result
    from .machines import Machine

#: Writes down what it is given, prints what hurts terminals, and stays if it is a process.
TELL = r"""
import json, os, pathlib, sys, time
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("name")
        parser.add_argument("words", nargs="*")

    def handle(self, *, name, words, **options):
        told = {
            "words": [os.fsencode(word).decode("latin-1") for word in words],
            "environment": {os.fsdecode(n): v.decode("latin-1") for n, v in os.environb.items()},
        }
        place = pathlib.Path(os.environ["DJANGO_DEPLOY_SHARED"])
        (place / "part").write_text(json.dumps(told))
        (place / "part").rename(place / f"{name}.json")
        sys.stdout.buffer.write(b"\x1b]0;owned\x07\x1b[2J \xff\xfe\x9b1m \xe2\x80\xae done\n")
        sys.stdout.buffer.write(b"x" * 5_000_000 + b"\n")
        sys.stdout.flush()
        while name == "worker":
            time.sleep(60)
"""

WORDS = [
    *("a b", "", "$HOME", "${HOME}", "`id`", "$(id)", "%n", "%%", "%(ENV_HOME)s", "'", '"', "\\", "#x", ";"),
    *("|", "&&", "*", "~", "{}", "{0}", "\u00fc", "\udcff\udcfe", "\u202e", "x" * 100_000),
]
ENVIRONMENT = {
    "HOSTILE_PERCENT": "%n %% %(ENV_HOME)s",
    "HOSTILE_LINES": "one\ntwo\n\n",
    "HOSTILE_SHELL": "$HOME ${HOME} $(id) `id`; reboot | cat && x",
    "HOSTILE_QUOTES": "'\"\\ \\n",
    "HOSTILE_BYTES": "\udcff\udcfe",
    "HOSTILE_TERMINAL": "\x1b]0;owned\x07\x1b[2J\x9b1m\u202e",
    "HOSTILE_SPACE": "  around  ",
    "HOSTILE_EMPTY": "",
    "HOSTILE_LENGTH": "x" * 100_000,
}


def in_latin_1(text: str) -> str:
    """Its bytes on the host, as the command above writes them down."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def told(host: Machine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.run("cat", f"{host.root}/shared/{name}.json").stdout)
    return found


def assert_harmless(result: Result) -> None:
    """Nothing of it does anything to a terminal but show itself; no line is long."""
    for text in (result.out, result.err):
        lines = text.replace("\t", " ").split("\n")
        assert [line for line in lines if not line.isprintable()] == []
        assert max(map(len, lines)) < 25_000


@pytest.mark.parametrize("manager", ["systemd", "supervisor"])
def test_values_that_mean_something_to_others(machine: Machine, bookshop: Bookshop, manager: str) -> None:
    bookshop.write("catalogue/management/commands/tell.py", TELL)
    file = "a '\"$(id)`%n#\u00fc;.txt"
    bookshop.write(f"catalogue/static/catalogue/{file}", "text")
    bookshop.aim(
        [machine],
        PROCESS_MANAGER=manager,
        PROCESSES={"web": WEB, "worker": ["python", "manage.py", "tell", "worker", "--", *WORDS]},
        STEPS=[
            "migrate",
            "collectstatic",
            {"COMMAND": ["tell", "step", "--", *WORDS]},
            {"COMMAND": ["tell", "alone", "--", *WORDS], "ISOLATED": True},
        ],
    )
    bookshop.target["ENV"] |= ENVIRONMENT

    results = [bookshop.deploy("-v", "2"), bookshop.run("deploy_status"), bookshop.deploy("--json")]

    for result in results:
        assert result.status == 0, result
        assert_harmless(result)
    for name in ("step", "alone", "worker"):
        found = told(machine, name)
        assert found["words"] == list(map(in_latin_1, WORDS)), name
        assert {name: found["environment"].get(name) for name in ENVIRONMENT} == {
            name: in_latin_1(value) for name, value in ENVIRONMENT.items()
        }
    collected = machine.run("ls", f"{machine.root}/current/static/catalogue").stdout
    assert file in collected.split("\n")
    assert "owned" not in results[0].out.replace("]0;owned", "")


def test_a_record_with_escapes(host: Machine, bookshop: Bookshop) -> None:
    """``release.json`` says what somebody else wants us to read."""
    live = at_rest(host)
    path = f"{host.root}/releases/{live}/release.json"
    record = json.loads(host.read(path))
    revision = {"vcs": "git\x1b[2J", "id": "3f9c2a1\x1b[31m", "branch": "main\u202e\x9b2J\n", "dirty": False}
    escapes = {"created_by": "\x1b]0;owned\x07eve", "revision": revision}
    try:
        host.put(path, json.dumps({**record, **escapes}), mode="600")
        status = bookshop.run("deploy_status")
        host.put(path, json.dumps({**record, "created": "today"}), mode="600")
        damaged = bookshop.run("deploy_status")
    finally:
        host.put(path, json.dumps(record), mode="600")

    assert status.status == 0, status
    assert_harmless(status)
    assert "bookshop 1.0, git 3f9c2a1 (main ), by eve" in status.out
    # What is damaged is unknown; it stays to be seen that the release is there.
    assert f"  live        {live}, of unknown age" in damaged.out


def test_names_of_the_deployer_and_of_the_branch(host: Machine, bookshop: Bookshop) -> None:
    """Whoever may choose them can write anything but their own text into no terminal and no shell."""
    branch = "red$(touch${IFS}x)'\";`id`%n\u202e"
    for words in (["init", "-q", "-b", branch], ["add", "."], ["commit", "-q", "-m", "first"]):
        git = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
        subprocess.run([*git, *words], cwd=bookshop.folder, check=True)
    name = "eve\x1b]0;owned\x07\n$(touch x) [bold]'\"\x9b2J"

    with bookshop.start("deploy", "--yes", "-v", "2", LOGNAME=name) as deployer:
        deployed = deployer.end()
    shown = [bookshop.run("deploy_status"), bookshop.run("deploy_history"), bookshop.deploy("--json")]

    for result in (deployed, *shown):
        assert result.status == 0, result
        assert_harmless(result)
    status = " ".join(shown[0].out.split())
    assert "(red$(touch${IFS}x)'\";`id`%n" in status
    assert "by eve $(touch x) [bold]'\"@" in status


#: Prints which of the marks of its first line are in anything that its user may read of processes, until its
#: input ends; as the user nobody.
WATCH = """
import json, os, pathlib, select, sys
if not os.getuid():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
marks, seen = json.loads(sys.stdin.readline()), {}
print("watching", flush=True)
while not select.select([0], [], [], 0.01)[0]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ", "comm", "status", "stat"):
            try:
                words = pathlib.Path("/proc", pid, name).read_bytes()
            except OSError:
                continue
            for mark in marks:
                if mark.encode() in words:
                    seen[mark] = repr(words)[:500]
print(json.dumps(seen))
"""

#: In no mark may anything stand that an address or a header has to write otherwise. They are this test's own:
#: what others print stays in the journal of the host.
MARKS = {
    "SECRET": "m4rk-of-the-secret-key",
    "ENV": "m4rk-of-the-environment",
    "INDEX_URL": "m4rk-of-the-index",
    "HEADERS": "m4rk-of-the-header",
}

#: Files of a host that have a secret: the site's environment, whole and by origin, and what a rollback asks.
SECRET_FILES = {
    "ENV": {"environment.json", "environment.settings.json"},
    "SECRET": {"environment.json", "environment.settings.json"},
    "HEADERS": {"release.json"},
    "INDEX_URL": set(),
}


def test_secrets_stay_secret(host: Machine, bookshop: Bookshop) -> None:
    address = urlsplit(bookshop.index.url)
    bookshop.target["INDEX_URL"] = (
        f"{address.scheme}://ann:{MARKS['INDEX_URL']}@{address.netloc}{address.path}"
    )
    bookshop.target["ENV"] |= {"BOOKSHOP_TOKEN": MARKS["ENV"], "BOOKSHOP_SECRET_KEY": MARKS["SECRET"]}
    bookshop.target["HEALTH_CHECK"] = {"PATH": "/healthz/", "HEADERS": {"X-Token": MARKS["HEADERS"]}}
    marks = list(MARKS.values())

    with watching(there(host), marks) as seen_there, watching(HERE, marks) as seen_here:
        bookshop.new_edition()
        results = [bookshop.deploy("-v", "2")]
        bookshop.new_edition()
        results.append(bookshop.deploy("--json"))
        results.append(bookshop.run("deploy_status", "--json"))
        bookshop.append("bookshop/wsgi.py", "import os\nraise RuntimeError(dict(os.environ))\n")
        failed = bookshop.deploy("-v", "2")

    assert [result.status for result in results] == [0, 0, 0], results
    assert failed.status == 1 and "RuntimeError" in failed.err, failed
    for result in [*results, failed]:
        assert [mark for mark in marks if mark in result.out + result.err] == [], result
    assert (seen_there, seen_here) == ([{}], [{}])
    assert_kept(host, MARKS)
    assert_nowhere_here(bookshop, marks)


def assert_nowhere_here(bookshop: Bookshop, marks: Sequence[str]) -> None:
    """What a deployer writes to its own disk, caches above all, has none; the settings have, of course."""
    places = (bookshop.laptop.home, *(path for path in bookshop.folder.parent.iterdir() if path.is_dir()))
    for mark in marks:
        found = subprocess.run(["grep", "-rlsF", mark, *places], capture_output=True, text=True).stdout
        assert found == "", mark


def assert_kept(host: Machine, marks: dict[str, str]) -> None:
    """Files of the host with a mark are those that may have it, and private; the journal has none."""
    places = ("/srv", "/home", "/root", "/etc", "/tmp", "/var", "/run", "/dev/shm")
    for name, mark in marks.items():
        files = host.run("grep", "-rlsF", mark, *places, user="root", check=False).stdout.split()
        assert {path.rpartition("/")[2] for path in files} == SECRET_FILES[name], files
        modes = host.run("stat", "--format=%a", *files, user="root").stdout.split() if files else []
        assert set(modes) <= {"600"}, dict(zip(files, modes, strict=True))
        journal = host.run("journalctl", "--no-pager", "--output=json", "--since=-1h", user="root").stdout
        assert mark not in journal


def there(host: Machine) -> list[str]:
    return host.command("python3", "-c", WATCH, user="root")


#: On the machine of who deploys.
HERE = [sys.executable, "-c", WATCH]


@contextmanager
def watching(command: Sequence[str], marks: list[str]) -> Iterator[list[dict[str, str]]]:
    """While in it, a machine's processes are watched; then the list holds what was seen."""
    found: list[dict[str, str]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdin and watch.stdout
        watch.stdin.write(f"{json.dumps(marks)}\n")
        watch.stdin.flush()
        assert watch.stdout.readline() == "watching\n"
        yield found
        watch.stdin.close()
        found.append(json.loads(watch.stdout.read()))
