"""Changes of a project's files that are shown as a diff before anybody makes them."""

from __future__ import annotations

import ast
import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django_deploy.exceptions import DeployError
from django_deploy.host.layout import write_atomically
from django_deploy.management.settings_source import imports_os
from django_deploy.management.survey import Survey
from django_deploy.target import LOCAL

#: Without DEBUG, Django itself writes nowhere why a page failed.
LOGGING_LINES = """\
    LOGGING = {  # deploy_logs shows what goes wrong
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
    }""".splitlines()

#: Where the health view is put when the project has none.
HEALTH_PATH = "healthz/"


@dataclass(frozen=True)
class Answers:
    """What only a person knows: where the target is. ``domain`` is empty where it has no name."""

    target: str
    hosts: tuple[str, ...]
    root: str
    domain: str = ""

    @property
    def has_web_server(self) -> bool:
        """Whether ``deploy_setup`` is to make one; that of several hosts may be elsewhere."""
        return bool(self.domain) and len(self.hosts) == 1 and LOCAL not in self.hosts

    @property
    def visited(self) -> str:
        """What visitors type: the domain, else the first host's address."""
        address = self.hosts[0].rpartition("@")[2]
        return self.domain or ("localhost" if address == LOCAL else address.partition(":")[0])


@dataclass(frozen=True)
class Proposal:
    """Another content for a file."""

    file: Path
    before: str
    after: str

    def diff(self) -> list[str]:
        name = os.path.relpath(self.file)
        lines = difflib.unified_diff(
            self.before.splitlines(), self.after.splitlines(), name, name, lineterm=""
        )
        return [*lines]

    def write(self) -> None:
        """Put it there in one step; raises ``DeployError`` when the file was changed meanwhile."""
        if _read(self.file) != self.before:
            raise DeployError(f"{self.file} was changed meanwhile.", remedy="Run the command again.")
        try:
            write_atomically(self.file.resolve(), self.after, self.file.stat().st_mode & 0o777)
        except OSError as error:
            raise DeployError(f"{self.file} cannot be written: {error.strerror}.") from None


@dataclass(frozen=True)
class Proposed:
    """The target, as DEPLOY_TARGETS would have it, and all that changes."""

    entry: Mapping[str, Any]
    changes: tuple[Proposal, ...]


def propose(facts: Survey, answers: Answers, *, has_targets: bool) -> Proposed:
    """What the project lacks to be deployed; ``has_targets``: there is a DEPLOY_TARGETS already."""
    changes, health_path = [], facts.health_path
    if not health_path and facts.urls_file is not None:
        before = _read(facts.urls_file)
        after = add_health_view(before)
        if after is not None:
            health_path = f"/{HEALTH_PATH}"
            changes.append(Proposal(facts.urls_file, before, after))
    if facts.server is not None and not has_targets:
        before = _read(facts.server.file)
        changes.append(Proposal(facts.server.file, before, extend_server_settings(before, facts, answers)))
    before = _read(facts.settings_file)
    entry = target_entry(facts, answers, health_path)
    after = extend_settings(before, facts, answers, entry, has_targets)
    return Proposed(entry, (*changes, Proposal(facts.settings_file, before, after)))


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"{file} cannot be read: {error}.") from None


# URLs


def add_health_view(source: str) -> str | None:
    """The URLconf with a health view as its first URL; None where it is not written in the usual way."""
    tree = ast.parse(source)
    patterns = next((list_ for name, list_ in _assigned_lists(tree) if name == "urlpatterns"), None)
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    has_path = any(alias.name == "path" for node in imports for alias in node.names if alias.asname is None)
    if patterns is None or not imports or not has_path or not patterns.elts:
        return None
    first = patterns.elts[0]
    if first.lineno == patterns.lineno:  # all on one line
        return None
    lines = source.splitlines(keepends=True)
    end = _line_end(source)
    url = f'{" " * first.col_offset}path("{HEALTH_PATH}", health),{end}'
    lines.insert(first.lineno - 1, url)
    lines.insert(imports[-1].end_lineno or 0, f"{end}from django_deploy.site.health import health{end}")
    return "".join(lines)


def _assigned_lists(tree: ast.Module) -> Iterator[tuple[str, ast.List]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value


# Settings


def target_entry(facts: Survey, answers: Answers, health_path: str) -> dict[str, Any]:
    """The target as DEPLOY_TARGETS has it; values that are ``Code`` are written as they are."""
    entry: dict[str, Any] = {"HOSTS": list(answers.hosts)}
    if any("@" not in host and host != LOCAL for host in answers.hosts):
        users = {host.partition("@")[0] for host in answers.hosts if "@" in host}
        entry["USER"] = users.pop() if len(users) == 1 else _user(facts.name)
    entry["ROOT"] = answers.root
    if facts.server is not None:
        entry["SETTINGS_MODULE"] = facts.server.module
    if answers.has_web_server:
        entry |= {"WEB": "caddy", "DOMAIN": answers.domain}
    if env := {name: _value(name, answers) for name in environment_names(facts)}:
        entry["ENV"] = env
    entry["PROCESSES"] = _with_folder(facts.processes, f"{answers.root}/shared")
    if health_path:
        entry["HEALTH_CHECK"] = health_path
    if facts.has_vcs and answers.target == "production":
        entry["REQUIRE_CLEAN"] = True
    return entry


def _user(project: str) -> str:
    """The project's name, as the name of a user."""
    name = re.sub(r"[^a-z0-9_-]", "-", project.lower())[:31]
    return name if name[:1].isalpha() else f"site-{name}"[:31]


def environment_names(facts: Survey) -> list[str]:
    """What the target's ENV has to say."""
    return sorted({*facts.variables, *(facts.constants - {"DEBUG"})})


def variable_here(name: str, answers: Answers) -> str:
    """The variable of the developer's own environment that holds a value of the target's."""
    return f"{re.sub(r'[^A-Z0-9]', '_', answers.target.upper())}_{name}"


def _value(name: str, answers: Answers) -> str:
    if name == "ALLOWED_HOSTS":
        return answers.visited
    return Code(f'os.environ.get("{variable_here(name, answers)}", "")')


def _with_folder(value: Any, shared: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_folder(item, shared) for key, item in value.items()}
    return value.replace("{shared}", shared) if isinstance(value, str) else value


class Code(str):
    """Python that is written as it is."""

    __slots__ = ()


def extend_settings(
    source: str, facts: Survey, answers: Answers, entry: Mapping[str, Any], has_targets: bool
) -> str:
    """The settings with what they need on a server, once, and the target at their end."""
    is_there = has_targets or facts.server is not None
    lines = [] if is_there else [*_server_lines(facts, answers, source)]
    if has_targets:
        lines += ["", f"DEPLOY_TARGETS[{_string(answers.target)}] = {_python(entry)}"]
    else:
        lines += ["", f"DEPLOY_TARGETS = {_python({answers.target: entry})}"]
    return _extended(source, lines)


def extend_server_settings(source: str, facts: Survey, answers: Answers) -> str:
    """The settings that only servers run, with what they need there."""
    return _extended(source, [*_server_lines(facts, answers, source)])


def _extended(source: str, lines: Sequence[str]) -> str:
    end = _line_end(source)
    if not imports_os(source):
        source = _with_import(source, end)
    text = "\n".join(lines).replace("\n", end)
    return f"{source.rstrip()}{end}{end}{text}{end}"


def _server_lines(facts: Survey, answers: Answers, source: str) -> Iterator[str]:
    yield ""
    yield 'if "DJANGO_DEPLOY_RELEASE_DIR" in os.environ:  # on a server'
    if "DEBUG" in facts.constants:
        yield "    DEBUG = False"
    if "SECRET_KEY" in facts.constants:
        yield '    SECRET_KEY = os.environ["SECRET_KEY"]'
    if "ALLOWED_HOSTS" in facts.constants:
        yield '    ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split()'
    yield '    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")'
    if answers.has_web_server and "COOKIE_SECURE" not in source:
        yield "    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True"
    if facts.needs_static_root:
        yield '    STATIC_ROOT = os.path.join(os.environ["DJANGO_DEPLOY_RELEASE_DIR"], "static")'
    if facts.media:
        yield f"    MEDIA_ROOT = {_in_shared(Path(facts.media).name)}"
    for alias, name in facts.sqlite_files.items():
        yield f'    DATABASES[{_string(alias)}]["NAME"] = {_in_shared(name)}'
    if not facts.has_logging:
        yield from LOGGING_LINES


def _in_shared(name: str) -> str:
    return f'os.path.join(os.environ["DJANGO_DEPLOY_SHARED"], {_string(name)})'


def _with_import(source: str, end: str) -> str:
    """``import os`` before the first import, else after the docstring."""
    tree = ast.parse(source)
    first = next((node.lineno for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))), None)
    lines = source.splitlines(keepends=True)
    is_future = first is not None and lines[first - 1].startswith("from __future__")
    if first is None or is_future:
        above = tree.body[0] if tree.body and (is_future or ast.get_docstring(tree)) else None
        line = (first if is_future else above.end_lineno if above else 0) or 0
        lines.insert(line, f"{end}import os{end}")
    else:
        lines.insert(first - 1, f"import os{end}")
    return "".join(lines)


def _line_end(source: str) -> str:
    return "\r\n" if "\r\n" in source else "\n"


def _string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _python(value: object, indent: int = 0) -> str:
    """A value of a target as Python source, a key on each line."""
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return f"[{', '.join(_python(item) for item in value)}]"
    if isinstance(value, Mapping):
        pad = " " * (indent + 4)
        items = [f"{pad}{_string(key)}: {_python(item, indent + 4)},\n" for key, item in value.items()]
        return f"{{\n{''.join(items)}{' ' * indent}}}"
    return repr(value)
