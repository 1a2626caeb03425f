"""Which host is asked what, and in which order."""

from __future__ import annotations

from dataclasses import replace

from django_deploy.bundle.room import NO_ROOM
from django_deploy.host.protocol import ignore
from django_deploy.plan import make_plan
from django_deploy.stages import activation_stages, deploy_stages
from django_deploy.target import Batch, Host, Step
from tests.test_plan import BARE, MANIFEST, NOW, TARGET, HostBundle

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


def steps_of(hosts, *steps):
    """Stage by stage, which host runs what."""
    target = replace(TARGET, hosts=hosts, steps=steps)
    plan = make_plan(
        target,
        MANIFEST,
        dict.fromkeys(hosts, BARE),
        dict.fromkeys(hosts, HostBundle(MANIFEST.pins, MANIFEST.wheels)),
        {host: {} for host in hosts},
        dict.fromkeys(hosts, NO_ROOM),
        now=NOW,
    )
    found = []
    for stage in deploy_stages(plan, ignore):
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
