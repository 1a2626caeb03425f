"""Which host is asked what, and in which order."""

from __future__ import annotations

from dataclasses import replace

from django_deploy.host.protocol import ignore
from django_deploy.plan import make_plan
from django_deploy.stages import deploy_stages
from django_deploy.target import Host, Step
from tests.test_plan import BARE, MANIFEST, NOW, TARGET, HostBundle

WEB1, WEB2 = Host("web1", roles=("web",)), Host("web2", roles=("web",))
JOBS = Host("jobs1", roles=("jobs",))


class Session:
    """Remembers what is asked."""

    def __init__(self, host):
        self.host = host
        self.asked = []

    def request(self, name, **fields):
        self.asked.append(" ".join(fields["command"]))


def steps_of(hosts, *steps):
    """Stage by stage, which host runs what."""
    target = replace(TARGET, hosts=hosts, steps=steps)
    plan = make_plan(
        target,
        MANIFEST,
        dict.fromkeys(hosts, BARE),
        dict.fromkeys(hosts, HostBundle(MANIFEST.pins, MANIFEST.wheels)),
        {host: {} for host in hosts},
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
