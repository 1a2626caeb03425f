"""``manage.py deploy_run TARGET [-- COMMAND]``."""

from __future__ import annotations

import os
import re
import sys
import threading
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

from django_deploy.exceptions import ConfigError, HostError
from django_deploy.host.live import NOT_RUN
from django_deploy.management import keyboard
from django_deploy.management.base import DeployCommand, Terminal
from django_deploy.management.help_text import with_examples
from django_deploy.reporters.text import LONGEST_STRING, printable
from django_deploy.transport.execution import STDERR

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_deploy.target import Host, Target

EXAMPLES = """
  manage.py deploy_run staging                                  Django's shell
  manage.py deploy_run staging -- createsuperuser
  manage.py deploy_run staging -- dumpdata blog > blog.json
  manage.py deploy_run staging --role web -- clear_cache
  manage.py deploy_run staging --all -- showmigrations --plan
"""


#: Django says that all is well, and nobody can log in.
UNSENT = (
    "DJANGO_SUPERUSER_PASSWORD is not sent, as nothing of this environment is. With --noinput nobody has a"
    " password then: manage.py deploy_run {target} -- changepassword NAME."
)

#: What Django's ``dbshell`` says where the database's own program is missing, and packages of another name.
MISSING = re.compile(rb"not to have the '([\w-]+)' program installed")
PACKAGES = {"psql": "postgresql-client", "mysql": "default-mysql-client"}

#: Of what a command writes, so many last bytes are kept to be looked at.
KEPT_BYTES = 500


class Command(DeployCommand):
    """Runs a management command on the site; its exit status is the command's own."""

    help = (
        "Runs a manage.py command of the live release on the first host of a target, with the site's "
        "settings and environment, as if you sat there. Its exit status is the command's own; 255 "
        "when it could not be run."
    )

    create_parser = with_examples(EXAMPLES)

    def add_arguments(self, parser: CommandParser) -> None:
        # argparse does not show what stands ahead of the command's own options.
        parser.usage = "%(prog)s [--hosts PATTERN | --role ROLE | --all]\n       target [-- COMMAND ...]"
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument(
            "words", nargs="*", metavar="COMMAND", help="After a --: the command (default: shell)."
        )
        where = parser.add_mutually_exclusive_group()
        where.add_argument("--hosts", metavar="PATTERN", help="On the hosts of these names, as of 'deploy'.")
        where.add_argument("--role", help="On every host of this role.")
        where.add_argument("--all", action="store_true", help="On every host.")

    def handle(
        self,
        *,
        target: str,
        words: list[str],
        hosts: str | None,
        role: str | None,
        all: bool,
        **options: Any,
    ) -> None:
        chosen = self.get_target(target, hosts)
        if role is not None:
            chosen = _with_role(chosen, role)
        elif hosts is None and not all:
            chosen = chosen.without(chosen.hosts[1:])
        words = words or ["shell"]
        if words[0] == "createsuperuser" and "DJANGO_SUPERUSER_PASSWORD" in os.environ:
            self.stderr.write(self.style.WARNING(UNSENT.format(target=target)))
        try:
            status = self.run_on(chosen, words) if len(chosen.hosts) == 1 else self.run_on_all(chosen, words)
        except HostError as error:
            raise self.failure(error, NOT_RUN) from error
        if status:
            sys.exit(status)

    def run_on(self, target: Target, words: list[str]) -> int:
        """On one host, with our own streams, byte for byte."""
        from django_deploy.running import CommandLink, start

        [host] = target.hosts
        has_terminal = keyboard.has_terminal()
        window = keyboard.window() if has_terminal else None
        if has_terminal:
            self.say(self.style.MIGRATE_HEADING(f"{target.name}, {host.name}:"))
        execution = start(host, target, words, prompts=self._prompts(), window=window)
        is_passed_on = has_terminal and not host.is_local
        with ExitStack() as stack:
            resized = stack.enter_context(keyboard.handed_over()) if is_passed_on else lambda: None
            source = None if has_terminal and host.is_local else _input()
            echo = _Echo()
            status = CommandLink(execution, echo, source, has_terminal, resized).run()
        if status and words[0] == "dbshell" and (missing := MISSING.search(echo.end)):
            package = PACKAGES.get(missing[1].decode(), missing[1].decode())
            self.stderr.write(f"On {host.name}, as root (Debian and Ubuntu): apt-get install {package}")
        return status

    def run_on_all(self, target: Target, words: list[str]) -> int:
        """On several hosts at once, line by line; the highest exit status."""
        from django_deploy.running import CommandOnHosts

        lock = threading.Lock()
        width = max(len(host.name) for host in target.hosts)

        def say(host: Host, stream: str, line: str) -> None:
            text = self.secrets.clean(line, LONGEST_STRING)
            with lock:
                (self.stderr if stream == STDERR else self.stdout).write(f"{host.name:{width}}  {text}")

        def fail(error: HostError) -> None:
            with lock:
                self.stderr.write(self.presentable(str(error)))

        statuses = CommandOnHosts(target, words, say, fail, self._prompts()).run()
        failed = {host.name: status for host, status in statuses.items() if status}
        if failed:
            text = ", ".join(f"{printable(name)} ({status})" for name, status in failed.items())
            self.stderr.write(f"Failed on {len(failed)} of {len(statuses)} hosts: {text}.")
        return max(statuses.values())

    def _prompts(self) -> Terminal:
        return Terminal(nullcontext, is_interactive=keyboard.has_terminal())


def _with_role(target: Target, role: str) -> Target:
    others = [host for host in target.hosts if role not in host.roles]
    if len(others) == len(target.hosts):
        roles = ", ".join(sorted({role for host in target.hosts for role in host.roles})) or "none"
        raise ConfigError(f"No host of {target.name!r} has the role {role!r}.", remedy=f"There is: {roles}.")
    return target.without(others)


def _input() -> int | None:
    """The descriptor of standard input; a daemon may have none."""
    try:
        return sys.stdin.fileno() if sys.stdin is not None else None
    except (OSError, ValueError):
        return None


class _Echo:
    """Writes what comes where it belongs, byte for byte; ``end`` is the last of it."""

    def __init__(self) -> None:
        self.end = b""

    def __call__(self, stream: str, data: bytes) -> None:
        self.end = (self.end + data)[-KEPT_BYTES:]
        descriptor = (sys.stderr if stream == STDERR else sys.stdout).fileno()
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
