"""A bill of materials of a bundle: CycloneDX 1.6, as JSON. The same bundle gives the same bytes."""

from __future__ import annotations

import hashlib
import uuid
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from django_deploy import __version__
from django_deploy.bundle.cache import write_aside
from django_deploy.bundle.file.document import is_requirement, write_document
from django_deploy.bundle.wheels.audit import read_metadata
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from email.message import Message
    from pathlib import Path

    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

    from django_deploy.bundle.manifest import Manifest, Pin, Wheel

#: Ends of what a wheel's source is when it was not made from a folder of the user's.
_PUBLISHED = (".whl", ".tar.gz", ".zip")

#: A licence of more characters is the text of one, and not its name.
NAME_LENGTH = 100


def write_sbom(manifest: Manifest, file: Path, *, index_url: str) -> int:
    """Writes the bill of a bundle to a file; gives the number of its components.

    ``index_url``, without credentials, is where the pins come from, empty for no index. Raises
    ``BundleError`` where the library is missing that knows the format.
    """
    try:
        from cyclonedx.output import make_outputter
        from cyclonedx.schema import OutputFormat, SchemaVersion
    except ImportError:
        raise BundleError(
            "An SBOM needs cyclonedx-python-lib, which is not installed here.",
            remedy="Run `pip install 'django-deploy[sbom]'`.",
        ) from None
    bom = _make_bom(manifest, index_url)
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    try:
        with write_aside(file) as aside:
            aside.write_text(text + "\n", encoding="utf-8")
            aside.chmod(0o644)
    except OSError as error:
        raise BundleError(f"{file} cannot be written: {error.strerror}.") from None
    return len(bom.components) + 1


def _make_bom(manifest: Manifest, index_url: str) -> Bom:
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository

    made = _components(manifest, index_url)
    project = made.pop(manifest.project)
    project.type = ComponentType.APPLICATION
    tool = Component(name="django-deploy", version=__version__, type=ComponentType.APPLICATION)
    bom = Bom(
        components=made.values(),
        # Not a random one, nor a time: the same bundle has the same bill.
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(write_document(manifest)).hexdigest()),
        metadata=BomMetaData(component=project, tools=ToolRepository(components=[tool])),
    )
    # Without a time of its own, the library writes none.
    bom.metadata.timestamp = None  # type: ignore[assignment]
    everything = {**made, manifest.project: project}
    needed = {name: {*_requires(manifest, name)} & everything.keys() for name in everything}
    # What nobody declares that he needs it is there for the project: a plain one declares nothing.
    needed[manifest.project] |= made.keys() - set().union(*needed.values())
    for name, component in everything.items():
        bom.register_dependency(component, (everything[other] for other in sorted(needed[name])))
    return bom


def _components(manifest: Manifest, index_url: str) -> dict[str, Component]:
    """Name to component, of all that is installed."""
    metadata = _metadata(manifest)
    vendored: dict[str, list[Wheel]] = {}
    for wheel in manifest.vendored:
        vendored.setdefault(wheel.name, []).append(wheel)
    found = {
        pin.name: _of_pin(pin, vendored.get(pin.name, ()), metadata.get(pin.name), index_url)
        for pin in manifest.pins
    }
    return found | {wheel.name: _of_wheel(wheel, metadata.get(wheel.name)) for wheel in manifest.wheels}


def _of_wheel(wheel: Wheel, metadata: Message | None) -> Component:
    # What was built from a folder of the user's is in no registry, but another may be there under its name.
    is_published = wheel.source.endswith(_PUBLISHED) or "://" in wheel.source
    return _component(wheel.name, wheel.version, metadata, [wheel.sha256], is_published=is_published)


def _of_pin(pin: Pin, vendored: Iterable[Wheel], metadata: Message | None, index_url: str) -> Component:
    from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri

    component = _component(pin.name, pin.version, metadata, [wheel.sha256 for wheel in vendored])
    # Which of its files a host installs is the host's choice.
    reference = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(f"{index_url.rstrip('/')}/{pin.name}/" if index_url else str(component.purl)),
        hashes=_hashes(pin.hashes),
    )
    component.external_references.add(reference)
    return component


def _component(
    name: str, version: str, metadata: Message | None, hashes: Iterable[str], *, is_published: bool = True
) -> Component:
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    return Component(
        name=name,
        version=version,
        bom_ref=f"{name}=={version}",
        description=(metadata and metadata.get("Summary")) or None,
        purl=PackageURL("pypi", name=name, version=version) if is_published else None,
        hashes=_hashes(hashes),
        licenses=_licences(metadata) if metadata else (),
    )


def _hashes(digests: Iterable[str]) -> list[Any]:
    from cyclonedx.model import HashAlgorithm, HashType

    return [HashType(alg=HashAlgorithm.SHA_256, content=sha256) for sha256 in digests]


def _metadata(manifest: Manifest) -> Mapping[str, Message]:
    """Name to metadata: of the wheels, and of what is installed here of the pins."""
    found: dict[str, Message] = {}
    versions = manifest.distributions
    for name, version, folder in manifest.installed:
        file = folder / "METADATA"
        if versions.get(name) == version and file.is_file():
            found[name] = HeaderParser().parsestr(file.read_text(encoding="utf-8", errors="replace"))
    for wheel in (*manifest.vendored, *manifest.wheels):
        found[wheel.name] = read_metadata(wheel.path)
    return found


def _licences(metadata: Message) -> list[License]:
    """The licence expression (PEP 639), or what there was before it: classifiers, and the name of one."""
    from cyclonedx.contrib.license.factories import LicenseFactory

    make = LicenseFactory().make_from_string
    if expression := metadata.get("License-Expression"):
        return [make(str(expression))]
    classifiers = (str(text).split(" :: ") for text in metadata.get_all("Classifier", ()))
    names = [parts[-1] for parts in classifiers if parts[0] == "License" and len(parts) > 2]
    name = str(metadata.get("License", "")).strip()
    is_name = name and name != "UNKNOWN" and "\n" not in name and len(name) <= NAME_LENGTH
    return [make(name)] if is_name else [make(name) for name in names]


def _requires(manifest: Manifest, name: str) -> Iterator[str]:
    """What of a distribution's requirements there is in the environment where the bundle was made."""
    texts = dict(manifest.requires).get(name, ())
    for requirement in map(Requirement, filter(is_requirement, texts)):
        marker = requirement.marker
        if marker is None or marker.evaluate({**dict(manifest.markers), "extra": ""}):
            yield canonicalize_name(requirement.name)
