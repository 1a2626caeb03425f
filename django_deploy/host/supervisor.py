"""Processes under a supervisord of this ROOT's own, asked over its XML-RPC socket."""

from __future__ import annotations

import http.client
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import commands
from .layout import RELEASE_ID, Layout, write_atomically
from .log_files import FileReader
from .processes import LOG_LINES, ProcessState
from .protocol import Failure

#: supervisord's statename (its documentation, "Process States") for the states that users read.
STATES = {
    "RUNNING": "running",
    "STARTING": "starting",
    "BACKOFF": "restarting",
    "STOPPING": "stopping",
}

#: Bytes of a log, after which it is put aside, and how many of those are kept.
MAX_LOG_BYTES = 10_000_000
MAX_LOG_BACKUPS = 3

SERVER = """\
; Written by django-deploy.
[supervisord]
logfile={folder}/supervisord.log
logfile_maxbytes={log_bytes}
logfile_backups={log_backups}
pidfile={folder}/supervisord.pid
childlogdir={folder}
identifier={root}

[unix_http_server]
file={folder}/supervisor.sock
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files = {folder}/programs/*.conf
"""

PROGRAM = """\
; Written by django-deploy.
[program:{program}]
command={python} {launch} {process}
directory={folder}
autostart=true
autorestart=true
startsecs=1
startretries=1000000
stopsignal=TERM
stopwaitsecs={stop_timeout:.0f}
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes={log_bytes}
stdout_logfile_backups={log_backups}
"""

SERVICE = """\
; Written by django-deploy.
[program:{name}]
command={command}
autostart=true
autorestart=true
startsecs=1
startretries=1000000
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes={log_bytes}
stdout_logfile_backups={log_backups}
"""

LOG_LIMITS = {"log_bytes": MAX_LOG_BYTES, "log_backups": MAX_LOG_BACKUPS}

#: supervisord out of its unpacked wheel, whose folder is the first argument.
RUN_FROM_FOLDER = """\
import sys
sys.path.insert(0, sys.argv.pop(1))
from supervisor.supervisord import main
main()
"""

#: For cron, too: nobody else starts supervisord after a reboot.
START = """\
#!/bin/sh
exec {argv}
"""

#: A program is named ``<process>@<release>``.
PROGRAM_NAME = re.compile(rf"(.+)@({RELEASE_ID.pattern})")

#: What supervisord's log says of a program that ended.
HOW_IT_ENDED = re.compile(r" (stopped|exited): (\S+) \((.*)\)$")

#: How long supervisord may take to answer after its start, in seconds.
START_TIMEOUT = 15.0


class Supervisor:
    """One supervisord a ROOT, started when first needed; ``tool`` is the folder of its wheel."""

    name = "supervisor"

    def __init__(self, layout: Layout, tool: Path | None) -> None:
        self._layout = layout
        self._tool = tool
        self._folder = layout.private / "supervisor"
        self._programs = self._folder / "programs"

    def start(self, release: str, processes: Sequence[dict[str, Any]]) -> None:
        self._ensure_running()
        self._forget_stopped()
        for process in processes:
            self._write_program(release, process)
        self._call("reloadConfig")
        for process in processes:
            self._add(f"{process['name']}@{release}")

    def _add(self, program: str) -> None:
        try:
            self._ask("addProcessGroup", program)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_ADDED" not in fault.faultString:
                raise _refusal(fault) from None
            # Of an earlier time: it may run still, or be on its way out.
            if self._settled_state(program) != "running":
                self._ignore_fault("stopProcessGroup", program, False)
                self._settled_state(program)
                self._call("removeProcessGroup", program)
                self._call("addProcessGroup", program)

    def _settled_state(self, program: str) -> str:
        """Its state, once it is not on its way out any more."""
        while True:
            states = {f"{state.name}@{state.release}": state.state for state in self._all_states()}
            if states.get(program) != "stopping":  # supervisord kills what does not stop in its time
                return states.get(program, "stopped")
            time.sleep(0.1)

    def stop(self, release: str, names: Sequence[str]) -> None:
        for name in names:
            # Without its file it does not come back, whatever happens to supervisord.
            self._program_file(release, name).unlink(missing_ok=True)
        if not self._is_running():
            return
        for name in names:
            self._ignore_fault("stopProcessGroup", f"{name}@{release}", False)

    def forget(self, release: str, names: Sequence[str]) -> None:
        for name in names if self._is_running() else ():
            self._ignore_fault("removeProcessGroup", f"{name}@{release}")  # one that stops still, stays

    def drop(self, release: str) -> None:
        for log in self._folder.glob(f"*@{release}.log*"):
            log.unlink(missing_ok=True)

    def enable(self, release: str, names: Sequence[str]) -> None:
        """Nothing to do: whoever starts supervisord again gets every program that has a file."""

    def disable(self, release: str, names: Sequence[str]) -> None:
        """Nothing to do before ``stop``, which removes the file."""

    def left_to_hand(self, release: str, names: Sequence[str]) -> list[str]:
        """All, unless the user's crontab starts supervisord."""
        lines: list[str] = []
        with suppress(Failure):  # there is no cron
            commands.run(["crontab", "-l"], on_line=lambda stream, line: lines.append(line), timeout=10)
        script = str(self._folder / "start")
        is_started = any(line.startswith("@reboot") and script in line for line in lines)
        return [] if is_started else list(names)

    def states(self) -> list[ProcessState]:
        if not self._is_running():
            return []
        return [state for state in self._all_states() if state.state != "stopped" or self._is_wanted(state)]

    def _all_states(self) -> list[ProcessState]:
        found = []
        asked = self._call("getAllProcessInfo")
        stops, exits = self._ends()  # read after: the end of whatever is said to have stopped is in there
        for info in asked:
            name = info["name"]
            match = PROGRAM_NAME.fullmatch(name)
            if match:
                state = STATES.get(info["statename"], "stopped")
                if state == "stopped" and stops.get(name) == "terminated by SIGKILL":
                    state = "killed"
                since = float(info["start"]) if state == "running" else 0.0
                found.append(
                    ProcessState(match[1], match[2], state, since, int(info["pid"]), exits.count(name))
                )
        return found

    def _ends(self) -> tuple[dict[str, str], list[str]]:
        """How programs stopped that were told to, and those that ended by themselves: only the log has it."""
        lines = _tail(self._folder / "supervisord.log")
        found = [match.groups() for line in lines if (match := HOW_IT_ENDED.search(line))]
        return (
            {program: how for verb, program, how in found if verb == "stopped"},
            [program for verb, program, _ in found if verb == "exited"],
        )

    def _is_wanted(self, state: ProcessState) -> bool:
        return self._program_file(state.release, state.name).exists()

    def _forget_stopped(self) -> None:
        """Drop the programs that were told to stop and had not stopped yet at that time."""
        for state in self._all_states():
            if state.state == "stopped" and not self._is_wanted(state):
                self._ignore_fault("removeProcessGroup", f"{state.name}@{state.release}")

    def close(self) -> None:
        if self._is_running():
            self._ignore_fault("shutdown")

    def log(self, release: str, name: str) -> list[str]:
        return _tail(self._log_file(name, release))[-LOG_LINES:]

    def serve(self, name: str, argv: Sequence[str]) -> None:
        self._ensure_running()
        command = " ".join(_quoted(Path(word)) for word in argv)
        log = _expanded(self._folder / f"{name}.log")
        text = SERVICE.format(name=name, command=command, log=log, **LOG_LIMITS)
        write_atomically(self._programs / f"{name}.conf", text)
        self._call("reloadConfig")
        self._ignore_fault("addProcessGroup", name)  # it may run already

    def end(self, name: str) -> None:
        (self._programs / f"{name}.conf").unlink(missing_ok=True)
        if self._is_running():
            self._ignore_fault("stopProcessGroup", name)
            self._ignore_fault("removeProcessGroup", name)

    def log_reader(self) -> FileReader:
        return FileReader(self._log_file)

    def _program_file(self, release: str, name: str) -> Path:
        return self._programs / f"{name}@{release}.conf"

    def _log_file(self, name: str, release: str) -> Path:
        return self._folder / f"{name}@{release}.log"

    def _write_program(self, release: str, process: dict[str, Any]) -> None:
        write_atomically(self._program_file(release, process["name"]), self.program_text(release, process))

    def program_text(self, release: str, process: dict[str, Any]) -> str:
        """What supervisord reads of a process."""
        folder = self._layout.release(release).path
        return PROGRAM.format(
            program=f"{process['name']}@{release}",
            process=process["name"],
            python=_quoted(folder / "venv" / "bin" / "python"),
            launch=_quoted(folder / "launch.py"),
            folder=_expanded(folder),
            log=_expanded(self._log_file(process["name"], release)),
            stop_timeout=max(1, process["stop_timeout"]),
            **LOG_LIMITS,
        )

    def _ensure_running(self) -> None:
        if self._is_running():
            return
        self._programs.mkdir(parents=True, exist_ok=True)
        text = SERVER.format(folder=_expanded(self._folder), root=_expanded(self._layout.root), **LOG_LIMITS)
        write_atomically(self._folder / "supervisord.conf", text)
        self._launch()
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_running():
            if time.monotonic() > deadline:
                lines = _tail(self._folder / "supervisord.log")[-10:]
                raise Failure("ProcessFailed", "supervisord does not answer", lines=lines)
            time.sleep(0.05)

    def _launch(self) -> None:
        """supervisord makes itself a daemon; a session of its own keeps our signals from it."""
        script = self._folder / "start"
        argv = [*self._program(), "--configuration", str(self._folder / "supervisord.conf")]
        write_atomically(script, START.format(argv=shlex.join(argv)), 0o755)
        try:
            subprocess.run(
                [str(script)],
                env=self._environment(),
                cwd=str(self._layout.root),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                check=True,
                timeout=START_TIMEOUT,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            why = f" within {START_TIMEOUT:g} s" if isinstance(error, subprocess.TimeoutExpired) else ""
            lines = (error.stderr or b"").decode("utf-8", "replace").splitlines()[-10:]
            raise Failure("ProcessFailed", f"supervisord does not start{why}", lines=lines) from None

    def _program(self) -> list[str]:
        if self._tool is not None:
            return [sys.executable, "-c", RUN_FROM_FOLDER, str(self._tool)]
        path = shutil.which("supervisord")
        if path is None:
            raise Failure(
                "ProcessFailed", "there is no supervisord on the host", "Deploy again: it is sent along."
            )
        return [path]

    @staticmethod
    def _environment() -> dict[str, str]:
        """What the site's processes inherit: nothing of the SSH session that happened to start it."""
        names = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TZ", "USER")
        return {name: os.environ[name] for name in names if name in os.environ}

    def _is_running(self) -> bool:
        try:
            self._ask("getState")
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return False
        return True

    def _call(self, method: str, *arguments: Any) -> Any:
        """Raises ``Failure`` (``ProcessFailed``) with what supervisord says where it refuses."""
        try:
            return self._ask(method, *arguments)
        except xmlrpc.client.Fault as fault:
            raise _refusal(fault) from None

    def _ask(self, method: str, *arguments: Any) -> Any:
        transport = _UnixTransport(str(self._folder / "supervisor.sock"))
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)

    def _ignore_fault(self, method: str, *arguments: Any) -> None:
        """For what may have been done already."""
        with suppress(xmlrpc.client.Fault):
            self._ask(method, *arguments)


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        from .health import UnixConnection

        connection = UnixConnection(self._path, timeout=60)
        self._connection = host, connection  # which close() closes
        return connection


def _refusal(fault: xmlrpc.client.Fault) -> Failure:
    return Failure("ProcessFailed", f"supervisord refuses: {fault.faultString}")


def _tail(path: Path) -> list[str]:
    """The last lines of a log, as many as 64 kB are."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 65536))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        return [f"({path} cannot be read: {error.strerror})"]


def _expanded(path: Path) -> str:
    """supervisord expands ``%(name)s`` in values."""
    return str(path).replace("%", "%%")


def _quoted(path: Path) -> str:
    return '"' + _expanded(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
