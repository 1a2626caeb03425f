"""The ways to a host, over real ones: IPv6, an agent, a chain of jump hosts, certificates."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.transport.servers import add_to_agent, run_agent

from .inspection import assert_serves, live

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .bookshop import Bookshop
    from .laptop import Laptop
    from .machines import Machine

#: Users with a certificate may log in.
SSHD = "TrustedUserCAKeys /etc/ssh/authority.pub\n"


@contextmanager
def put_away(laptop: Laptop, **options: str) -> Iterator[Path]:
    """The laptop's key lies elsewhere, and its configuration has these options instead; gives the key."""
    text, place = laptop.config.read_text(), laptop.home / "drawer"
    key = laptop.key.rename(place)
    lines = [line for line in text.splitlines() if line.split()[0] not in options]
    laptop.config.write_text("\n".join([*lines, *(f"    {name} {value}" for name, value in options.items())]))
    try:
        yield key
    finally:
        key.rename(laptop.key)
        laptop.config.write_text(text)


def keygen(*words: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *words], check=True)


@contextmanager
def certified(laptop: Laptop, machines: Sequence[Machine]) -> Iterator[None]:
    """The laptop has a key that no host knows, and a certificate for it, by an authority that they trust."""
    authority, key = laptop.home / "authority", laptop.home / "certified"
    for path in (authority, key):
        keygen("-t", "ed25519", "-N", "", "-f", path)
    keygen("-s", authority, "-I", "ann", "-n", "deploy,root", key.with_suffix(".pub"))
    for machine in machines:
        machine.put("/etc/ssh/authority.pub", authority.with_suffix(".pub").read_text(), owner="root")
        machine.put("/etc/ssh/sshd_config.d/authority.conf", SSHD, owner="root")
        machine.run("systemctl", "reload", "ssh", user="root")
    with put_away(laptop, IdentityFile=str(key)):
        yield
    for machine in machines:
        machine.run("rm", "/etc/ssh/sshd_config.d/authority.conf", user="root")
        machine.run("systemctl", "reload", "ssh", user="root")


def logins(machine: Machine) -> list[str]:
    """What the server says of its last logins: with what, and from where."""
    lines = machine.run("journalctl", "-t", "sshd", "-o", "cat", "-n", "200", user="root").stdout.splitlines()
    return [line for line in lines if line.startswith("Accepted publickey for deploy ")]


def test_ipv6_and_an_agent(host: Machine, bookshop: Bookshop, laptop: Laptop, tmp_path: Path) -> None:
    name, mark = f"deploy@[{host.address6}]:22", bookshop.new_edition()
    bookshop.aim([host], [name])

    with (
        run_agent(tmp_path) as agent,
        put_away(laptop, IdentityAgent=str(agent), IdentitiesOnly="no") as key,
    ):
        add_to_agent(agent, key)
        result = bookshop.deploy("--json")

    assert result.status == 0, result
    assert result.one("host.connected")["address"] == f"[{host.address6}]:22"
    assert {event["host"] for event in result.all("switched")} == {name}
    assert_serves(host, result.release, mark)


def test_a_chain_of_jump_hosts_with_a_certificate(
    host: Machine, pair: list[Machine], bookshop: Bookshop, laptop: Laptop
) -> None:
    """From the laptop to the single host, from there to the first of the pair, from there to the second."""
    jump, target = pair
    old, mark = live(jump), bookshop.new_edition()
    chain = [f"deploy@{host.address}", f"deploy@[{jump.address6}]:22"]
    bookshop.aim([target])
    bookshop.target["HOSTS"] = [{"HOST": target.address, "USER": "deploy", "JUMP": chain}]

    with certified(laptop, [host, jump, target]):
        result = bookshop.deploy("--json")

        assert result.status == 0, result
        assert_serves(target, result.release, mark)
        assert live(jump) == old
        for machine, origin in ((jump, host.address6), (target, jump.address)):
            [login] = [line for line in logins(machine) if f" from {origin} " in line]
            assert "ED25519-CERT" in login and "ID ann" in login
