"""Files that releases have collected, and where they are found later."""

from __future__ import annotations

import json

import pytest

from django_deploy.host.layout import FAILED, LIVE, RETIRED, Layout, Release
from django_deploy.host.static_files import carry_static_files

CSS, OLD_CSS, OLDER_CSS = "shop.222222222222.css", "shop.111111111111.css", "shop.000000000000.css"


def add(layout: Layout, hour: int, state: str, *files: str) -> Release:
    """A release that has collected these files; each has its release's hour in it."""
    release = layout.release(f"20261122T{hour:02}0000Z-3f9c2a1")
    root = release.path / "static"
    for name in ("staticfiles.json", *files):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(str(hour))
    (release.path / "site.json").write_text(json.dumps({"static_root": str(root)}))
    release.mark(state)
    return release


def contents(release: Release) -> dict[str, str]:
    root = release.path / "static"
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_files_of_releases_that_were_live(layout: Layout) -> None:
    add(layout, 0, FAILED, "never-seen.js")
    add(layout, 1, RETIRED, f"shop/{OLDER_CSS}", "logo.svg")
    old = add(layout, 2, LIVE, f"shop/{OLD_CSS}", "logo.svg")
    new = add(layout, 3, "ready", f"shop/{CSS}")

    carried = carry_static_files(layout, new)

    assert carried == 3
    assert contents(new) == {
        "staticfiles.json": "3",
        f"shop/{CSS}": "3",
        f"shop/{OLD_CSS}": "2",
        f"shop/{OLDER_CSS}": "1",
        "logo.svg": "2",
    }
    original = old.path / "static/shop" / OLD_CSS
    assert original.samefile(new.path / "static/shop" / OLD_CSS)  # which takes no space


def test_they_go_with_their_release(layout: Layout) -> None:
    first = add(layout, 1, RETIRED, OLDER_CSS)
    second = add(layout, 2, LIVE, OLD_CSS)
    carry_static_files(layout, second)
    first.discard()
    third = add(layout, 3, "ready", CSS)

    carry_static_files(layout, third)
    carry_static_files(layout, second)

    assert set(contents(third)) == {"staticfiles.json", CSS, OLD_CSS}
    assert set(contents(second)) == {"staticfiles.json", OLD_CSS}


def test_going_back_finds_the_files_of_the_newer_one(layout: Layout) -> None:
    old, new = add(layout, 1, RETIRED, OLD_CSS), add(layout, 2, LIVE, CSS)

    carry_static_files(layout, old)
    again = carry_static_files(layout, old)

    assert again == 1
    assert contents(old) == {"staticfiles.json": "1", OLD_CSS: "1", CSS: "2"}
    assert set(contents(new)) == {"staticfiles.json", CSS}


@pytest.mark.parametrize("root", ["/srv/site/shared/static", None, "", "relative"])
def test_a_root_that_is_not_in_the_release(layout: Layout, root: str | None) -> None:
    add(layout, 1, LIVE, OLD_CSS)
    new = add(layout, 2, "ready", CSS)
    (new.path / "site.json").write_text(json.dumps({"static_root": root}))

    assert carry_static_files(layout, new) == 0
    assert set(contents(new)) == {"staticfiles.json", CSS}


def test_nothing_was_collected(layout: Layout) -> None:
    add(layout, 1, LIVE, OLD_CSS)
    new = add(layout, 2, "ready")
    (new.path / "static/staticfiles.json").unlink()
    (new.path / "static").rmdir()

    assert carry_static_files(layout, new) == 0
