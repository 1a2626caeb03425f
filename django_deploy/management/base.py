"""What the commands share: the reporter, the terminal's questions, errors turned into exit statuses."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import replace
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from django_deploy import conf
from django_deploy.exceptions import ConfigError, DeployError, Interrupted, ids_of
from django_deploy.management.colors import ColoredCommand
from django_deploy.reporters.choice import reporter_for
from django_deploy.reporters.plain import Reporter
from django_deploy.reporters.record import RecordingReporter
from django_deploy.reporters.secrets import Secrets
from django_deploy.reporters.text import printable

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_deploy.target import Target

#: What a shell has of a program that SIGPIPE has ended: 128 and its number (signal(7)).
PIPE_STATUS = 141


class DeployCommand(ColoredCommand):
    """A command about one target.

    A ``DeployError`` becomes a message on standard error and its exit status; anything else is a
    bug and keeps its traceback. Secrets of the target are masked in both.
    """

    #: Mistakes in DEPLOY_TARGETS are ``conf``'s to report, all of them, and other apps' checks do not
    #: matter to a deployment.
    requires_system_checks = ()

    secrets = Secrets()

    #: That ended the command.
    error: DeployError | None = None

    #: What is so once all is done, a sentence; empty until then.
    done = ""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As Django's, but an expected error has its own exit status, and SIGTERM is Ctrl-C."""
        try:
            with _terminable(), _json_alone(is_wanted=bool(options.get("json"))):
                return super().execute(*args, **options)
        except DeployError as error:
            raise self.failure(error) from error
        except KeyboardInterrupt as error:
            message = f"Interrupted, but too late: {self.done}" if self.done else "Interrupted."
            raise self.failure(Interrupted(message)) from error

    def failure(self, error: DeployError, status: int | None = None) -> CommandError:
        """What Django prints of an expected error, and ends with."""
        self.error = error
        return CommandError(
            self.presentable(str(error)), returncode=error.exit_status if status is None else status
        )

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django's; behind an error stands its id, which docs/reference/errors.rst explains."""
        try:
            super().run_from_argv(argv)
        except SystemExit:
            if self.error is not None:
                self.stderr.write(self.presentable(_reference(self.error, argv)))
            raise
        except BrokenPipeError:
            # Whoever read has enough, as ``head`` has; what is written at the very end goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(PIPE_STATUS)

    def get_target(self, name: str, hosts: str | None = None, wait: float | None = None) -> Target:
        """The target of that name, with ``--hosts`` and ``--wait``; from here on its secrets are masked."""
        target = conf.get_target(name)
        self.secrets = Secrets(target)
        if hosts is not None:
            target = target.limited_to(hosts)
        return target if wait is None else replace(target, lock_wait=_seconds(wait))

    def add_host_arguments(self, parser: CommandParser) -> None:
        """The options of commands that change hosts."""
        self.add_hosts_argument(parser)
        parser.add_argument(
            "--skip-unreachable",
            action="store_true",
            help="Continue without hosts at whose address nothing answers.",
        )
        self.add_wait_argument(parser)

    def add_wait_argument(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--wait",
            type=float,
            metavar="SECONDS",
            help="How long to wait for another deployment (LOCK_WAIT).",
        )

    def add_hosts_argument(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--hosts",
            metavar="PATTERN",
            help="Only hosts of these names or addresses: 'web1,db*'.",
        )

    def add_view_arguments(self, parser: CommandParser) -> None:
        """The options of commands that take their time, about what is shown of it."""
        parser.add_argument("--plain", action="store_true", help="Plain lines: no colours, nothing moves.")
        parser.add_argument("--timings", action="store_true", help="Show at the end when each host did what.")
        parser.add_argument("--report", type=Path, metavar="FILE", help="Write how it went as an HTML page.")

    @contextmanager
    def reporting(self, *, json: bool, options: dict[str, Any], title: str = "") -> Iterator[Reporter]:
        """A reporter for standard output, ended with the block; ``title`` is that of a ``--report``."""
        self.stdout.ending = ""  # the reporter writes whole lines, and parts of them
        reporter = reporter_for(
            self.stdout,
            json=json,
            verbosity=options["verbosity"],
            secrets=self.secrets,
            color=False if options["no_color"] else None,
            is_plain=options.get("plain", False),
        )
        timings, report = options.get("timings", False), options.get("report")
        if report is not None:
            check_writable("--report", report)
        if timings or report:
            reporter = RecordingReporter(reporter, title, timings=timings, report=report)
        with reporter:
            yield reporter

    def terminal(self, reporter: Reporter, *, json: bool, is_output_kept: bool = False) -> Terminal:
        """Who is asked. ``is_output_kept``: also one who has the output go to a file, beside it."""
        has_keyboard = sys.stdin is not None and sys.stdin.isatty()
        has_screen = self.stdout.isatty() or (is_output_kept and sys.stderr.isatty())
        is_interactive = not json and has_keyboard and has_screen
        is_kept = is_output_kept and not self.stdout.isatty()
        return Terminal(reporter.paused, is_interactive=is_interactive, is_output_kept=is_kept)

    def say(self, line: str = "") -> None:
        self.stdout.write(line, ending="\n")

    def presentable(self, text: str) -> str:
        """A text of several lines that may come from a host: no control characters, no secrets."""
        return self.secrets.clean_text(text)


class Terminal:
    """Asks the person at the terminal; without one, every answer is no.

    One question at a time, although hosts are connected in parallel; the display makes way for it.
    """

    def __init__(
        self,
        pause: Callable[[], AbstractContextManager[None]],
        *,
        is_interactive: bool,
        is_output_kept: bool = False,
    ) -> None:
        """``is_output_kept``: the output goes to a file, and questions to standard error."""
        self.is_interactive = is_interactive
        self._is_output_kept = is_output_kept
        self._pause = pause
        self._lock = threading.Lock()

    def accept_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        """Whether the person trusts an unknown host key."""
        lines = [f"The key of {host} is not known.", f"{key_type} {fingerprint}"]
        return self.confirm(
            "Is this the host that you mean, and trusted from now on?", default=False, about=lines
        )

    def passphrase(self, path: Path) -> str | None:
        """The passphrase of a key file; None when there is nobody to ask."""
        if not self.is_interactive:
            return None
        with self._lock, self._pause():
            try:
                return getpass(f"Passphrase of {printable(str(path))}: ")
            except EOFError:
                return None

    def password(self, login: str) -> str | None:
        """The password of a user on a host; None when there is nobody to ask."""
        if not self.is_interactive:
            return None
        with self._lock, self._pause():
            try:
                return getpass(f"Password of {printable(login)}: ")
            except EOFError:
                return None

    def ask(self, question: str) -> str:
        """What the person types; empty when there is nobody to ask."""
        if not self.is_interactive:
            return ""
        with self._lock, self._pause():
            try:
                return self._typed(f"{question} ")
            except EOFError:
                return ""

    def _typed(self, prompt: str) -> str:
        """A line of the person's."""
        if self._is_output_kept:
            print(prompt, end="", file=sys.stderr, flush=True)
            return input().strip()
        return input(prompt).strip()

    def confirm(self, question: str, *, default: bool, about: list[str] | None = None) -> bool:
        """Yes or no; ``default`` is what Enter means."""
        if not self.is_interactive:
            return False
        text = "\n".join([*map(printable, about or []), f"{question} {'[Y/n]' if default else '[y/N]'} "])
        with self._lock, self._pause():
            try:
                answer = self._typed(text).casefold()
            except EOFError:
                return False
        return answer in {"y", "yes"} if answer else default


def check_writable(option: str, file: Path) -> None:
    """``ConfigError`` where no file can be written: better told now than when all has been done."""
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise ConfigError(f"{option} {file}: no file can be written there.")


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, as CI services and shutdowns send it: what Ctrl-C undoes and puts right, that does, too."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None: it was not set by Python


@contextmanager
def _json_alone(*, is_wanted: bool) -> Iterator[None]:
    """With ``--json``, what the project prints goes to standard error; we write to a stream of our own."""
    if not is_wanted:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def _seconds(wait: float) -> float:
    if not 0 <= wait < float("inf"):
        raise ConfigError(f"--wait must be 0 or more seconds, not {wait:g}.")
    return wait


def _reference(error: DeployError, argv: Sequence[str]) -> str:
    """Its id, the phase that it ended, and what to type once it is fixed, if it does not say so itself."""
    phase = f" in phase {error.phase}" if error.phase else ""
    has_words = "manage.py" in str(error) or error.exit_status != DeployError.exit_status
    again = shlex.join([Path(argv[0]).name, *argv[1:]]) if phase and not has_words else ""
    return f"[{', '.join(ids_of(error))}]{phase}{f'; then: {again}' if again else ''}"
