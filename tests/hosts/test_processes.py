"""Processes that fall, that do not stop, that are several; and hosts that lose their power."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from .bookshop import WEB, WORKER
from .inspection import assert_consistent, assert_serves, live, look, visit, visit_when_up

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .deployer import Result
    from .machines import Machine

#: Falls when it has loaded for two seconds, as a worker whose settings lack something.
FALLS_LATE = [
    *("python", "-c"),
    "import time; exec('while time.process_time() < 2: pass'); raise SystemExit('no coffee')",
]

#: Knows no SIGTERM, and neither does what it started.
DEAF = 'sh -c \'trap "" TERM; (trap "" TERM; while :; do sleep 1; done) & while :; do sleep 1; done\''


def assert_fell(result: Result, machine: Machine) -> None:
    assert result.status == 1, result
    first, *lines = result.err.splitlines()
    message = "process 'worker' of the new release does not stay up"
    assert first == f"CommandError: deploy@{machine.address}: {message}"
    assert "  | no coffee" in lines, result


def test_worker_that_falls_when_it_has_loaded(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    bookshop.target["PROCESSES"]["worker"] = FALLS_LATE

    result = bookshop.deploy()

    assert_fell(result, host)
    assert_serves(host, old)


def test_worker_that_falls_while_the_next_host_is_activated(pair: list[Machine], bookshop: Bookshop) -> None:
    first, second = pair
    old = live(first)
    wait = 'until test -e "$DJANGO_DEPLOY_SHARED/fall"; do sleep 0.2; done'
    bookshop.target["BATCH"] = 1
    # journald asks a process that has written what unit it is of: it must be there still.
    bookshop.target["PROCESSES"]["worker"] = f"sh -c '{wait}; echo no coffee; sleep 0.5; exit 1'"

    with bookshop.start("deploy", "--json") as deployer:
        deployer.wait_for("process.started", host=f"deploy@{second.address}")
        first.run("touch", f"{first.root}/shared/fall")
        result = deployer.end()

    first.run("rm", f"{first.root}/shared/fall")
    assert_fell(result, first)
    for machine in pair:
        assert_serves(machine, old)


def test_worker_that_does_not_stop(host: Machine, bookshop: Bookshop) -> None:
    bookshop.target["PROCESSES"]["worker"] = {"COMMAND": DEAF, "STOP_TIMEOUT": 1.5}
    old = bookshop.deployed()
    bookshop.target["PROCESSES"]["worker"] = WORKER
    new = bookshop.deployed()
    assert_gone(host, old)

    status = json.loads(bookshop.run("deploy_status", "--json").out)
    bookshop.new_edition()
    result = bookshop.deploy("--json")

    killed = [(p["name"], p["state"]) for p in status["processes"] if p["release"] == old]
    assert killed == [("worker", "killed")]
    assert result.status == 0, result
    warning = f"process 'worker' of {old} did not stop within 1.5 s and was killed: what it was doing is lost"
    assert warning in [event["message"] for event in result.all("warning")]
    assert_serves(host, result.release)
    assert new != result.release
    bookshop.new_edition()
    assert not any("was killed" in event["message"] for event in bookshop.deploy("--json").all("warning"))


def assert_gone(host: Machine, release: str) -> None:
    """Within a moment, nothing of that release runs: not what it started either."""
    deadline = time.monotonic() + 20
    while running := [words for unit, words in look(host)["processes"] if unit and release in unit]:
        assert time.monotonic() < deadline, running
        time.sleep(0.2)


def test_singleton_that_does_not_stop(host: Machine, bookshop: Bookshop) -> None:
    bookshop.target["PROCESSES"]["worker"] = {"COMMAND": DEAF, "STOP_TIMEOUT": 1, "SINGLETON": True}
    old = bookshop.deployed()
    bookshop.new_edition()

    result = bookshop.deploy()
    killed_next = live(host)

    assert result.status == 0, result
    assert (
        f"warning: process 'worker' of {old} did not stop within 1 s and was killed: what it was doing is"
        " lost. Give it a longer STOP_TIMEOUT, or let it stop on SIGTERM.\n"
    ) in result.out
    bookshop.target["PROCESSES"]["worker"] = WORKER
    bookshop.deployed()
    assert_gone(host, killed_next)
    bookshop.new_edition()
    assert_serves(host, bookshop.deployed())  # the one that was killed last is listed no more


def test_undoing_does_not_wait_for_a_worker_that_is_slow_to_stop(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    bookshop.target["PROCESSES"]["worker"] = {"COMMAND": DEAF, "STOP_TIMEOUT": 600}
    bookshop.target["PROCESSES"]["web"] = WEB.replace("bookshop.wsgi", "bookshop.nothing")

    with bookshop.start() as deployer:
        result = deployer.end()
    [unit] = [unit for unit, state in look(host)["units"].items() if state == "deactivating"]
    host.systemctl("kill", "--signal=KILL", unit)

    assert result.status == 1, result
    assert result.err.endswith(f"Nothing changed: the host serves {old}, as before.\n"), result
    assert visit(host).release == old
    bookshop.aim([host])
    bookshop.new_edition()
    assert_serves(host, bookshop.deployed())


#: Notes when it starts and when it stops, and takes a second for that.
DIARY = """\
import os, pathlib, signal, sys, time
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    def handle(self, **options):
        diary = pathlib.Path(os.environ["DJANGO_DEPLOY_SHARED"], "diary")
        def note(word):
            with diary.open("a") as file:
                file.write(f"{word} {os.environ['DJANGO_DEPLOY_RELEASE']}\\n")
        def stop(*_):
            time.sleep(1)
            note("stopped")
            sys.exit()
        signal.signal(signal.SIGTERM, stop)
        note("started")
        while True:
            time.sleep(60)
"""


def diary_of(host: Machine, *, lines: int) -> list[str]:
    """What it says as soon as it has so many lines: the old release is up before Django has written."""
    diary = f"{host.root}/shared/diary"
    waiting = f"until test $(wc -l < {diary}) -ge {lines}; do sleep 0.1; done"
    host.run("timeout", "30", "sh", "-c", waiting, check=False)
    return host.read(diary).splitlines()


def test_two_releases_of_a_singleton_never_run_at_once(host: Machine, bookshop: Bookshop) -> None:
    bookshop.write("catalogue/management/commands/diary.py", DIARY)
    bookshop.target["PROCESSES"]["worker"] = {"COMMAND": "python manage.py diary", "SINGLETON": True}
    old = bookshop.deployed()
    broken = WEB.replace("bookshop.wsgi", "bookshop.nothing")
    bookshop.target["PROCESSES"]["web"] = f"sh -c 'sleep 2; {broken}'"

    result = bookshop.deploy()

    assert result.status == 1, result
    diary = diary_of(host, lines=5)
    assert [line.split()[0] for line in diary] == ["started", "stopped"] * 2 + ["started"]
    assert (diary[0], diary[-1]) == (f"started {old}", f"started {old}")
    assert_serves(host, old)


def test_worker_that_falls_again_and_again_is_never_given_up(host: Machine, bookshop: Bookshop) -> None:
    """A database that comes up a little after its workers must not leave the site without them."""
    command = "sh -c 'while test -e \"$DJANGO_DEPLOY_SHARED/broker\"; do sleep 0.2; done; exit 1'"
    bookshop.target["PROCESSES"]["worker"] = command
    host.run("touch", f"{host.root}/shared/broker")
    release = bookshop.deployed()

    host.run("rm", f"{host.root}/shared/broker")
    time.sleep(10)
    status = json.loads(bookshop.run("deploy_status", "--json").out)
    host.run("touch", f"{host.root}/shared/broker")
    time.sleep(2)

    [worker] = [process for process in status["processes"] if process["name"] == "worker"]
    assert worker["restarts"] > 5, worker
    assert_serves(host, release)


def test_several_instances(host: Machine, bookshop: Bookshop) -> None:
    names = ("web", "web.2", "worker", "worker.2", "worker.3")
    bookshop.target["PROCESSES"] = {
        "web": {"COMMAND": WEB, "INSTANCES": 2},
        "worker": {"COMMAND": f"sh -c 'echo I am {{instance}}; exec {WORKER}'", "INSTANCES": 3},
    }

    result = bookshop.deploy("--json")
    found = look(host, patience=20)
    sockets = sorted(name for name, leads_to in found["sockets"].items() if leads_to != "socket")
    written = host.run("journalctl", "--output=cat", "--grep=I am", user="root").stdout
    bookshop.aim([host])
    fewer = bookshop.deployed()

    assert result.status == 0, result
    assert sorted(unit.split("-")[2].split("@")[0] for unit in found["enabled"]) == sorted(names)
    assert [event["address"] for event in result.all("health.checked")] == [
        f"{host.root}/run/{name}.sock:/healthz/" for name in ("web", "web.2")
    ]
    assert sockets == ["web.2.sock", "web.sock"]
    assert {"I am 1", "I am 2", "I am 3"} <= set(written.splitlines())
    assert_serves(host, fewer)


def test_host_that_lost_its_power_between_switch_and_confirm(host: Machine, bookshop: Bookshop) -> None:
    """Nobody is there to undo it: what the links lead to is served, and the next deployment needs no help."""
    old = live(host)
    bookshop.new_edition()
    bookshop.target["RESTART"] = ["sleep 5"]  # else it may be confirmed before the power is lost

    with bookshop.start("deploy", "--json") as deployer:
        deployer.wait_for("switched")
        deployer.kill()
        host.crash()
    host.boot()
    page = visit_when_up(host)

    assert page.status == 200
    del bookshop.target["RESTART"]
    new = bookshop.deployed()
    assert new != old
    assert_serves(host, new)


def test_supervisor_after_a_reboot(machine: Machine, bookshop: Bookshop) -> None:
    bookshop.aim([machine], PROCESS_MANAGER="supervisor")
    bookshop.deployed()
    bookshop.new_edition()
    release = bookshop.deployed()

    machine.crash()
    machine.boot()
    machine.run("env", "-i", f"{machine.root}/.deploy/supervisor/start")

    assert visit_when_up(machine).release == release


#: A web server that does not remove the socket that it left when it lost its power, like daphne.
PLAIN_SERVER = """\
import os, socketserver, sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from django.core.management.base import BaseCommand
from django.core.wsgi import get_wsgi_application

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer, WSGIServer):
    def server_bind(self):
        socketserver.UnixStreamServer.server_bind(self)
        self.server_name, self.server_port = "shop", 80
        self.setup_environ()

class Handler(WSGIRequestHandler):
    def address_string(self):
        return "nginx"
    def handle(self):
        self.client_address = ("127.0.0.1", 0)
        super().handle()

class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("socket")
    def handle(self, *, socket, **options):
        with Server(socket, Handler) as server:
            os.chmod(socket, 0o666)
            server.set_app(get_wsgi_application())
            server.serve_forever()
"""


def test_server_that_finds_its_old_socket(host: Machine, bookshop: Bookshop) -> None:
    bookshop.write("catalogue/management/commands/serve.py", PLAIN_SERVER)
    bookshop.target["PROCESSES"]["web"] = "python manage.py serve {socket}"
    release = bookshop.deployed()
    assert visit(host).release == release

    host.run("pkill", "-KILL", "-f", "manage.py serve")
    time.sleep(2)

    assert visit_when_up(host).release == release
    assert_consistent(host, release)
