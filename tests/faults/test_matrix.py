"""Every fault in every phase: the site goes on, the host is in order, the next deployment needs no help."""

from __future__ import annotations

import os
import re
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.hosts.inspection import REST, assert_consistent, look, visit

from .faults import EITHER, FAULTS, NEW, OLD, Fault
from .matrix import PROPERTY, Cell
from .phases import PHASES, Phase, Scene, reached

if TYPE_CHECKING:
    from tests.hosts.deployer import Result

    from .site import Site, Sites

#: One of so many cells is tried, in diagonals, so that no phase and few faults are left out.
PART = int(os.environ.get("DJANGO_DEPLOY_FAULTS", "1"))

#: Their cells wait for most of their time, and do so side by side.
SLOW = ("deployer: SIGSTOP for 60 s", "link: silent cut")
AT_ONCE = 5


def play(site: Site, fault: Fault, phase: Phase) -> None:
    """One cell, from a healthy site to a healthy site."""
    fault.prepare(site)
    with site.visited() as visitor:
        with reached(site, phase, visitor, **fault.changes(phase.name)) as scene:
            fault.strike(scene)
            result = scene.end()
            fault.lift(scene)
            release = live_now(scene, fault)
            assert_said(scene, fault, result)
            assert_outcome(scene, fault, result, release)
            fault.check(scene, result)
            if fault.leaves(phase.name):
                assert_consistent(site.machine, release)
            visitor.stay(2)
            assert_served(scene, fault, release)
        site.deployed()
        visitor.stay(2)
    if not fault.is_deadly:
        assert visitor.lost[:3] == []


def live_now(scene: Scene, fault: Fault) -> str:
    """What visitors are shown once no deployment is at work any more."""
    look(scene.site.machine, patience=REST if fault.leaves(scene.phase.name) else 3.0)
    return visit(scene.site.machine).release


def assert_said(scene: Scene, fault: Fault, result: Result) -> None:
    assert result.status in fault.status(scene.phase.name), result
    site = scene.site
    pattern = fault.says(scene)
    names = {"host": site.name, "address": site.address, "old": scene.old}
    if "{new}" in pattern:
        names["new"] = scene.plan()
    for name, value in names.items():
        pattern = pattern.replace(f"{{{name}}}", re.escape(value))
    assert re.fullmatch(pattern, result.err), (pattern, result)


def assert_outcome(scene: Scene, fault: Fault, result: Result, release: str) -> None:
    outcome = fault.outcome(scene.phase.name)
    if outcome == EITHER:
        outcome = NEW if result.status == 0 else OLD
    assert release == (scene.old if outcome == OLD else scene.plan()), (outcome, scene.old, result)


def assert_served(scene: Scene, fault: Fault, release: str) -> None:
    """Nobody has seen the new release before the switch, and nobody has seen anything else."""
    seen = set(scene.visitor.marks)
    if release == scene.old and scene.phase.name != "switched":
        assert seen == {scene.old}
    else:
        assert seen <= {scene.old, release, scene.plan()}


def tried(site: Site, fault: Fault, phase: Phase) -> Cell:
    started = time.monotonic()
    verdict, text = "ok", ""
    try:
        play(site, fault, phase)
    except Exception:
        verdict, text = "FAIL", traceback.format_exc() + "\n" + site.machine.journal()
    return Cell(fault.name, phase.name, verdict, text, round(time.monotonic() - started, 1))


def record(request: pytest.FixtureRequest, cells: list[Cell]) -> None:
    request.node.user_properties.append((PROPERTY, [cell.as_dict() for cell in cells]))
    failed = [cell for cell in cells if cell.verdict == "FAIL"]
    assert not failed, "\n\n".join(f"=== {cell.fault} in {cell.phase} ===\n{cell.text}" for cell in failed)


def without_meaning(fault: Fault) -> list[Cell]:
    return [
        Cell(fault.name, phase.name, "-", fault.not_in[phase.name])
        for phase in PHASES
        if phase.name in fault.not_in
    ]


@pytest.mark.skipif(PART > 1, reason="of a part of the matrix only, as DJANGO_DEPLOY_FAULTS says")
@pytest.mark.parametrize("name", SLOW)
def test_slow_fault(request: pytest.FixtureRequest, sites: Sites, name: str) -> None:
    fault = FAULTS[name]
    phases = [phase for phase in PHASES if phase.name not in fault.not_in]
    free = sites(AT_ONCE)

    def one(phase: Phase) -> Cell:
        site = free.pop()
        cell = tried(site, fault, phase)
        if cell.verdict != "ok":
            sites.drop(site)
            [site] = sites.add()
        free.append(site)
        return cell

    with ThreadPoolExecutor(AT_ONCE) as pool:
        record(request, list(pool.map(one, phases)))


QUICK = [
    (name, phase)
    for row, (name, fault) in enumerate(FAULTS.items())
    if name not in SLOW
    for column, phase in enumerate(PHASES)
    if phase.name not in fault.not_in and (row + column) % PART == 0
]


@pytest.mark.parametrize(("name", "phase"), QUICK, ids=[f"{name}, {phase.name}" for name, phase in QUICK])
def test_fault(request: pytest.FixtureRequest, sites: Sites, name: str, phase: Phase) -> None:
    fault = FAULTS[name]
    [site] = sites(1)
    cell = tried(site, fault, phase)
    if cell.verdict != "ok":
        sites.drop(site)
    record(request, [cell])


def test_what_has_no_meaning(request: pytest.FixtureRequest) -> None:
    """Each has its reason, which the matrix tells."""
    cells = [cell for fault in FAULTS.values() for cell in without_meaning(fault)]
    record(request, cells)

    assert all(cell.text for cell in cells)
