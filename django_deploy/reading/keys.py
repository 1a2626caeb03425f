"""Every key of a target, and the rules that concern more than one."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from django_deploy.exceptions import ConfigError, Issue
from django_deploy.reading.contents import (
    DISTRIBUTION_NAME,
    MODULE_NAME,
    read_excluded,
    read_file_pattern,
    read_included,
    read_index_url,
    read_lock_file,
    read_requirements,
    read_signing_key,
    read_trusted_key,
)
from django_deploy.reading.environment import read_env
from django_deploy.reading.hosts import read_batch, read_hosts, read_root
from django_deploy.reading.places import (
    Kind,
    Mistake,
    Place,
    Reader,
    Resolve,
    setting_path,
)
from django_deploy.reading.processes import read_command, read_health_check, read_processes, read_step
from django_deploy.reading.provision import DOMAIN, NEW_USER, read_tls
from django_deploy.reading.values import (
    choice,
    list_of,
    optional,
    pattern,
    read_bool,
    read_fields,
    read_file_name,
    seconds,
    type_name,
    whole_number,
)
from django_deploy.spelling import did_you_mean
from django_deploy.target import CADDY, INTERNAL, MIGRATIONS, POSTGRESQL, WEB_SERVERS, Host, Process, Target

#: sun_path of Linux is 108 bytes, with the NUL at its end (unix(7)).
_LONGEST_SOCKET = 107

_RELEASE_ID_LENGTH = len("20261122T174500Z-3f9c2a1")

#: Releases that are kept, at most, and backups: a host tells of all of them in one message.
MOST_RELEASES = 200

#: Of a request's body, in MB: 100 GB.
LARGEST_BODY = 100_000

TARGET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _read_backup(place: Place, value: object) -> bool | str:
    if isinstance(value, bool) or value == "contract":
        return value
    if isinstance(value, str):
        hint = did_you_mean(value, ["contract"])
        raise Mistake(Kind.CHOICE, f"must be True, False or 'contract', not {value!r}.", hint)
    raise Mistake(Kind.TYPE, f"must be True, False or 'contract', not {type_name(value)}.")


#: Every key of a target; in lower case it is the field of ``Target``.
TARGET_KEYS: Mapping[str, Reader[Any]] = {
    "HOSTS": read_hosts,
    "ROOT": read_root,
    "SETTINGS_MODULE": pattern(Kind.NAME, MODULE_NAME, "the dotted name of a module"),
    "PYTHON": read_file_name,
    "ENV": read_env,
    "REQUIREMENTS": read_requirements,
    "EXTRAS": list_of(pattern(Kind.NAME, DISTRIBUTION_NAME, "the name of an extra"), "a list of names"),
    "EXCLUDE": optional(list_of(read_excluded, "a list of names")),
    "INCLUDE": list_of(read_included, "a list of names"),
    "LOCK_FILE": optional(read_lock_file),
    "STRICT_ENVIRONMENT": read_bool,
    "ALLOW_ALTERED": list_of(
        pattern(Kind.NAME, DISTRIBUTION_NAME, "the name of a distribution"), "a list of names"
    ),
    "INDEX_URL": optional(read_index_url),
    "VENDOR": read_bool,
    "BUILD_ON_HOST": read_bool,
    "INSTALLER": optional(choice("uv", "pip")),
    "STEPS": list_of(read_step, "a list of command lines"),
    "MIGRATIONS": choice(*MIGRATIONS),
    "DATABASE_SHARED_WITH": list_of(
        pattern(Kind.NAME, TARGET_NAME, "the name of a target"), "a list of targets"
    ),
    "BACKUP": _read_backup,
    "KEEP_BACKUPS": whole_number(1, MOST_RELEASES),
    "PROCESSES": read_processes,
    "PROCESS_MANAGER": optional(choice("systemd", "supervisor")),
    "RESTART": list_of(read_command, "a list of command lines"),
    "HEALTH_CHECK": read_health_check,
    "BATCH": optional(read_batch),
    "CANARY_SECONDS": seconds(is_zero_allowed=True),
    "KEEP_RELEASES": whole_number(1, MOST_RELEASES),
    "REQUIRE_CLEAN": read_bool,
    "LOCK_WAIT": seconds(is_zero_allowed=True),
    "PROJECT_INCLUDE": list_of(read_file_pattern, "a list of patterns"),
    "PROJECT_EXCLUDE": list_of(read_file_pattern, "a list of patterns"),
    "SIGNING_KEY": optional(read_signing_key),
    "TRUSTED_KEYS": list_of(read_trusted_key, "a list of keys"),
    "USER": optional(
        pattern(Kind.HOST, NEW_USER, "the name of a user: small letters, digits, '-' and '_', at most 31")
    ),
    "WEB": optional(choice(*WEB_SERVERS)),
    "DOMAIN": optional(pattern(Kind.HOST, DOMAIN, "the name that visitors type, as in 'shop.example.com'")),
    "TLS": optional(read_tls),
    "MAX_BODY_MB": whole_number(1, LARGEST_BODY),
    "DATABASE": optional(choice(POSTGRESQL)),
}


def read_target(
    name: str,
    mapping: object,
    *,
    settings_module: str | None = None,
    resolve: Resolve | None = None,
) -> Target:
    """The target that an entry of ``DEPLOY_TARGETS`` describes.

    ``settings_module`` stands in where the entry names none. ``resolve`` calls a callable, or the dotted
    path of one, where HOSTS or ENV is that; without it they stay empty and are not judged. Raises
    ``ConfigError`` with every mistake in ``issues``.
    """
    place = Place(setting_path(name), [], resolve)
    fields: dict[str, Any] = {}
    with place.gathering():
        required = ("HOSTS", "ROOT") if settings_module else ("HOSTS", "ROOT", "SETTINGS_MODULE")
        fields = read_fields(place, mapping, TARGET_KEYS, required)
        fields.setdefault("settings_module", settings_module)
        _check_target(place, fields)
        fields["hosts"] = tuple(_with_user(host, fields.get("user")) for host in fields.get("hosts", ()))
    if place.issues:
        count = "a mistake" if len(place.issues) == 1 else f"{len(place.issues)} mistakes"
        raise ConfigError(f"The settings of the target {name!r} have {count}.", issues=place.issues)
    return Target(name=name, **fields)


def warnings_of(target: Target) -> tuple[Issue, ...]:
    """What is legal in the settings and yet hardly meant."""
    if not (target.processes or target.restart):
        message = "has neither PROCESSES nor RESTART: releases are installed, but nothing runs them."
        hint = "Name the site's programs in PROCESSES, or in RESTART the commands that restart them."
        return (Issue(setting_path(target.name), message, hint=hint, id=Kind.NOTHING_RUNS.value),)
    if _is_unasked(target):
        message = "has no process with a {socket}: nobody asks whether a new release answers."
        hint = (
            "Where a web process listens, write unix:{socket}; else name an http:// address in"
            " HEALTH_CHECK, or None where there is nothing to ask."
        )
        return (Issue(setting_path(target.name), message, hint=hint, id=Kind.NOTHING_ASKED.value),)
    return ()


def _is_unasked(target: Target) -> bool:
    """The health check goes to sockets, and there is none."""
    asks_sockets = target.health_check is not None and target.health_check.path.startswith("/")
    return asks_sockets and not any(process.has_socket for process in target.processes)


def _with_user(host: Host, user: str | None) -> Host:
    return replace(host, user=user) if user and not host.user and not host.is_local else host


def _check_target(place: Place, fields: Mapping[str, Any]) -> None:
    """The rules that concern more than one key."""
    if (hosts := fields.get("hosts")) and not place.issues:
        known = sorted({role for host in hosts for role in host.roles})
        for process in fields.get("processes", ()):
            _check_roles(place["PROCESSES"][process.name], process.roles, known)
        for index, step in enumerate(fields.get("steps", ())):
            _check_roles(place["STEPS"][index], step.roles, known)
    for process in fields.get("processes", ()):
        if process.has_socket and "root" in fields:
            with place["PROCESSES"][process.name].gathering():
                _check_socket(fields["root"], process)
    check = fields.get("health_check")
    is_served = any(process.has_socket for process in fields.get("processes", ()))
    if check and check.path.startswith("/") and not is_served and not place.issues:
        message = "is a path, which processes with a {socket} are asked for, and PROCESSES has none."
        hint = "Name an address, say 'http://127.0.0.1/healthz/'."
        place["HEALTH_CHECK"].note(Mistake(Kind.HEALTH_CHECK, message, hint))
    if fields.get("vendor") and fields.get("build_on_host"):
        message = "needs an index on the hosts for what builds there, and with VENDOR they have none."
        place["BUILD_ON_HOST"].note(Mistake(Kind.CHOICE, message, "Unset one of them."))
    _check_setup(place, fields)


def _check_setup(place: Place, fields: Mapping[str, Any]) -> None:
    """The keys that say how a host is made ready."""
    web, tls, hosts, user = (fields.get(key) for key in ("web", "tls", "hosts", "user"))
    if web and not fields.get("domain"):
        hint = 'Name what visitors type, say "DOMAIN": "shop.example.com".'
        place["WEB"].note(Mistake(Kind.SETUP, "serves a DOMAIN, and there is none.", hint))
    if web and not any(process.has_socket for process in fields.get("processes", ())):
        hint = "Where the web process listens, write unix:{socket}."
        message = "leads to a process with a {socket}, and PROCESSES has none."
        place["WEB"].note(Mistake(Kind.SETUP, message, hint))
    if tls == INTERNAL and web != CADDY:
        message = "is of Caddy, which is its own authority then."
        hint = "For nginx name files: {'CERTIFICATE': 'shop.pem', 'KEY': 'shop.key'}."
        place["TLS"].note(Mistake(Kind.SETUP, message, hint))
    if fields.get("database") and len(hosts or ()) > 1:
        message = f"is made on the host itself, and there are {len(hosts or ())} hosts."
        hint = "Have them share a database server, and name it in ENV or with deploy_env."
        place["DATABASE"].note(Mistake(Kind.SETUP, message, hint))
    if user:
        others = [host.name for host in hosts or () if host.user not in (None, user)]
        if others:
            message = f"is {user!r}, and HOSTS logs in as another: {', '.join(others)}."
            place["USER"].note(Mistake(Kind.SETUP, message, "Leave out one of them."))


def _check_roles(place: Place, roles: Collection[str], known: Collection[str]) -> None:
    for role in roles:
        if role not in known:
            hint = did_you_mean(role, known) or f"There is: {', '.join(known) or 'no role at all'}."
            place["ROLES"].note(Mistake(Kind.ROLE, f"names {role!r}, a role that no host has.", hint))


def _check_socket(root: PurePosixPath, process: Process) -> None:
    """The kernel refuses longer ones (unix(7)), and only when the process starts."""
    name = process.instance_names()[-1]
    length = len(os.fsencode(root / "run" / f"{name}..sock")) + _RELEASE_ID_LENGTH
    if length > _LONGEST_SOCKET:
        message = f"has a socket whose path is {length} bytes long, and {_LONGEST_SOCKET} are possible."
        raise Mistake(Kind.SOCKET, message, "Choose a shorter ROOT or name.")
