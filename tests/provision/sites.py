"""A site for the tests, and hosts as they may be found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from django_deploy.provision.facts import Facts
from django_deploy.provision.site import Key, SentFile, Site
from django_deploy.target import Served

KEY = Key("ssh-ed25519 AAAAC3Nz+a/b= emma@laptop", "ssh-ed25519 SHA256:abc", "agent: emma@laptop")

SITE = Site(
    target="staging",
    host="shop@web1",
    user="shop",
    root=PurePosixPath("/srv/shop"),
    keys=(KEY,),
    deployer="emma@laptop",
)

SERVED = replace(
    SITE,
    domain="shop.example.com",
    sockets=("/srv/shop/run/web.sock",),
    static=Served("/static/", "static"),
    media=Served("/media/", "media"),
)

SENT = (
    ("certificate.pem", SentFile("/home/emma/shop.pem", "1" * 64)),
    ("certificate.key", SentFile("/home/emma/shop.key", "2" * 64)),
)

DEBIAN = Facts(
    "Debian GNU/Linux 12 (bookworm)",
    manager="apt-get",
    installed=frozenset({"apt-get", "python3", "dbus-user-session", "libpam-systemd"}),
    has_systemd=True,
    has_ipv6=True,
)
