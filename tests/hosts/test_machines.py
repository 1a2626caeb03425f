"""The rig itself: what the other tests take for granted about hosts, links, index and visitors."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uv

from . import control_groups
from .base import RigError
from .laptop import Laptop
from .machines import Machine
from .network import BRIDGE, STATE, Network, Slot
from .proxy import Proxy
from .visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Machines
    from .index import Index

#: A site of a few lines: answers every request with its argument.
SITE = """
import os, socketserver, sys
from http.server import BaseHTTPRequestHandler

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"mark={sys.argv[2]} host={self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    request_queue_size = 128

os.umask(0)
Server(sys.argv[1], Handler).serve_forever()
"""

UNIT = """
[Service]
ExecStart=/usr/bin/python3 /srv/site/site.py /srv/site/run/web.%i.sock %i
"""


def get(url: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def serve(machine: Machine, mark: str) -> None:
    """Start a process of the site and move traffic to it, as a deployment would."""
    machine.run("mkdir", "-p", "/srv/site/run", ".config/systemd/user")
    machine.put("/srv/site/site.py", SITE)
    machine.put("/home/deploy/.config/systemd/user/web@.service", UNIT)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", f"web@{mark}")
    wait_for = f"until test -S /srv/site/run/web.{mark}.sock; do sleep 0.02; done"
    machine.run("timeout", "10", "sh", "-c", wait_for)
    machine.run("ln", "-s", f"web.{mark}.sock", "/srv/site/run/new")
    machine.run("mv", "-T", "/srv/site/run/new", "/srv/site/run/web.sock")


def test_two_hosts_are_two_minimal_debians(machines: Machines) -> None:
    first, second = machines(2)

    assert first.address != second.address
    assert first.host_keys != second.host_keys
    for machine in (first, second):
        assert machine.run("hostname").stdout == f"{machine.name}\n"
        assert machine.run("id", "-un").stdout == "deploy\n"
        assert machine.run("python3", "-m", "pip", check=False).stderr.endswith("No module named pip\n")
        assert "ensurepip is not\navailable" in machine.run("python3", "-m", "venv", "x", check=False).stdout
        assert get(f"http://{machine.address}/")[0] == 502
        assert f"/{machine.name}/" in Path("/proc", str(machine.init), "cgroup").read_text()
    assert first.run("timeout", "5", "bash", "-c", f"</dev/tcp/{second.address}/22").returncode == 0


def test_hosts_reach_nothing_but_the_bridge(machine: Machine) -> None:
    [route] = machine.run("ip", "route").stdout.splitlines()

    assert route.split()[:3] == ["10.77.0.0/24", "dev", "eth0"]


def test_site_is_served_by_user_units_through_nginx(machine: Machine) -> None:
    serve(machine, "one")

    assert get(f"http://{machine.address}/") == (200, f"mark=one host={machine.address}")
    assert machine.systemctl("is-active", "web@one").stdout == "active\n"


def test_visitor_sees_a_switch_that_loses_nothing(machine: Machine) -> None:
    serve(machine, "one")

    with Visitor(f"http://{machine.address}/", mark=r"mark=\w+", pause=0.002) as visitor:
        visitor.stay()
        serve(machine, "two")
        visitor.stay()

    assert visitor.lost == []
    assert visitor.marks == ["mark=one", "mark=two"]


def test_visitor_sees_what_is_lost(machine: Machine) -> None:
    serve(machine, "one")

    with Visitor(f"http://{machine.address}/", connections=1) as visitor:
        machine.systemctl("stop", "web@one")
        visitor.stay()

    assert {answer.status for answer in visitor.lost} == {502}


def test_visitor_complains_when_it_could_not_stay() -> None:
    visitor = Visitor("http://127.0.0.1:9/", connections=1, max_requests=3)

    with pytest.raises(RigError, match=r"^The visitor gave up at its bound, after 3 requests\.$"):
        stay_to_the_bound(visitor)

    assert [answer.status for answer in visitor.lost] == [0, 0, 0]


def stay_to_the_bound(visitor: Visitor) -> None:
    with visitor:
        while not visitor.bound_reached:
            time.sleep(0.01)


def test_uv_installs_from_the_index(machine: Machine, index: Index) -> None:
    machine.push(uv.find_uv_bin(), "uv")  # type: ignore[arg-type]

    machine.run("./uv", "venv", "venv")
    machine.run("./uv", "pip", "install", "--python", "venv", "--index-url", index.url, "six==1.17.0")

    assert machine.run("venv/bin/python", "-c", "import six; print(six.__version__)").stdout == "1.17.0\n"


def test_pip_from_its_wheel_installs_from_the_index(machine: Machine, index: Index, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--isolated", "--trusted-host", index.host]
    command = [*pip, "download", "-q", "--no-deps", "--index-url", index.url, "--dest", str(tmp_path), "pip"]
    subprocess.run(command, check=True)
    [wheel] = tmp_path.glob("pip-*.whl")
    machine.push(wheel, wheel.name)

    machine.run("python3", "-m", "venv", "--without-pip", "venv")
    install = ["python3", f"{wheel.name}/pip", "--python", "venv/bin/python", "install", "--no-deps"]
    machine.run(*install, "--index-url", index.url, "--trusted-host", index.host, "six==1.17.0")

    assert machine.run("venv/bin/python", "-c", "import six; print(six.__version__)").stdout == "1.17.0\n"


def test_index_has_pages_for_programs_and_for_people(index: Index) -> None:
    request = urllib.request.Request(
        f"{index.url}Six/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request) as answer:
        files = {file["filename"]: file for file in json.load(answer)["files"]}
    html = get(f"{index.url}six/")[1]

    wheel = files["six-1.17.0-py2.py3-none-any.whl"]
    assert wheel["url"] == "/files/six/six-1.17.0-py2.py3-none-any.whl"
    assert f'<a href="{wheel["url"]}#sha256={wheel["hashes"]["sha256"]}"' in html


def test_cut_link_is_silent_until_it_is_restored(machine: Machine) -> None:
    assert machine._port_answers()

    machine.cut()
    assert not machine._port_answers()

    machine.restore()
    assert machine.run("true").returncode == 0


def test_crash_and_boot_keep_the_disk_and_reset_drops_it(machine: Machine) -> None:
    keys = machine.host_keys
    machine.run("sh", "-c", "echo kept > note; echo gone > /run/user/1000/note; sync")

    machine.crash()
    assert not machine._port_answers()
    assert machine.read("/home/deploy/note") == "kept\n"
    machine.boot()
    assert machine.run("cat", "note").stdout == "kept\n"
    assert machine.run("cat", "/run/user/1000/note", check=False).returncode == 1
    assert machine.host_keys == keys

    machine.reset()
    machine.boot()
    assert machine.run("cat", "note", check=False).returncode == 1
    assert machine.host_keys != keys


def test_ssh_of_the_laptop_refuses_a_host_with_other_keys(machine: Machine, laptop: Laptop) -> None:
    ssh = ["ssh", machine.address, "id", "-un"]

    known = subprocess.run(ssh, env=laptop.environment, capture_output=True, text=True)
    laptop.forget(machine.address)
    unknown = subprocess.run(ssh, env=laptop.environment, capture_output=True, text=True)

    assert known.stdout == "deploy\n"
    assert unknown.stderr.splitlines()[-1] == "Host key verification failed."


def test_destroyed_host_leaves_nothing(machine: Machine) -> None:
    machine.destroy()

    assert machine.slot.file.closed
    assert not machine.folder.exists()
    assert machine.folder.as_posix() not in mounts()
    assert machine.name not in "".join(os.listdir("/run/netns"))
    assert machine.name not in os.listdir("/sys/class/net")
    assert not any(group.exists() for group in control_groups.folders(machine.name))


def test_leftovers_of_a_killed_run_are_removed_and_live_hosts_stay(machine: Machine) -> None:
    module = Machine.__module__
    killed = subprocess.Popen(
        [sys.executable, "-m", module, "boot"],
        cwd=Path(__file__).parents[module.count(".")],
        stdout=subprocess.PIPE,
        text=True,
    )
    with killed:
        assert killed.stdout
        left = killed.stdout.readline().partition(":")[0]
        killed.kill()
    assert left in os.listdir("/sys/class/net")

    with Network():
        assert left not in os.listdir("/sys/class/net")

    assert machine.run("true").returncode == 0
    assert BRIDGE in os.listdir("/sys/class/net")
    assert Slot.take(machine.slot.number) is None
    assert (STATE / f"slot-{machine.slot.number}").read_text() == str(machine.folder)


def mounts() -> str:
    with open("/proc/mounts") as file:
        return file.read()


# The proxy, in front of an echo


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that returns what it gets."""
    command = [sys.executable, "-c", ECHO]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield int(server.stdout.readline())
        server.kill()


ECHO = """
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while chunk := self.request.recv(65536):
            self.request.sendall(chunk)
with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection((proxy.address, proxy.port), timeout=10)


def exchange(connection: socket.socket, message: bytes) -> float:
    """Send, wait for the same to come back, and return the seconds that it took."""
    start = time.monotonic()
    connection.sendall(message)
    answer = b""
    while len(answer) < len(message):
        answer += connection.recv(65536)
    assert answer == message
    return time.monotonic() - start


def test_proxy_forwards_and_counts(echo: int) -> None:
    with Proxy("127.0.0.1", echo) as proxy, connect(proxy) as connection:
        for _ in range(3):
            exchange(connection, b"x" * 1000)

        assert (proxy.up, proxy.down, proxy.rounds) == (3000, 3000, 2)


def test_proxy_passes_the_end_of_one_direction(echo: int) -> None:
    with Proxy("127.0.0.1", echo) as proxy, connect(proxy) as connection:
        connection.sendall(b"last words")
        connection.shutdown(socket.SHUT_WR)

        assert connection.makefile("rb").read() == b"last words"


def test_proxy_latency_is_paid_once_by_what_is_pipelined(echo: int) -> None:
    with Proxy("127.0.0.1", echo, round_trip=0.2) as proxy, connect(proxy) as connection:
        assert exchange(connection, b"one") >= 0.2
        start = time.monotonic()
        for _ in range(10):
            connection.sendall(b"x")
            time.sleep(0.001)
        received = b""
        while len(received) < 10:
            received += connection.recv(10)

        assert 0.2 <= time.monotonic() - start < 10 * 0.2


def test_silent_proxy_keeps_the_connection_and_what_was_said(echo: int) -> None:
    with Proxy("127.0.0.1", echo) as proxy, connect(proxy) as connection:
        exchange(connection, b"before")
        proxy.silence()
        connection.sendall(b"held back")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(100)

        connection.settimeout(10)
        proxy.restore()
        assert connection.recv(100) == b"held back"


def test_severed_proxy_resets_old_and_new_connections(echo: int) -> None:
    with Proxy("127.0.0.1", echo) as proxy, connect(proxy) as connection:
        exchange(connection, b"before")
        proxy.sever()
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
        with pytest.raises(ConnectionResetError), connect(proxy) as new:
            new.recv(100)

        proxy.restore()
        with connect(proxy) as new:
            exchange(new, b"after")


def test_ssh_through_the_proxy(machine: Machine, laptop: Laptop) -> None:
    with Proxy(machine.address) as proxy:
        laptop.trust(proxy.address, machine.host_keys, port=proxy.port)
        ssh = ["ssh", "-p", str(proxy.port), proxy.address, "id", "-un"]
        done = subprocess.run(ssh, env=laptop.environment, capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("deploy\n", "")
