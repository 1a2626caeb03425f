"""What a built wheel must not hold, what it has lost, and what it says about itself."""

from __future__ import annotations

import re
import zipfile
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from django_deploy.bundle.wheels.tree import Tree
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from email.message import Message

    from django_deploy.bundle.plain.patterns import Patterns

#: Environment files that are meant to be shared.
_EXAMPLES = ("example", "sample", "template", "dist", "test")

#: Where tools and people keep secrets, be it a file or a folder.
SECRET_PLACES = frozenset(
    (
        *(".envs", ".envrc", ".ssh", ".gnupg", ".aws", ".kube", ".netrc", ".pgpass", ".pypirc", ".npmrc"),
        *(
            ".htpasswd",
            ".git-credentials",
            ".my.cnf",
            ".vault_pass",
            ".dockerconfigjson",
            ".s3cfg",
            "kubeconfig",
        ),
    )
)

#: Files that settings read their secrets from.
_SECRET_FILES = re.compile(r"\.?secrets?\.(json|ya?ml|toml|ini)|credentials\.json|client_secrets?.*\.json")

#: Ends of files that hold keys in a form of their own; of SQLite's, and of dumps.
_KEY_STORES = (".p12", ".pfx", ".jks", ".keystore", ".ppk", ".kdbx", ".ovpn", ".tfstate")
_DATABASES = (
    ".sqlite3",
    *(f"{kind}-{part}" for kind in (".sqlite", ".sqlite3") for part in ("journal", "wal", "shm")),
    *(f".sql.{kind}" for kind in ("gz", "bz2", "xz", "zst", "zip")),
)

#: How SQLite's databases begin (https://www.sqlite.org/fileformat.html), and dumps of pg_dump's own format.
_DATABASE_STARTS = (b"SQLite format 3\0", b"PGDMP")

#: What pg_dump, mysqldump and mariadb-dump write at the top of a dump in SQL.
_DUMP_TITLE = re.compile(rb"^-- (PostgreSQL database( cluster)? dump|(MySQL|MariaDB) dump )", re.MULTILINE)

_KEY_START = re.compile(rb"\s*(-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----|AGE-SECRET-KEY-)")
_KEY_IN_JSON = re.compile(rb"\s*\{[^\0]*\"private_key\"\s*:\s*\"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_NAMES = re.compile(r"id_(rsa|dsa|ecdsa|ed25519)|.*\.(pem|key)")

#: How many bytes tell what a file is.
HEAD = 4096

#: Sizes in bytes above which a file, and all files of a wheel, are worth a warning.
LARGE_FILE = 50 * 1000 * 1000
LARGE_WHEEL = 200 * 1000 * 1000

#: Folders of an app whose files Django needs at run time.
_DATA_FOLDERS = frozenset(("templates", "jinja2", "static", "locale", "migrations", "fixtures"))

#: Files in them that serve the developer only.
_SOURCES_OF_DATA = (".po", ".pot")


def read_metadata(wheel: Path) -> Message:
    """The core metadata of a wheel; ``BundleError`` when the file is not a wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
            text = archive.read(names[0]).decode("utf-8", "replace")
    except (OSError, zipfile.BadZipFile, IndexError) as error:
        raise BundleError(f"{wheel} is not a wheel: {error}.") from None
    return HeaderParser().parsestr(text)


def provides_module(wheel: Path, module: str) -> bool:
    """Whether a wheel holds a module."""
    path = module.replace(".", "/")
    wanted = re.compile(
        rf"(?:[^/]+\.data/(?:(?:pure|plat)lib|data/app(?:/.+)?)/)?{re.escape(path)}(?:\.py|/__init__\.py|\..*\.so)"
    )
    with zipfile.ZipFile(wheel) as archive:
        return any(wanted.fullmatch(name) for name in archive.namelist())


def check_secrets(wheel: Path, allowed: Patterns | None = None) -> None:
    """``BundleError`` when a wheel holds what should not travel: secrets, databases.

    What ``allowed`` (PROJECT_INCLUDE) names, by its path in the wheel, is meant to.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        unwanted = [name for name in names if _is_unwanted(archive, name)]
    if allowed is not None:
        unwanted = [name for name in unwanted if not _is_allowed(name, allowed)]
    if unwanted:
        raise BundleError(
            f"{wheel.name} would carry {', '.join(unwanted)} to the servers.",
            remedy="Move such files out of the package, or exclude them in the project's build settings. "
            "Secrets of the site belong in the target's ENV. Name in PROJECT_INCLUDE"
            " what the site only reads.",
        )


def _is_allowed(path: str, allowed: Patterns) -> bool:
    parts = path.split("/")
    folders = ("/".join(parts[:end]) for end in range(1, len(parts)))
    return allowed.match(path, is_folder=False) or any(
        allowed.match(folder, is_folder=True) for folder in folders
    )


def _is_unwanted(archive: zipfile.ZipFile, path: str) -> bool:
    with archive.open(path) as file:
        return is_secret(path, file.read(HEAD))


def is_secret(path: str, head: bytes) -> bool:
    """Whether a file that begins so should not travel: by its names, and by what is in it."""
    *folders, name = PurePosixPath(path).parts
    is_told = is_private(name) or not SECRET_PLACES.isdisjoint(folders)
    return is_told or holds_database(head) or holds_private_key(name, head)


def is_private(name: str) -> bool:
    """Whether a file of this name holds secrets or a database, whatever is in it."""
    is_store = name.lower().endswith((*_KEY_STORES, *_DATABASES))
    is_named = name in SECRET_PLACES or _SECRET_FILES.fullmatch(name.lower()) is not None
    return is_store or is_named or _is_environment_file(name)


def _is_environment_file(name: str) -> bool:
    """Whether a file of this name has the variables of one machine, secrets among them."""
    name = name.lower()
    if name == ".env" or name.startswith((".env.", ".env ", "env.prod", "env.stag")) or name.endswith(".env"):
        return not name.endswith(_EXAMPLES)
    return False


def holds_database(head: bytes) -> bool:
    """Whether a file that begins so is an SQLite database, or a dump of any."""
    return head.startswith(_DATABASE_STARTS) or _DUMP_TITLE.search(head[:HEAD]) is not None


def holds_private_key(path: str, head: bytes) -> bool:
    """Whether a file that begins so is a private key.

    Under a key's name the words are enough, under any other one the key must begin the file, or be what
    JSON says is one: so clouds hand out keys of service accounts.
    """
    name = path.rpartition("/")[2].lower()
    if _KEY_NAMES.fullmatch(name):
        return b"PRIVATE KEY" in head[:HEAD]
    return (_KEY_START.match(head[:HEAD]) or _KEY_IN_JSON.match(head[:HEAD])) is not None


def find_large_files(wheel: Path) -> tuple[str, ...]:
    """Warnings of files, or of a whole, that are larger than a site's code is wont to be."""
    with zipfile.ZipFile(wheel) as archive:
        files = sorted(archive.infolist(), key=lambda file: (-file.file_size, file.filename))
    total = sum(file.file_size for file in files)
    large = [file for file in files if file.file_size > LARGE_FILE]
    if total > LARGE_WHEEL:
        what = f"{wheel.name} holds {total / 1e6:.0f} MB; the largest of its {len(files)} files are"
        return (f"{what} {_sizes(files)}.",)
    return (f"{wheel.name} holds large files: {_sizes(large)}.",) if large else ()


def _sizes(files: Sequence[zipfile.ZipInfo]) -> str:
    return ", ".join(f"{file.filename} ({file.file_size / 1e6:.0f} MB)" for file in files[:5])


def find_lost_files(wheel: Path, tree: Tree) -> tuple[str, ...]:
    """Files of the packages' folders that Django needs and that did not get into the wheel.

    Templates, static files and the like; and modules, but for tests.
    """
    with zipfile.ZipFile(wheel) as archive:
        held = {re.sub(r"^[^/]+\.data/(pure|plat)lib/", "", name) for name in archive.namelist()}
    packages = {
        name.partition("/")[0] for name in held if name.count("/") == 1 and name.endswith("/__init__.py")
    }
    names = [file.relative_to(tree.folder) for file in tree.files()]
    return tuple(
        str(name)
        for name in names
        for inner in _inside_package(name, packages)
        if _is_needed(inner) and inner.as_posix() not in held
    )


def _inside_package(name: Path, packages: set[str]) -> Iterator[Path]:
    """The path as a wheel has it, for a file at ``package/…``, ``src/package/…`` and the like."""
    for start, part in enumerate(name.parts[:2]):
        if part in packages and len(name.parts) > start + 1:
            yield Path(*name.parts[start:])
            return


def _is_needed(path: Path) -> bool:
    folders = path.parts[:-1]
    if any(part.startswith("test") or part == "conftest.py" for part in path.parts):
        return False
    if path.suffix == ".py":
        return True
    return not _DATA_FOLDERS.isdisjoint(folders) and path.suffix not in _SOURCES_OF_DATA
