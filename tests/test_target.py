"""What is asked of a target once it has been read."""

from __future__ import annotations

import pytest

from django_deploy.exceptions import ConfigError
from tests.reading.test_keys import FLEET, WITH_ROLES, read


@pytest.mark.parametrize(
    ("keys", "url"),
    [
        ({"WEB": "caddy", "DOMAIN": "shop.example.com"}, "https://shop.example.com"),
        ({"WEB": "nginx", "DOMAIN": "shop.example.com"}, "http://shop.example.com"),
        (
            {
                "WEB": "nginx",
                "DOMAIN": "shop.example.com",
                "TLS": {"CERTIFICATE": "/keys/shop.pem", "KEY": "/keys/shop.key"},
            },
            "https://shop.example.com",
        ),
        ({"DOMAIN": "shop.example.com"}, ""),
        ({}, ""),
    ],
)
def test_what_visitors_type(keys, url):
    assert read(**keys).url == url


def test_secrets_are_not_in_repr():
    target = read(ENV={"SECRET_KEY": "31337"}, INDEX_URL="https://user:31337@index.example.com/")

    assert "31337" not in repr(target)


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ("web1", [0]),
        ("deploy@web1", [0]),
        ("web*", [0, 1]),
        ("deploy@web2:2222", [1]),
        ("10.0.0.7, web?", [0, 1, 4]),
        ("web1,web*", [0, 1]),
        ("*.example.com", [2]),
        ("2001:db8::1", [3]),
        ("deploy@[2001:db8::1]:22", [3]),
        ("*", [0, 1, 2, 3, 4]),
    ],
)
def test_patterns_of_hosts(patterns, chosen):
    target = read(HOSTS=FLEET)

    limited = target.limited_to(patterns)

    assert limited.hosts == tuple(target.hosts[index] for index in chosen)
    assert set(limited.left_out) == set(target.hosts) - set(limited.hosts)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ("deploy@web3", "No host of 'staging' is named 'deploy@web3'.\nDid you mean 'deploy@web2'?"),
        ("web1,mail", "No host of 'staging' is named 'mail'.\nThere is: deploy@web1, deploy@web2."),
        ("", "No host of 'staging' is named ''.\nThere is: deploy@web1, deploy@web2."),
        ("WEB1", "No host of 'staging' is named 'WEB1'.\nThere is: deploy@web1, deploy@web2."),
    ],
)
def test_a_pattern_that_names_no_host(patterns, message):
    with pytest.raises(ConfigError) as caught:
        read(HOSTS=["deploy@web1", "deploy@web2"]).limited_to(patterns)

    assert str(caught.value) == message


def test_what_runs_where():
    target = read(
        HOSTS=WITH_ROLES,
        PROCESSES={
            "web": {"COMMAND": "gunicorn --bind unix:{socket}", "ROLES": ["web"]},
            "worker": {"COMMAND": "celery worker", "ROLES": ["jobs"]},
            "any": {"COMMAND": "sleep 1", "ROLES": ["web", "jobs"]},
            "all": "sleep 2",
        },
        STEPS=["migrate", {"COMMAND": "compress", "ROLES": ["web"]}],
    )

    found = {host.name: target.for_host(host) for host in target.hosts}

    assert {name: [process.name for process in part.processes] for name, part in found.items()} == {
        "web1": ["web", "any", "all"],
        "web2": ["web", "worker", "any", "all"],
        "local": ["worker", "any", "all"],
        "spare": ["all"],
    }
    assert {name: [step.name for step in part.steps] for name, part in found.items()} == {
        "web1": ["migrate", "compress"],
        "web2": ["migrate", "compress"],
        "local": ["migrate"],
        "spare": ["migrate"],
    }


@pytest.mark.parametrize(
    ("batch", "hosts", "size"),
    [(None, 3, 3), (2, 3, 2), ("25%", 8, 2), ("1%", 3, 1), ("100%", 3, 3), ({"SIZE": 2}, 3, 2)],
)
def test_batch_size(batch, hosts, size):
    target = read(HOSTS=[f"web{number}" for number in range(hosts)], BATCH=batch)

    assert target.batch_size() == size


@pytest.mark.parametrize("name", ["local", "web1", "deploy@web1:22", "[::1]:22", "::1"])
def test_a_host_is_named_as_it_was_written(name):
    assert read(HOSTS=[name]).hosts[0].name == name
