"""Hosts of one target have one database."""

from __future__ import annotations

import pytest

from django_deploy.databases import compare_databases
from django_deploy.exceptions import RolloutFailed
from django_deploy.target import Host

WEB1, WEB2, WEB3 = Host("web1"), Host("web2"), Host("web3")


def reply(fingerprint, *, vendor="postgresql", alias="default", **more):
    place = f"{vendor} shop on db{fingerprint}"
    return [{"databases": {alias: {"vendor": vendor, "place": place, "fingerprint": fingerprint, **more}}}]


def test_hosts_that_share_one():
    compare_databases({WEB1: reply("1"), WEB2: reply("1")})


def test_hosts_that_differ_are_named():
    with pytest.raises(RolloutFailed) as caught:
        compare_databases({WEB1: reply("1"), WEB2: reply("1"), WEB3: reply("2")})

    (error,) = caught.value.errors
    assert str(error) == (
        "web3: its database 'default' is postgresql shop on db2, and that of web1 is another one:"
        " postgresql shop on db1.\n"
        "The hosts of a target share one database, migrated once: look at ENV and the settings."
    )


def test_files_are_each_hosts_own():
    compare_databases({WEB1: reply("1", vendor="sqlite"), WEB2: reply("2", vendor="sqlite")})


def test_a_host_that_cannot_tell_is_left_out():
    silent = [{"databases": {"default": {"vendor": "postgresql", "place": "x", "error": "no route"}}}]

    compare_databases({WEB1: silent, WEB2: reply("2")})


def test_each_alias_is_compared_with_its_own():
    compare_databases({WEB1: reply("1"), WEB2: reply("2", alias="archive")})
