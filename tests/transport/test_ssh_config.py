from __future__ import annotations

import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from django_deploy.exceptions import ConnectionFailed
from django_deploy.target import Host
from django_deploy.transport import ssh_config

needs_openssh = pytest.mark.skipif(not shutil.which("ssh"), reason="OpenSSH's client is not installed")


@pytest.fixture(params=[pytest.param("openssh", marks=needs_openssh), "paramiko"])
def read(request, home, monkeypatch):
    """Reads a configuration of these lines, with OpenSSH and as if it were not installed."""
    if request.param == "paramiko":
        monkeypatch.setenv("PATH", str(home))

    def read_lines(host: Host, *lines: str) -> ssh_config.HostConfig:
        file = home / "config"
        file.write_text("\n".join(lines) + "\n")
        return ssh_config.read(host, file)

    return read_lines


def test_an_alias(read):
    config = read(Host("web"), "Host web", "HostName web.example.org", "Port 2222", "User deploy")

    assert (config.hostname, config.port, config.user) == ("web.example.org", 2222, "deploy")


def test_the_host_s_own_fields_win(read, home):
    host = Host("web", user="root", port=22, key_file="~/its key")

    config = read(host, "Host web", "Port 2222", "User deploy", "IdentityFile ~/another")

    assert (config.port, config.user, config.identity_files) == (22, "root", (home / "its key",))
    assert config.identities_only


def test_match_blocks_see_the_host_s_user(read):
    lines = ["Match user deploy", "  HostName 10.0.0.1", "Match user root", "  HostName 10.0.0.2"]

    assert read(Host("web", user="root"), *lines).hostname in ("10.0.0.2", "web")


def test_nothing_configured(read, home):
    config = read(Host("web.example.org"))

    assert (config.hostname, config.port) == ("web.example.org", 22)
    assert config.user
    assert set(ssh_config.DEFAULT_KEYS) <= {
        f"~/{path.relative_to(home)}" for path in config.identity_files if path.is_relative_to(home)
    }
    assert (config.strict, config.jumps, config.proxy_command) == ("ask", (), None)
    assert (config.connect_timeout, config.address_family) == (None, socket.AF_UNSPEC)


def test_tokens_and_homes_in_file_names(read, home):
    lines = [
        "Host web",
        "HostName 10.0.0.1",
        "User deploy",
        "IdentityFile ~/keys/%h-%r",
        "IdentityFile %d/second",
    ]

    assert read(Host("web"), *lines).identity_files == (home / "keys/10.0.0.1-deploy", home / "second")


def test_a_file_name_with_a_space(read):
    config = read(Host("web"), "Host web", 'UserKnownHostsFile "/my files/known_hosts"')

    assert config.user_known_hosts == (Path("/my files/known_hosts"),)


def test_several_known_hosts_files(read):
    config = read(Host("web"), "Host web", "UserKnownHostsFile /a /b", "GlobalKnownHostsFile none")

    assert config.user_known_hosts == (Path("/a"), Path("/b"))
    assert config.global_known_hosts == ()


@pytest.mark.parametrize(
    ("value", "strict"),
    [("yes", "yes"), ("ask", "ask"), ("accept-new", "accept-new"), ("no", "ask"), ("off", "ask")],
)
def test_strictness_is_never_weaker_than_asking(read, value, strict):
    assert read(Host("web"), "Host web", f"StrictHostKeyChecking {value}").strict == strict


def test_switches(read):
    config = read(
        Host("web"),
        "Host web",
        "IdentitiesOnly yes",
        "HashKnownHosts yes",
        "HostKeyAlias alias",
        "ConnectTimeout 7",
        "AddressFamily inet6",
        "CertificateFile /keys/web-cert.pub",
    )

    assert config.identities_only
    assert config.hash_known_hosts
    assert (config.host_key_alias, config.connect_timeout) == ("alias", 7.0)
    assert config.address_family == socket.AF_INET6
    assert config.certificate_files == (Path("/keys/web-cert.pub"),)


@pytest.mark.parametrize(
    ("lines", "agent"),
    [
        pytest.param([], "/run/agent", id="environment"),
        pytest.param(["IdentityAgent SSH_AUTH_SOCK"], "/run/agent", id="by name"),
        pytest.param(["IdentityAgent none"], None, id="none"),
        pytest.param(["IdentityAgent /run/other"], "/run/other", id="path"),
        pytest.param(["IdentityAgent $OTHER_AGENT"], "/run/variable", id="variable"),
    ],
)
def test_agents(read, monkeypatch, lines, agent):
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    monkeypatch.setenv("OTHER_AGENT", "/run/variable")

    assert read(Host("web"), "Host web", *lines).identity_agent == (Path(agent) if agent else None)


def test_jumps_nearest_first(read):
    config = read(Host("web"), "Host web", "ProxyJump ann@outer:2222,inner")

    assert config.jumps == (Host("outer", "ann", 2222), Host("inner"))


def test_a_proxy_command(read):
    config = read(Host("web"), "Host web", "HostName 10.0.0.1", "User ann", "ProxyCommand nc %h %p %r")

    assert config.proxy_command == "nc 10.0.0.1 22 ann"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("bastion", Host("bastion")),
        ("ann@bastion", Host("bastion", "ann")),
        ("bastion:2222", Host("bastion", None, 2222)),
        ("[::1]:2222", Host("::1", None, 2222)),
        ("ann@[::1]", Host("::1", "ann")),
        ("ssh://ann@bastion:2222", Host("bastion", "ann", 2222)),
    ],
)
def test_parse_jump(text, host):
    assert ssh_config.parse_jump(text) == host


@needs_openssh
def test_a_mistake_in_the_configuration(home):
    file = home / "config"
    file.write_text("Host *\n  NoSuchOption 1\n")

    with pytest.raises(ConnectionFailed) as caught:
        ssh_config.read(Host("web", user="ann", port=2222), file)

    first, *_ = caught.value.message.splitlines()
    assert (
        first == f"ssh cannot read its configuration: {file}: line 2: Bad configuration option: nosuchoption"
    )
    assert caught.value.remedy == f"Try: ssh -T -G -F {file} -p 2222 -l ann -- web"


def test_a_configuration_that_is_not_there(home, monkeypatch):
    monkeypatch.setenv("PATH", str(home))

    with pytest.raises(ConnectionFailed) as caught:
        ssh_config.read(Host("web"), home / "missing")

    assert caught.value.message.startswith("the ssh configuration cannot be read: [Errno 2]")
    assert caught.value.remedy == "Install OpenSSH's client, which reads all of it."


@needs_openssh
def test_a_host_name_is_never_an_option(home):
    with suppress(ConnectionFailed):  # newer versions refuse such names
        assert ssh_config.read(Host("-oProxyCommand=true"), Path(os.devnull)).proxy_command is None
