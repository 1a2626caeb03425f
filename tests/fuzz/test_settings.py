"""Settings, well and badly made: a target or every mistake; and what is accepted, all later code takes."""

from __future__ import annotations

import http.client
import json
import os
from configparser import RawConfigParser
from pathlib import PurePosixPath

from django.test import override_settings
from hypothesis import strategies as st

from django_deploy import conf
from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.index.sources import read_sources, redact, uv_variables
from django_deploy.bundle.room import NO_ROOM
from django_deploy.exceptions import ConfigError, DeployError
from django_deploy.host import health
from django_deploy.host.__main__ import REQUESTS
from django_deploy.host.layout import Layout
from django_deploy.host.protocol import encode
from django_deploy.host.shape import check as check_shape
from django_deploy.host.supervisor import Supervisor
from django_deploy.host.systemd import UNIT, Systemd
from django_deploy.plan.making import Shipment, make_plan
from django_deploy.reading.keys import TARGET_KEYS, read_target
from django_deploy.reporters.secrets import Secrets
from django_deploy.stages import _prepare_fields, deploy_stages
from tests.fuzz.strategies import damaged, texts, values
from tests.plan.test_making import BARE, MANIFEST, NOW


def some(letters, first="a"):
    """Regular expressions would say it as well, and take ten times as long."""
    return st.text(letters, max_size=10).map(lambda text: first + text)


names = some("abYZ019_-")
words = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=10).filter(str.strip)
seconds = st.floats(0.001, 10_000) | st.integers(1, 10_000)
addresses = some("abyz019.-")
environment = st.dictionaries(
    some("abYZ019_", "X_"),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["a\nb", "$HOME", "`id`", "%n %%", "'\"", "\udcff\udc80", "\x1b[2J"]),
    max_size=3,
)
processes = st.dictionaries(
    names,
    st.fixed_dictionaries(
        {"COMMAND": st.lists(words, min_size=1, max_size=3)},
        optional={"STOP_TIMEOUT": seconds, "INSTANCES": st.integers(1, 9)},
    ),
    max_size=2,
)
steps = st.lists(
    st.fixed_dictionaries(
        {"COMMAND": st.lists(words, min_size=1, max_size=3).filter(lambda c: "manage.py" not in "".join(c))},
        optional={
            "ON": st.sampled_from(["each", "once"]),
            "ISOLATED": st.booleans(),
            "TIMEOUT": st.none() | seconds,
        },
    ),
    max_size=2,
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=10)

#: Settings as somebody would write them.
good = st.fixed_dictionaries(
    {
        "HOSTS": st.lists(addresses, min_size=1, max_size=3, unique=True),
        "ROOT": some("abYZ019_-", "/srv/a"),
        "SETTINGS_MODULE": st.just("shop.settings"),
    },
    optional={
        "ENV": environment,
        "PROCESSES": processes,
        "STEPS": steps,
        "RESTART": st.lists(st.lists(words, min_size=1, max_size=3), max_size=2),
        "HEALTH_CHECK": st.none()
        | st.fixed_dictionaries(
            {"PATH": st.just("http://127.0.0.1:8000/healthz/?full=1")},
            optional={
                "HOST": addresses,
                "STATUS": st.integers(100, 599),
                "TIMEOUT": seconds,
                "HEADERS": st.dictionaries(names, header_values, max_size=2),
            },
        ),
        "BATCH": st.integers(1, 9) | st.integers(1, 100).map("{}%".format),
        "CANARY_SECONDS": seconds,
        "KEEP_RELEASES": st.integers(1, 20),
        "LOCK_WAIT": seconds,
        "INDEX_URL": st.sampled_from(
            [None, "https://user:p%40ss@pypi.example.com/simple/", "file:///srv/wheels"]
        ),
        "PROJECT_EXCLUDE": st.lists(names, max_size=2),
        "PYTHON": st.sampled_from(["python3", "/opt/python/bin/python3.11"]),
    },
)


def read(mapping):
    """The target, or None for one with mistakes, which are told."""
    try:
        return read_target("staging", mapping, resolve=lambda value: value)
    except ConfigError as error:
        assert error.issues
        text = str(error)
        assert all(issue.where.startswith("DEPLOY_TARGETS['staging']") for issue in error.issues), text
        return None


def test_good_settings_are_kept(fuzz):
    def check(mapping):
        target = read(mapping)

        assert [host.address for host in target.hosts] == mapping["HOSTS"]
        assert (str(target.root), target.env) == (mapping["ROOT"], mapping.get("ENV", {}))
        told = {process.name: list(process.command) for process in target.processes}
        assert told == {name: entry["COMMAND"] for name, entry in mapping.get("PROCESSES", {}).items()}
        if "STEPS" in mapping:
            assert [list(step.command) for step in target.steps] == [s["COMMAND"] for s in mapping["STEPS"]]
        assert [list(words) for words in target.restart] == mapping.get("RESTART", [])
        for key in ("CANARY_SECONDS", "KEEP_RELEASES", "LOCK_WAIT", "INDEX_URL", "PYTHON"):
            if key in mapping:
                assert getattr(target, key.lower()) == mapping[key]
        use(target)

    fuzz(check, good)


def test_what_is_accepted_is_taken_by_all_later_code(fuzz):
    def check(mapping):
        if (target := read(mapping)) is not None:
            use(target)

    fuzz(check, damaged(good))


def test_one_key_with_anything(fuzz):
    """Each key gets its share of what nobody would write."""
    inner = ["COMMAND", "web", "PATH", "SIZE", "TIMEOUT", "HEADERS", "PORT", "KEY_FILE", "JUMP"]
    shapes = st.sampled_from(
        [
            lambda value: value,
            lambda value: [value],
            *(lambda value, key=key: {"HOST": "web1", key: value} for key in inner),
            *(lambda value, key=key: [{"HOST": "web1", key: value}] for key in inner),
            lambda value: {"HEADERS": {"X-Key": value}, "PATH": "http://localhost/"},
        ]
    )
    base = {"HOSTS": ["web1"], "ROOT": "/srv/shop", "SETTINGS_MODULE": "shop.settings"}

    def check(key, value, shape):
        if (target := read({**base, key: shape(value)})) is not None:
            use(target)

    fuzz(check, st.sampled_from(sorted(TARGET_KEYS)), values, shapes)


def test_all_targets_of_the_settings(fuzz):
    def check(entries):
        with override_settings(DEPLOY_TARGETS=entries):
            for issue in conf.find_issues():
                str(issue)
            try:
                for line in conf.list_targets():
                    str(line)
                conf.get_target("staging")
            except DeployError as error:
                str(error)

    # What stands for a callable is imported: only what cannot be.
    harmless = values.filter(lambda value: not isinstance(value, str) or "." not in value)
    fuzz(check, values | st.dictionaries(st.just("staging") | texts, damaged(good, harmless)))


def use(target):
    """All that becomes of settings between here and the site's processes."""
    Secrets(target).clean_text("some text")
    sources = read_sources(target.index_url, environ={})
    uv_variables(sources, {})
    redact(target.index_url or "")
    fit = [host for host in target.hosts if not host.is_local] or list(target.hosts)
    facts = {host: {**BARE, "manager": "supervisor"} for host in fit}
    bundle = HostBundle(MANIFEST.pins, MANIFEST.wheels)
    target = target.without([host for host in target.hosts if host not in fit])
    if not target.hosts:
        return
    shipments = {host: Shipment(facts[host], bundle, {}, NO_ROOM) for host in fit}
    plan = make_plan(target, MANIFEST, shipments, inventory={}, now=NOW)
    plan.lines()
    json.dumps(plan.as_dict())
    deploy_stages(plan, lambda event: None)
    for host in plan.hosts:
        fields = _prepare_fields(plan, host)
        check_shape(json.loads(encode(fields)), REQUESTS["prepare"][1], "prepare")
        plan.lock(host)
    encode({"root": str(target.root), "python": target.python})
    run_on_a_host(target, fields)


def run_on_a_host(target, fields):
    layout = Layout(str(target.root))
    assert PurePosixPath(layout.root) == PurePosixPath(os.path.normpath(target.root))
    ENV = {os.fsencode(name): os.fsencode(value) for name, value in fields["environment"].items()}
    assert all(len(name) + len(value) + 2 <= 128 * 1024 for name, value in ENV.items())
    assert sum(len(name) + len(value) + 2 for name, value in ENV.items()) <= 1 << 20
    assert os.pathsep not in str(target.root)
    record = fields["release"]
    commands = [*(process["command"] for process in record["processes"]), *record["restart"]]
    commands += [list(step.command) for step in target.steps]
    for command in commands:
        assert all(b"\0" not in os.fsencode(word) and len(os.fsencode(word)) < 128 * 1024 for word in command)
    for process in record["processes"]:
        units(layout, process)
    if record["health"]:
        ask(record["health"])


def units(layout, process):
    """What process managers read: one value a line, and the one that was meant."""
    lines = UNIT.format(
        process=process["name"],
        root=layout.root,
        python="p",
        launch="l",
        folder="f",
        stop_timeout=30,
        restart_time=1,
    ).splitlines()
    assert len(lines) == len(UNIT.splitlines())
    stop = float(Systemd.stop_time(process))
    assert stop > 0 and abs(stop - process["stop_timeout"]) < 0.01
    text = Supervisor(layout, None).program_text("20261122T174500Z-3f9c2a1", process)
    parser = RawConfigParser()
    parser.read_string(text)
    (section,) = parser.sections()
    assert parser[section]["directory"].replace("%%", "%").startswith(str(layout.root))


def ask(wanted):
    """As far as without a server: the request is written."""
    asked = health.for_site(wanted, {"allowed_hosts": ["*"]})
    connection = http.client.HTTPConnection("localhost", timeout=1)
    connection.connect = lambda: None
    sent = []
    connection.send = sent.append
    connection.request("GET", "/", headers={"Host": asked["host"], **asked["headers"]})
    assert sent
