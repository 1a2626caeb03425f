import http.client
import os
import signal
import socket
import time

import front_door
import pytest

from .sites import site


@pytest.fixture
def folder(tmp_path_factory):
    """Its path is short enough for the path of a socket in it."""
    return tmp_path_factory.mktemp("d")


def wait_until_closed(state_file):
    while front_door.find(state_file):
        time.sleep(0.01)


@pytest.fixture
def door(folder):
    state_file = folder / "door"
    door = front_door.open_for(folder / "web.sock", state_file, folder / "door.log", 0)
    yield door
    if front_door.find(state_file):
        os.kill(door.pid, signal.SIGTERM)
        wait_until_closed(state_file)


def get(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_traffic_moves_with_the_link(folder, door):
    with site(folder / "old.sock", {"/": "old"}), site(folder / "new.sock", {"/": "new"}):
        (folder / "web.sock").symlink_to("old.sock")
        before = get(door.port)
        (folder / "web.sock").unlink()
        (folder / "web.sock").symlink_to("new.sock")
        after = get(door.port)

    assert (before, after) == ((200, "old"), (200, "new"))


def test_large_answers_pass_whole(folder, door):
    with site(folder / "web.sock", {"/": "x" * 3_000_000}):
        status, text = get(door.port)

    assert (status, len(text)) == (200, 3_000_000)


def test_a_site_that_is_down_is_said_to_be(door):
    assert get(door.port) == (502, "The site is not running.\n")


def test_visitors_that_leave_early_do_no_harm(folder, door):
    with site(folder / "web.sock", {"/": "x" * 3_000_000}):
        with socket.create_connection(("127.0.0.1", door.port)) as visitor:
            visitor.sendall(b"GET / HTTP/1.0\r\n\r\n")
            visitor.recv(10)
        assert get(door.port)[0] == 200
    assert (folder / "door.log").read_text() == ""


def test_state_file_names_the_open_door(folder, door):
    assert front_door.find(folder / "door") == door


def test_closed_door_leaves_a_file_that_is_not_believed(folder, door):
    os.kill(door.pid, signal.SIGTERM)
    wait_until_closed(folder / "door")

    assert (folder / "door").read_text() == f"{door.pid} {door.port}\n"
    assert front_door.find(folder / "door") is None
    assert (folder / "door.log").read_text() == ""


def test_no_door_at_all(tmp_path):
    assert front_door.find(tmp_path / "door") is None


def test_a_port_that_is_taken_is_not_insisted_on():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with front_door.listen(port) as listener:
            assert listener.getsockname()[1] not in (0, port)


def test_a_second_door_is_refused(folder, door):
    with pytest.raises(BlockingIOError):
        front_door.open_for(folder / "web.sock", folder / "door", folder / "door.log", 0)
    assert front_door.find(folder / "door") == door
