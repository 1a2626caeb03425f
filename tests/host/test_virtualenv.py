from __future__ import annotations

import os
import py_compile
import subprocess
import sys

import pytest

from django_deploy.host.inventory import digest_of_record
from django_deploy.host.protocol import Failure
from django_deploy.host.virtualenv import carry_bytecode, site_packages, unshare_project, verify


def make_release(layout, second):
    release = layout.release(f"20261122T17450{second}Z-3f9c2a1")
    (release.venv / "lib/python3.11/site-packages").mkdir(parents=True)
    return release


def install(release, name, version, *more):
    folder = site_packages(release) / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    header = [f"Name: {name}", f"Version: {version}", *more]
    text = "\n".join(["Metadata-Version: 2.4", *header, "", "Name: not this", "Version: nor this"])
    (folder / "METADATA").write_text(text)


def test_what_the_lock_says_is_accepted(layout):
    release = make_release(layout, 1)
    install(release, "Django", "5.2.19")
    install(release, "Shop.Reviews", "1.0", "Summary: a: b", "License: MIT", "        Name: no header")

    verify(release, {"django": ["5.2.19"], "shop-reviews": ["1.0"]})


def test_fields_may_be_empty(layout):
    """poetry-core and uv's backend write ``Summary: `` where there is no description."""
    release = make_release(layout, 1)
    install(release, "shop", "1.0", "Summary: ", "Author:", "License: of several lines: ", "        more: ")

    verify(release, {"shop": ["1.0"]})


def test_what_differs_from_the_lock_is_named(layout):
    release = make_release(layout, 1)
    install(release, "django", "5.2.18")
    install(release, "stray", "1.0")

    with pytest.raises(Failure, match=r"^the virtualenv is not what the lock says$") as caught:
        verify(release, {"django": ["5.2.19"], "gunicorn": ["27.0"]})

    assert caught.value.details["lines"] == [
        "django: 5.2.18 instead of 5.2.19",
        "gunicorn: missing instead of 27.0",
        "stray: 1.0 instead of nothing",
    ]


def record(release, name, text, tag="py3-none-any"):
    folder = next(site_packages(release).glob(f"{name}-*.dist-info"))
    (folder / "RECORD").write_text(text)
    (folder / "WHEEL").write_text(f"Wheel-Version: 1.0\nTag: {tag}\n")


OURS = "shop/a.py,sha256=aaaa,1\n"
THEIRS = "shop/a.py,sha256=bbbb,1\n"


def test_the_files_that_are_here_are_accepted(layout):
    release = make_release(layout, 1)
    install(release, "shop", "1.0")
    record(release, "shop", OURS + "shop/__pycache__/a.cpython-311.pyc,,\r\n")

    verify(release, {"shop": ["1.0", "py3-none-any", digest_of_record(OURS)]})


def test_other_files_of_the_same_name_and_version_are_named(layout):
    release = make_release(layout, 1)
    for name, text in (("shop", THEIRS), ("reviews", OURS), ("cart", THEIRS)):
        install(release, name, "1.0")
        record(release, name, text)

    with pytest.raises(Failure) as caught:
        verify(
            release,
            {name: ["1.0", "py3-none-any", digest_of_record(OURS)] for name in ("shop", "reviews", "cart")},
        )

    failure = caught.value
    assert failure.type == "InstallFailed"
    assert failure.message == "what the host got under the same name and version has other files than here"
    assert failure.details["lines"] == ["cart 1.0", "shop 1.0"]
    assert failure.remedy == (
        "Set INDEX_URL to where they come from, or install here what the hosts get: "
        "pip install --force-reinstall --no-deps NAME==VERSION"
    )


def test_a_wheel_for_another_platform_has_files_of_its_own(layout):
    release = make_release(layout, 1)
    install(release, "pillow", "12.0.0")
    record(release, "pillow", THEIRS, tag="cp311-cp311-manylinux_2_28_x86_64")

    verify(release, {"pillow": ["12.0.0", "cp311-cp311-macosx_11_0_arm64", digest_of_record(OURS)]})


def test_without_a_record_nothing_is_what_was_expected(layout):
    release = make_release(layout, 1)
    install(release, "shop", "1.0")
    record(release, "shop", "")

    with pytest.raises(Failure, match="has other files than here"):
        verify(release, {"shop": ["1.0", "py3-none-any", digest_of_record(OURS)]})


def add_module(release, name, text="x = 1\n"):
    path = site_packages(release) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    py_compile.compile(str(path))
    return path


def share_module(old, new, name):
    """The same file in both, as uv installs it from its cache."""
    path = site_packages(new) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    os.link(site_packages(old) / name, path)
    return path


def bytecode(release):
    folder = site_packages(release)
    return sorted(str(path.relative_to(folder)).split(".")[0] for path in folder.rglob("*.pyc"))


def test_bytecode_of_shared_modules_is_carried_over(layout):
    old, new = make_release(layout, 1), make_release(layout, 2)
    for name in ("top.py", "shop/models.py", "shop/web/views.py", "google/cloud/storage/client.py"):
        add_module(old, name)
        share_module(old, new, name)

    assert carry_bytecode(old, new) == 4

    assert bytecode(new) == [
        "__pycache__/top",
        "google/cloud/storage/__pycache__/client",
        "shop/__pycache__/models",
        "shop/web/__pycache__/views",
    ]


def test_carried_bytecode_is_what_python_takes(layout):
    old, new = make_release(layout, 1), make_release(layout, 2)
    add_module(old, "shop/models.py")
    module = share_module(old, new, "shop/models.py")

    carry_bytecode(old, new)

    command = [sys.executable, "-v", "-c", "import shop.models"]
    done = subprocess.run(command, cwd=module.parent.parent, capture_output=True, text=True)
    assert done.returncode == 0
    assert f"matches {module}" in done.stderr


def test_bytecode_of_other_modules_stays_behind(layout):
    old, new = make_release(layout, 1), make_release(layout, 2)
    add_module(old, "shop/models.py", "x = 1\n")
    add_module(old, "shop/gone.py")
    other = add_module(new, "shop/models.py", "x = 2\n")
    before = [path.stat().st_ino for path in other.parent.rglob("*.pyc")]

    assert carry_bytecode(old, new) == 0

    assert [path.stat().st_ino for path in other.parent.rglob("*.pyc")] == before
    assert bytecode(new) == ["shop/__pycache__/models"]


def test_folders_of_data_are_not_searched(layout):
    old, new = make_release(layout, 1), make_release(layout, 2)
    deep = "shop/locale/de/LC_MESSAGES/code.py"
    add_module(old, deep)
    add_module(old, "shop/models.py")
    for name in (deep, "shop/models.py"):
        share_module(old, new, name)

    carry_bytecode(old, new)

    assert bytecode(new) == ["shop/__pycache__/models"]


def test_files_of_a_plain_project_are_the_releases_own(layout, tmp_path):
    release = make_release(layout, 1)
    cached = tmp_path / "cached.py"
    cached.write_text("as it was")
    cached.chmod(0o755)
    for name in ("manage.py", "blog/data.json"):
        (release.venv / "app" / name).parent.mkdir(parents=True, exist_ok=True)
        (release.venv / "app" / name).hardlink_to(cached)
    (release.venv / "app" / "own.txt").write_text("own")

    assert unshare_project(release) == 2

    assert unshare_project(release) == 0
    (release.venv / "app" / "blog" / "data.json").write_text("changed by the site")
    assert cached.read_text() == "as it was"
    manage = release.venv / "app" / "manage.py"
    assert (manage.read_text(), manage.stat().st_mode & 0o777) == ("as it was", 0o755)
    assert sorted(path.name for path in (release.venv / "app").iterdir()) == ["blog", "manage.py", "own.txt"]


def test_release_without_a_plain_project(layout):
    assert unshare_project(make_release(layout, 1)) == 0
