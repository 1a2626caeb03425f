"""A step that does what it is told."""

import subprocess
import sys

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("how", choices=sorted(BEHAVIOURS))
        parser.add_argument("--noinput", action="store_true")

    def handle(self, *, how, **options):
        BEHAVIOURS[how](self)


def talk(command):
    command.stdout.write("said on stdout")
    command.stderr.write("said on stderr")
    sys.stdout.write("no line end")


def run_a_program(command):
    subprocess.run(["sh", "-c", "echo from a program; cat; echo and its stderr >&2"], check=True)


def read_input(command):
    command.stdout.write(f"read {sys.stdin.read()!r}")


def ask(command):
    input("Are you sure? ")


def refuse(command):
    raise CommandError("It will not do.", returncode=7)


def crash(command):
    raise ZeroDivisionError("there is a bug")


def leave(status):
    return lambda command: sys.exit(status)


def leave_a_daemon(command):
    """It has the descriptors that are inheritable, and lives for a few seconds."""
    subprocess.Popen(["sleep", "5"], close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


BEHAVIOURS = {
    "ask": ask,
    "crash": crash,
    "leave_0": leave(0),
    "leave_4": leave(4),
    "leave_a_daemon": leave_a_daemon,
    "leave_with_text": leave("all is lost"),
    "read_input": read_input,
    "refuse": refuse,
    "run_a_program": run_a_program,
    "talk": talk,
}
