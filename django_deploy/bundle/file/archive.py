"""Bundle files: a bundle as one zip file, written reproducibly and read as what a stranger may have made.

``manifest.json`` (``document.py``) comes first, then each file as ``files/SHA256/NAME``; nothing is
compressed, as wheels are. ``docs/reference/bundle-format.rst`` describes it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import struct
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING
from zipfile import ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

from django_deploy.bundle.cache import prune, read_record, write_aside, write_record
from django_deploy.bundle.file.document import DocumentError, read_document, write_document
from django_deploy.bundle.wheels.audit import read_metadata
from django_deploy.deployer import deployer
from django_deploy.exceptions import BundleError
from django_deploy.wording import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from django_deploy.bundle.fitting import HostBundle
    from django_deploy.bundle.manifest import Manifest, Wheel
    from django_deploy.bundle.platforms import HostPlatform

MANIFEST = "manifest.json"

#: What a bundle file has at most, in bytes: all of it (more would need the extensions of zip64), its
#: manifest, its directory.
MAX_FILE = (1 << 31) - 1
MAX_MANIFEST = 32 * 1024 * 1024
MAX_DIRECTORY = 8 * 1024 * 1024

#: How many times its own size a wheel in a bundle unpacks to at most, and what any may, in bytes.
MAX_INFLATION = 100
MAX_SMALL_WHEEL = 100 * 1000 * 1000

#: Seconds after which an unpacked bundle leaves the cache.
KEPT_FOR = 60 * 24 * 3600

#: Its time tells when an unpacked bundle was last used.
_RECORD = "unpacked.json"

#: The end of a zip file (APPNOTE 4.3.16), without a comment.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_END_OF_ZIP64 = b"PK\x06\x07"

_BLOCK = 1 << 20


@dataclass(frozen=True)
class BundleFile:
    """A bundle file that was read or written: its sha256, its size in bytes, what it holds."""

    sha256: str
    size: int
    manifest: Manifest


def with_vendored(
    manifest: Manifest, fitted: Mapping[HostPlatform, HostBundle], tools: Iterable[Wheel] = ()
) -> Manifest:
    """The manifest of a file that hosts without an index can be deployed from.

    It has all wheels that they would be sent, ``tools`` (uv, pip, supervisor) among them. What was added
    for the interpreter of one (``fitting``) becomes a pin for that interpreter only, so that the file says
    all there is to know.
    """
    ours = {wheel.sha256 for wheel in manifest.wheels}
    sent = {wheel.sha256: wheel for bundle in fitted.values() for wheel in bundle.wheels}
    added = [
        replace(pin, marker=_only_there(platform))
        for platform, bundle in fitted.items()
        for pin in bundle.added
    ]
    names = {pin.name for pin in added} - {name for name, _ in manifest.requires}
    metadata = {wheel.name: read_metadata(wheel.path) for wheel in sent.values() if wheel.name in names}
    return replace(
        manifest,
        vendored=tuple(wheel for sha256, wheel in sent.items() if sha256 not in ours),
        tools=tuple({tool.sha256: tool for tool in tools if tool.sha256 not in sent}.values()),
        pins=(*manifest.pins, *added),
        requires=(
            *manifest.requires,
            *((name, tuple(found.get_all("Requires-Dist", ()))) for name, found in sorted(metadata.items())),
        ),
    )


def _only_there(platform: HostPlatform) -> str:
    """The marker that is true for a host's interpreter."""
    names = ("implementation_name", "platform_machine", "python_full_version", "sys_platform")
    values = platform.markers()
    return " and ".join(f'{name} == "{values[name]}"' for name in names)


def write_bundle(manifest: Manifest, file: Path) -> BundleFile:
    """Writes a bundle file; the same contents give the same bytes, anywhere and at any time."""
    files = sorted(manifest.files, key=_member_name)
    try:
        with write_aside(file) as aside:
            with ZipFile(aside, "w", ZIP_STORED, allowZip64=False) as archive:
                archive.writestr(_member(MANIFEST), write_document(manifest))
                for item in files:
                    _write_file(archive, item)
            aside.chmod(0o644)
            sha256, size = _digest(aside), aside.stat().st_size
    except OSError as error:
        raise BundleError(f"{file} cannot be written: {error.strerror}.") from None
    except LargeZipFile:
        raise BundleError(
            f"{file} would have more than {MAX_FILE / 1e9:.1f} GB.",
            remedy="Without VENDOR it holds only what is built here; or deploy without a file.",
        ) from None
    return BundleFile(sha256, size, manifest)


def _member_name(wheel: Wheel) -> str:
    return f"files/{wheel.sha256}/{wheel.path.name}"


def _member(name: str) -> ZipInfo:
    """A member without any trace of when and where: a plain file, mode 0644, from 1980."""
    member = ZipInfo(name)
    member.create_system = 3
    member.external_attr = (stat.S_IFREG | 0o644) << 16
    return member


def _write_file(archive: ZipFile, wheel: Wheel) -> None:
    member, found = _member(_member_name(wheel)), hashlib.sha256()
    member.file_size = wheel.size
    with wheel.path.open("rb") as source, archive.open(member, "w") as sink:
        while block := source.read(_BLOCK):
            found.update(block)
            sink.write(block)
    if found.hexdigest() != wheel.sha256:
        raise BundleError(f"{wheel.path} has changed since it was built.", remedy="Try again.")


def read_bundle(file: Path, *, cache: Path, check: Callable[[Path], None] = lambda copy: None) -> BundleFile:
    """What a bundle file holds, unpacked into ``cache``; raises ``BundleError`` for whatever is odd about it.

    ``check`` may refuse it before anything in it is looked at; it gets a copy that nobody else can change.
    Members are compared with the manifest (names, sizes, sha256), and nothing is written but under the
    file's own sha256.
    """
    folder = cache / "bundles"
    with _private_copy(file, folder) as copy:
        check(copy)
        sha256, size = _digest(copy), copy.stat().st_size
        place = folder / sha256
        try:
            end = _start_of_directory(copy)
            with ZipFile(copy) as archive:
                manifest = _read_manifest(archive, end, place)
                if read_record(place / _RECORD) is None or not _is_complete(manifest):
                    _unpack(archive, manifest, place)
        except (DocumentError, BadZipFile, NotImplementedError, EOFError) as error:
            shutil.rmtree(place, ignore_errors=True)
            raise _refusal(file, str(error)) from None
    write_record(place / _RECORD, {"from": str(file)})
    prune(folder, _RECORD, unused_for=KEPT_FOR)
    return BundleFile(sha256, size, replace(manifest, created=time.time(), created_by=deployer()))


@contextmanager
def _private_copy(file: Path, folder: Path) -> Iterator[Path]:
    """What is checked and what is used are the same bytes."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".copy-", dir=folder) as aside:
        copy = Path(aside) / "bundle.zip"
        try:
            with file.open("rb") as source, copy.open("wb") as sink:
                if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                    raise _refusal(file, "it is no file")
                if os.fstat(source.fileno()).st_size > MAX_FILE:
                    raise _refusal(file, f"it has more than {MAX_FILE / 1e9:.1f} GB")
                shutil.copyfileobj(source, sink, _BLOCK)
        except OSError as error:
            raise BundleError(f"{file} cannot be read: {error.strerror}.") from None
        yield copy


def _refusal(file: Path, why: str) -> BundleError:
    remedy = "Get it again, or write it with `manage.py deploy_bundle`."
    return BundleError(f"{file} is no bundle: {why}.", remedy=remedy)


def _digest(file: Path) -> str:
    with file.open("rb") as source:
        return _digest_of(source)


def _digest_of(source: IO[bytes], sink: IO[bytes] | None = None) -> str:
    found = hashlib.sha256()
    while block := source.read(_BLOCK):
        found.update(block)
        if sink is not None:
            sink.write(block)
    return found.hexdigest()


def _start_of_directory(copy: Path) -> int:
    """Where the members end, when the directory behind them is of a size that can be read at all."""
    size = copy.stat().st_size
    with copy.open("rb") as source:
        source.seek(max(0, size - _END.size - 20))
        tail = source.read()
    end = tail[-_END.size :]
    if len(end) < _END.size or not end.startswith(_END_SIGNATURE):
        raise DocumentError("it is not a zip file, or is incomplete")
    _, disk, _, here, total, length, start, comment = _END.unpack(end)
    is_odd = disk or here != total or comment or tail.startswith(_END_OF_ZIP64)
    if is_odd or length > MAX_DIRECTORY or start + length + _END.size != size:
        raise DocumentError("its directory is not right")
    return int(start)


def _read_manifest(archive: ZipFile, end: int, place: Path) -> Manifest:
    """The manifest, once the members are exactly what it lists."""
    members = {member.filename: member for member in archive.infolist()}
    if len(members) != len(archive.infolist()):
        raise DocumentError("it has a member twice")
    for member in archive.infolist():
        _check_member(member)
    # Members that share their bytes would unpack to more than the file has.
    if sum(member.file_size for member in members.values()) > end:
        raise DocumentError("its members overlap")
    if MANIFEST not in members:
        raise DocumentError(f"it has no {MANIFEST}")
    if members[MANIFEST].file_size > MAX_MANIFEST:
        raise DocumentError(f"its {MANIFEST} has more than {MAX_MANIFEST / 1e6:.0f} MB")
    manifest = read_document(archive.read(MANIFEST), lambda sha256, name: place / "files" / sha256 / name)
    listed = {_member_name(wheel): wheel for wheel in manifest.files}
    if odd := sorted(listed.keys() ^ (members.keys() - {MANIFEST})):
        what = "lacks" if odd[0] in listed else "has, and does not list,"
        raise DocumentError(f"it {what} {odd[0]}")
    for name, wheel in listed.items():
        if members[name].file_size != wheel.size:
            raise DocumentError(f"{name} has {members[name].file_size} bytes, and {wheel.size} are listed")
    return manifest


def _check_member(member: ZipInfo) -> None:
    """Plain stored files only."""
    mode = member.external_attr >> 16
    is_plain = stat.S_ISREG(mode) and member.create_system == 3
    is_stored = member.compress_type == ZIP_STORED and member.compress_size == member.file_size
    if not is_plain or not is_stored or member.flag_bits & 0x1:
        raise DocumentError(f"its member {member.filename!r} is not a plain file")


def _is_complete(manifest: Manifest) -> bool:
    return all(file.path.is_file() and file.path.stat().st_size == file.size for file in manifest.files)


def _unpack(archive: ZipFile, manifest: Manifest, place: Path) -> None:
    """Writes the wheels to their places: each under its sha256, once it is known to have that."""
    for wheel in manifest.files:
        with archive.open(_member_name(wheel)) as source, write_aside(wheel.path) as aside:
            with aside.open("wb") as sink:
                found = _digest_of(source, sink)
            if found != wheel.sha256:
                raise DocumentError(f"{wheel.path.name} is not what its sha256 says")
            if wheel.path.suffix == ".whl":
                _check_wheel(aside, wheel.path.name)


def _check_wheel(file: Path, name: str) -> None:
    """It is a zip file that can be read, no name in it leads elsewhere, and it is no bomb."""
    try:
        with ZipFile(file) as wheel:
            members = wheel.infolist()
    except (BadZipFile, NotImplementedError, ValueError) as error:
        raise DocumentError(f"{name} is not a wheel: {error}") from None
    for member in members:
        if member.filename.startswith("/") or ".." in PurePosixPath(member.filename).parts:
            raise DocumentError(f"{name} has a member {member.filename!r}")
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(MAX_SMALL_WHEEL, MAX_INFLATION * file.stat().st_size):
        raise DocumentError(f"{name} would unpack to {size_text(unpacked)}")
