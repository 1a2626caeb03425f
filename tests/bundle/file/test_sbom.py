"""Bills of materials: valid by the schema, reproducible, and with all that a bundle has."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from django_deploy.bundle.file.sbom import write_sbom
from django_deploy.bundle.fitting import marker_variables
from django_deploy.bundle.manifest import Manifest, Pin, Wheel
from django_deploy.exceptions import BundleError
from tests.bundle.archives import make_wheel

INDEX = "https://index.example.com/simple"

METADATA = """\
Metadata-Version: 2.4
Name: Django
Version: 5.2.19
Summary: A framework for the web
{licence}

A description.
"""


def wheel_of(folder: Path, name: str, version: str = "1.0", **fields: object) -> Wheel:
    path = make_wheel(folder, name, version)
    content = path.read_bytes()
    return Wheel(name, version, path, hashlib.sha256(content).hexdigest(), len(content), **fields)


def install(folder: Path, licence: str) -> Path:
    info = folder / "Django-5.2.19.dist-info"
    info.mkdir(exist_ok=True, parents=True)
    (info / "METADATA").write_text(METADATA.format(licence=licence))
    return info


@pytest.fixture
def manifest(tmp_path):
    shop = wheel_of(tmp_path / "built", "shop", source="/home/ann/shop")
    fork = wheel_of(tmp_path / "built", "fork", "2.0", source="https://git.example.com/fork")
    return Manifest(
        project="shop",
        version="1.0",
        python="3.11.7",
        wheels=(shop, fork),
        pins=(Pin("django", "5.2.19", ("c" * 64, "d" * 64)), Pin("sqlparse", "0.5", ("e" * 64,))),
        created=1.0,
        created_by="ann@laptop",
        requires=(
            (
                "shop",
                ("Django>=5", "fork", 'windows-only; sys_platform == "win32"', "absent", "what is this"),
            ),
            ("django", ("sqlparse>=0.3",)),
            ("sqlparse", ()),
        ),
        markers=tuple(marker_variables().items()),
        installed=(("django", "5.2.19", install(tmp_path, "License-Expression: BSD-3-Clause")),),
        vendored=(wheel_of(tmp_path / "fetched", "sqlparse", "0.5"),),
    )


def bill(manifest, tmp_path):
    file = tmp_path / "shop.cdx.json"
    count = write_sbom(manifest, file, index_url=INDEX)
    found = json.loads(file.read_text())
    assert count == len(found["components"]) + 1
    return found


def test_it_is_valid(manifest, tmp_path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    found = bill(manifest, tmp_path)

    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(found)) is None


def test_all_that_is_installed_is_in_it(manifest, tmp_path):
    found = bill(manifest, tmp_path)
    components = {item["name"]: item for item in found["components"]}
    project = found["metadata"]["component"]

    assert (project["type"], project["name"], project["version"]) == ("application", "shop", "1.0")
    assert project["hashes"] == [{"alg": "SHA-256", "content": manifest.wheels[0].sha256}]
    assert "purl" not in project  # no registry has it, but one may have another "shop"
    assert set(components) == {"django", "fork", "sqlparse"}
    assert {item["name"]: item["purl"] for item in components.values()} == {
        "django": "pkg:pypi/django@5.2.19",
        "fork": "pkg:pypi/fork@2.0",
        "sqlparse": "pkg:pypi/sqlparse@0.5",
    }
    assert components["fork"]["hashes"] == [{"alg": "SHA-256", "content": manifest.wheels[1].sha256}]
    assert components["sqlparse"]["hashes"] == [{"alg": "SHA-256", "content": manifest.vendored[0].sha256}]
    assert components["django"]["externalReferences"] == [
        {
            "type": "distribution",
            "url": f"{INDEX}/django/",
            "hashes": [{"alg": "SHA-256", "content": "c" * 64}, {"alg": "SHA-256", "content": "d" * 64}],
        }
    ]
    assert components["django"]["description"] == "A framework for the web"


def test_without_an_index(manifest, tmp_path):
    write_sbom(manifest, tmp_path / "shop.cdx.json", index_url="")

    found = json.loads((tmp_path / "shop.cdx.json").read_text())
    django = next(item for item in found["components"] if item["name"] == "django")
    assert [item["url"] for item in django["externalReferences"]] == ["pkg:pypi/django@5.2.19"]


def test_who_requires_whom(manifest, tmp_path):
    found = {item["ref"]: item.get("dependsOn", []) for item in bill(manifest, tmp_path)["dependencies"]}

    assert found == {
        "shop==1.0": ["django==5.2.19", "fork==2.0"],
        "django==5.2.19": ["sqlparse==0.5"],
        "fork==2.0": [],
        "sqlparse==0.5": [],
    }


def test_a_project_that_declares_nothing_needs_all_that_nobody_else_does(manifest, tmp_path, recwarn):
    found = bill(replace(manifest, requires=manifest.requires[1:]), tmp_path)

    (needed,) = (item["dependsOn"] for item in found["dependencies"] if item["ref"] == "shop==1.0")
    assert needed == ["django==5.2.19", "fork==2.0"]
    assert not recwarn.list


LICENCES = [
    ("License-Expression: BSD-3-Clause", [{"license": {"id": "BSD-3-Clause"}}]),
    ("License-Expression: MIT OR Apache-2.0", [{"expression": "MIT OR Apache-2.0"}]),
    ("License: MIT", [{"license": {"id": "MIT"}}]),
    ("License: Our own", [{"license": {"name": "Our own"}}]),
    ("License: UNKNOWN", None),
    ("Classifier: License :: OSI Approved :: BSD License", [{"license": {"name": "BSD License"}}]),
    ("Classifier: License :: OSI Approved", None),
    (
        "License: Permission is hereby granted\n        to anybody.\n"
        "Classifier: License :: OSI Approved :: MIT License",
        [{"license": {"name": "MIT License"}}],
    ),
    ("Keywords: none", None),
]


@pytest.mark.parametrize(("licence", "wanted"), LICENCES)
def test_licences(manifest, tmp_path, licence, wanted):
    install(tmp_path, licence)

    components = {item["name"]: item for item in bill(manifest, tmp_path)["components"]}

    assert components["django"].get("licenses") == wanted


def test_metadata_of_another_version_do_not_count(manifest, tmp_path):
    ((name, _, folder),) = manifest.installed

    found = bill(replace(manifest, installed=((name, "4.2", folder),)), tmp_path)

    assert "licenses" not in next(item for item in found["components"] if item["name"] == "django")


def test_the_same_bundle_has_the_same_bill(manifest, tmp_path):
    """In another process, by somebody else, on another day."""
    bill(manifest, tmp_path)
    once = (tmp_path / "shop.cdx.json").read_bytes()
    program = (
        "import pickle, sys; from pathlib import Path\n"
        "from django_deploy.bundle.file.sbom import write_sbom\n"
        "write_sbom(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), index_url=sys.argv[3])"
    )
    import pickle

    later = replace(manifest, created=9.0, created_by="ci@build", wheels=tuple(reversed(manifest.wheels)))
    (tmp_path / "manifest").write_bytes(pickle.dumps(later))
    again = tmp_path / "again.json"
    subprocess.run([sys.executable, "-c", program, tmp_path / "manifest", again, INDEX], check=True)

    assert again.read_bytes() == once
    for word in (b"/home/ann", b"timestamp", b"ann@laptop"):
        assert word not in once


def test_without_the_library(manifest, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cyclonedx.output", None)

    with pytest.raises(BundleError) as caught:
        write_sbom(manifest, tmp_path / "shop.cdx.json", index_url=INDEX)

    assert caught.value.message == "An SBOM needs cyclonedx-python-lib, which is not installed here."
    assert caught.value.remedy == "Run `pip install 'django-deploy[sbom]'`."


def test_a_place_that_cannot_be_written(manifest, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(BundleError) as caught:
        write_sbom(manifest, tmp_path / "file" / "shop.json", index_url=INDEX)

    assert caught.value.message == f"{tmp_path}/file/shop.json cannot be written: File exists."
