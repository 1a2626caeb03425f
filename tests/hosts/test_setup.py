"""From a host that has nothing but root's key to a site that answers."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest

from .archive import Archive
from .bare import BareMachine
from .keyboard import Keyboard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .bookshop import Bookshop
    from .laptop import Laptop
    from .network import Network

DOMAIN = "shop.example.com"
PASSWORD = "box-hill-picnic-1815"

#: Uploads, by their folder in ``shared``; and PostgreSQL as the host's environment has it.
MEDIA = 'MEDIA_URL = "/media/"\n'
POSTGRESQL = """
from urllib.parse import unquote, urlsplit
if "DATABASE_URL" in os.environ:
    _url = urlsplit(os.environ["DATABASE_URL"])
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _url.path[1:],
            "USER": _url.username,
            "HOST": unquote(_url.hostname),
        }
    }
"""


@pytest.fixture(scope="session")
def archive(network: Network) -> Iterator[Archive]:
    with Archive(network.gateway) as archive:
        yield archive


class BareMachines:
    """``bare_machine()``: a new one, off; they go when the test ends."""

    def __init__(self, disk: Path, network: Network, laptop: Laptop, archive: Archive) -> None:
        self.parts = (disk, network, laptop, archive)
        self.made: list[BareMachine] = []

    def __call__(self) -> BareMachine:
        self.made.append(BareMachine(*self.parts))
        return self.made[-1]


@pytest.fixture
def bare_machine(disk: Path, network: Network, laptop: Laptop, archive: Archive) -> Iterator[BareMachines]:
    machines = BareMachines(disk, network, laptop, archive)
    yield machines
    for machine in machines.made:
        machine.destroy()


@pytest.fixture
def bare(bare_machine: BareMachines) -> BareMachine:
    machine = bare_machine()
    machine.boot()
    return machine


def aim(bookshop: Bookshop, machine: BareMachine, **changes: object) -> None:
    bookshop.append("bookshop/settings.py", MEDIA)
    bookshop.aim([machine], DOMAIN=DOMAIN, **changes)
    bookshop.target["ENV"]["BOOKSHOP_ALLOWED_HOSTS"] = DOMAIN


def set_up(bookshop: Bookshop, *words: str) -> str:
    result = bookshop.run("deploy_setup", *words)
    assert result.status == 0, result
    return result.out


class Browser:
    """Asks the host for its domain, over TLS, and believes this authority."""

    def __init__(self, machine: BareMachine, authority: str) -> None:
        self.address = machine.address
        self.tls = ssl.create_default_context(cadata=authority)

    def get(self, path: str) -> Answer:
        connection = http.client.HTTPSConnection(DOMAIN, context=self.tls, timeout=60)
        plain = socket.create_connection((self.address, 443), timeout=60)
        with closing(connection):
            connection.sock = self.tls.wrap_socket(plain, server_hostname=DOMAIN)
            return ask(connection, path)


class Answer(NamedTuple):
    """What came; ``header`` gives the value of one, or None."""

    status: int
    header: Callable[[str], str | None]
    body: str


def ask(connection: http.client.HTTPConnection, path: str) -> Answer:
    connection.request("GET", path, headers={"Host": DOMAIN})
    with connection.getresponse() as answer:
        return Answer(answer.status, answer.headers.get, answer.read().decode())


def redirection(machine: BareMachine) -> tuple[int, str | None]:
    """What http answers."""
    with closing(http.client.HTTPConnection(machine.address, timeout=30)) as connection:
        answer = ask(connection, "/books/?page=2")
    return answer.status, answer.header("Location")


def assert_serves(browser: Browser) -> None:
    """The page from the site, static files and uploads from the web server."""
    page = browser.get("/")
    static = page.body.partition('href="/static/')[2].partition('"')[0]
    hashed, plain = browser.get(f"/static/{static}"), browser.get("/static/catalogue/shop.css")
    upload, missing = browser.get("/media/cover.txt"), browser.get("/static/nothing.css")

    assert (page.status, page.header("Content-Type")) == (200, "text/html; charset=utf-8")
    assert hashed.status == 200, static
    assert hashed.header("Cache-Control") == "public, max-age=31536000, immutable"
    assert (plain.status, plain.header("Cache-Control")) == (200, "public, max-age=60")
    assert (upload.status, upload.body) == (200, "Emma\n")
    assert upload.header("Cache-Control") == "max-age=3600"
    assert upload.header("X-Content-Type-Options") == "nosniff"
    assert (missing.status, missing.header("Cache-Control")) == (404, None)
    assert missing.header("X-Frame-Options") == "DENY", "the site's own answer"


def upload(machine: BareMachine) -> None:
    machine.run("sh", "-c", f"echo Emma >{machine.root}/shared/media/cover.txt")


def caddys_authority(machine: BareMachine) -> str:
    return machine.read("/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt")


def reboot(machine: BareMachine, browser: Browser) -> None:
    """Until the site is there again, without anybody's help."""
    machine.run("sync", user="root")
    machine.crash()
    machine.boot()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError):
            if browser.get("/").status == 200:
                return
        time.sleep(0.2)


def test_bare_host_with_caddy(bare: BareMachine, bookshop: Bookshop) -> None:
    aim(bookshop, bare, WEB="caddy", TLS="internal")

    script = set_up(bookshop, "--plan")
    first = set_up(bookshop)
    browser = Browser(bare, caddys_authority(bare))
    before = browser.get("/")
    tools = bare.run("sh", "-c", f"ls -d {bare.root}/.deploy/tools/*/uv").stdout.splitlines()
    again = set_up(bookshop)
    bookshop.deployed()
    upload(bare)
    assert_serves(browser)
    files = snapshot(bare)
    second, plan = set_up(bookshop), set_up(bookshop, "--plan")

    assert script.startswith(
        f"#!/bin/sh\n# What manage.py deploy_setup staging does on deploy@{bare.address} ("
    )
    assert bare.laptop.public_key.strip() in script
    assert "Ready to be deployed to: set up in " in first
    assert len(tools) == 1
    assert "Nothing to do: set up already" in again
    assert (before.status, before.header("Retry-After")) == (503, "60")
    assert "This site does not answer at the moment." in before.body
    assert redirection(bare) == (308, f"https://{DOMAIN}/books/?page=2")
    assert "Nothing to do: set up already" in second
    assert plan.endswith("# Nothing is missing, and nothing is done.\n")
    assert snapshot(bare) == files
    reboot(bare, browser)
    assert_serves(browser)
    result = bookshop.run("deploy_maintenance", "on")
    assert result.status == 0, result
    assert browser.get("/").status == 503


def test_site_that_caddy_does_not_read(bare: BareMachine, bookshop: Bookshop) -> None:
    """Its file lies there under another name."""
    aim(bookshop, bare, WEB="caddy", TLS="internal")
    set_up(bookshop)
    bookshop.deployed()
    file = f"/etc/caddy/sites/{DOMAIN}.caddy"
    reload = "caddy reload --config /etc/caddy/Caddyfile --force"

    def finding(check: str = "web server") -> dict[str, object]:
        events = bookshop.run("deploy_doctor", "--json").events
        return next(event for event in events if event.get("check") == check)

    well = finding()
    media = f"{bare.root}/shared/media"
    bare.run("chmod", "700", media, user="root")
    closed = finding("permissions")
    bare.run("chmod", "755", media, user="root")
    bare.run("sh", "-c", f"mv {file} {file}.before && {reload}", user="root")
    ill = finding()
    set_up(bookshop)

    message = f"caddy runs, and its configuration is sound: {file}"
    assert (well["outcome"], well["message"]) == ("ok", message)
    assert closed["outcome"] == "error"
    assert closed["message"] == f"caddy, the user of caddy, may not enter {media} (mode 0700)"
    socket = f"{bare.root}/run/web.sock"
    assert ill["outcome"] == "error"
    assert ill["message"] == f"caddy runs, and no file that it reads names {socket}"
    assert str(ill["remedy"]).startswith("manage.py deploy_setup staging fixes it. ")
    assert finding()["message"] == message
    assert Browser(bare, caddys_authority(bare)).get("/").status == 200


def snapshot(machine: BareMachine) -> str:
    """All files of the system that a setup could change, and what is in them."""
    command = "find /etc /home ~root/.ssh -type f -exec sha256sum {} + | sort -k 2; stat -c '%n %a %U' "
    return machine.run(
        "sh", "-c", f"{command} {machine.root}/* /var/lib/systemd/linger/*", user="root"
    ).stdout


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificate of the domain, which signs itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    for name in ("shop", "other"):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN}"]
        files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"]
        subprocess.run([*command, *files], check=True, capture_output=True)
    return folder


def tls(folder: Path, certificate: str = "shop", key: str = "shop") -> dict[str, str]:
    return {"CERTIFICATE": str(folder / f"{certificate}.pem"), "KEY": str(folder / f"{key}.key")}


def test_bare_host_with_nginx_and_postgresql(
    bare: BareMachine, bookshop: Bookshop, certificate: Path
) -> None:
    bookshop.pip("install", "psycopg[binary]")
    aim(bookshop, bare, WEB="nginx", TLS=tls(certificate), DATABASE="postgresql")
    bookshop.append("bookshop/settings.py", POSTGRESQL)

    script = set_up(bookshop, "--plan")
    set_up(bookshop)
    browser = Browser(bare, (certificate / "shop.pem").read_text())
    before = browser.get("/")
    bookshop.deployed()
    upload(bare)
    assert_serves(browser)
    files = snapshot(bare)
    second = set_up(bookshop)

    key = (certificate / "shop.key").read_text()
    assert not [line for line in key.splitlines() if line in script and "KEY" not in line]
    assert bare.run("stat", "-c", "%a %U", f"/etc/nginx/tls/{DOMAIN}.key", user="root").stdout == "600 root\n"
    assert (before.status, before.header("Retry-After")) == (503, "60")
    assert redirection(bare) == (301, f"https://{DOMAIN}/books/?page=2")
    assert "Nothing to do: set up already" in second
    assert snapshot(bare) == files
    count = bare.run("psql", "-XAtqc", "SELECT count(*) FROM catalogue_book", "site").stdout
    assert int(count) > 0
    assert "DATABASE_URL            set on the hosts\n" in bookshop.run("deploy_env").out
    assert bare.run("stat", "-c", "%a", f"{bare.root}/.deploy/environment.json").stdout == "600\n"
    listening = bare.run("ss", "-Hltn", user="root").stdout
    assert {line.split()[3] for line in listening.splitlines() if "5432" in line} <= {
        "127.0.0.1:5432",
        "[::1]:5432",
    }
    reboot(bare, browser)
    assert_serves(browser)


def test_configuration_that_nginx_refuses(bare: BareMachine, bookshop: Bookshop, certificate: Path) -> None:
    aim(bookshop, bare, WEB="nginx", TLS=tls(certificate))
    set_up(bookshop)
    bookshop.deployed()
    files, browser = snapshot(bare), Browser(bare, (certificate / "shop.pem").read_text())

    bookshop.target["TLS"] = tls(certificate, key="other")
    result = bookshop.run("deploy_setup")

    assert result.status == 1, result
    assert f"deploy@{bare.address}: {DOMAIN}, served by nginx: failed with exit status 1\n" in result.err
    assert "[emerg]" in result.err and "key values mismatch" in result.err
    assert "  | nginx refuses this configuration: what was there before is back.\n" in result.err
    assert result.err.endswith("What was made before that stays. Fix it, then run deploy_setup again.\n")
    assert snapshot(bare) == files
    assert browser.get("/").status == 200


#: Caddy wants it for HTTP/3, and learns only when it starts that it cannot have it.
UDP = "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 443)); time.sleep(900)"


#: A site that is there already, and whose address is a variable of Caddy's service.
CADDYFILE = """
{$ADDRESS} {
    respond "{$GREETING:nobody}"
}
import /opt/config/more/*
"""
SERVICE = "[Service]\nEnvironment=ADDRESS=:8080 GREETING=Hartfield\n"


def test_caddyfile_of_somebody_else(bare: BareMachine, bookshop: Bookshop) -> None:
    """A link to a file that not everybody may read. At first Caddy cannot go on with what we add."""
    aim(bookshop, bare, WEB="caddy", TLS="internal")
    folder = "/etc/systemd/system/caddy.service.d"
    bare.run("sh", "-c", "apt-get -q update && apt-get -q -y install caddy", user="root")
    bare.run("mkdir", "-p", "/opt/config/more", folder, user="root")
    bare.put(f"{folder}/variables.conf", SERVICE, owner="root")
    bare.put("/opt/config/Caddyfile", CADDYFILE, owner="root", mode="640")
    bare.run("chgrp", "caddy", "/opt/config/Caddyfile", user="root")
    bare.run("ln", "-sf", "/opt/config/Caddyfile", "/etc/caddy/Caddyfile", user="root")
    bare.run("sh", "-c", "systemctl daemon-reload; systemctl restart caddy", user="root")
    bare.run("sh", "-c", f'nohup python3 -c "{UDP}" >/dev/null 2>&1 & echo $! >/root/udp', user="root")

    def caddyfile() -> str:
        command = ("stat", "-c", "%N %F", "/etc/caddy/Caddyfile")
        modes = ("stat", "-c", "%a %U:%G", "/opt/config/Caddyfile")
        return "".join(bare.run(*words, user="root").stdout for words in (command, modes))

    def greeting() -> str:
        with urllib.request.urlopen(f"http://{bare.address}:8080/", timeout=30) as answer:
            return str(answer.read().decode())

    other = "/opt/config/more/shop"
    bare.put(other, f"http://{DOMAIN} {{\n    respond old\n}}\n", owner="root")
    before = caddyfile(), greeting()
    refused = bookshop.run("deploy_setup")
    bare.run("rm", other, user="root")
    said = []
    for text in ("{\n\tadmin off\n}\n:8080 {\n\trespond Hartfield\n}\n", ":8080\nrespond Hartfield\n"):
        bare.put("/opt/config/Caddyfile", text, owner="root", mode="640")
        said += [line for line in bookshop.run("deploy_setup").err.splitlines() if "Caddyfile" in line]
        assert bare.read("/opt/config/Caddyfile") == text
    bare.put("/opt/config/Caddyfile", CADDYFILE, owner="root", mode="640")
    bare.run("chgrp", "caddy", "/opt/config/Caddyfile", user="root")
    result = bookshop.run("deploy_setup")

    assert said == [
        '  | With "admin off" in /etc/caddy/Caddyfile caddy reads no file again: remove that, and restart'
        " caddy.",
        "  | The site in /etc/caddy/Caddyfile has no braces, so it can be the only one: put { } around it.",
    ]
    assert before[1] == "Hartfield"
    message = f"{other} has caddy serve {DOMAIN} already, and is not of {bare.root}."
    assert refused.err.startswith(f"CommandError: deploy@{bare.address}: {message}\n")
    assert refused.err.endswith("\nNothing was changed.\n")
    assert result.status == 1, result
    assert "address already in use" in result.err
    assert "  | caddy does not work with this configuration: what was there before is back.\n" in result.err
    assert bare.run("ls", "/etc/caddy/sites", user="root").stdout == ""
    assert bare.read("/etc/caddy/Caddyfile") == CADDYFILE
    assert bare.enter("systemctl", "is-active", "caddy", user="root") == "active\n"
    assert (caddyfile(), greeting()) == before

    bare.run("sh", "-c", "kill $(cat /root/udp)", user="root")
    set_up(bookshop)

    assert bare.read("/etc/caddy/Caddyfile") == f"{CADDYFILE}\nimport sites/*.caddy\n"
    assert (caddyfile(), greeting()) == before
    assert Browser(bare, caddys_authority(bare)).get("/").status == 503


def test_file_of_somebody_else(bare: BareMachine, bookshop: Bookshop, certificate: Path) -> None:
    aim(bookshop, bare, WEB="nginx", TLS=tls(certificate))
    set_up(bookshop)
    path = f"/etc/nginx/sites-available/{DOMAIN}"
    bare.run("sed", "-i", "1,2d", path, user="root")
    own = bare.read(path)
    bookshop.target["PROCESSES"]["web"] = {"COMMAND": bookshop.target["PROCESSES"]["web"], "INSTANCES": 2}

    out = set_up(bookshop)

    assert bare.read(path) == own
    message = f"warning: {path} is not ours and was left alone: nginx serves {DOMAIN} as it says.\n"
    assert f"deploy@{bare.address}: {message}" in out


#: What is in the way of ours: a site of the same name, a file where our link would be, and a key.
IN_THE_WAY = f"""
apt-get -q update && apt-get -q -y install nginx
cd /etc/nginx && mkdir tls && echo mine >tls/{DOMAIN}.key
echo 'server {{ listen 80; server_name {DOMAIN}; return 200 old; }}' >sites-enabled/zz-oldshop
echo '# mine' >sites-enabled/{DOMAIN}
systemctl reload nginx
"""


def test_files_in_the_way(bare: BareMachine, bookshop: Bookshop, certificate: Path) -> None:
    aim(bookshop, bare, WEB="nginx", TLS=tls(certificate))
    bare.run("sh", "-ec", IN_THE_WAY, user="root")
    files = snapshot_of_system(bare)

    result = bookshop.run("deploy_setup")

    assert result.status == 1
    link, file, key = (
        f"/etc/nginx/{name}"
        for name in (f"sites-enabled/{DOMAIN}", f"sites-available/{DOMAIN}", f"tls/{DOMAIN}.key")
    )
    host, other = f"deploy@{bare.address}: ", "/etc/nginx/sites-enabled/zz-oldshop"
    assert result.err == (
        f"CommandError: {host}{link} was made by somebody else, and is not a link to {file}.\n"
        f"Move it away, as root: mv {link} {file}.own. To keep using it, leave out WEB.\n"
        f"{host}{key} was made by somebody else, and a file that TLS names would be put there.\n"
        f'Have TLS name that one, "host:{key}"; or move it away, as root: mv {key} {key}.own\n'
        f"{host}{other} has nginx serve {DOMAIN} already, and is not of {bare.root}.\n"
        "Take the name out of it there, or choose another DOMAIN. To keep using it, leave out WEB.\n"
        "Nothing was changed.\n"
    )
    assert snapshot_of_system(bare) == files

    bare.run("sh", "-ec", f"mv {link} {file}.own; mv {key} {key}.own; rm {other}", user="root")
    bare.run("ln", "-s", file, link, user="root")  # leads nowhere yet: nginx refuses that
    set_up(bookshop)

    assert Browser(bare, (certificate / "shop.pem").read_text()).get("/").status == 503
    assert "Nothing to do: set up already" in set_up(bookshop)

    releases = f"{bare.root}/releases"
    bare.run("chmod", "700", releases)
    result = bookshop.run("deploy_setup")
    bare.run("chmod", "755", releases)

    assert result.status == 1, result
    message = f"www-data, the user of nginx, cannot enter {releases}. See which part of the way lacks an x:"
    assert f"  | {message} namei -m {releases}; and as root, for that: chmod o+x\n" in result.err
    assert "Nothing to do: set up already" in set_up(bookshop)

    bookshop.target["DOMAIN"] = DOMAIN.replace("shop.", "shop-")
    bookshop.target["ENV"]["BOOKSHOP_ALLOWED_HOSTS"] = bookshop.target["DOMAIN"]
    out = set_up(bookshop)

    warning = f"warning: {link} is of this site, too, under another DOMAIN, which nginx still serves."
    assert f"{host}{warning} To end that, as root: rm {link}; systemctl reload nginx\n" in out

    bare.run("sed", "-i", "/sites-enabled/d", "/etc/nginx/nginx.conf", user="root")
    result = bookshop.run("deploy_setup")

    assert result.status == 1, result
    message = "nginx does not read /etc/nginx/sites-enabled, which /etc/nginx/nginx.conf includes in Debian"
    assert f"  | {message}: what was there before is back.\n" in result.err


def snapshot_of_system(machine: BareMachine) -> str:
    return machine.run("sh", "-c", "find /etc /srv /home | sort | sha256sum", user="root").stdout


# The script by hand

#: What a process of the site's user has of the terminal: what it reads and writes, and its session's.
SPY = """
as deploy sh -c 'readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; (true </dev/tty) 2>&1' || :
exit 3
"""


def test_script_at_a_terminal(bare: BareMachine, bookshop: Bookshop, certificate: Path) -> None:
    """Without the files that go along it changes nothing; twice is as good as once."""
    aim(bookshop, bare, WEB="nginx", TLS=tls(certificate))
    script = set_up(bookshop, "--plan")
    bare.run("mkdir", "-m", "700", "/root/files", user="root")
    bare.put("/root/setup.sh", script, owner="root")
    for name, sent in (("certificate.pem", "shop.pem"), ("certificate.key", "shop.key")):
        bare.put(f"/root/files/{name}", (certificate / sent).read_text(), owner="root")
    files = snapshot_of_system(bare)

    with sit_at(bare, "sh", "/root/setup.sh") as keyboard:
        keyboard.read_until("DEPLOY_FILES names no folder with certificate.pem.")
        assert keyboard.end() == 1
    assert snapshot_of_system(bare) == files
    for _ in range(2):
        with sit_at(bare, "env", "DEPLOY_FILES=/root/files", "sh", "/root/setup.sh") as keyboard:
            keyboard.read_until(f"== {DOMAIN}, served by nginx")
            assert keyboard.end() == 0
    bare.put("/root/spy.sh", script.partition("\nsay ")[0] + SPY, owner="root")
    with sit_at(bare, "env", "DEPLOY_FILES=/root/files", "sh", "/root/spy.sh") as keyboard:
        seen = keyboard.read_until("No such device or address").splitlines()
        assert keyboard.end() == 3

    assert bare.read("/home/deploy/.ssh/authorized_keys") == bare.laptop.public_key
    assert set_up(bookshop, "--plan").endswith("# Nothing is missing, and nothing is done.\n")
    standard = [line.partition(":")[0] for line in seen[-4:-1]]
    assert standard == ["/dev/null", "pipe", "pipe"]


def sit_at(machine: BareMachine, *argv: str) -> Keyboard:
    """Root, at a terminal of the host."""
    ssh, *words = machine.command(*argv, user="root")
    return Keyboard([ssh, "-tt", *words], machine.folder, machine.laptop.environment)


# Who logs in


def test_administrator_with_a_password(bare_machine: BareMachines, bookshop: Bookshop) -> None:
    bare = bare_machine()
    bare.add_administrator("admin", PASSWORD)
    bare.boot()
    bare.without_root()
    aim(bookshop, bare, WEB="caddy", TLS="internal")

    with bookshop.sit_at("deploy_setup", "--login", "admin") as keyboard:
        keyboard.read_until(f"Password of admin@{bare.address}: ")
        keyboard.type(f"{PASSWORD}\r")
        keyboard.read_until("Make that? [Y/n] ")
        keyboard.type("\r")
        assert keyboard.end() == 0
    bookshop.deployed()

    log = bare.chroot("journalctl", "--no-pager", "--utc")
    assert PASSWORD not in log
    assert "NOPASSWD" not in bare.chroot("sh", "-c", "cat /etc/sudoers /etc/sudoers.d/*")
    assert bare.enter("systemctl", "is-active", "caddy", user="root") == "active\n"


def test_wrong_password_is_one_try(bare_machine: BareMachines, bookshop: Bookshop) -> None:
    bare = bare_machine()
    bare.add_administrator("admin", PASSWORD)
    bare.boot()
    aim(bookshop, bare)

    with bookshop.sit_at("deploy_setup", "--login", "admin") as keyboard:
        keyboard.read_until(f"Password of admin@{bare.address}: ")
        keyboard.type("hartfield\r")
        keyboard.read_until(f"admin@{bare.address}: sudo refuses the password of admin: it was tried once")
        assert keyboard.end() == 1

    log = bare.chroot("journalctl", "--no-pager", "--utc")
    assert log.count("pam_unix(sudo:auth): authentication failure") == 1
    assert "3 incorrect password attempts" not in log


def test_login_by_password(bare_machine: BareMachines, bookshop: Bookshop) -> None:
    bare = bare_machine()
    bare.add_administrator("admin", PASSWORD)
    bare.chroot("rm", "/home/admin/.ssh/authorized_keys")
    bare.boot()
    aim(bookshop, bare)

    with bookshop.sit_at("deploy_setup", "--login", "admin", "--yes") as keyboard:
        keyboard.read_until(f"Password of admin@{bare.address}: ")
        keyboard.type(f"{PASSWORD}\r")
        assert keyboard.end() == 0, "asked once, for the login and for sudo"
    with bookshop.sit_at("deploy_setup", "--login", "admin") as keyboard:
        keyboard.read_until(f"Password of admin@{bare.address}: ")
        keyboard.type("hartfield\r")
        keyboard.read_until("does not let admin in: the password is wrong; it was tried once")
        assert keyboard.end() == 1

    assert bare.run("id", "-un").stdout == "deploy\n"


def test_password_without_a_terminal(bare_machine: BareMachines, bookshop: Bookshop) -> None:
    bare = bare_machine()
    bare.add_administrator("admin", PASSWORD)
    bare.boot()
    aim(bookshop, bare)

    result = bookshop.run("deploy_setup", "--login", "admin")

    assert result.status == 1
    assert result.err == (
        f"CommandError: admin@{bare.address}: "
        "sudo asks for the password of admin, and there is no terminal to ask at\n"
        "Run it at a terminal, or log in as root: --login root\n"
    )


def test_login_that_may_not_become_root(bare_machine: BareMachines, bookshop: Bookshop) -> None:
    bare = bare_machine()
    bare.add_administrator("anna", PASSWORD)
    bare.chroot("gpasswd", "--delete", "anna", "sudo")
    bare.boot()
    aim(bookshop, bare)

    with bookshop.sit_at("deploy_setup", "--login", "anna") as keyboard:
        keyboard.read_until("Password of ")
        keyboard.type(f"{PASSWORD}\r")
        keyboard.read_until("this login gives no root shell: anna is not in the sudoers file.")
        keyboard.read_until("Name a user who may use sudo, or root: --login USER")
        assert keyboard.end() == 1


# Links that are cut

PACKAGES = "the packages caddy"


def assert_goes_on(machine: BareMachine, bookshop: Bookshop) -> None:
    """The script comes to its end without us; then nothing is missing."""
    deadline = time.monotonic() + 120
    while machine.enter("pgrep", "-f", "/run/django-deploy", user="root", check=False):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert set_up(bookshop, "--plan").endswith("# Nothing is missing, and nothing is done.\n")


#: A new server's own apt, which fetches its lists and installs, for a while.
APT = """
import fcntl, time
for path in ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock"):
    file = globals()[path] = open(path, "w")
    fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(4)
del globals()["/var/lib/dpkg/lock-frontend"], globals()["/var/lib/dpkg/lock"]
time.sleep(4)
"""


def test_script_goes_on_without_the_deployer(bare: BareMachine, bookshop: Bookshop) -> None:
    """And it waits for another apt; who sets up the host meanwhile is told of it, or waits."""
    aim(bookshop, bare, WEB="caddy", TLS="internal")
    with (
        subprocess.Popen(
            bare.command("python3", "-c", APT, user="root"), stdout=subprocess.PIPE, text=True
        ) as apt,
        bookshop.start("deploy_setup", "--json") as deployer,
    ):
        assert apt.stdout is not None and apt.stdout.readline() == "locked\n"
        deployer.wait_for("step.started", step=PACKAGES)
        deployer.kill()
        result = bookshop.run("deploy_setup")
        out = set_up(bookshop, "--wait", "120")

    assert result.status == 1, result
    assert re.search(r": another deployment is running: .*, since .*, setting up\n", result.err)
    assert "Wait for it with --wait SECONDS." in result.err
    assert "\nReady to be deployed to: " in out
    assert "Nothing to do: set up already" in set_up(bookshop)


def test_script_goes_on_under_sudo(bare_machine: BareMachines, bookshop: Bookshop) -> None:
    bare = bare_machine()
    bare.add_administrator("admin", PASSWORD)
    bare.boot()
    aim(bookshop, bare, WEB="caddy", TLS="internal")
    with bookshop.sit_at("deploy_setup", "--login", "admin", "--yes", "--plain") as keyboard:
        keyboard.read_until(f"Password of admin@{bare.address}: ")
        keyboard.type(f"{PASSWORD}\r")
        keyboard.read_until(f"{PACKAGES} ...")

    assert_goes_on(bare, bookshop)


#: Caddy, which looks for five minutes at what was just put there.
SLOW_CADDY = """#!/bin/sh
if [ "$1" = validate ] && grep -q web.2.sock /etc/caddy/sites/*; then sleep 300; fi
exec /usr/bin/caddy "$@"
"""


def test_script_that_was_killed(bare: BareMachine, bookshop: Bookshop) -> None:
    aim(bookshop, bare, WEB="caddy", TLS="internal")
    set_up(bookshop)
    loaded = (
        "python3",
        "-c",
        "import urllib.request as r; print(r.urlopen('http://localhost:2019/config/').read())",
    )
    bookshop.target["PROCESSES"]["web"] = {"COMMAND": bookshop.target["PROCESSES"]["web"], "INSTANCES": 2}
    bare.put("/usr/local/bin/caddy", SLOW_CADDY, owner="root", mode="755")
    with bookshop.start("deploy_setup") as deployer:
        deadline = time.monotonic() + 60
        while not bare.enter("pgrep", "-f", "^sleep 300", user="root", check=False):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        bare.enter("pkill", "-KILL", "-f", "/run/django-deploy|^sleep 300", user="root")
        assert deployer.end().status == 1
    bare.run("rm", "/usr/local/bin/caddy", user="root")
    left = bare.run("sh", "-c", "ls -d /run/django-deploy.*", user="root").stdout
    before = bare.run(*loaded).stdout

    set_up(bookshop)

    assert len(left.splitlines()) == 1
    assert "web.sock" in before and "web.2.sock" not in before
    assert "web.2.sock" in bare.run(*loaded).stdout
    assert bare.run("sh", "-c", "ls -d /run/django-deploy.*", user="root", check=False).stdout == ""
    assert "Nothing to do: set up already" in set_up(bookshop)

    bare.run("sh", "-c", "echo '}' >>/etc/caddy/Caddyfile", user="root")
    result = bookshop.run("deploy_setup")

    assert result.status == 1, result
    message = "caddy refuses its own configuration already, before anything is changed in it."
    assert f"  | {message}\n" in result.err


# Hosts that are not as they should be


def test_lock_of_a_deployment(bare: BareMachine, bookshop: Bookshop) -> None:
    aim(bookshop, bare)
    set_up(bookshop)
    bare.run("rm", "/var/lib/systemd/linger/deploy", user="root")

    with subprocess.Popen(
        bare.command("flock", f"{bare.root}/.deploy/lock", "sh", "-c", "echo locked; sleep 60"),
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        result = bookshop.run("deploy_setup")
        holder.kill()

    assert result.status == 1, result
    assert f"deploy@{bare.address}: another deployment is running: somebody, since " in result.err
    assert "Wait for it with --wait SECONDS." in result.err


def test_obstacles_change_nothing(bare: BareMachine, bookshop: Bookshop) -> None:
    aim(bookshop, bare, WEB="caddy", TLS="internal")
    bare.run("sh", "-c", f"mkdir {bare.root}; touch {bare.root}/mine", user="root")
    bare.run("sh", "-c", "nohup python3 -m http.server 80 >/dev/null 2>&1 &", user="root")
    bare.run("sh", "-c", "until ss -Hltn | grep -q :80; do sleep 0.1; done", user="root")
    files = snapshot_of_system(bare)

    result = bookshop.run("deploy_setup")

    assert result.status == 1
    assert result.err == (
        f"CommandError: deploy@{bare.address}: "
        f"{bare.root} is there already, belongs to root and is not empty.\n"
        f"Choose another ROOT, or give it away there, as root: chown -R deploy: {bare.root}\n"
        f"deploy@{bare.address}: python3 listens on port 80, which is to be for caddy.\n"
        "Stop it there, as root: systemctl disable --now python3; or have WEB name it.\n"
        "Nothing was changed.\n"
    )
    assert snapshot_of_system(bare) == files


def test_lists_of_packages_that_cannot_be_fetched(bare: BareMachine, bookshop: Bookshop) -> None:
    """apt says so, and calls it a success."""
    aim(bookshop, bare, WEB="caddy", TLS="internal")
    bare.put("/etc/apt/apt.conf.d/proxy", 'Acquire::http::Proxy "http://127.0.0.1:9";\n', owner="root")
    bare.run("sh", "-c", "rm -rf /var/lib/apt/lists/*", user="root")

    result = bookshop.run("deploy_setup")

    assert result.status == 1, result
    assert "  | The lists of packages cannot be fetched.\n" in result.err, result


def test_another_system(bare: BareMachine, bookshop: Bookshop) -> None:
    """Not a Fedora, but a Debian whose apt-get is away and that says that it is one."""
    aim(bookshop, bare, WEB="caddy", TLS="internal")
    bare.run("mv", "/usr/bin/apt-get", "/usr/bin/apt-gone", user="root")
    bare.run("sh", "-c", "printf '#!/bin/sh\\n' >/usr/bin/dnf; chmod +x /usr/bin/dnf", user="root")
    bare.run("sh", "-c", "echo 'PRETTY_NAME=\"Fedora Linux 43\"' >/etc/os-release", user="root")

    result = bookshop.run("deploy_setup")

    assert result.status == 1
    first = (
        f"deploy@{bare.address}: it runs Fedora Linux 43, and deploy_setup changes only Debian and Ubuntu."
    )
    assert f"{first} Missing there:\n" in result.err
    assert "  | the packages caddy:\n  |     dnf -y install caddy\n" in result.err
    assert "  |     loginctl enable-linger deploy\n" in result.err
    assert result.err.endswith("Then run deploy_setup again, which looks.\nNothing was changed.\n")


def test_key_that_nobody_has(bare: BareMachine, bookshop: Bookshop) -> None:
    """Root's login works, and afterwards the user's: with another home it would not."""
    aim(bookshop, bare)
    set_up(bookshop)

    keys = bare.read("/home/deploy/.ssh/authorized_keys")

    assert keys == bare.laptop.public_key
    modes = bare.run("stat", "-c", "%a %U", "/home/deploy/.ssh", "/home/deploy/.ssh/authorized_keys").stdout
    assert modes == "700 deploy\n600 deploy\n"


# What the site's user may have put in root's way


def test_root_follows_no_link_of_the_user(bare: BareMachine, bookshop: Bookshop) -> None:
    aim(bookshop, bare)
    set_up(bookshop)
    bare.run("sh", "-c", "umask 077; echo secret >/etc/precious", user="root")
    bare.run("sh", "-c", "mkdir -p /etc/victim/media", user="root")
    bare.run("rm", "/var/lib/systemd/linger/deploy", user="root")
    bare.run("ln", "-sf", "/etc/precious", f"{bare.root}/.deploy/lock")

    result = bookshop.run("deploy_setup")

    assert result.status == 1, result
    assert f"cannot create {bare.root}/.deploy/lock: Permission denied\n" in result.err
    assert bare.run("cat", "/etc/precious", user="root").stdout == "secret\n"

    bare.run("rm", "-r", f"{bare.root}/.deploy/lock", f"{bare.root}/shared")
    bare.run("ln", "-s", "/etc/victim", f"{bare.root}/shared")
    result = bookshop.run("deploy_setup")

    assert result.status == 1, result
    shared = f"{bare.root}/shared"
    message = f"{shared} does not belong to deploy. See where it leads: namei -l {shared};"
    assert f"  | {message} and if it is a folder, then as root: chown -hR deploy: {shared}\n" in result.err
    owners = bare.run("stat", "-c", "%U", "/etc/victim", "/etc/victim/media").stdout
    assert owners == "root\nroot\n"

    bare.run("rm", f"{bare.root}/shared")
    set_up(bookshop)
    bare.run("chown", "-R", "root:", f"{bare.root}/.deploy", user="root")
    result = bookshop.run("deploy_setup")

    assert result.status == 1, result
    assert result.err == (
        f"CommandError: deploy@{bare.address}: "
        f"Not all in {bare.root}/.deploy belongs to deploy, as which deploy works there.\n"
        f"Give it back, as root: chown -hR deploy: {bare.root}/.deploy\n"
        "Nothing was changed.\n"
    )

    bare.run("chown", "-hR", "deploy:", f"{bare.root}/.deploy", user="root")
    assert "Nothing to do: set up already" in set_up(bookshop)


def test_root_that_is_in_a_folder_of_the_user(bare: BareMachine, bookshop: Bookshop) -> None:
    aim(bookshop, bare)
    set_up(bookshop)
    bare.run("mkdir", "/etc/victim", user="root")
    bookshop.target["ROOT"] = "/home/deploy/apps/site"
    set_up(bookshop)
    owners = bare.run("stat", "-c", "%U %a", "/home/deploy/apps", "/home/deploy/apps/site/.deploy").stdout
    bare.run("sh", "-c", "cd /home/deploy/apps; rm -r site; ln -s /etc/victim site")

    result = bookshop.run("deploy_setup")

    assert owners == "deploy 755\ndeploy 700\n"
    assert result.status == 1, result
    message = "/home/deploy belongs to deploy, and deploy cannot make /home/deploy/apps/site"
    assert f"  | {message}: root makes nothing there.\n" in result.err
    assert bare.run("stat", "-c", "%U", "/etc/victim").stdout == "root\n"
