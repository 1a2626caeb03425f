"""Reads package indexes: the simple API (PEP 691 JSON, PEP 503 HTML) and folders of archives."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from django_deploy.bundle.cache import sha256_of
from django_deploy.bundle.index.client import HttpClient, IndexFailure, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from packaging.utils import NormalizedName

    from django_deploy.bundle.index.client import Response
    from django_deploy.bundle.index.sources import Sources

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"

_SDIST_SUFFIXES = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")


@dataclass(frozen=True)
class File:
    """One file that an index offers; ``sha256`` is empty where the index does not say."""

    filename: str
    url: str
    sha256: str = ""
    requires_python: str = ""
    is_yanked: bool = False

    @property
    def local_path(self) -> Path | None:
        """Where the file lies, if it is on this machine."""
        parts = urlsplit(self.url)
        return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


class Index:
    """All configured sources as one; safe to use from several threads. Close it after use."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._client = HttpClient(sources)

    def close(self) -> None:
        self._client.close()

    def files(self, name: NormalizedName, is_wanted: Callable[[str], bool] = bool) -> tuple[File, ...]:
        """Every file of a distribution whose name ``is_wanted``, of all sources.

        Raises ``IndexFailure`` when one of the indexes fails and no other has the distribution.
        """
        found: list[File] = []
        failure: IndexFailure | None = None
        for url in self._sources.index_urls:
            try:
                found += self._page(f"{url.rstrip('/')}/{name}/", is_wanted)
            except IndexFailure as error:
                failure = error
        if failure is not None and all(file.local_path for file in found):
            raise failure
        for place in self._sources.find_links:
            links = (file for file in self._links(place) if archive_version(file.filename, name))
            found += (file for file in links if is_wanted(file.filename))
        return tuple(found)

    def _page(self, url: str, is_wanted: Callable[[str], bool] = bool) -> tuple[File, ...]:
        """The wanted files on a distribution's page; none where the index does not know it."""
        if urlsplit(url).scheme == "file":
            page = Path(url2pathname(urlsplit(url).path), "index.html")
            files = parse_html(page.read_text("utf-8"), page.as_uri()) if page.is_file() else ()
            return tuple(file for file in files if is_wanted(file.filename))
        response = self._client.get(url, accept=_ACCEPT)
        if response.status in (404, 410):
            return ()
        if response.status != 200:
            raise IndexFailure(f"{shown(url)} answered with status {response.status}")
        return tuple(parse_page(response, is_wanted))

    def _links(self, place: str) -> tuple[File, ...]:
        """The files of one find-links entry: a folder, or a page of links."""
        scheme = urlsplit(place).scheme
        if scheme in ("http", "https"):
            return self._page(place)
        path = Path(url2pathname(urlsplit(place).path)) if scheme == "file" else Path(place).expanduser()
        if path.is_dir():
            return tuple(File(file.name, file.resolve().as_uri()) for file in sorted(path.iterdir()))
        if path.is_file():
            return tuple(parse_html(path.read_text("utf-8"), path.resolve().as_uri()))
        return ()

    def files_of_version(self, name: NormalizedName, version: str) -> tuple[File, ...]:
        """Every file of one version; local ones with their digest."""
        wanted, known = _parse_version(version), dict[str, bool]()

        def is_wanted(filename: str) -> bool:
            # A page has thousands of files, but of a version it has many.
            text = archive_version(filename, name)
            if text not in known:
                known[text] = _parse_version(text) == wanted
            return known[text]

        return tuple(map(_with_digest, self.files(name, is_wanted)))

    def fetch(self, file: File, folder: Path, accepted: Collection[str] = ()) -> Path:
        """Downloads the file to ``folder/SHA256/NAME``, unless it is there.

        ``accepted`` are the digests that it may have; without any, the one that its page tells.
        ``IndexFailure`` when it has another.
        """
        accepted = accepted or {file.sha256} - {""}
        if Path(file.filename).name != file.filename:
            raise IndexFailure(f"{file.filename!r} is not the name of a file", is_final=True)
        there = folder / file.sha256 / file.filename
        if file.sha256 in accepted and there.is_file() and sha256_of(there) == file.sha256:
            return there
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as workspace:
            aside = Path(workspace, file.filename)
            self._save(file, aside)
            sha256 = sha256_of(aside)
            if accepted and sha256 not in accepted:
                raise IndexFailure(f"{file.filename} is damaged: its sha256 is not what was announced")
            place = folder / sha256 / file.filename
            place.parent.mkdir(exist_ok=True)
            return aside.replace(place)

    def _save(self, file: File, path: Path) -> None:
        local = file.local_path
        if local is not None:
            try:
                shutil.copyfile(local, path)
            except OSError as error:
                raise IndexFailure(f"{local} cannot be read: {error.strerror}", is_final=True) from None
            return
        response = self._client.get(file.url, into=path)
        if response.status != 200:
            raise IndexFailure(f"{shown(file.url)} answered with status {response.status}")


def has_page(sources: Sources, name: str) -> bool:
    """Whether any of the sources offers files of a distribution; raises ``IndexFailure``."""
    index = Index(sources)
    try:
        return bool(index.files(canonicalize_name(name)))
    finally:
        index.close()


def _with_digest(file: File) -> File:
    path = file.local_path
    if path is None or file.sha256 or not path.is_file():
        return file
    return File(file.filename, file.url, sha256_of(path), file.requires_python, file.is_yanked)


def archive_version(filename: str, name: NormalizedName) -> str:
    """The version that a wheel's or sdist's file name tells, if it is one of ``name``."""
    if filename.endswith(".whl"):
        project, _, rest = filename.partition("-")
        version = rest.partition("-")[0]
    else:
        suffix = next((suffix for suffix in _SDIST_SUFFIXES if filename.endswith(suffix)), None)
        project, _, version = filename[: -len(suffix)].rpartition("-") if suffix else ("", "", "")
    return version if _canonical(project) == name else ""


_canonical = lru_cache(maxsize=1_000)(canonicalize_name)


@lru_cache(maxsize=10_000)
def _parse_version(text: str) -> Version | str | None:
    try:
        return Version(text) if text else None
    except InvalidVersion:
        return text


def parse_page(response: Response, is_wanted: Callable[[str], bool] = bool) -> Iterator[File]:
    """The files that an index page lists, JSON or HTML, whose name ``is_wanted``."""
    if "json" not in response.content_type:
        files = parse_html(response.body.decode("utf-8", "replace"), response.url)
        yield from (file for file in files if is_wanted(file.filename))
        return
    try:
        entries = json.loads(response.body)["files"]
        wanted = (entry for entry in entries if is_wanted(entry["filename"]))
        yield from (_read_entry(entry, response.url) for entry in wanted)
    except (ValueError, KeyError, TypeError) as error:
        raise IndexFailure(f"{shown(response.url)} is not a page of an index ({error!r})") from None


def _read_entry(entry: dict[str, Any], base: str) -> File:
    return File(
        filename=entry["filename"],
        url=_join(base, entry["url"]),
        sha256=entry["hashes"].get("sha256", ""),
        requires_python=entry.get("requires-python") or "",
        is_yanked=bool(entry.get("yanked")),
    )


def _join(base: str, url: str) -> str:
    """As ``urljoin``, which takes most of the time of a page with thousands of files."""
    return url if url.startswith(("https://", "http://")) else urljoin(base, url)


def parse_html(text: str, base: str) -> Iterator[File]:
    """The files that an HTML page links to; a digest is in the address (``#sha256=…``)."""
    parser = _LinkParser()
    parser.feed(text)
    parser.close()
    base = urljoin(base, parser.base)
    for link in parser.links:
        url, _, fragment = _join(base, link.get("href") or "").partition("#")
        name, _, value = fragment.partition("=")
        yield File(
            filename=unquote(urlsplit(url).path.rpartition("/")[2]),
            url=url,
            sha256=value if name == "sha256" else "",
            requires_python=link.get("data-requires-python") or "",
            is_yanked="data-yanked" in link,
        )


class _LinkParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.links: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links.append(dict(attrs))
        elif tag == "base":
            self.base = dict(attrs).get("href") or ""
