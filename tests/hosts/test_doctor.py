"""The doctor on a host that serves the bookshop: all green, and red for each thing that is broken."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from .inspection import live
from .network import ip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .bookshop import Bookshop
    from .index import Index
    from .machines import Machine

CLOCK = Path(__file__).parents[1] / "faults/clock.c"


@contextmanager
def broken(*fault: Any, repaired: tuple[Any, ...]) -> Iterator[None]:
    """``fault`` and ``repaired`` are a function and its arguments."""
    fault[0](*fault[1:])
    try:
        yield
    finally:
        repaired[0](*repaired[1:])


def examine(bookshop: Bookshop, *words: str) -> tuple[int, dict[str, Any], list[str]]:
    """The status, the host's findings by check, and the names of those that are red, in their order."""
    result = bookshop.run("deploy_doctor", "--json", *words)
    findings = [event for event in result.events if event["event"] == "checked"]
    host = {event["check"]: event for event in findings if event["host"].startswith("deploy@")}
    red = [event["check"] for event in findings if event["outcome"] == "error"]
    assert (result.status, bool(red)) in ((0, False), (1, True)), result
    if red:
        first = next(event for event in findings if event["outcome"] == "error")
        begin = f"Begin with: {first['host']}: {red[0]}: {first['message']}"
        assert " ".join(begin.split()) in " ".join(result.err.split()), result
    return result.status, host, red


def test_all_is_well(host: Machine, bookshop: Bookshop) -> None:
    release = live(host)

    result = bookshop.run("deploy_doctor")

    assert result.status == 0, result
    (name, *lines), outside = result.out.split(f"deploy@{host.address}\n"), []
    assert name.splitlines()[:2] == [
        "here",
        "  ok     settings           the project passes its checks",
    ]
    lines, outside = lines[0].split("outside\n")
    ours = [line.split(maxsplit=1)[0] for line in lines.splitlines()]
    assert ours == ["ok"] * 17, result
    for line in (
        "  ok     host key           known",
        "  ok     clock              as this machine's",
        f"  ok     release            {release} is live",
        "  ok     environment        2 by the settings, 0 set on the host",
        "  ok     database           sqlite /srv/site/shared/database.sqlite3 answers",
        "  ok     processes          web, worker: running",
        "  ok     sockets            /srv/site/run/web.sock: the site answers",
        "  ok     permissions        www-data (nginx) can reach the sockets",
        "  ok     web server         nginx runs, and its configuration is sound: "
        "/etc/nginx/sites-enabled/site",
    ):
        assert line in lines.splitlines(), result
    assert (
        "  -      dns                not checked: the target names no DOMAIN (--domain gives one)\n"
        in outside
    )
    assert outside.splitlines()[-1] == "0 errors, 0 warnings, 4 not checked, 19 ok."


def test_database_that_all_may_read(host: Machine, bookshop: Bookshop) -> None:
    """It was made for its owner only; one of an earlier version may be open."""
    file = "/srv/site/shared/database.sqlite3"
    modes = host.run("sh", "-c", f"stat -c '%a %U' {file}*").stdout
    with broken(host.run, "chmod", "644", file, repaired=(host.run, "sh", "-c", f"chmod o= {file}*")):
        _, found, red = examine(bookshop)

    assert set(modes.splitlines()) == {"600 deploy"}
    assert red == []
    assert found["database"]["outcome"] == "warning"
    assert found["database"]["message"] == f"{file} can be read by every user of the host"
    assert found["database"]["remedy"] == f"On the host, as its owner: chmod o= {file}*"


def test_nothing_is_changed(host: Machine, bookshop: Bookshop) -> None:
    def files() -> str:
        own = ["-path", "/srv/site/shared", "-prune"]  # the worker writes to its database
        return host.run("find", "/srv/site", "/home/deploy", *own, "-o", "-printf", "%p %m %T@ %l\n").stdout

    before = files()
    bookshop.run("deploy_doctor")

    assert files() == before


def test_folder_that_the_web_server_may_not_enter(host: Machine, bookshop: Bookshop) -> None:
    with broken(
        host.run, "chmod", "700", "/srv/site/run", repaired=(host.run, "chmod", "755", "/srv/site/run")
    ):
        assert host.run("curl", "-s", "http://localhost/").stdout.count("502")
        _, found, red = examine(bookshop)

    assert red == ["permissions"]
    assert found["permissions"]["message"] == (
        "www-data, the user of nginx, may not enter /srv/site/run (mode 0700)"
    )
    assert found["permissions"]["remedy"] == ("On the host, as its owner or as root: chmod o+x /srv/site/run")


def test_folder_of_another_user(host: Machine, bookshop: Bookshop) -> None:
    folder = f"{host.root}/releases"
    host.run("chown", "root", folder, user="root")

    _, found, red = examine(bookshop)
    remedy = found["folders"]["remedy"]
    host.run("sh", "-c", remedy.removeprefix("On the host, as root: "), user="root")
    _, fixed, _ = examine(bookshop)

    assert red == ["folders"]
    assert found["folders"]["message"] == f"cannot write to {folder}: Permission denied"
    assert remedy == f"On the host, as root: chown deploy: {folder}"
    assert fixed["folders"]["outcome"] == "ok"


def test_lingering_is_off(host: Machine, bookshop: Bookshop) -> None:
    def linger(word: str) -> None:
        host.run("loginctl", f"{word}-linger", "deploy", user="root")

    with broken(linger, "disable", repaired=(linger, "enable")):
        _, found, red = examine(bookshop)

    assert red[0] == "lingering"
    assert found["lingering"]["message"] == (
        "the units of deploy end with the last login and do not start with the host"
    )
    assert found["lingering"]["remedy"] == "On the host, as root: loginctl enable-linger deploy"


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_clock_is_wrong(host: Machine, bookshop: Bookshop) -> None:
    library = host.inner / "tmp/clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, CLOCK], check=True)
    library.chmod(0o755)

    def set_clock(text: str) -> None:
        host.put("/etc/environment", text, owner="root")

    with broken(set_clock, "LD_PRELOAD=/tmp/clock.so\nCLOCK_WRONG_BY=-300\n", repaired=(set_clock, "")):
        _, found, red = examine(bookshop)

    assert red == ["clock"]
    assert found["clock"]["message"] == "300 s behind this machine's"
    assert "timedatectl set-ntp true" in found["clock"]["remedy"]


def test_configuration_of_nginx_is_broken(host: Machine, bookshop: Bookshop) -> None:
    path = "/etc/nginx/sites-enabled/other"

    def write(text: str) -> None:
        host.put(path, text, owner="root")

    with broken(write, "server {\n    lisssten 81;\n}\n", repaired=(host.chroot, "rm", path)):
        _, found, red = examine(bookshop)

    assert red == ["web server"]
    assert found["web server"]["message"] == (
        f'nginx refuses its configuration: unknown directive "lisssten" in {path}:2'
    )
    assert found["web server"]["remedy"] == "Fix it there, then as root: nginx -t && systemctl reload nginx"


def test_nginx_does_not_run(host: Machine, bookshop: Bookshop) -> None:
    def systemctl(word: str) -> None:
        host.run("systemctl", word, "nginx", user="root")

    with broken(systemctl, "stop", repaired=(systemctl, "start")):
        _, found, red = examine(bookshop)

    assert red == ["web server"]
    assert found["web server"]["message"] == "nginx is installed and does not run"
    assert found["permissions"]["outcome"] == "not checked"


def test_index_is_out_of_the_hosts_reach(host: Machine, bookshop: Bookshop, index: Index) -> None:
    rule = ["preference", "90", "ipproto", "tcp", "dport", str(urlsplit(index.url).port), "unreachable"]

    def change(word: str) -> None:
        ip("-n", host.name, "rule", word, *rule)

    with broken(change, "add", repaired=(change, "delete")):
        _, found, red = examine(bookshop)

    assert red == ["index"]
    assert found["index"]["message"] == f"{index.url} does not answer there: Network is unreachable"


def test_database_is_gone(host: Machine, bookshop: Bookshop) -> None:
    place, unit = "/srv/site/shared/database.sqlite3", f"site-*-worker@{live(host)}.service"
    host.systemctl("stop", unit)  # it would make a new one
    with broken(host.run, "mv", place, f"{place}.away", repaired=(host.run, "mv", f"{place}.away", place)):
        _, found, red = examine(bookshop)
        host.run("touch", place)
        _, empty, red_again = examine(bookshop)
    bookshop.run("deploy_restart")

    assert (red[0], red_again[0]) == ("database", "database")
    assert found["database"]["message"] == f"sqlite {place}: there is no file {place}"
    assert empty["database"]["message"] == f"sqlite {place}: it answers, and has no tables"


def test_disk_is_full(host: Machine, bookshop: Bookshop) -> None:
    def fill() -> None:
        host.run("mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", "/tmp", user="root")
        host.run("dd", "if=/dev/zero", "of=/tmp/full", "bs=1M", check=False)

    def empty() -> None:
        host.run("umount", "/tmp", user="root")

    with broken(fill, repaired=(empty,)):
        _, found, red = examine(bookshop)

    assert red[0] == "disk"
    assert found["disk"]["message"].startswith("/tmp: 0 B free of 21.0 MB")
    assert found["disk"]["remedy"].startswith("On the host: du -xhd1 /tmp | sort -h shows")


def test_process_does_not_run(host: Machine, bookshop: Bookshop) -> None:
    unit = f"site-*-worker@{live(host)}.service"
    with broken(host.systemctl, "stop", unit, repaired=(bookshop.run, "deploy_restart")):
        _, found, red = examine(bookshop)

    assert red == ["processes"]
    assert found["processes"]["message"] == "worker is stopped"
    assert found["processes"]["remedy"] == (
        "Read why: manage.py deploy_logs staging worker. Then: manage.py deploy_restart staging"
    )


def test_python_was_replaced(host: Machine, bookshop: Bookshop) -> None:
    venv = f"/srv/site/releases/{live(host)}/venv"
    python = host.run("readlink", f"{venv}/bin/python").stdout.strip()

    def lead_to(place: str) -> None:
        host.run("ln", "-sfn", place, f"{venv}/bin/python")

    with broken(lead_to, "/usr/bin/python3.10", repaired=(lead_to, python)):
        _, found, red = examine(bookshop)

    assert red[0] == "python"
    assert found["python"]["message"] == "the live release's does not start: No such file or directory"


def test_maintenance(host: Machine, bookshop: Bookshop) -> None:
    assert bookshop.run("deploy_maintenance", "on").status == 0
    try:
        status, found, _ = examine(bookshop)
    finally:
        bookshop.run("deploy_maintenance", "off")

    assert status == 0
    assert found["sockets"]["outcome"] == "warning"


def test_host_that_is_down(host: Machine, bookshop: Bookshop) -> None:
    bookshop.target["HOSTS"] = [f"deploy@{host.address}:23"]

    result = bookshop.run("deploy_doctor")

    assert result.status == 1
    assert f"  ERROR  connection         {host.address}:23 refused the connection" in result.out
    assert "Begin with: " in result.err


def test_host_key_has_changed(host: Machine, bookshop: Bookshop) -> None:
    known = bookshop.laptop.known_hosts.read_text()
    other = "AAAAC3NzaC1lZDI1NTE5AAAAIJ3V5S5b1Vq0Z5S1n0n8Zl7b7m5Q2m0q3o7J0c1V9x2K"
    lines = [
        f"{host.address} ssh-ed25519 {other}" if line.startswith(host.address) else line
        for line in known.splitlines()
    ]
    write = bookshop.laptop.known_hosts.write_text

    with broken(write, "\n".join([*lines, ""]), repaired=(write, known)):
        _, found, red = examine(bookshop)

    assert red == ["host key"]
    assert found["host key"]["message"].startswith("the host key has changed: ")
    assert found["connection"]["outcome"] == "ok"


def test_host_before_its_first_deployment(machine: Machine, bookshop: Bookshop) -> None:
    bookshop.aim([machine])

    status, found, _ = examine(bookshop)

    assert status == 0
    assert found["release"]["message"] == "nothing is live yet"
    assert found["release"]["remedy"] == "manage.py deploy staging"
    assert found["sockets"]["outcome"] == "not checked"
    assert time.time() - found["clock"]["at"] < 60


def test_unit_that_does_not_start_with_the_host(host: Machine, bookshop: Bookshop) -> None:
    wants = "/home/deploy/.config/systemd/user/default.target.wants"
    unit = next(name for name in host.run("ls", wants).stdout.split() if "-worker@" in name)

    with broken(
        host.run, "mv", f"{wants}/{unit}", "/tmp", repaired=(host.run, "mv", f"/tmp/{unit}", f"{wants}/")
    ):
        _, found, red = examine(bookshop)

    assert red == ["lingering"]
    assert found["lingering"]["message"] == "these do not start with the host: worker"
    assert found["lingering"]["remedy"] == "manage.py deploy_restart staging"


def test_environment_that_cannot_be_read(host: Machine, bookshop: Bookshop) -> None:
    file = "/srv/site/.deploy/environment.json"
    write = ("sh", "-c", f"printf '{{' > {file}")
    with broken(host.chroot, *write, repaired=(host.chroot, "rm", file)):
        status, found, red = examine(bookshop)

        assert (status, red[0]) == (1, "folders")
        assert found["folders"]["message"] == f"{file} belongs to somebody else"
        host.chroot("sh", "-c", found["folders"]["remedy"].removeprefix("On the host, as root: "))

        status, found, red = examine(bookshop)

    assert (status, red[0]) == (1, "environment")
    assert found["environment"]["message"].startswith(f"{file} cannot be read: ")
    assert found["environment"]["remedy"] == (
        "Correct it on the host, or delete it and set the variables again with deploy_env."
    )
