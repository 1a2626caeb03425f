"""Scripts that a host runs as root: by root's own login, or by that of a user who may use sudo."""

from __future__ import annotations

import queue
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from django_deploy.exceptions import AdministrationRefused, ConnectionLost
from django_deploy.target import Host
from django_deploy.transport.connection import Connection, SSHExecution
from django_deploy.transport.execution import STDERR, STDOUT
from django_deploy.transport.login import Prompts
from django_deploy.transport.printable import printable
from django_deploy.transport.ssh import connect

ROOT = "root"

#: What sudo asks with, and what is said when root's shell is there.
PROMPT = "[django-deploy: password] "
READY = "[django-deploy: ready]"

#: How long sudo may take until it asks or lets us in, in seconds: a directory of users may be slow.
SUDO_TIMEOUT = 60.0

#: Takes the files, whose names and sizes are its arguments, and runs the first one. That goes on to its end
#: even if the link is cut and nobody reads what it says. ``/run`` is memory: what is sent touches no disk.
#: What one that was killed has left there is removed.
BOOT = f"""\
umask 077
for old in /run/django-deploy.*/.pid; do
    [ ! -e "$old" ] || kill -0 "$(cat "$old")" 2>/dev/null || rm -rf "${{old%/*}}"
done
folder=$(mktemp -d /run/django-deploy.XXXXXX) || exit 70
trap 'rm -rf "$folder"' EXIT
echo $$ >"$folder/.pid"
echo '{READY}'
script=$folder/$1
while [ $# -gt 0 ]; do
    head -c "$2" >"$folder/$1"
    [ "$(wc -c <"$folder/$1")" -eq "$2" ] || exit 71
    shift 2
done
umask 022
{{ DEPLOY_FILES=$folder sh "$script" </dev/null 2>&1; echo $? >"$folder/.status"; }} | {{
    trap '' PIPE
    while IFS= read -r line || [ -n "$line" ]; do printf '%s\\n' "$line" 2>/dev/null; done
}}
exit "$(cat "$folder/.status")"
"""

#: Called with each line of output.
Say = Callable[[str], None]


@dataclass(frozen=True)
class RootShell:
    """Runs scripts as root over a connection.

    ``host`` is who is logged in. The password that sudo asks for is asked of ``prompts``; it goes through
    sudo's standard input, and nowhere else.
    """

    host: Host
    connection: Connection
    prompts: Prompts

    def run(self, script: str, files: Mapping[str, bytes], say: Say) -> int:
        """Run ``script``, with ``files`` in the folder ``$DEPLOY_FILES``; gives its exit status.

        Raises ``AdministrationRefused``, after one try with a wrong password, or ``ConnectionLost``.
        """
        contents = {"script.sh": script.encode(), **files}
        sizes = [word for name, content in contents.items() for word in (name, str(len(content)))]
        argv = ["sh", "-c", BOOT, "sh", *sizes]
        if self.host.user != ROOT:
            argv = ["sudo", "-k", "-S", "-p", PROMPT, "--", *argv]
        execution = self.connection.run(f"exec {shlex.join(argv)}")
        conversation = _Conversation(execution, self.host.name)
        self._begin(conversation)
        for content in contents.values():
            execution.send(content)
        execution.end_input()
        for line in conversation.lines():
            say(line)
        return conversation.status()

    def close(self) -> None:
        self.connection.close()

    def _begin(self, conversation: _Conversation) -> None:
        """Up to root's shell: a sudo that wants no password does not ask."""
        if conversation.wait_for(READY, PROMPT) == READY:
            return
        conversation.answer(self._password())
        if conversation.wait_for(READY, PROMPT) == PROMPT:
            conversation.give_up()
            user = self.host.user
            message = f"sudo refuses the password of {user}: it was tried once"
            raise AdministrationRefused(self.host.name, message, remedy="Nothing was changed. Try again.")

    def _password(self) -> str:
        password = self.prompts.password(self.host.name)
        if password is None:
            message = f"sudo asks for the password of {self.host.user}, and there is no terminal to ask at"
            remedy = "Run it at a terminal, or log in as root: --login root"
            raise AdministrationRefused(self.host.name, message, remedy=remedy)
        return password


class _AskingOnce:
    """Asks for a password once, and knows it from then on: sudo's is that of the login."""

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts
        self._password: str | None = None

    def accept_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        return self._prompts.accept_host_key(host, key_type, fingerprint)

    def passphrase(self, path: Path) -> str | None:
        return self._prompts.passphrase(path)

    def password(self, login: str) -> str | None:
        if self._password is None:
            self._password = self._prompts.password(login)
        return self._password


def open_root_shell(host: Host, prompts: Prompts) -> RootShell:
    """Log in as ``host.user``, who is root or may use sudo: with a key, or by a password that is asked for.

    Raises ``ConnectionFailed`` and its kinds.
    """
    prompts = _AskingOnce(prompts)
    return RootShell(host, connect(host, prompts=prompts, may_use_password=True), prompts)


class _Conversation:
    """Both streams of a command that may ask before it begins."""

    def __init__(self, execution: SSHExecution, name: str) -> None:
        self._execution = execution
        self._name = name
        self._news: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._unread = {STDOUT: b"", STDERR: b""}
        self._open = {STDOUT, STDERR}
        for stream in (STDOUT, STDERR):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: str) -> None:
        data = b"."
        while data:
            try:
                data = self._execution.receive(stream, 1 << 16)
            except OSError:
                data = b""
            self._news.put((stream, data))

    def wait_for(self, *words: str) -> str:
        """Read until one of the words comes, on either stream, and give it; what came before is dropped."""
        deadline = time.monotonic() + SUDO_TIMEOUT
        while True:
            for stream, text in self._unread.items():
                for word in words:
                    _, found, rest = text.partition(word.encode())
                    if found:
                        self._unread[stream] = rest.removeprefix(b"\n")
                        return word
            if not self._open or not self._take(deadline - time.monotonic()):
                raise self._refused()

    def _take(self, seconds: float | None) -> bool:
        try:
            stream, data = self._news.get(timeout=None if seconds is None else max(seconds, 0.0))
        except queue.Empty:
            return False
        self._unread[stream] += data
        if not data:
            self._open.discard(stream)
        return True

    def _refused(self) -> AdministrationRefused:
        unread = b"\n".join(text for text in self._unread.values() if text)
        said = printable(unread.replace(PROMPT.encode(), b"").strip(), 400)
        if self._open:
            self.give_up()
            message = f"no root shell within {SUDO_TIMEOUT:g} s"
        else:
            message = "this login gives no root shell"
        remedy = "Name a user who may use sudo, or root: --login USER"
        return AdministrationRefused(self._name, f"{message}{f': {said}' if said else ''}", remedy=remedy)

    def answer(self, password: str) -> None:
        self._execution.send(password.encode() + b"\n")

    def give_up(self) -> None:
        """No further try: sudo finds its input at its end."""
        self._execution.end_input()
        deadline = time.monotonic() + 5.0
        while self._open and self._take(deadline - time.monotonic()):
            pass

    def lines(self) -> Iterator[str]:
        """Each line of standard output, as it comes, to its end."""
        while STDOUT in self._open or self._unread[STDOUT]:
            *whole, rest = self._unread[STDOUT].split(b"\n")
            self._unread[STDOUT] = rest
            if not whole and STDOUT not in self._open:
                whole, self._unread[STDOUT] = [rest], b""
            yield from (line.decode("utf-8", "replace") for line in whole)
            if STDOUT in self._open:
                self._take(None)

    def status(self) -> int:
        status = self._execution.wait()
        if status is None:
            raise ConnectionLost(self._name, "the script was ended", remedy="Run deploy_setup again.")
        return status
