from __future__ import annotations

import os
import threading
import time

import pytest

from django_deploy.host.log_files import FileReader, _time_of

WEB, WORKER = ("web", "r1"), ("worker", "r1")


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def reader(folder):
    return FileReader(lambda process, release: folder / f"{process}@{release}.log")


def write(folder, source, text, mode="a"):
    with open(folder / f"{source[0]}@{source[1]}.log", mode) as file:
        file.write(text)


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("[2026-11-28 22:40:00 +0000] [7] [INFO] Booting worker", 1_795_905_600),
        ("2026-11-28T22:40:00.25Z ready", 1_795_905_600.25),
        ("2026-11-28 22:40:00,500+0100 INFO ready", 1_795_902_000.5),
        ("2026-11-28 22:40:00", time.mktime((2026, 11, 28, 22, 40, 0, 0, 0, -1))),
        ("  File 'shop.py', line 2026-11-28 22:40:00", 0),
        ("2026-13-28 22:40:00 no such month", 0),
        ("", 0),
    ],
)
def test_times_of_lines(line, at):
    assert _time_of(line) == at


def test_lines_of_several_files_in_the_order_of_time(folder, reader):
    write(folder, WEB, "2026-11-28 22:40:00Z one\n  traceback\n2026-11-28 22:40:02Z three\n")
    write(folder, WORKER, "no time yet\n2026-11-28 22:40:01Z two\n")

    lines = reader.tail([WEB, WORKER], 10, None)

    assert [(line.process, line.text.split()[-1]) for line in lines] == [
        ("worker", "yet"),
        ("web", "one"),
        ("web", "traceback"),
        ("worker", "two"),
        ("web", "three"),
    ]
    assert [line.text for line in reader.tail([], 10, None)] == []


def test_since_and_number_of_lines(folder, reader):
    write(folder, WEB, "first\n" + "".join(f"2026-11-28 22:40:0{n}Z {n}\n" for n in range(6)))

    assert len(reader.tail([WEB], 10, 1_795_905_602)) == 4
    assert [line.text[-1] for line in FileReader(reader._file_of).tail([WEB], 2, None)] == ["4", "5"]


def test_following_a_file_that_is_put_aside_and_one_that_comes_late(folder, reader):
    write(folder, WEB, "old\nhal")
    assert [line.text for line in reader.tail([WEB, WORKER], 10, None)] == ["old"]
    found, is_over = [], threading.Event()

    def follow():
        found.extend(line.text for line in reader.follow([WEB, WORKER], is_over.is_set))

    def wait_for(number):
        deadline = time.monotonic() + 20
        while len(found) < number and time.monotonic() < deadline:
            time.sleep(0.02)

    thread = threading.Thread(target=follow)
    thread.start()
    write(folder, WEB, "f\n")
    wait_for(1)
    os.rename(folder / "web@r1.log", folder / "web@r1.log.1")
    write(folder, WEB, "new\n")
    wait_for(2)
    write(folder, WORKER, "late\n")
    wait_for(3)
    is_over.set()
    thread.join()

    assert found == ["half", "new", "late"]
