"""What is refused before a host is connected to; what is done is in ``tests/hosts/test_setup.py``."""

from __future__ import annotations

import os

import pytest

from django_deploy import provisioning
from django_deploy.exceptions import ConfigError, HostUnreachable
from django_deploy.reading.keys import read_target
from django_deploy.target import Host


def target(*hosts, **keys):
    entry = {"HOSTS": list(hosts), "ROOT": "/srv/shop", "PROCESSES": {"web": "gunicorn --bind unix:{socket}"}}
    return read_target("staging", {**entry, **keys}, settings_module="shop.settings")


def refusal(*hosts, **keys):
    with pytest.raises(ConfigError) as caught:
        provisioning.set_up(target(*hosts, **keys), "root")
    return str(caught.value)


def test_this_machine_needs_no_setup():
    assert refusal("local") == (
        "deploy_setup is for hosts, and 'local' is this machine.\n"
        "Make the folder ROOT: that is all that a deployment to this machine needs."
    )


def test_a_site_does_not_belong_to_root():
    assert refusal("root@web1") == (
        'root@web1: a site must not belong to root.\nName who the site shall belong to: "USER": "shop".'
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root's own name is refused as root's")
def test_nobody_says_whom_the_site_belongs_to():
    assert refusal("host-that-no-configuration-names") == (
        "Neither HOSTS nor USER say who the site on host-that-no-configuration-names belongs to.\n"
        'Name who the site shall belong to: "USER": "shop".'
    )


@pytest.mark.parametrize(
    ("user", "root", "message"),
    [
        (
            "shop",
            "/srv/a&b",
            "ROOT '/srv/a&b' has characters that deploy_setup does not accept.\n"
            "Use letters, digits, '.', '_', '-' and '/'.",
        ),
        (
            "EXAMPLE\\anna",
            "/srv/shop",
            "'EXAMPLE\\\\anna' is not a user that deploy_setup can create.\n"
            "Use letters, digits, '.', '_' and '-'.",
        ),
    ],
)
def test_words_that_would_mean_something_else_in_a_script(user, root, message, monkeypatch):
    monkeypatch.setattr(provisioning, "_own_keys", lambda host, administrator: ())
    with pytest.raises(ConfigError) as caught:
        provisioning.site_of(target("web1", ROOT=root), Host("web1", user=user), "root")

    assert str(caught.value) == message


def test_a_host_that_does_not_answer():
    with pytest.raises(HostUnreachable, match=r"127\.0\.0\.1:1 refused the connection"):
        provisioning.set_up(target("shop@127.0.0.1:1"), "root")


TLS = {"CERTIFICATE": "{folder}/shop.pem", "KEY": "{folder}/shop.key"}


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\n"

SWAPPED = "Are CERTIFICATE and KEY swapped, or is the file in another form?"
NO_CERTIFICATE = f"shop.pem, which TLS['CERTIFICATE'] names, is no certificate in PEM form.\n{SWAPPED}"
NO_KEY = f"shop.key, which TLS['KEY'] names, is no private key in PEM form.\n{SWAPPED}"


def files(folder):
    keys = {name: path.format(folder=folder) for name, path in TLS.items()}
    return target("shop@web1", WEB="nginx", DOMAIN="shop.example.com", TLS=keys)


def test_files_of_a_certificate_are_read_here(tmp_path):
    (tmp_path / "shop.pem").write_text(CERTIFICATE)
    (tmp_path / "shop.key").write_text(KEY)

    [(first, certificate), (second, key)] = provisioning._described_files(files(tmp_path))

    assert (first, second) == ("certificate.pem", "certificate.key")
    assert (certificate.source, key.source) == (f"{tmp_path}/shop.pem", f"{tmp_path}/shop.key")
    assert provisioning._sent_files(files(tmp_path))["certificate.key"] == KEY.encode()


def test_files_of_the_host_are_not_sent():
    on_host = {name: f"host:/etc/tls/{name}" for name in TLS}

    assert provisioning._sent_files(target("shop@web1", TLS=on_host)) == {}


def test_a_certificate_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError) as caught:
        provisioning._sent_files(files(tmp_path))

    assert str(caught.value) == (
        f"{tmp_path}/shop.pem, which TLS['CERTIFICATE'] names, cannot be read: No such file or directory.\n"
        "Files that are on the host already begin with 'host:'."
    )


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("\x30\x02", KEY, NO_CERTIFICATE),
        (KEY, CERTIFICATE, NO_CERTIFICATE),
        (CERTIFICATE, CERTIFICATE, NO_KEY),
        (
            CERTIFICATE + KEY,
            KEY,
            "shop.pem, which TLS['CERTIFICATE'] names, holds a private key: all could read it there.\n"
            "Put the key into a file of its own, which TLS['KEY'] names.",
        ),
    ],
)
def test_files_that_are_not_what_they_should_be(tmp_path, certificate, key, said):
    (tmp_path / "shop.pem").write_text(certificate)
    (tmp_path / "shop.key").write_text(key)

    with pytest.raises(ConfigError) as caught:
        provisioning._sent_files(files(tmp_path))

    assert str(caught.value) == f"{tmp_path}/{said}"


def test_several_web_processes_and_instances(monkeypatch):
    monkeypatch.setattr(provisioning, "_own_keys", lambda host, administrator: ())
    made = target(
        "shop@web1",
        PROCESSES={
            "worker": "celery worker",
            "web": {"COMMAND": "gunicorn --bind unix:{socket}", "INSTANCES": 2},
        },
    )

    site = provisioning.site_of(made, Host("web1", user="shop"), "root")

    assert site.sockets == ("/srv/shop/run/web.sock", "/srv/shop/run/web.2.sock")


def test_steps_of_a_script():
    events = []
    teller = provisioning._Teller("shop@web1", events.append)

    for line in ("", "== the user shop", "", "== a key", "useradd: no"):
        teller(line)

    assert [(event.kind, event["step"]) for event in events] == [
        ("step.started", "the user shop"),
        ("step.finished", "the user shop"),
        ("step.started", "a key"),
        ("step.output", "a key"),
    ]
    assert (teller.title, teller.lines) == ("a key", ["useradd: no"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ['{"by": "emma@laptop", "phase": "steps", "since": 1795908000}'],
            "another deployment is running: emma@laptop, since 23:20:00 UTC, steps",
        ),
        (["no message"], "another deployment is running: somebody, since 00:00:00 UTC, starting"),
    ],
)
def test_who_has_the_lock(lines, message):
    assert provisioning._holder(lines) == message
