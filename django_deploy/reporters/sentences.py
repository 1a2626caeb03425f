"""Each event as one line."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from django_deploy.host.protocol import Event
from django_deploy.plan.comparison import host_names
from django_deploy.reporters.text import count, duration, size


class _Words(dict[str, str]):
    """The fields of an event as they are written; what is missing is a question mark."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__({name: _as_word(name, value) for name, value in fields.items()})

    def __missing__(self, name: str) -> str:
        return "?"


def _as_word(name: str, value: Any) -> str:
    if name == "seconds":
        return duration(value)
    if name in {"bytes", "done", "total", "sent"}:
        return size(value)
    if name == "holder" and isinstance(value, Mapping):
        return holder_in_words(value, time.time())
    if name == "phases" and isinstance(value, Mapping):
        return ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in value.items())
    if name in {"distributions", "migrations", "wheels", "releases", "to_do"} and isinstance(
        value, (list, dict)
    ):
        return str(len(value))
    if name == "hosts" and isinstance(value, list) and all(isinstance(host, str) for host in value):
        return host_names(value)
    if isinstance(value, Mapping):
        return ", ".join(
            f"{key} {_as_word(str(key), item)}" for key, item in value.items() if item is not None
        )
    return str(value if value is not None else "")


def _bundle(words: _Words) -> str:
    parts = [count("distribution", words["distributions"]), count("wheel", words["wheels"]), words["bytes"]]
    return ", ".join([*parts, words["revision"]] if words.get("revision") else parts)


def _bundle_file(words: _Words) -> str:
    parts = [words["file"], words["bytes"], f"sha256 {words['sha256']}"]
    return ", ".join([*parts, f"signed with {words['key']}"] if words.get("key") else parts)


def _fetched(words: _Words) -> str:
    here = f"{words['file']} is here, {words['bytes']}"
    return here if words["sent"] == words["bytes"] else f"{here}; {words['sent']} of that came now"


def _outcome(words: _Words) -> str:
    took, release = f"in {words['seconds']}", words["release"]
    is_live = f"{release} is live at {words['url']}" if words.get("url") else f"{release} is live"
    sentences = {
        "deployed": f"{is_live}: deployed {took}",
        "rolled back": f"{is_live}: rolled back {took}",
        "restarted": f"{is_live}: restarted {took}",
        "environment changed": (
            f"{is_live}: environment changed {took}"
            if release
            else "The environment is noted for the first deployment"
        ),
        "restored": f"The backup is restored; {is_live}, as before ({words['seconds']})",
        "unchanged": f"Nothing to do: {is_live} already ({words['seconds']})",
        "declined": "Nothing was changed",
        "set up": f"Ready to be deployed to: set up {took}",
        "set up already": f"Nothing to do: set up already ({words['seconds']})",
    }
    return sentences.get(words["outcome"], f"{words['outcome']} {took}")


def _remedied(words: _Words) -> str:
    message, remedy = words["message"], words.get("remedy", "")
    if not remedy:
        return message
    return f"{message}{'' if message.endswith(('.', '!', '?', ':')) else '.'} {remedy}"


#: How an event reads.
_SENTENCES: Mapping[str, Callable[[_Words], str]] = {
    "phase.started": lambda w: f"{w['phase']} ...",
    "phase.finished": lambda w: f"{w['phase']}: {w['seconds']}",
    "host.connected": lambda w: f"connected to {w['address']} in {w['seconds']}",
    "build.started": lambda w: f"building {w['distribution']}",
    "build.finished": lambda w: (
        f"{w['wheel']} as before" if w.get("cached") == "True" else f"built {w['wheel']} in {w['seconds']}"
    ),
    "bundle.ready": _bundle,
    "bundle.read": lambda w: f"read {_bundle_file(w)}",
    "bundle.written": lambda w: f"wrote {_bundle_file(w)}",
    "sbom.written": lambda w: f"wrote {w['file']}, {count('component', w['components'])}",
    "bundle.promoted": lambda w: f"promoting {w['release']} of {w['target']}, contents sha256 {w['sha256']}",
    "vendor.started": lambda w: f"fetching {count('wheel', w['distributions'])} to send",
    "vendor.finished": lambda w: (
        f"fetched {count('wheel', w['distributions'])}, {w['bytes']}, in {w['seconds']}"
    ),
    "plan.ready": lambda w: "planned",
    "setup.planned": lambda w: f"{count('part', w['to_do'])} missing",
    "lock.waiting": lambda w: f"waiting for another deployment to end: {w['holder']}",
    "recovered": lambda w: f"cleaned up what an earlier deployment left: {w['release']} {w['action']}",
    "upload.progress": lambda w: f"sent {w['done']} of {w['total']}",
    "install.started": lambda w: (
        f"installing {count('distribution', w['distributions'])} with {w['installer']}"
    ),
    "install.output": lambda w: f"| {w['line']}",
    "install.finished": lambda w: (
        f"installed {count('distribution', w['distributions'])} with {w['installer']} in {w['seconds']}"
    ),
    "changes.found": lambda w: f"what else changes on {w['hosts']}:",
    "migrations.planned": lambda w: f"{count('migration', w['migrations'])} of {w['place']}",
    "reversal.planned": lambda w: (
        f"{w['release']} works with {w['place']} as it is"
        if w["migrations"] == "0"
        else f"{w['release']} cannot use {w['place']} as it is"
    ),
    "backup.started": lambda w: f"backing up {w['place']}, at most about {w['bytes']} ...",
    "backup.finished": lambda w: f"backed up {w['place']}: {w['name']}, {w['bytes']}, in {w['seconds']}",
    "restore.started": lambda w: f"restoring {w['name']} into {w['place']} ...",
    "restore.finished": lambda w: f"restored {w['name']} in {w['seconds']}",
    "copy.started": lambda w: f"copying {w['place']}, at most about {w['bytes']} ...",
    "anonymize.started": lambda w: f"anonymizing the copy with {w['callable']} ...",
    "anonymize.finished": lambda w: f"anonymized the copy with {w['callable']} in {w['seconds']}",
    "copy.finished": lambda w: f"copied {w['place']}, {w['bytes']}, in {w['seconds']}",
    "fetch.progress": lambda w: f"fetched {w['done']} of {w['total']}",
    "fetch.finished": _fetched,
    "step.started": lambda w: f"{w['step']} ...",
    "step.output": lambda w: f"| {w['line']}",
    "step.finished": lambda w: f"{w['step']}: {w['seconds']}",
    "step.awaited": lambda w: f"waiting for the end of {w['step']}, which is not stopped half-way",
    "step.skipped": lambda w: f"{w['step']}: left out, {w['reason']}",
    "process.started": lambda w: f"started {w['process']} of {w['release']}",
    "process.stopping": lambda w: f"stopping {w['process']} of {w['release']}",
    "health.checked": lambda w: f"{w['address']} answered {w['status']} in {w['seconds']}",
    "switched": lambda w: f"serves {w['release']}",
    "confirmed": lambda w: f"confirmed {w['release']}",
    "interrupted": lambda w: (
        "interrupted: every host reverts; press Ctrl-C again to exit at once; they revert by themselves"
    ),
    "reverted": lambda w: f"reverted: serves {w['live'] or 'nothing'}, as before",
    "pruned": lambda w: f"removed {count('old release', w['releases'])}",
    "warning": lambda w: f"warning: {_remedied(w)}",
    "host.failed": lambda w: f"failed: {_remedied(w)}",
    "rollout.finished": _outcome,
}

#: Shown with ``--verbosity 0``, and only with 2 or more. The others need 1.
QUIET = frozenset(
    {"warning", "host.failed", "interrupted", "reverted", "step.awaited", "rollout.finished"}
    | {"reversal.planned"}
    | {"bundle.written", "sbom.written", "fetch.finished"}
)
VERBOSE = frozenset(
    {"build.started", "confirmed", "install.output", "install.started", "phase.finished", "plan.ready"}
    | {"setup.planned", "process.started", "pruned", "step.output", "vendor.started"}
)


def holder_in_words(holder: Mapping[str, Any], now: float) -> str:
    """Who deploys, for how long, and in which phase; ``now`` is in seconds since the epoch."""
    since = holder.get("since")
    age = f" for {duration(max(now - since, 0.0))}" if isinstance(since, (int, float)) else ""
    return f"by {holder.get('by') or 'somebody'}{age}: {holder.get('phase') or 'starting'}"


def in_words(fields: Mapping[str, Any]) -> Mapping[str, str]:
    """The fields of an event, each as people read it."""
    return _Words(fields)


def sentence(event: Event) -> str:
    """An event as one line; an unknown kind shows its fields."""
    words = _Words(event.fields)
    write = _SENTENCES.get(event.kind)
    return write(words) if write else f"{event.kind} {', '.join(words.values())}".rstrip()
