"""Two deployers at once, on the same two hosts: one proceeds, the other says why or waits."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from .inspection import assert_serves

if TYPE_CHECKING:
    from pathlib import Path

    from .bookshop import Bookshop
    from .deployer import Result
    from .machines import Machine

#: Pairs of deployers that are started at the same moment.
ROUNDS = int(os.environ.get("DJANGO_DEPLOY_TEST_ROUNDS", "5"))


def race(bookshop: Bookshop, folder: Path, *words: str) -> list[Result]:
    """Two deployers at once; the second one names the hosts the other way round."""
    reverse = {**bookshop.target, "HOSTS": bookshop.target["HOSTS"][::-1]}
    targets = folder / "reverse.json"
    targets.write_text(json.dumps({"staging": reverse}))
    with (
        bookshop.start("deploy", "--json", *words) as one,
        bookshop.start("deploy", "--json", *words, BOOKSHOP_TARGETS=str(targets)) as other,
    ):
        return [one.end(), other.end()]


def outcome(result: Result) -> str:
    if result.status == 0:
        return str(result.one("rollout.finished")["outcome"])
    assert result.status == 1, result
    assert "Nothing changed: every host serves " in result.err, result
    if ": another deployment is running: " in result.err:
        return "locked"
    # It made its plan before the other one's confirm, and came to the lock after it.
    assert "Somebody else deployed in the meantime: deploy again." in result.err, result
    return "stale"


def test_one_of_two_deployers_proceeds(pair: list[Machine], bookshop: Bookshop, tmp_path: Path) -> None:
    for _ in range(ROUNDS):
        mark = bookshop.new_edition()

        results = race(bookshop, tmp_path)

        outcomes = sorted(map(outcome, results))
        assert outcomes.count("deployed") == 1, results
        assert outcomes[1] in {"locked", "stale", "unchanged"}
        [winner] = [result for result in results if outcome(result) == "deployed"]
        for machine in pair:
            assert_serves(machine, winner.release, mark)


def test_both_of_two_deployers_end_well_when_they_wait(
    pair: list[Machine], bookshop: Bookshop, tmp_path: Path
) -> None:
    for _ in range(ROUNDS):
        mark = bookshop.new_edition()

        results = race(bookshop, tmp_path, "--wait", "60")

        assert sorted(map(outcome, results)) == ["deployed", "unchanged"], results
        assert results[0].release == results[1].release
        for machine in pair:
            assert_serves(machine, results[0].release, mark)
