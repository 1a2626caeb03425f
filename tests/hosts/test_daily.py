"""The chores of every day, on a host that serves the bookshop."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

from .inspection import assert_serves, live, visit, visit_when_up
from .visitor import Visitor

if TYPE_CHECKING:
    from pathlib import Path

    from .bookshop import Bookshop
    from .machines import Machine


# deploy_run


def test_command_of_the_site(host: Machine, bookshop: Bookshop) -> None:
    code = 'import os, sys; print("a  b; $HOME `id`", os.getcwd()); print("oh", file=sys.stderr); sys.exit(7)'

    result = bookshop.run("deploy_run", "--", "shell", "--no-imports", "-c", code)

    assert result.status == 7, result
    assert result.out == f"a  b; $HOME `id` {host.root}/releases/{live(host)}\n"
    assert result.err == "oh\n"


def test_database_whose_own_program_is_missing(host: Machine, bookshop: Bookshop) -> None:
    """A minimal Debian has no sqlite3."""
    hint = f"On deploy@{host.address}, as root (Debian and Ubuntu): apt-get install sqlite3"

    result = bookshop.run("deploy_run", "--", "dbshell")
    with bookshop.sit_at("deploy_run", "--", "dbshell") as keyboard:
        keyboard.read_until(hint)
        assert keyboard.end() == 1

    assert result.status == 1, result
    message = "You appear not to have the 'sqlite3' program installed or on your path."
    assert result.err == f"CommandError: {message}\n{hint}\n"


def test_shell_at_a_terminal(host: Machine, bookshop: Bookshop) -> None:
    with bookshop.sit_at("deploy_run", "--", "shell", "--no-imports", "-i", "python") as keyboard:
        assert f"staging, deploy@{host.address}:" in keyboard.read_until(">>> ")
        keyboard.type("import os, time; os.get_terminal_size()\r")
        keyboard.read_until("columns=80, lines=24")
        keyboard.read_until(">>> ")
        keyboard.resize(101, 33)
        wait = "while os.get_terminal_size().columns != 101: time.sleep(0.1)"
        keyboard.type(f"{wait}\r\r")
        keyboard.read_until(">>> ")
        keyboard.type("time.sleep(600)\r")
        keyboard.read_until("sleep(600)")
        time.sleep(0.5)
        keyboard.type("\x03")
        keyboard.read_until("KeyboardInterrupt")
        keyboard.type("raise SystemExit(os.get_terminal_size().lines)\r")
        assert keyboard.end() == 33


def test_a_terminal_is_as_before_after_sigterm(host: Machine, bookshop: Bookshop) -> None:
    with bookshop.sit_at("deploy_run", "--", "shell", "--no-imports", "-i", "python") as keyboard:
        keyboard.read_until(">>> ")
        assert not keyboard.echoes
        keyboard.terminate()

        assert keyboard.end() == 130
        assert keyboard.echoes


def test_superuser_at_a_terminal(host: Machine, bookshop: Bookshop) -> None:
    with bookshop.sit_at("deploy_run", "--", "createsuperuser") as keyboard:
        keyboard.read_until("Username")
        keyboard.type("emma\r")
        keyboard.read_until("Email")
        keyboard.type("emma@example.com\r")
        for _ in range(2):
            keyboard.read_until("Password")
            keyboard.type("harriet-smith-1815\r")
        assert "harriet" not in keyboard.read_until("created successfully")
        assert keyboard.end() == 0


def test_interrupted_command(host: Machine, bookshop: Bookshop) -> None:
    with bookshop.start("deploy_run", "--", "wait_for", "nothing") as command:
        command.wait_for_line("waiting for ")
        command.interrupt()
        result = command.end()

    assert "KeyboardInterrupt" in result.err, result
    assert result.status != 0
    assert host.run("pgrep", "--full", "wait_for nothing", check=False).stdout == ""


def test_command_on_several_hosts(pair: list[Machine], bookshop: Bookshop) -> None:
    first, second = (f"deploy@{machine.address}" for machine in pair)
    code = 'import socket, sys; print(socket.gethostname()); sys.exit(3 * ("%s" in socket.gethostname()))'
    words = ("shell", "--no-imports", "-c", code % pair[1].name)

    result = bookshop.run("deploy_run", "--all", "--", *words)
    only = bookshop.run("deploy_run", "--hosts", pair[1].address, "--", *words)

    lines = [f"{first}  {pair[0].name}", f"{second}  {pair[1].name}"]
    assert sorted(result.out.splitlines()) == lines, result
    assert (result.status, result.err) == (3, f"Failed on 1 of 2 hosts: {second} (3).\n")
    assert (only.status, only.out) == (3, f"{pair[1].name}\n")


def test_host_that_cannot_be_reached(host: Machine, bookshop: Bookshop) -> None:
    bookshop.target["HOSTS"] = [f"deploy@{host.address}:23"]

    result = bookshop.run("deploy_run", "--", "check")

    assert result.status == 255
    assert f"{host.address}:23 refused the connection" in result.err


# deploy_logs


def test_logs_across_a_deployment(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    with bookshop.start("deploy_logs", "--follow", "web", "--json", "--lines", "5") as logs:
        logs.wait_for("log.line", process="web", release=old)
        bookshop.new_edition()
        new = bookshop.deployed()
        logs.wait_for("log.line", process="web", release=new)
        logs.wait_for_line("Shutting down: Master")
        logs.interrupt()
        result = logs.end()

    assert (result.status, result.err) == (0, "")
    assert {event["process"] for event in result.events} == {"web"}


def test_lines_are_printable_and_hide_secrets(host: Machine, bookshop: Bookshop) -> None:
    code = f"print('\\033[31mred\\033[0m {bookshop.secret}', flush=True)"
    bookshop.target["PROCESSES"]["worker"] = [
        *("python", "-c"),
        f"import time; {code}; time.sleep(600)",
    ]
    bookshop.deployed()

    result = bookshop.run("deploy_logs", "worker", "--since", "1h")
    none = bookshop.run("deploy_logs", "printer")
    bookshop.aim([host])
    release = bookshop.deployed()

    assert result.status == 0, result
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d worker  red \*\*\*\*$", result.out, re.MULTILINE)
    assert none.status == 1
    assert "has no process printer\n" in none.err and "There is: web, worker.\n" in none.err
    assert_serves(host, release)


def test_logs_of_several_hosts_are_merged(pair: list[Machine], bookshop: Bookshop) -> None:
    for machine in (*pair, *pair):
        visit(machine)
    events = [json.loads(line) for line in bookshop.run("deploy_logs", "--json").out.splitlines()]

    assert {event["host"] for event in events} == {f"deploy@{machine.address}" for machine in pair}
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)


# deploy_restart


def test_restart_loses_no_request(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)

    with Visitor(f"http://{host.address}/", connections=2, pause=0.05) as visitor:
        result = bookshop.run("deploy_restart", "--json")
        page = visit(host)

    assert result.status == 0, result
    assert page.release == result.release > old
    assert visitor.answers
    assert visitor.lost == []
    assert_serves(host, result.release)


def test_restart_of_a_worker(host: Machine, bookshop: Bookshop) -> None:
    release, before = live(host), pids(host)

    result = bookshop.run("deploy_restart", "worker")

    assert result.status == 0, result
    assert_serves(host, release)
    assert {name for name, pid in pids(host).items() if pid != before[name]} == {"worker"}


def pids(host: Machine) -> dict[str, str]:
    lines = host.systemctl("show", "--property", "Id,MainPID", f"*@{live(host)}.service").stdout
    found = dict(re.findall(r"MainPID=(\d+)\nId=\S+-(\w+)@", lines))
    return {name: pid for pid, name in found.items()}


# deploy_env, deploy_history


def test_variable_that_is_typed(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    with bookshop.sit_at("deploy_env", "--set", "BOOKSHOP_COLOUR") as keyboard:
        for question in ("Value of BOOKSHOP_COLOUR: ", "Once more: "):
            keyboard.read_until(question)
            keyboard.type("deep-secret-green\r")
        assert "green" not in keyboard.read_until("is live: environment changed")
        assert keyboard.end() == 0
    names = bookshop.run("deploy_env").out
    shown = bookshop.run("deploy_run", "--", "shell", "--no-imports", "-c", PRINT_COLOUR).out
    files = host.run("ls", "-l", f"{host.root}/.deploy/environment.json").stdout

    result = bookshop.run("deploy_rollback", "--json")
    history = json.loads(bookshop.run("deploy_history", "--json", "--lines", "2").out.splitlines()[1])

    assert "BOOKSHOP_COLOUR         set on the hosts\n" in names
    assert shown == "deep-secret-green\n"
    assert files.startswith("-rw-------")
    assert result.release == old
    assert (history["action"], history["previous"], history["project"]) == ("environment", old, "bookshop")
    assert bookshop.run("deploy_run", "--", "shell", "--no-imports", "-c", PRINT_COLOUR).out == "None\n"
    assert_serves(host, old)


PRINT_COLOUR = "import os; print(os.environ.get('BOOKSHOP_COLOUR'))"


# deploy_maintenance, deploy_status --watch


def test_maintenance_page(host: Machine, bookshop: Bookshop) -> None:
    with Visitor(f"http://{host.address}/", connections=2, pause=0.05) as visitor:
        result = bookshop.run("deploy_maintenance", "on", "--message", "Back <soon>")
        page = host.run("curl", "--silent", "--include", f"http://{host.address}/").stdout
        release = bookshop.run("deploy_restart", "--json").release
        behind = visit(host).status
        status = json.loads(bookshop.run("deploy_status", "--json").out)
        off = bookshop.run("deploy_maintenance", "off")

    assert (result.status, off.status) == (0, 0), (result, off)
    assert page.startswith("HTTP/1.1 503 ")
    assert "\nRetry-After: 300\n" in page and "<p>Back &lt;soon&gt;</p>" in page
    assert behind == 503
    assert status["maintenance"]["message"] == "Back <soon>"
    assert {answer.status for answer in visitor.answers} == {200, 503}
    assert_serves(host, release)


def test_maintenance_page_after_a_loss_of_power(host: Machine, bookshop: Bookshop) -> None:
    assert bookshop.run("deploy_maintenance", "on").status == 0
    release = live(host)

    host.crash()
    host.boot()
    deadline = time.monotonic() + 30
    while (status := visit(host).status) != 503 and time.monotonic() < deadline:
        time.sleep(0.2)
    off = bookshop.run("deploy_maintenance", "off")

    assert (status, off.status) == (503, 0), off
    assert visit_when_up(host).release == release
    assert_serves(host, release)


def test_status_that_is_watched(host: Machine, bookshop: Bookshop) -> None:
    with bookshop.sit_at("deploy_status", "--watch", "1") as keyboard:
        keyboard.read_until("All is well.")
        keyboard.read_until(live(host))
        keyboard.read_until("All is well.")
        keyboard.type("\x03")
        assert keyboard.end() == 0


# deploy_fetch

#: Makes the site's database large, and small again.
SWELL = """\
import os
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE large (content BLOB)")
    cursor.executemany("INSERT INTO large VALUES (%s)", [(os.urandom(1 << 20),)] * 200)
"""
SHRINK = """\
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("DROP TABLE IF EXISTS large")
    cursor.execute("VACUUM")
"""

PRIVACY = """\
import time
from catalogue.models import Book

def blur(using):
    Book.objects.update(title="A book")

def dawdle(using):
    Book.objects.all().delete()
    time.sleep(60)
"""


def titles(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as connection:
        return {row[0] for row in connection.execute("SELECT title FROM catalogue_book")}


def left_of_copies(host: Machine) -> list[str]:
    return host.run("ls", "--almost-all", f"{host.root}/shared/backups/copies").stdout.split()


def test_database_is_fetched_over_a_link_that_breaks(host: Machine, bookshop: Bookshop) -> None:
    bookshop.run("deploy_run", "--", "shell", "--no-imports", "-c", SWELL)
    file, part = bookshop.folder / "shop.dump", bookshop.folder / "shop.dump.part"
    try:
        with bookshop.start("deploy_fetch", "database", "-o", "shop.dump", "--json") as fetch:
            fetch.wait_for("fetch.progress")
            while part.stat().st_size < 2_000_000 and fetch.is_running:
                time.sleep(0.01)
            host.cut()
            lost = fetch.end()
    finally:
        host.restore()
    begun = part.stat().st_size
    result = bookshop.run("deploy_fetch", "database", "-o", "shop.dump", "--json")
    bookshop.run("deploy_run", "--", "shell", "--no-imports", "-c", SHRINK)

    assert lost.status == 1, lost
    assert lost.err.endswith("\nRun the command again: it resumes where it stopped.\n"), lost
    finished = result.one("fetch.finished")
    assert 0 < begun < finished["bytes"]
    assert finished["sent"] == finished["bytes"] - begun
    assert result.all("copy.started") == []
    assert (file.stat().st_mode & 0o777, part.exists()) == (0o600, False)
    assert "Emma" in titles(file)
    assert left_of_copies(host) == [".lock"]


def test_database_is_anonymized_on_its_host(host: Machine, bookshop: Bookshop) -> None:
    bookshop.write("catalogue/privacy.py", PRIVACY)
    bookshop.deployed()
    with bookshop.start(
        "deploy_fetch", "database", "--anonymize", "catalogue.privacy.dawdle", "--json"
    ) as fetch:
        fetch.wait_for("anonymize.started")
        time.sleep(1)
        fetch.interrupt()
        interrupted = fetch.end()
    deadline = time.monotonic() + 20
    while left_of_copies(host) != [".lock"] and time.monotonic() < deadline:
        time.sleep(0.2)
    after = left_of_copies(host)

    result = bookshop.run("deploy_fetch", "database", "--anonymize", "catalogue.privacy.blur")

    assert (interrupted.status, interrupted.err) == (130, "CommandError: Interrupted.\n")
    assert after == left_of_copies(host) == [".lock"]
    assert host.run("pgrep", "--full", "deploy_steps", check=False).stdout == ""
    assert (result.status, result.err) == (0, ""), result
    assert titles(bookshop.folder / "staging-default-anonymized.sqlite3") == {"A book"}
    code = "from catalogue.models import Book; print(Book.objects.filter(title='Emma').exists())"
    assert bookshop.run("deploy_run", "--", "shell", "--no-imports", "-c", code).out == "True\n"


def test_media_files_are_fetched(host: Machine, bookshop: Bookshop) -> None:
    media, folder = f"{host.root}/shared/media", bookshop.folder / "fetched"
    host.run("mkdir", "--parents", f"{media}/covers")
    host.run("sh", "-c", f"for n in $(seq 300); do echo $n > {media}/covers/$n; done")
    host.run("ln", "--symbolic", "/etc/passwd", f"{media}/secret")

    first = bookshop.run("deploy_fetch", "media", "--to", "fetched", "--json")
    host.run("sh", "-c", f"rm {media}/covers/1; echo two > {media}/covers/2")
    second = bookshop.run("deploy_fetch", "media", "--to", "fetched", "--delete")
    host.run("rm", "--recursive", f"{media}/covers", f"{media}/secret")

    assert first.one("fetch.finished")["sent"] == sum(len(f"{number}\n") for number in range(1, 301)), first
    assert [event["message"] for event in first.all("warning")] == [
        "Left out, as they are no files, but links: secret."
    ]
    assert second.out.endswith("Files: 1 fetched, 298 the same already, 1 deleted.\n"), second
    assert (folder / "covers/2").read_text() == "two\n"
    assert len(list(folder.rglob("*"))) == 300
