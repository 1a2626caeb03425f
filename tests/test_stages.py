"""Which host is asked what, and in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_deploy.bundle.room import NO_ROOM
from django_deploy.exceptions import DeployError, RolloutFailed
from django_deploy.host.protocol import ignore
from django_deploy.plan.making import Shipment, make_plan
from django_deploy.stages import activation_stages, deferred_stages, deploy_stages, way_back_stages
from django_deploy.target import Batch, Host, Step
from tests.plan.test_making import BARE, MANIFEST, NOW, TARGET, HostBundle

WEB1, WEB2 = Host("web1", roles=("web",)), Host("web2", roles=("web",))
JOBS = Host("jobs1", roles=("jobs",))


class Session:
    """Remembers what is asked."""

    def __init__(self, host):
        self.host = host
        self.asked = []

    def request(self, name, **fields):
        words = fields.get("command") or [name, *(str(fields[key]) for key in ("seconds",) if key in fields)]
        self.asked.append(" ".join(words))


def plan_for(hosts, *steps, live=None, **keys):
    """``live``: by host, the release that it serves."""
    target = replace(TARGET, hosts=hosts, steps=steps, **keys)
    bundle = HostBundle(MANIFEST.pins, MANIFEST.wheels)
    shipments = {
        host: Shipment({**BARE, "live": (live or {}).get(host)}, bundle, {}, NO_ROOM) for host in hosts
    }
    return make_plan(target, MANIFEST, shipments, inventory={}, now=NOW)


def steps_of(hosts, *steps):
    """Stage by stage, which host runs what."""
    found = []
    for stage in deploy_stages(plan_for(hosts, *steps), ignore):
        if stage.name == "steps":
            sessions = [Session(host) for host in stage.hosts]
            for session in sessions:
                stage.send(session)
            found.append({session.host.name: session.asked for session in sessions})
    return found


def activation(hosts, action="deploy", **keys):
    """Stage by stage, which host is asked what, from the switch to before confirm."""
    *stages, confirm = activation_stages(replace(TARGET, hosts=hosts, **keys), "new", action)
    assert (confirm.name, confirm.hosts) == ("confirm", hosts)
    found = []
    for stage in stages:
        sessions = [Session(host) for host in stage.hosts]
        for session in sessions:
            stage.send(session)
        (asked,) = {tuple(session.asked) for session in sessions}
        found.append(" ".join([*asked, "on", *(session.host.name for session in sessions)]))
    return found


A, B, C = Host("a"), Host("b"), Host("c")


def test_all_hosts_at_once():
    assert activation((A, B, C)) == ["activate on a b c", "hold 0.0 on a b c"]


def test_batches():
    assert activation((A, B, C), batch=Batch(2)) == ["activate on a b", "activate on c", "hold 0.0 on a b c"]


def test_pauses_between_batches():
    assert activation((A, B, C), batch=Batch(1, pause=5.0)) == [
        "activate on a",
        "hold 5.0 on a",
        "activate on b",
        "hold 5.0 on a b",
        "activate on c",
        "hold 0.0 on a b c",
    ]


def test_the_first_batch_is_a_canary():
    assert activation((A, B, C), batch=Batch("34%", pause=5.0), canary_seconds=30.0) == [
        "activate on a",
        "hold 30.0 on a",
        "activate on b",
        "hold 5.0 on a b",
        "activate on c",
        "hold 0.0 on a b c",
    ]


def test_without_batches_confirm_waits_for_the_canary():
    assert activation((A,), canary_seconds=30.0) == ["activate on a", "hold 30.0 on a", "hold 0.0 on a"]


def test_a_rollback_does_not_wait():
    assert activation((A, B), "rollback", batch=Batch(1, pause=5.0), canary_seconds=30.0) == [
        "activate on a",
        "activate on b",
        "hold 0.0 on a b",
    ]


def test_a_step_that_runs_once_has_barriers():
    steps = Step(("a",)), Step(("b",)), Step(("migrate",), on="once"), Step(("c",))

    assert steps_of((WEB1, WEB2), *steps) == [
        {"web1": ["a", "b"], "web2": ["a", "b"]},
        {"web1": ["migrate"]},
        {"web1": ["c"], "web2": ["c"]},
    ]


def test_steps_run_where_their_roles_are():
    steps = (
        Step(("compress",), roles=("web",)),
        Step(("warm_cache",)),
        Step(("migrate",), on="once", roles=("jobs",)),
        Step(("fix",), on="once", roles=("web",)),
    )

    assert steps_of((WEB1, JOBS, WEB2), *steps) == [
        {"web1": ["compress", "warm_cache"], "jobs1": ["warm_cache"], "web2": ["compress", "warm_cache"]},
        {"jobs1": ["migrate"]},
        {"web1": ["fix"]},
    ]


def test_a_step_that_no_host_has_the_role_for_is_left_out():
    assert steps_of((WEB1,), Step(("migrate",), on="once", roles=("jobs",)), Step(("a",))) == [
        {"web1": ["a"]}
    ]


# Migrations


MIGRATE = Step(("migrate",), on="once")


class Recorder(Session):
    """Remembers requests with their fields."""

    def request(self, name, **fields):
        self.asked.append((name, fields))


NONE = {"environment": {"added": [], "changed": [], "removed": []}, "settings": [], "static": None}
CHANGES = {**NONE, "settings": [{"name": "DEBUG", "change": "False -> True"}]}


def preflight(plan, accept=None, tables=None, report=ignore):
    """Stage by stage, what is asked ahead of the steps; ``tables`` is what hosts answer."""
    found = []
    for stage in deploy_stages(plan, report, accept):
        if stage.name == "preflight":
            sessions = [Recorder(host) for host in stage.hosts]
            for session in sessions:
                stage.send(session)
            found.append((stage, {session.host.name: session.asked for session in sessions}))
            if tables is not None and stage.then and sessions[0].asked[0][0] == "list_tables":
                stage.then({session.host: [{"tables": tables}] for session in sessions})
    return found


def test_migrations_are_judged_where_they_run():
    (check, _), (_, judged) = preflight(
        plan_for((JOBS, WEB1), Step(("a",)), replace(MIGRATE, roles=("web",)))
    )

    ((name, fields),) = judged["web1"]
    assert (name, fields["commands"], fields["policy"], fields["target"]) == (
        "plan_migrations",
        [["migrate"]],
        "refuse",
        TARGET.name,
    )
    assert (fields["others"], fields["asks"]) == ([], False)
    assert check.then is not None  # both hosts say which database they have


def test_one_host_that_was_rehearsed_needs_no_barrier():
    plan = plan_for((WEB1,), MIGRATE)
    (check, asked), (judge, _) = preflight(replace(plan, hosts=(replace(plan.hosts[0], rehearsal=CHANGES),)))

    fields = asked["web1"][0][1]
    assert (fields["identify"], fields["compare"]) == (None, False)
    assert (check.then, judge.then) == (None, None)


def test_what_no_rehearsal_has_told_is_told_once_of_hosts_that_are_alike():
    told = []
    (check, asked), *_ = preflight(plan_for((WEB1, WEB2, JOBS), MIGRATE), report=told.append)
    check.then({WEB1: [{"changes": CHANGES}], WEB2: [{"changes": CHANGES}], JOBS: [{"changes": NONE}]})

    assert [fields["compare"] for ((_, fields),) in asked.values()] == [True] * 3
    assert [(event.kind, dict(event.fields)) for event in told] == [
        ("changes.found", {"hosts": ["web1", "web2"], **CHANGES}),
        ("changes.found", {"hosts": ["jobs1"], **NONE}),
    ]


def test_where_somebody_can_be_asked_the_judgement_is_a_barrier():
    answers = []
    accept = lambda lines: answers.append(lines) or len(answers) == 1  # noqa: E731
    (_, _), (judge, asked) = preflight(plan_for((WEB1,), MIGRATE), accept)

    assert asked["web1"][0][1]["asks"] is True
    judge.then({WEB1: [{"opaque": []}]})
    assert answers == []
    judge.then({WEB1: [{"opaque": ["shop.0004: SQL"]}]})
    with pytest.raises(RolloutFailed) as caught:
        judge.then({WEB1: [{"opaque": ["shop.0004: SQL"]}]})
    assert answers == [["shop.0004: SQL"]] * 2
    assert str(caught.value.errors[0]) == "The migrations were not run, as you wished."


def test_code_that_runs_elsewhere_only_is_asked_too():
    old, older = "20261121T174500Z-1111111", "20261120T174500Z-2222222"
    plan = plan_for((A, B, C), MIGRATE, live={A: old, B: older, C: older})

    (_, _), (_, listed), (_, judged) = preflight(plan, tables={"shop_book": {}})

    assert listed == {"b": [("list_tables", {})]}
    assert judged["a"][0][1]["others"] == [
        {"name": "the live release of b", "tables": {"shop_book": {}}, "stays": False}
    ]


def test_hosts_that_are_left_out_go_on_with_what_they_have():
    plan = plan_for((A,), MIGRATE, left_out=(B,))

    (_, _), (_, judged) = preflight(plan)

    assert judged["a"][0][1]["others"] == [
        {"name": "what runs on b, which is left out,", "tables": None, "stays": True}
    ]


def test_without_a_migration_nothing_is_judged():
    ((_, asked),) = preflight(plan_for((A, B), Step(("a",))))

    assert {name: fields["identify"] for name, ((_, fields),) in asked.items()} == {"a": None, "b": None}


def test_what_waited_for_confirm():
    drain, migrate = deferred_stages(replace(TARGET, hosts=(A, B)), [A])

    asked = {stage.name: [Recorder(host) for host in stage.hosts] for stage in (drain, migrate)}
    for stage in (drain, migrate):
        for session in asked[stage.name]:
            stage.send(session)
    assert [session.asked for session in asked["drain"]] == [[("drain", {})]] * 2
    assert [session.asked for session in asked["migrate"]] == [
        [("migrate_deferred", {"target": TARGET.name, "backup": None})]
    ]


REVERSAL = {"database": "default", "place": "here", "needed": ["shop.0002"], "kept": [], "irreversible": []}


def way_back(reply, decide=lambda reversals: None):
    """What the first host is asked on the way back, when it answers so; the second one is asked nothing."""
    target = replace(TARGET, hosts=(A, B), steps=(Step(("a",)), MIGRATE), backup="contract", keep_backups=3)
    asked = []
    for stage in way_back_stages(target, "20261122T174500Z-3f9c2a1", decide):
        assert stage.hosts == (A,)
        session = Recorder(A)
        stage.send(session)
        asked += session.asked
        if stage.then is not None:
            stage.then({A: [reply]})
    return asked


def test_who_goes_back_asks_the_release_first():
    [(name, fields)] = way_back({"reversals": [], "pending": []})

    assert (name, fields["release"]) == ("plan_rollback", "20261122T174500Z-3f9c2a1")
    assert (fields["commands"], fields["asks"]) == ([["migrate"]], False)


def test_what_is_needed_is_taken_back_and_what_is_pending_applied():
    shown = []

    _, reverse, step = way_back({"reversals": [REVERSAL], "pending": ["shop.0003"]}, shown.append)

    assert shown == [[REVERSAL]]
    assert reverse == ("reverse", {"backup": {"when": "contract", "keep": 3}})
    assert (step[0], step[1]["command"]) == ("step", ["migrate"])


def test_what_is_declined_is_not_taken_back():
    def decide(reversals):
        raise DeployError("no")

    with pytest.raises(RolloutFailed) as caught:
        way_back({"reversals": [REVERSAL]}, decide)

    assert [str(error) for error in caught.value.errors] == ["no"]


def test_what_does_not_hurt_is_not_asked_about():
    assert len(way_back({"reversals": [{**REVERSAL, "needed": []}]}, lambda reversals: 1 / 0)) == 1


def test_without_a_migration_the_way_back_is_the_code_alone():
    assert way_back_stages(replace(TARGET, hosts=(A,), steps=(Step(("a",)),)), "new", print) == []
