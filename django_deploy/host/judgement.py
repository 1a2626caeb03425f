"""Decides whether the code that runs now can go on while migrations are applied, and which of them can wait.

All functions are pure. The words for what a migration does come from the site: see
``django_deploy/site/effects.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

#: What a target may say of migrations that break the code that runs: MIGRATIONS.
REFUSE, ALLOW, PHASED = POLICIES = ("refuse", "allow", "phased")

EXPAND, CONTRACT, OPAQUE = "expand", "contract", "opaque"

Migration = dict[str, Any]


@dataclass(frozen=True)
class Code:
    """Code that runs now.

    ``tables`` is what it uses of the database, None if that is not known. ``stays`` tells whether it goes on
    after confirm, as the code of a host that is left out does.
    """

    name: str
    tables: Optional[dict[str, Any]]
    stays: bool = False


@dataclass(frozen=True)
class Refusal:
    """An operation that is refused, and why.

    ``number`` is its place in the migration, from 0; ``what`` is the effect of it that was found unsafe.
    """

    migration: str
    operation: str
    reason: str
    remedy: str = ""
    number: int = 0
    what: str = ""

    def lines(self) -> list[str]:
        return [f"{self.migration}: {self.operation}", f"    {self.reason}"]


@dataclass
class Verdict:
    """What was decided about some migrations.

    ``planned`` are all of them, each with what was found out about it; ``deferred`` are the names of those
    that wait for confirm; ``opaque`` are lines about operations that nobody can look into.
    """

    planned: list[Migration] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    deferred: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)


def has_contract(migrations: Sequence[Migration]) -> bool:
    """Whether any of them takes something away. If not, it does not matter what the code that runs uses."""
    return any(operation["category"] == CONTRACT for m in migrations for operation in m["operations"])


def judge(migrations: Sequence[Migration], running: Sequence[Code], policy: str) -> Verdict:
    """Decide about ``migrations``, which are given as the site plans them and in their order."""
    verdict = Verdict()
    unsafe = [refusal for migration in migrations for refusal in _unsafe(migration, running)]
    if policy == PHASED:
        verdict.deferred = with_dependents(migrations, {refusal.migration for refusal in unsafe})
        staying = [code for code in running if code.stays]
        lasting = [refusal for migration in migrations for refusal in _unsafe(migration, staying)]
        verdict.refusals = [*lasting, *_impatient(migrations, verdict.deferred, unsafe)]
    elif policy == REFUSE:
        verdict.refusals = unsafe
    if running:
        verdict.opaque = [
            f"{migration['name']}: {operation['words']}"
            for migration in migrations
            for operation in migration["operations"]
            if _has_opaque(operation)
        ]
    verdict.planned = [_describe(migration, unsafe, verdict.deferred) for migration in migrations]
    return verdict


def _unsafe(migration: Migration, running: Sequence[Code]) -> Iterator[Refusal]:
    """The operations that take away what the code that runs uses."""
    for number, operation in enumerate(migration["operations"]):
        for effect in operation["effects"]:
            if effect["category"] == CONTRACT:
                for reason in _reasons(effect, running):
                    yield Refusal(
                        migration["name"],
                        operation["words"],
                        reason,
                        effect["remedy"],
                        number,
                        effect["what"],
                    )


def _reasons(effect: dict[str, Any], running: Sequence[Code]) -> Iterator[str]:
    """One reason for each piece of code that uses what the effect takes away, or may use it."""
    for code in running:
        if code.tables is None:
            yield f"{effect['what']}; whether {code.name} uses it is not known"
            continue
        table = code.tables.get(effect["table"])
        if table is None or effect["mark"] in table["marks"]:
            continue
        used = [table["columns"][name] for name in effect["columns"] if name in table["columns"]]
        if used or not effect["columns"] or effect.get("is_for_all"):
            yield f"{effect['what']}; {code.name} uses it: {', '.join(used) or table['model']}"


def with_dependents(migrations: Sequence[Migration], unsafe: set[str]) -> list[str]:
    """The ``unsafe`` migrations and all others that need one of them, also indirectly; in their order."""
    waiting: list[str] = []
    for migration in migrations:
        if migration["name"] in unsafe or not set(migration["needs"]).isdisjoint(waiting):
            waiting.append(migration["name"])
    return waiting


def _impatient(
    migrations: Sequence[Migration], deferred: Sequence[str], unsafe: Sequence[Refusal]
) -> Iterator[Refusal]:
    """Operations that would have to wait, though the new release does not run without them."""
    for migration in migrations:
        if migration["name"] not in deferred:
            continue
        own = [refusal for refusal in unsafe if refusal.migration == migration["name"]]
        for number, operation in enumerate(migration["operations"]):
            for effect in operation["effects"]:
                if effect["is_needed"]:
                    reason, remedy = _why_needed(effect, own, _first(migration["needs"], deferred))
                    remedy = effect["remedy"] or remedy
                    yield Refusal(migration["name"], operation["words"], reason, remedy, number)


def _why_needed(effect: dict[str, Any], own: Sequence[Refusal], parent: str) -> tuple[str, str]:
    """Why an effect cannot wait, and the remedy.

    ``own`` says why its migration has to wait; where that is empty, the migration comes after ``parent``.
    """
    for refusal in own:
        if refusal.what == effect["what"]:
            return f"{refusal.reason}; and it cannot wait, as the new release needs it", ""
    if own:
        why = f"the same migration has to wait, as it {own[0].reason}"
        remedy = "Split the migration: first what is new, then, with nothing else in it, what goes."
    else:
        why = f"it comes after {parent}, which has to wait"
        remedy = f"Let it come before {parent}."
    return f"{effect['what']}; the new release needs that before the switch, but {why}", remedy


def _first(names: Sequence[str], among: Sequence[str]) -> str:
    return next((name for name in names if name in among), "")


def _has_opaque(operation: dict[str, Any]) -> bool:
    return any(effect["category"] == OPAQUE for effect in operation["effects"])


def _describe(migration: Migration, unsafe: Sequence[Refusal], deferred: Sequence[str]) -> Migration:
    """The migration as the event tells of it: in words only."""
    return {
        "name": migration["name"],
        "when": "after confirm" if migration["name"] in deferred else "before the switch",
        "operations": [
            {
                "words": operation["words"],
                "category": operation["category"],
                "reversible": operation["reversible"],
                "does": [effect["what"] for effect in operation["effects"]],
                "tables": sorted({effect["table"] for effect in operation["effects"] if effect["table"]}),
                "hint": operation["hint"],
                "unsafe": [
                    refusal.reason
                    for refusal in unsafe
                    if (refusal.migration, refusal.number) == (migration["name"], number)
                ],
            }
            for number, operation in enumerate(migration["operations"])
        ],
    }
