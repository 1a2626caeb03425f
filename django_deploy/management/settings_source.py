"""What the files of settings say, also of settings that are not loaded here."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec, resolve_name
from pathlib import Path

from django.conf import ENVIRONMENT_VARIABLE


@dataclass(frozen=True)
class ServerSettings:
    """Settings that are not those of ``manage.py``; ``named_by`` is the file that names them."""

    module: str
    file: Path
    named_by: Path


def file_of(module: str) -> Path | None:
    """The module's source; None where it has none, or is nowhere."""
    try:
        spec = find_spec(module) if module else None
    except (ImportError, ValueError):
        return None
    origin = Path(spec.origin) if spec and spec.origin else None
    return origin if origin is not None and origin.suffix == ".py" and origin.is_file() else None


def server_settings(here: str, application: str, folder: Path) -> ServerSettings | None:
    """The other settings of the project that the module of the application names, and ``manage.py`` does not.

    None, too, where these are not the settings that ``manage.py`` names, as somebody has chosen them then,
    and where the others are hardly any: an empty package, say.
    """
    named_by = file_of(application)
    module = _named_settings(named_by) if named_by else None
    if named_by is None or module is None or module == here or _named_settings(folder / "manage.py") != here:
        return None
    file = _inside(module, folder)
    has_apps = "INSTALLED_APPS" in values(statements(module, folder))
    return ServerSettings(module, file, named_by) if file and has_apps else None


def _named_settings(file: Path) -> str | None:
    """What a file as ``startproject`` makes it sets DJANGO_SETTINGS_MODULE to."""
    for node in ast.walk(_parsed(file)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "os.environ.setdefault",
            "environ.setdefault",
        }:
            words = [word.value for word in node.args if isinstance(word, ast.Constant)]
            if len(words) == 2 and words[0] == ENVIRONMENT_VARIABLE:
                return str(words[1])
    return None


def _inside(module: str, folder: Path) -> Path | None:
    file = file_of(module)
    return file if file is not None and file.resolve().is_relative_to(folder.resolve()) else None


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def statements(module: str, folder: Path, above: tuple[str, ...] = ()) -> Iterator[ast.stmt]:
    """Those of a module, and where it imports all of another one of the project, that one's."""
    file = file_of(module)
    for node in _parsed(file).body if file else ():
        imported = _imported_whole(node, module, is_package=file is not None and file.name == "__init__.py")
        if imported and imported not in above and _inside(imported, folder):
            yield from statements(imported, folder, (*above, module))
        else:
            yield node


def _imported_whole(node: ast.stmt, module: str, *, is_package: bool) -> str:
    """Of ``from .base import *`` the module's whole name."""
    if not isinstance(node, ast.ImportFrom) or node.names[0].name != "*":
        return ""
    package = module if is_package else module.rpartition(".")[0]
    try:
        return resolve_name(f"{'.' * node.level}{node.module or ''}", package)
    except ImportError:  # above the top
        return ""


def own_values(module: str) -> dict[str, ast.expr]:
    """What the module itself assigns."""
    file = file_of(module)
    return values(_parsed(file).body) if file else {}


def values(nodes: Iterable[ast.stmt]) -> dict[str, ast.expr]:
    """What names stand for in the end."""
    return {
        target.id: node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def constants(found: Mapping[str, ast.expr]) -> Iterator[str]:
    """Those of DEBUG, SECRET_KEY and ALLOWED_HOSTS that a server must have other values of."""
    for name in ("DEBUG", "SECRET_KEY", "ALLOWED_HOSTS"):
        if name in found and _is_constant(found[name]) and ast.unparse(found[name]) != "False":
            yield name


def _is_constant(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except ValueError:
        return False
    return True


def variables(nodes: Iterable[ast.stmt]) -> Iterator[str]:
    """The names in ``os.environ["NAME"]``, but for those that every release has."""
    for node in (inner for statement in nodes for inner in ast.walk(statement)):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) in {"os.environ", "environ"}:
            name = node.slice.value if isinstance(node.slice, ast.Constant) else None
            if isinstance(name, str) and not name.startswith("DJANGO_"):
                yield name


def imports_os(source: str) -> bool:
    """Whether the file itself does."""
    imports = [node for node in ast.parse(source).body if isinstance(node, ast.Import)]
    return any(alias.name == "os" and alias.asname is None for node in imports for alias in node.names)
