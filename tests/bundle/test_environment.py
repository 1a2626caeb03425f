"""Discovery, from metadata folders on disk."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from django_deploy.bundle.environment import Distribution, discover, site_folders
from django_deploy.exceptions import BundleError


def install(
    folder: Path, name: str, version: str = "1.0", *, direct_url: dict | None = None, **headers: str
) -> Path:
    """A metadata folder as installers leave it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    fields = {"Metadata-Version": "2.1", "Name": name, "Version": version, **headers}
    text = "".join(f"{key}: {value}\n" for key, value in fields.items())
    info.joinpath("METADATA").write_text(text + "\nRequires-Dist: only-the-description-says-so\n")
    if direct_url is not None:
        info.joinpath("direct_url.json").write_text(json.dumps(direct_url))
    return info


def found(folder: Path) -> Distribution:
    (distribution,) = discover([folder]).distributions
    return distribution


def test_index_installation(tmp_path):
    info = install(tmp_path, "Zope.Interface_x", "5.2rc1+cpu", **{"Requires-Dist": "six"})

    assert found(tmp_path) == Distribution("zope-interface-x", "5.2rc1+cpu", "index", ("six",), info)


def test_python_that_a_distribution_requires(tmp_path):
    install(tmp_path, "soupsieve", "4.1.2", **{"Requires-Python": ">=3.11.5"})

    assert found(tmp_path).requires_python == ">=3.11.5"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(
            {"url": "file:///src/a%20b", "dir_info": {"editable": True}},
            {"kind": "editable", "source": Path("/src/a b")},
            id="editable",
        ),
        pytest.param(
            {"url": "file:///src/a", "dir_info": {}, "subdirectory": "sub"},
            {"kind": "local", "source": Path("/src/a/sub")},
            id="folder",
        ),
        pytest.param(
            {
                "url": "https://example.com/r.git",
                "vcs_info": {"vcs": "git", "commit_id": "abc"},
                "subdirectory": "sub",
            },
            {
                "kind": "vcs",
                "url": "https://example.com/r.git",
                "vcs": "git",
                "commit": "abc",
                "subdirectory": "sub",
            },
            id="vcs",
        ),
        pytest.param(
            {"url": "file:///w/a.whl", "archive_info": {"hashes": {"sha256": "12"}}},
            {"kind": "local", "source": Path("/w/a.whl"), "sha256": "12"},
            id="archive, by pip",
        ),
        pytest.param(
            {"url": "file:///w/a.whl", "archive_info": {}},
            {"kind": "local", "source": Path("/w/a.whl"), "sha256": ""},
            id="archive, by uv",
        ),
        pytest.param(
            {"url": "https://example.com/a.zip", "archive_info": {}},
            {"kind": "url", "url": "https://example.com/a.zip"},
            id="url",
        ),
    ],
)
def test_direct_installation(tmp_path, record, expected):
    install(tmp_path, "a", direct_url=record)

    distribution = found(tmp_path)

    assert {name: getattr(distribution, name) for name in expected} == expected


def test_damaged_record_is_an_error(tmp_path):
    info = install(tmp_path, "a", direct_url={"url": 1})

    with pytest.raises(BundleError) as caught:
        discover([tmp_path])

    assert caught.value.message.startswith(f"{info / 'direct_url.json'} is not a PEP 610 record: ")


def test_egg_link(tmp_path):
    project, site = tmp_path / "project", tmp_path / "site"
    info = project / "lib" / "Legacy.Pkg.egg-info"
    info.mkdir(parents=True)
    info.joinpath("PKG-INFO").write_text("Metadata-Version: 1.0\nName: Legacy.Pkg\nVersion: 1.0\n")
    info.joinpath("requires.txt").write_text("six\n")
    site.mkdir()
    site.joinpath("Legacy.Pkg.egg-link").write_text(f"{project / 'lib'}\n../")

    distribution = found(site)

    assert (distribution.name, distribution.kind) == ("legacy-pkg", "editable")
    assert distribution.source == project.resolve()
    assert distribution.requires == ("six",)


def test_broken_egg_link_is_a_warning(tmp_path):
    link = tmp_path / "gone.egg-link"
    link.write_text(f"{tmp_path}/gone\n.")

    environment = discover([tmp_path])

    assert environment.distributions == ()
    assert environment.warnings == (f"{link} leads to no distribution; it is ignored.",)


def test_installed_twice_is_an_error(tmp_path):
    install(tmp_path, "six", "1.16.0")
    install(tmp_path, "six", "1.17.0")

    with pytest.raises(BundleError) as caught:
        discover([tmp_path])

    assert caught.value.message == (
        f"The environment is broken: six is installed more than once in {tmp_path} (1.16.0 and 1.17.0)."
    )


def test_two_kinds_of_metadata_that_say_the_same(tmp_path):
    """As apt installs cryptography."""
    info = install(tmp_path, "zz", "38.0.4")
    egg_info = tmp_path / "ZZ-38.0.4.egg-info"
    egg_info.mkdir()
    egg_info.joinpath("PKG-INFO").write_text("Metadata-Version: 1.0\nName: ZZ\nVersion: 38.0.4\n")

    assert found(tmp_path).metadata_folder == info


def test_same_version_from_two_places_is_an_error(tmp_path):
    record = {"url": "file:///src/six", "dir_info": {"editable": True}}
    install(tmp_path, "six", "1.16.0")
    install(tmp_path, "SIX", "1.16.0", direct_url=record)

    with pytest.raises(BundleError) as caught:
        discover([tmp_path])

    assert caught.value.message == (
        f"The environment is broken: six is installed more than once in {tmp_path} (1.16.0 and 1.16.0)."
    )


def test_earlier_folder_hides_a_later_one(tmp_path):
    install(tmp_path / "venv", "six", "1.17.0")
    install(tmp_path / "system", "six", "1.16.0")
    install(tmp_path / "system", "apt")

    environment = discover([tmp_path / "venv", tmp_path / "system"])

    assert list(map(str, environment.distributions)) == ["apt 1.0", "six 1.17.0"]


def test_debris_is_a_warning(tmp_path):
    half = tmp_path / "~umpy-1.0.dist-info"
    empty = tmp_path / "broken-1.0.dist-info"
    half.mkdir()
    empty.mkdir()

    environment = discover([tmp_path])

    assert environment.distributions == ()
    assert environment.warnings == (
        f"{empty} names no distribution; it is ignored.",
        f"{half} is a leftover of an interrupted uninstallation; it is ignored.",
    )


def test_code_that_no_distribution_owns_is_a_warning(tmp_path):
    site, owned, foreign = tmp_path / "site", tmp_path / "owned", tmp_path / "foreign"
    install(site, "a", direct_url={"url": owned.as_uri(), "dir_info": {"editable": True}})
    owned.joinpath("src").mkdir(parents=True)
    foreign.mkdir()
    site.joinpath("x.pth").write_text(f"# note\n{owned}/src\n\n{foreign}\n/does/not/exist\n")

    environment = discover([site])

    assert environment.warnings == (
        f"{site / 'x.pth'} adds {foreign} to the path; no distribution owns it and it is not deployed.",
    )


def test_pth_file_that_runs_code_is_a_warning(tmp_path):
    for name in ("patch", "_virtualenv", "distutils-precedence", "Acme.Legacy-nspkg"):
        tmp_path.joinpath(f"{name}.pth").write_text("import sys; sys.path.insert(0, '/x')\n")

    environment = discover([tmp_path])

    assert environment.warnings == (
        f"{tmp_path / 'patch.pth'} runs code whenever Python starts; "
        "no distribution owns it and it is not deployed.",
    )


def test_pth_file_of_a_distribution_is_no_warning(tmp_path):
    site, foreign = tmp_path / "site", tmp_path / "foreign"
    info = install(site, "a")
    foreign.mkdir()
    info.joinpath("RECORD").write_text("a.py,,\nx.pth,sha256=abc,3\n")
    site.joinpath("x.pth").write_text(f"import os\n{foreign}\n")

    assert discover([site]).warnings == ()


def test_egg(tmp_path):
    info = tmp_path / "Acme_Egg-1.0-py3.11.egg" / "EGG-INFO"
    info.mkdir(parents=True)
    info.joinpath("PKG-INFO").write_text("Metadata-Version: 1.0\nName: Acme.Egg\nVersion: 1.0\n")
    info.joinpath("requires.txt").write_text("six\n")

    assert found(tmp_path) == Distribution("acme-egg", "1.0", "index", ("six",), info)


def test_egg_in_a_zip_file(tmp_path):
    egg = tmp_path / "acme-1.0-py3.11.egg"
    with zipfile.ZipFile(egg, "w") as archive:
        archive.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: acme\nVersion: 1.0\n")
        archive.writestr("EGG-INFO/requires.txt", "six\n")

    assert found(tmp_path) == Distribution("acme", "1.0", "index", ("six",), egg / "EGG-INFO")


def test_egg_without_metadata_is_a_warning(tmp_path):
    egg = tmp_path / "acme-1.0-py3.11.egg"
    egg.touch()

    environment = discover([tmp_path])

    assert environment.distributions == ()
    assert environment.warnings == (f"{egg} is an egg without metadata; it is ignored.",)


def test_site_folders_exist_and_come_once():
    folders = site_folders()

    assert folders
    assert all(folder.is_dir() for folder in folders)
    assert len(set(folders)) == len(folders)
