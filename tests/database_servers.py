"""Real database servers on loopback, each in a folder of its own and gone with the test run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def missing(what, package):
    """Skips, loudly; where DJANGO_DEPLOY_TEST_DATABASES is ``required``, fails."""
    reason = f"{what} is not installed here (Debian: apt install {package}): nothing is known of it"
    if os.environ.get("DJANGO_DEPLOY_TEST_DATABASES") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def find(program, pattern):
    """A program that may lie outside of PATH, of its newest version."""
    found = sorted(Path("/").glob(pattern), key=lambda path: [int(p) for p in path.parts if p.isdigit()])
    return str(found[-1]) if found else shutil.which(program)


@contextmanager
def home(name):
    """A server's folder, and as whom it runs: never as root. pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as path:
        folder = Path(path)
        if os.geteuid():
            yield folder, {}
        else:
            shutil.chown(folder, name, name)
            yield folder, {"user": name, "group": name, "extra_groups": [], "cwd": folder}


@contextmanager
def running(argv, port, folder, **options):
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL, **options)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def postgresql():
    """Its settings for Django, without a NAME."""
    initdb, postgres = (find(name, f"usr/lib/postgresql/*/bin/{name}") for name in ("initdb", "postgres"))
    if not initdb or not postgres:
        missing("PostgreSQL", "postgresql")
    with home("postgres") as (folder, who):
        data, port = folder / "data", closed_port()
        command = [initdb, "--username=library", "--auth=trust", "--no-sync", "--encoding=UTF8", str(data)]
        subprocess.run(command, check=True, capture_output=True, **who)
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "fsync": "off",
        }
        argv = [postgres, "-D", str(data), *(word for k, v in options.items() for word in ("-c", f"{k}={v}"))]
        with running(argv, port, folder, **who):
            _wait_until_it_has_started(port)
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": "127.0.0.1",
                "PORT": port,
                "USER": "library",
            }


def _wait_until_it_has_started(port):
    """PostgreSQL listens before it lets anybody in."""
    import psycopg

    deadline = time.monotonic() + 60
    while True:
        try:
            return psycopg.connect(f"host=127.0.0.1 port={port} user=library dbname=postgres").close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def mariadb():
    """Its settings for Django, without a NAME."""
    install, server = shutil.which("mariadb-install-db"), find("mariadbd", "usr/sbin/mariadbd")
    if not install or not server:
        missing("MariaDB", "mariadb-server")
    with home("mysql") as (folder, who):
        data, port = folder / "data", closed_port()
        command = [install, "--no-defaults", "--auth-root-authentication-method=normal", f"--datadir={data}"]
        subprocess.run(command, check=True, capture_output=True, **who)
        options = ["--no-defaults", f"--datadir={data}", "--bind-address=127.0.0.1", f"--port={port}"]
        options += [
            f"--socket={folder}/socket",
            f"--pid-file={folder}/pid",
            "--innodb-flush-log-at-trx-commit=0",
        ]
        with running([server, *options], port, folder, **who):
            yield {"ENGINE": "django.db.backends.mysql", "HOST": "127.0.0.1", "PORT": port, "USER": "root"}


def create_database(settings, name):
    """A new and empty one; its settings."""
    if settings["ENGINE"].endswith("postgresql"):
        import psycopg

        place = f"host=127.0.0.1 port={settings['PORT']} user=library dbname=postgres"
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
    else:
        import pymysql

        with pymysql.connect(host="127.0.0.1", port=settings["PORT"], user="root") as connection:
            connection.cursor().execute(f"CREATE DATABASE {name}")
    return {**settings, "NAME": name}
