"""Wheels of what no index has: editable, local and VCS distributions, built from what is on disk."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from django_deploy.bundle.cache import digest, prune, read_record, sha256_of, write_record
from django_deploy.bundle.manifest import Revision, Wheel
from django_deploy.bundle.plain.contents import Contents, Rules, read_contents
from django_deploy.bundle.plain.wheel import assemble, tag_of, version_of
from django_deploy.bundle.wheels.audit import check_secrets, find_large_files, find_lost_files, read_metadata
from django_deploy.bundle.wheels.compiled import is_for_some_hosts
from django_deploy.bundle.wheels.known_files import find_known_files
from django_deploy.bundle.wheels.revision import find_revision
from django_deploy.bundle.wheels.tree import Tree
from django_deploy.exceptions import BundleError
from django_deploy.host.protocol import Event, Report, ignore
from django_deploy.wording import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from django_deploy.bundle.environment import Distribution
    from django_deploy.bundle.index.sources import Sources
    from django_deploy.bundle.plain.patterns import Patterns
    from django_deploy.bundle.wheels.backend import Product

#: Part of every key: raise it when the same tree would be built in another way.
RECIPE = 2

BUILDS_AT_ONCE = 4

#: How many names of files a message has.
FILES_SHOWN = 10

_MIGRATION = re.compile(r"(^|/)migrations/[^/]+\.py$")

#: The file that describes a wheel in its folder of the cache, and tells by its time when it was last used.
RECORD = "built.json"

#: Seconds after which a wheel that was not used leaves the cache.
KEPT_FOR = 60 * 24 * 3600

#: Variables that compilers, setuptools and other back ends read.
_BUILD_VARIABLE = re.compile(
    r"(CC|CXX|CPP|LD|AR|LDSHARED|ARCHFLAGS|(C|CXX|CPP|LD|RUST)FLAGS|MACOSX_DEPLOYMENT_TARGET)$"
    r"|(SETUPTOOLS|DISTUTILS|HATCH|FLIT|PDM_BUILD|POETRY|PBR|CMAKE|SKBUILD|MESON|CARGO|CYTHON|CIBW)_"
)

#: Build plug-ins that take the version from git or Mercurial.
_SCM_VERSION = re.compile(
    r"setuptools[_-]scm|setuptools[_-]git|hatch-vcs|flit[_-]scm|versioneer|versioningit|dunamai|\bpbr\b"
    r"|dynamic-versioning|source\s*=\s*[\"'](?:vcs|scm)[\"']"
)


@dataclass(frozen=True)
class BuiltWheel:
    """A wheel, what its metadata requires, and what the user should know about it.

    ``contents`` are the files of a plain project, None for all others.
    """

    wheel: Wheel
    requires: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    contents: Contents | None = None


def build_wheels(
    distributions: Iterable[Distribution],
    *,
    cache: Path,
    report: Report = ignore,
    rules: Rules | None = None,
    sources: Sources | None = None,
) -> tuple[BuiltWheel, ...]:
    """The wheel of each distribution, without its dependencies, in the same order.

    What did not change is not built again. ``rules`` say what of a plain project is deployed, what of all
    source trees is data and left out, and what looks like a secret and is meant to travel. ``sources`` have
    the back ends. Raises one ``BundleError`` that holds every failure.
    """
    builder = WheelBuilder(cache, report, rules, sources)
    with ThreadPoolExecutor(BUILDS_AT_ONCE) as pool:
        futures = [pool.submit(builder.build, distribution) for distribution in distributions]
    errors = [error for error in (future.exception() for future in futures) if error is not None]
    for error in errors:
        if not isinstance(error, BundleError) or len(errors) == 1:
            raise error
    if errors:
        raise BundleError("\n".join(str(error) for error in errors))
    return tuple(future.result() for future in futures)


def build_sdists(
    distributions: Iterable[Distribution],
    built: Iterable[BuiltWheel],
    *,
    cache: Path,
    report: Report = ignore,
    rules: Rules | None = None,
    sources: Sources | None = None,
) -> tuple[Wheel, ...]:
    """BUILD_ON_HOST: sdists of those source trees whose wheels are not for every host."""
    builder = WheelBuilder(cache, report, rules, sources)
    compiled = {item.wheel.name: item.wheel for item in built if is_for_some_hosts(item.wheel.path)}
    trees = (item for item in distributions if item.source is not None and item.source.is_dir())
    return tuple(
        builder.build_sdist(item, compiled[item.name])
        for item in trees
        if item.name in compiled and item.kind != "plain"
    )


class WheelBuilder:
    """Builds wheels into a cache folder, keyed by what they are built from."""

    def __init__(
        self,
        cache: Path,
        report: Report = ignore,
        rules: Rules | None = None,
        sources: Sources | None = None,
    ) -> None:
        self._cache = cache
        self._report = report
        self._rules = rules or Rules()
        self._sources = sources

    def build(self, distribution: Distribution) -> BuiltWheel:
        """The wheel of one distribution, from the cache if it is there."""
        return _with_origin(self._build(distribution), distribution)

    def _build(self, distribution: Distribution) -> BuiltWheel:
        source = distribution.source
        if source is None:
            return self._fetch(distribution)
        if not source.exists():
            raise BundleError(
                f"{distribution} was installed from {source}, which does not exist any more.",
                remedy="Install it again from where it is now.",
            )
        if source.is_file():
            return self._collect_archive(distribution, source)
        if distribution.kind == "plain":
            return self._assemble(distribution, source)
        return self._build_tree(distribution, Tree(source, ignore=self._rules.ignored))

    def _assemble(self, distribution: Distribution, source: Path) -> BuiltWheel:
        """The wheel of a plain project, which no back end builds."""
        contents = read_contents(source, self._rules)
        version = version_of(contents, distribution.paths)
        key = digest("plain", version, distribution.name, tag_of(contents))

        def make(folder: Path) -> Path:
            return assemble(distribution, contents, folder)

        return replace(
            self._find(distribution, key) or self._make(distribution, key, make), contents=contents
        )

    def _build_tree(self, distribution: Distribution, tree: Tree) -> BuiltWheel:
        key, make = self._building(distribution, tree, "wheel")
        built = self._find(distribution, key) or self._make(distribution, key, make, tree)
        return replace(built, warnings=(*built.warnings, *_stale_version(built, distribution)))

    def build_sdist(self, distribution: Distribution, wheel: Wheel) -> Wheel:
        """The sdist of a source tree, for hosts that cannot use its ``wheel``."""
        from django_deploy.bundle.wheels.backend import SOURCE_DATE_EPOCH
        from django_deploy.bundle.wheels.sdists import check_sdist, normalise_sdist

        assert distribution.source is not None, "only trees have one"
        tree = Tree(distribution.source, ignore=self._rules.ignored)
        key, make = self._building(distribution, tree, "sdist")
        place = self._folder(key)
        record = read_record(place / RECORD)
        if record is None or not (place / record["file"]).is_file():
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="build-", dir=place) as folder:
                made = make(Path(folder))
                normalise_sdist(made, int(SOURCE_DATE_EPOCH))
                check_sdist(made)
                sdist = made.replace(place / made.name)
            record = {"file": sdist.name, "sha256": sha256_of(sdist), "size": sdist.stat().st_size}
            write_record(place / RECORD, record)
        os.utime(place / RECORD)
        path = place / record["file"]
        return replace(wheel, path=path, sha256=record["sha256"], size=record["size"])

    def _building(
        self, distribution: Distribution, tree: Tree, product: Product
    ) -> tuple[str, Callable[[Path], Path]]:
        """The key of what a back end makes of a tree, and what makes it in a folder."""
        scm_version = distribution.version if is_version_from_scm(tree) else ""
        meant = self._rules.include.texts
        known_files = find_known_files(tree)
        told = (distribution.name, distribution.version, scm_version, known_files, meant)
        key = digest(product, _digest_of(tree), *told, *_interpreter())

        def make(folder: Path) -> Path:
            from django_deploy.bundle.wheels.backend import build_tree

            return build_tree(
                distribution,
                tree,
                folder,
                cache=self._cache,
                sources=self._sources,
                key=key,
                scm_version=scm_version,
                known_files=known_files,
                product=product,
            )

        return key, make

    def _collect_archive(self, distribution: Distribution, archive: Path) -> BuiltWheel:
        if archive.suffix != ".whl":
            sha256 = sha256_of(archive)
            _refuse_changed(distribution, archive, sha256)
            key = digest("archive", sha256, *_interpreter())
            return self._collect(distribution, str(archive.resolve()), key)
        status = archive.stat()
        key = digest("wheel", str(archive), status.st_size, status.st_mtime_ns, distribution.sha256)
        built = self._find(distribution, key)
        if built is None:
            built = _describe(archive.resolve(), distribution)
            _refuse_changed(distribution, archive, built.wheel.sha256)
            write_record(self._folder(key) / RECORD, _as_record(built))
        return built

    def _fetch(self, distribution: Distribution) -> BuiltWheel:
        reference = _direct_reference(distribution)
        fixed_by = distribution.commit or distribution.sha256 or _installed_digest(distribution)
        return self._collect(distribution, reference, digest("url", reference, fixed_by, *_interpreter()))

    def _collect(self, distribution: Distribution, requirement: str, key: str) -> BuiltWheel:
        """The wheel that pip makes of a direct reference or an archive."""

        def make(folder: Path) -> Path:
            from django_deploy.bundle.wheels.backend import fetch_wheel

            return fetch_wheel(distribution, requirement, folder, self._sources)

        return self._find(distribution, key) or self._make(distribution, key, make)

    def _find(self, distribution: Distribution, key: str) -> BuiltWheel | None:
        """The wheel that an earlier deployment has made."""
        record = read_record(self._folder(key) / RECORD)
        if record is None:
            return None
        built = _from_record(record, distribution.name)
        if not built.wheel.path.is_file() or built.wheel.path.stat().st_size != built.wheel.size:
            return None
        os.utime(self._folder(key) / RECORD)
        self._report_finished(built, cached=True, seconds=0.0)
        return built

    def _make(
        self, distribution: Distribution, key: str, make: Callable[[Path], Path], tree: Tree | None = None
    ) -> BuiltWheel:
        """Makes a wheel, examines it and puts it into the cache."""
        started = time.monotonic()
        self._report(Event("build.started", fields={"distribution": distribution.name}))
        self._folder(key).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=self._folder(key)) as folder:
            made = make(Path(folder))
            warnings = _examine(made, distribution, tree, self._rules.include)
            wheel = made.replace(self._folder(key) / made.name)
        built = _describe(wheel, distribution, warnings)
        write_record(self._folder(key) / RECORD, _as_record(built))
        self._report_finished(built, cached=False, seconds=time.monotonic() - started)
        prune(self._cache / "wheels", RECORD, unused_for=KEPT_FOR)
        return built

    def _folder(self, key: str) -> Path:
        return self._cache / "wheels" / key

    def _report_finished(self, built: BuiltWheel, *, cached: bool, seconds: float) -> None:
        fields = {"distribution": built.wheel.name, "wheel": built.wheel.path.name, "cached": cached}
        self._report(Event("build.finished", fields={**fields, "seconds": round(seconds, 3)}))


def _interpreter() -> tuple[object, ...]:
    """What a wheel may depend on beside its sources."""
    variables = sorted(item for item in os.environ.items() if _BUILD_VARIABLE.match(item[0]))
    return sys.implementation.cache_tag, sysconfig.get_platform(), RECIPE, variables


def _digest_of(tree: Tree) -> str:
    try:
        return tree.digest()
    except OSError as error:
        raise BundleError(f"{error.filename or tree.folder} cannot be read: {error.strerror}.") from None


def is_version_from_scm(tree: Tree) -> bool:
    """Whether a build asks git or Mercurial for the version: a copy of the tree cannot answer."""
    return _SCM_VERSION.search(tree.configuration) is not None


def _stale_version(built: BuiltWheel, distribution: Distribution) -> Iterator[str]:
    """A warning where the metadata of an editable installation is older than its sources."""
    if built.wheel.version != distribution.version:
        yield (
            f"{distribution.name} is installed as {distribution.version}, but its sources say "
            f"{built.wheel.version}, which is deployed."
        )


def _refuse_another_name(distribution: Distribution, name: str) -> None:
    if distribution.kind != "plain" and canonicalize_name(name) != canonicalize_name(distribution.name):
        raise BundleError(
            f"{distribution.name} calls itself {name or 'nothing'} now: its name has changed since.",
            remedy=f"Uninstall {distribution.name}, and install it again from where it is now.",
        )


def _direct_reference(distribution: Distribution) -> str:
    """The requirement that installs a VCS or URL distribution again: the same commit, the same file."""
    url = distribution.url
    if distribution.kind == "vcs":
        url = f"{distribution.vcs}+{url}@{distribution.commit}"
    fragments = {"subdirectory": distribution.subdirectory, "sha256": distribution.sha256}
    fragment = "&".join(f"{key}={value}" for key, value in fragments.items() if value)
    return f"{distribution.name} @ {url}#{fragment}" if fragment else f"{distribution.name} @ {url}"


def _installed_digest(distribution: Distribution) -> str:
    """Tells installations of the same address apart, where no commit and no hash does."""
    record = distribution.metadata_folder / "RECORD"
    return sha256_of(record) if record.is_file() else ""


def _refuse_changed(distribution: Distribution, archive: Path, sha256: str) -> None:
    if distribution.sha256 not in ("", sha256):
        raise BundleError(
            f"{archive} has changed since {distribution} was installed from it.",
            remedy=f"Install it again: pip install --force-reinstall {archive}",
        )


def _examine(wheel: Path, distribution: Distribution, tree: Tree | None, meant: Patterns) -> tuple[str, ...]:
    """Refuses secrets in what is built from a tree; returns warnings of what is odd about the wheel."""
    if tree is None:
        return find_large_files(wheel) if distribution.kind == "plain" else ()
    check_secrets(wheel, meant)
    return (*_lost_files(wheel, distribution, tree), *find_large_files(wheel))


def _lost_files(wheel: Path, distribution: Distribution, tree: Tree) -> tuple[str, ...]:
    lost = find_lost_files(wheel, tree)
    if not lost:
        return ()
    if migrations := [name for name in lost if _MIGRATION.search(name)]:
        raise BundleError(
            f"The wheel of {distribution.name} lacks migrations of its packages:"
            f" {listed(migrations, FILES_SHOWN)}. The site would go live without their tables.",
            remedy=f"Let the build of {distribution.source} find all packages (setuptools: include ="
            " ['shop*'], not ['shop']), and have an __init__.py in each.",
        )
    return (
        f"The wheel of {distribution.name} lacks files of its packages: {listed(lost, FILES_SHOWN)}."
        " If the site needs them, name them in its build settings (setuptools: package-data).",
    )


def _describe(path: Path, distribution: Distribution, warnings: tuple[str, ...] = ()) -> BuiltWheel:
    metadata = read_metadata(path)
    _refuse_another_name(distribution, metadata["Name"] or "")
    wheel = Wheel(
        name=distribution.name,
        version=metadata["Version"],
        path=path,
        sha256=sha256_of(path),
        size=path.stat().st_size,
    )
    return BuiltWheel(wheel, tuple(metadata.get_all("Requires-Dist", ())), warnings)


def _as_record(built: BuiltWheel) -> dict[str, Any]:
    wheel = built.wheel
    return {
        "path": str(wheel.path),
        "version": wheel.version,
        "sha256": wheel.sha256,
        "size": wheel.size,
        "requires": built.requires,
        "warnings": built.warnings,
    }


def _from_record(record: Mapping[str, Any], name: str) -> BuiltWheel:
    wheel = Wheel(name, record["version"], Path(record["path"]), record["sha256"], record["size"])
    return BuiltWheel(wheel, tuple(record["requires"]), tuple(record["warnings"]))


def _with_origin(built: BuiltWheel, distribution: Distribution) -> BuiltWheel:
    """Adds where the sources are and how they stand in their VCS."""
    source = distribution.source
    if source is None:
        known = Revision(distribution.vcs, distribution.commit) if distribution.commit else None
        return replace(built, wheel=replace(built.wheel, source=distribution.url, revision=known))
    revision = find_revision(source) if source.is_dir() else None
    return replace(built, wheel=replace(built.wheel, source=str(source), revision=revision))
