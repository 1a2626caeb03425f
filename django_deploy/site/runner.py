"""The step runner: one Django process that serves a whole deployment.

``manage.py deploy_steps --reply-fd N`` reads one JSON object a line from standard input and answers
each with one JSON object a line on descriptor N. Whatever commands print goes to standard output and
standard error, untouched and flushed before the reply; commands themselves find an empty standard
input. End of input ends the process with status 0.

``{"do": "describe"}``
    ``{"ok": true, "installed_apps": [NAME...], "allowed_hosts": [...], "debug": BOOL,
    "ssl_header": [NAME, VALUE] | null, "ssl_redirect": BOOL, "static_root": PATH | null,
    "media_root": PATH | null, "databases": {ALIAS: VENDOR}, "python": "3.11.2", "django": "5.2.19"}``

``{"do": "preflight", "commands": [NAME...], "required": [NAME...]}``
    Whether this release could serve: see ``preflight.py``.
    ``{"ok": BOOL, "errors": [TEXT...], "warnings": [TEXT...], "templates": [TEXT...]}``

``{"do": "run", "command": [NAME, ARGUMENT...], "requires_app": APP}``
    Runs a management command; ``requires_app`` may be empty or missing.
    ``{"ok": true, "seconds": S, "result": {...}}``,
    ``{"ok": true, "seconds": 0.0, "result": {}, "skipped": REASON}`` without the app that it requires,
    ``{"ok": false, "seconds": S, "result": {...}, "exit": STATUS, "error": TEXT}`` when it fails.
    ``result`` is structured, and honest after a failure as well: see ``results.py``.

``{"do": "tables"}``
    ``{"ok": true, "tables": {...}}``: what this release's code uses of the database, see ``tables.py``.

``{"do": "identify", "commands": [[NAME, ARGUMENT...]...], "salt": TEXT}``
    ``{"ok": true, "databases": {ALIAS: {...}}}``: those that these ``migrate`` commands write to, see
    ``databases.py``.

``{"do": "reach"}``
    ``{"ok": true, "databases": {ALIAS: {...}}}``: whether each of the site's databases answers, see
    ``databases.py``. Nothing is written, no database is made.

``{"do": "plan_migrations", "command": [NAME, ARGUMENT...]}``
    ``{"ok": true, "plan": {...} | null}``: what a ``migrate`` command would do, see ``migrations.py``; null
    where the site has no database.

``{"do": "unmigrated", "commands": [[NAME, ARGUMENT...]...]}``
    ``{"ok": true, "unmigrated": {ALIAS: [NAME...]}}``: what is pending in databases to which none of these
    ``migrate`` commands goes.

``{"do": "guard", "database": ALIAS, "owner": {"target": T, "root": R, "host": H}, "wait": SECONDS}``
    Takes the lock of a database's migrations, and writes down whose it is; makes a file of SQLite that is not
    there yet, for its owner only. ``{"ok": true}``.

``{"do": "unguard"}``
    Gives the lock back. ``{"ok": true}``.

``{"do": "describe_database", "database": ALIAS}``
    ``{"ok": true, "database": {...}}``: what is to be known of a dump, see ``backups.py``.

``{"do": "dump", "database": ALIAS, "file": PATH}``, ``{"do": "restore", "database": ALIAS, "file": PATH}``
    Writes the database into a file that is empty, or makes it what it was when that was written.
    ``{"ok": true}``, ``{"ok": false, "error": TEXT, "remedy": TEXT, "damaged": BOOL}``; see ``dumps.py``.

``{"do": "check_anonymizer", "database": ALIAS, "callable": PATH}``
    ``{"ok": true}``: the callable is there, and may get a second database. Nothing is made.

``{"do": "anonymize", "database": ALIAS, "callable": PATH, "source": FILE, "work": FOLDER, "name": NAME,
"file": FILE}``
    Puts a dump into a second database, lets the callable change it, dumps that. The reply is as of ``dump``;
    see ``anonymization.py``.

``{"do": "compare", "database": ALIAS, "migrations": [...], "tables": {...}}``
    ``{"ok": true, "since": {...}}``: what has happened since these were the database's, see ``backups.py``.

``{"do": "judge_applied", "database": ALIAS, "migrations": [NAME...]}``
    ``{"ok": true, "applied": {...}}``: what migrations have done that are applied, see ``reversal.py``.

``{"do": "losses", "database": ALIAS, "migrations": [NAME...]}``
    ``{"ok": true, "losses": [...]}``: what taking them back would lose, see ``reversal.py``.

``{"do": "move", "database": ALIAS, "migrations": [NAME...], "backwards": BOOL}``
    Takes them back, or applies them again; the reply is that of ``run``.

``{"do": "explain", "path": PATH, "host": HOST, "headers": {NAME: VALUE...}}``
    Asks the site for a page, in this process: ``{"ok": true, "lines": [TEXT...]}``, its traceback, if any.

``{"do": "settings"}``, ``{"do": "static_files"}``
    ``{"ok": true, "settings": {...}}``, ``{"ok": true, "files": {...} | null}``: what another release can be
    compared with, see ``comparison.py``.

A request that is none of these, or that cannot be answered, gets ``{"ok": false, "error": TEXT}``.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from django.apps import apps
from django.core.management import BaseCommand, CommandError, call_command, get_commands, load_command_class
from django.db import connections

from .anonymization import anonymize, check_anonymizer
from .backups import compare, describe_database
from .comparison import settings_of_site, static_files
from .databases import has_engine, identify, make_private, reach
from .description import describe
from .dumps import DumpFailed, connection_to, dumper
from .explanation import explain
from .migration_lock import LockTaken, MigrationLock
from .migrations import plan_migrations, read_command, unmigrated
from .owners import Owner, sign
from .preflight import preflight
from .results import Results
from .reversal import judge_applied, losses, move
from .tables import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Reply = dict[str, Any]

#: The locks of databases that this process holds.
_locks: list[MigrationLock] = []


class BadRequest(Exception):
    """The request is not one of the protocol's."""


def serve(requests: Iterable[str], replies: TextIO) -> None:
    """Answer every request until there are no more."""
    for line in requests:
        reply = answer(line)
        sys.stdout.flush()
        sys.stderr.flush()
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def take_standard_input() -> TextIO:
    """What was standard input; commands see an empty one from now on, and so do their children."""
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return requests


def answer(line: str) -> Reply:
    """The reply to one request; no exception of a command gets past this."""
    try:
        request = _parse(line)
        return REQUESTS[request["do"]](request)
    except BadRequest as error:
        return {"ok": False, "error": str(error)}
    except DumpFailed as error:
        told = {"remedy": error.remedy, "damaged": error.is_damaged}
        return {"ok": False, "error": str(error), **told}
    except Exception as error:  # the settings may be such that they cannot even be described
        _print_error(error, with_traceback=True)
        return {"ok": False, "error": _short(error)}
    finally:
        # The next request may come minutes later, on connections that a server has given up.
        connections.close_all()


def _parse(line: str) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except ValueError:
        raise BadRequest(f"This is not JSON: {line.strip()[:200]!r}") from None
    if not isinstance(request, dict) or request.get("do") not in list(REQUESTS):
        raise BadRequest(f"A request does one of {', '.join(REQUESTS)}, not this: {line.strip()[:200]}")
    return request


def run(request: dict[str, Any]) -> Reply:
    """Run one management command, as ``call_command`` does."""
    name, *arguments = _words(request)
    app = request.get("requires_app") or ""
    if app and not apps.is_installed(app):
        return _skipped(f"{app} is not in INSTALLED_APPS")
    if name == "migrate" and not _has_database():
        return _skipped("the site has no database")
    started = time.monotonic()
    with Results() as results:
        failure = _outcome(name, arguments, results)
    seconds = round(time.monotonic() - started, 3)
    return {"ok": not failure, "seconds": seconds, "result": results.as_dict(), **failure}


def _skipped(reason: str) -> Reply:
    return {"ok": True, "seconds": 0.0, "result": {}, "skipped": reason}


def _has_database() -> bool:
    return any(has_engine(connections[alias]) for alias in connections)


def _words(request: dict[str, Any]) -> list[str]:
    command = request.get("command")
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        raise BadRequest(f"'command' is a list of words, not this: {command!r}")
    return command


def _outcome(name: str, arguments: list[str], results: Results) -> Reply:
    """Nothing when the command went well, else its ``exit`` and ``error``."""
    try:
        command = _load(name)
        results.command = command
        call_command(command, *arguments)
    except SystemExit as leaving:
        return _leaving(leaving)
    except CommandError as error:
        _print_error(error, with_traceback="--traceback" in arguments)
        return {"exit": error.returncode, "error": f"CommandError: {error}"}
    except Exception as error:
        _print_error(error, with_traceback=True)
        return {"exit": 1, "error": _short(error)}
    return {}


def _load(name: str) -> BaseCommand:
    """The command of that name; ``CommandError`` says which apps were searched."""
    commands = get_commands()
    if name in commands:
        # Django's own commands are listed by app name, those that a project registers as instances.
        found: str | BaseCommand = commands[name]
        return load_command_class(found, name) if isinstance(found, str) else found
    close = get_close_matches(name, commands, n=1)
    guess = f" Did you mean {close[0]}?" if close else ""
    searched = ", ".join(app.name for app in apps.get_app_configs())
    raise CommandError(f"No app of the site has a command {name!r}.{guess} The apps are: {searched}")


def _leaving(leaving: SystemExit) -> Reply:
    """As Python itself reads ``sys.exit()``: None and 0 are good, a text is an error."""
    if leaving.code is None or leaving.code == 0:
        return {}
    if isinstance(leaving.code, int):
        return {"exit": leaving.code, "error": f"SystemExit: {leaving.code}"}
    print(leaving.code, file=sys.stderr)
    return {"exit": 1, "error": f"SystemExit: {leaving.code}"}


def _print_error(error: Exception, *, with_traceback: bool) -> None:
    if with_traceback:
        traceback.print_exception(error)
    else:
        print(f"CommandError: {error}", file=sys.stderr)


def _short(error: Exception) -> str:
    text = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, EOFError):
        return f"{text}. The command asked a question, and nobody can answer: use --noinput"
    return text


def _plan(request: dict[str, Any]) -> Reply:
    return {"ok": True, "plan": plan_migrations(_words(request)) if _has_database() else None}


def _identify(request: dict[str, Any]) -> Reply:
    aliases = dict.fromkeys(read_command(command).alias for command in request["commands"])
    return {"ok": True, "databases": identify(aliases, request["salt"]) if _has_database() else {}}


def _unmigrated(request: dict[str, Any]) -> Reply:
    return {"ok": True, "unmigrated": unmigrated(request["commands"]) if _has_database() else {}}


def _guard(request: dict[str, Any]) -> Reply:
    lock = MigrationLock(request["database"])
    try:
        lock.take(request["wait"])
    except LockTaken as error:
        return {"ok": False, "error": str(error)}
    _locks.append(lock)
    make_private(connections[request["database"]])
    sign(connections[request["database"]], Owner(**request["owner"]))
    return {"ok": True}


def _unguard(request: dict[str, Any]) -> Reply:
    while _locks:
        _locks.pop().release()
    return {"ok": True}


def _dump(request: dict[str, Any]) -> Reply:
    dumper(connection_to(request["database"])).dump(Path(request["file"]))
    return {"ok": True}


def _restore(request: dict[str, Any]) -> Reply:
    connection = connection_to(request["database"])
    make_private(connection)
    dumper(connection).restore(Path(request["file"]))
    return {"ok": True}


def _check_anonymizer(request: dict[str, Any]) -> Reply:
    check_anonymizer(request["database"], request["callable"])
    return {"ok": True}


def _anonymize(request: dict[str, Any]) -> Reply:
    paths = {name: Path(request[name]) for name in ("source", "work", "file")}
    anonymize(request["database"], request["callable"], name=request["name"], **paths)
    return {"ok": True}


def _move(request: dict[str, Any]) -> Reply:
    started = time.monotonic()
    with Results() as results:
        failure: Reply = {}
        try:
            move(request["database"], request["migrations"], backwards=request["backwards"])
        except Exception as error:
            _print_error(error, with_traceback=True)
            failure = {"exit": 1, "error": _short(error)}
    seconds = round(time.monotonic() - started, 3)
    return {"ok": not failure, "seconds": seconds, "result": results.as_dict(), **failure}


REQUESTS: dict[str, Callable[[dict[str, Any]], Reply]] = {
    "describe": lambda request: {"ok": True, **describe()},
    "preflight": lambda request: preflight(request.get("commands", ()), request.get("required", ())),
    "run": run,
    "tables": lambda request: {"ok": True, "tables": tables()},
    "identify": _identify,
    "reach": lambda request: {"ok": True, "databases": reach()},
    "plan_migrations": _plan,
    "unmigrated": _unmigrated,
    "guard": _guard,
    "unguard": _unguard,
    "describe_database": lambda request: {"ok": True, "database": describe_database(request["database"])},
    "dump": _dump,
    "restore": _restore,
    "check_anonymizer": _check_anonymizer,
    "anonymize": _anonymize,
    "compare": lambda request: {
        "ok": True,
        "since": compare(request["database"], request["migrations"], request["tables"]),
    },
    "judge_applied": lambda request: {
        "ok": True,
        "applied": judge_applied(request["database"], request["migrations"]),
    },
    "losses": lambda request: {
        "ok": True,
        "losses": losses(request["database"], request["migrations"]),
    },
    "move": _move,
    "settings": lambda request: {"ok": True, "settings": settings_of_site()},
    "static_files": lambda request: {"ok": True, "files": static_files()},
    "explain": lambda request: {
        "ok": True,
        "lines": explain(request["path"], request["host"], request["headers"]),
    },
}
