from __future__ import annotations

import json
import stat

import pytest

from django_deploy.host import environment
from django_deploy.host.layout import Layout
from django_deploy.host.protocol import Failure

ID, NEXT = "20261122T174500Z-3f9c2a1", "20261122T184500Z-3f9c2a1"


@pytest.fixture
def layout(tmp_path):
    layout = Layout(str(tmp_path / "site"))
    layout.create()
    for id in (ID, NEXT):
        layout.release(id).path.mkdir()
    layout.point(layout.current, f"releases/{ID}")
    environment.write(layout.release(ID), {"A": "settings", "B": "settings"}, {"B": "host"})
    return layout


def of(layout, id=ID):
    return json.loads((layout.release(id).path / "environment.json").read_text())


def test_the_host_wins_over_the_settings(layout):
    assert of(layout) == {"A": "settings", "B": "host"}
    assert environment.names(layout) == {"settings": ["A", "B"], "host": ["B"]}


def test_nobody_else_may_read_it(layout):
    environment.keep(layout, layout.release(ID))
    files = [*layout.release(ID).path.glob("environment*.json"), layout.private / "environment.json"]

    assert len(files) == 4
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_what_is_unset_is_the_settings_again(layout):
    environment.change(layout.release(ID), {"C": "host"}, ["B"])

    assert of(layout) == {"A": "settings", "B": "settings", "C": "host"}


def test_a_release_that_becomes_live_brings_its_environment(layout):
    environment.write(layout.release(NEXT), {}, {"B": "other"})

    environment.keep(layout, layout.release(NEXT))
    assert environment.of_host(layout) == {"B": "other"}
    environment.keep(layout, layout.release(ID))
    assert environment.of_host(layout) == {"B": "host"}


def test_before_the_first_release(layout):
    layout.point(layout.current, None)

    environment.store(layout, {"A": "1", "B": "2"}, [])
    environment.store(layout, {"C": "3"}, ["A"])

    assert environment.of_host(layout) == {"B": "2", "C": "3"}
    assert environment.names(layout) == {"settings": [], "host": ["B", "C"]}


@pytest.mark.parametrize("text", ["{", '["A"]', '{"A": 1}'])
def test_a_damaged_file_is_named_and_kept(layout, text):
    path = layout.private / "environment.json"
    path.write_text(text)

    with pytest.raises(Failure) as caught:
        environment.store(layout, {"A": "1"}, [])

    assert str(path) in caught.value.message
    assert path.read_text() == text
    assert environment.secrets(layout) == []


def test_a_damaged_file_is_told_to_who_looks_at_the_live_environment(layout):
    file = layout.private / "environment.json"
    file.write_text("{")

    with pytest.raises(Failure, match=f"{file} cannot be read: "):
        environment.names(layout)


def test_what_is_masked(layout):
    values = {"A": "short", "B": "60000", "C": "a secret word\n  and one more", "D": "4929123412341234"}
    environment.store(layout, {**values, "E": "Xk\\9q\"L'mZ2", "F": "redis://:p%40ssw0rd@cache/0"}, [])

    assert environment.secrets(layout) == [
        *("a secret word", "and one more", "4929123412341234"),
        *("Xk\\9q\"L'mZ2", "Xk\\\\9q\"L\\'mZ2"),
        *("redis://:p%40ssw0rd@cache/0", "redis://:p@ssw0rd@cache/0", "p%40ssw0rd", "p@ssw0rd"),
    ]
