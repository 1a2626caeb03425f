"""A small target, one mistake, the exact message."""
# ruff: noqa: E501 - a table of messages is read across

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from django_deploy.exceptions import ConfigError, DeployError
from django_deploy.host import maintenance
from django_deploy.reading.keys import read_target, warnings_of
from django_deploy.reading.places import Kind
from django_deploy.target import (
    DEFAULT_STEPS,
    Batch,
    Certificate,
    HealthCheck,
    Host,
    Process,
    Step,
    Target,
)

SMALL = {
    "HOSTS": ["deploy@web1.example.com"],
    "ROOT": "/srv/shop",
    "SETTINGS_MODULE": "shop.settings",
    "PROCESSES": {"web": "gunicorn shop.wsgi --bind unix:{socket}"},
}
PLACE = "DEPLOY_TARGETS['staging']"


def read(mapping=SMALL, **keys):
    return read_target("staging", {**mapping, **keys}, resolve=lambda value: value())


def mistakes(mapping=SMALL, **keys):
    """Every mistake as (id, place below the target, message with its hint)."""
    with pytest.raises(ConfigError) as caught:
        read(mapping, **keys)
    return [
        (issue.id, issue.where.removeprefix(PLACE), f"{issue.message} {issue.hint}".rstrip())
        for issue in caught.value.issues
    ]


def test_a_small_target_has_the_documented_defaults():
    target = read()

    assert target == Target(
        name="staging",
        hosts=(Host("web1.example.com", user="deploy"),),
        root=PurePosixPath("/srv/shop"),
        settings_module="shop.settings",
        processes=(Process("web", ("gunicorn", "shop.wsgi", "--bind", "unix:{socket}")),),
    )
    assert target.steps == DEFAULT_STEPS
    assert target.health_check == HealthCheck("/", status=None)
    assert warnings_of(target) == ()


def test_every_key_can_be_set():
    target = read(
        HOSTS=[
            {
                "HOST": "web1",
                "USER": "deploy",
                "PORT": 2222,
                "KEY_FILE": "/keys/deploy",
                "ROLES": ["web", "jobs"],
            },
            "local",
        ],
        ROOT=PurePosixPath("/srv/my-shop"),
        PYTHON="/opt/python/bin/python3.13",
        ENV={"SECRET_KEY": "xyzzy"},
        REQUIREMENTS="closure",
        EXTRAS=["postgres"],
        EXCLUDE=[],
        INCLUDE=("gunicorn",),
        LOCK_FILE=Path("/site/pylock.toml"),
        STRICT_ENVIRONMENT=True,
        ALLOW_ALTERED=["nltk"],
        INDEX_URL="https://user:password@index.example.com/simple",
        VENDOR=False,
        BUILD_ON_HOST=True,
        INSTALLER="pip",
        STEPS=[
            "migrate --noinput",
            ["loaddata", "a b.json"],
            {"COMMAND": "warm_cache", "ON": "each", "ISOLATED": True, "TIMEOUT": 5, "ROLES": ["web"]},
        ],
        PROCESSES={
            "web": "gunicorn shop.wsgi --bind unix:{socket}",
            "beat": {"COMMAND": ["celery", "beat"], "SINGLETON": True, "STOP_TIMEOUT": 2.5},
            "worker": {"COMMAND": "celery worker", "INSTANCES": 3, "ROLES": ["jobs"]},
        },
        PROCESS_MANAGER="supervisor",
        RESTART=["sudo systemctl restart shop"],
        HEALTH_CHECK={
            "PATH": "http://127.0.0.1/healthz/",
            "HOST": "shop.example.com",
            "STATUS": 204,
            "TIMEOUT": 10,
            "HEADERS": {"X-Forwarded-Proto": "https"},
        },
        BATCH={"SIZE": "25%", "PAUSE": 5},
        CANARY_SECONDS=30,
        KEEP_RELEASES=3,
        REQUIRE_CLEAN=True,
        LOCK_WAIT=60,
        SIGNING_KEY="/keys/release",
        TRUSTED_KEYS=["ssh-ed25519 AAAA ann\n", "/keys/trusted"],
        USER="deploy",
        WEB="nginx",
        DOMAIN="shop.example.com",
        TLS={"CERTIFICATE": Path("/keys/shop.pem"), "KEY": "host:/etc/ssl/private/shop.key"},
        MAX_BODY_MB=200,
        DATABASE=None,
    )

    assert target == Target(
        name="staging",
        hosts=(
            Host("web1", user="deploy", port=2222, key_file="/keys/deploy", roles=("web", "jobs")),
            Host("local"),
        ),
        root=PurePosixPath("/srv/my-shop"),
        settings_module="shop.settings",
        python="/opt/python/bin/python3.13",
        env={"SECRET_KEY": "xyzzy"},
        requirements="closure",
        extras=("postgres",),
        exclude=(),
        include=("gunicorn",),
        lock_file="/site/pylock.toml",
        strict_environment=True,
        allow_altered=("nltk",),
        index_url="https://user:password@index.example.com/simple",
        vendor=False,
        build_on_host=True,
        installer="pip",
        steps=(
            Step(("migrate", "--noinput"), on="once"),
            Step(("loaddata", "a b.json"), on="once"),
            Step(("warm_cache",), on="each", isolated=True, timeout=5.0, roles=("web",)),
        ),
        processes=(
            Process("web", ("gunicorn", "shop.wsgi", "--bind", "unix:{socket}")),
            Process("beat", ("celery", "beat"), singleton=True, stop_timeout=2.5),
            Process("worker", ("celery", "worker"), instances=3, roles=("jobs",)),
        ),
        process_manager="supervisor",
        restart=(("sudo", "systemctl", "restart", "shop"),),
        health_check=HealthCheck(
            "http://127.0.0.1/healthz/",
            host="shop.example.com",
            status=204,
            timeout=10.0,
            headers={"X-Forwarded-Proto": "https"},
        ),
        batch=Batch("25%", pause=5.0),
        canary_seconds=30.0,
        keep_releases=3,
        require_clean=True,
        lock_wait=60.0,
        signing_key="/keys/release",
        trusted_keys=("ssh-ed25519 AAAA ann", "/keys/trusted"),
        user="deploy",
        web="nginx",
        domain="shop.example.com",
        tls=Certificate("/keys/shop.pem", "host:/etc/ssl/private/shop.key"),
        max_body_mb=200,
        database=None,
    )


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("local", Host("local")),
        ("web1", Host("web1")),
        ("web1:2222", Host("web1", port=2222)),
        ("deploy@web1.example.com:22", Host("web1.example.com", user="deploy", port=22)),
        ("EXAMPLE\\anna@web1", Host("web1", user="EXAMPLE\\anna")),
        ("anna@example.com@web1", Host("web1", user="anna@example.com")),
        ("192.0.2.1:22", Host("192.0.2.1", port=22)),
        ("::1", Host("::1")),
        ("[::1]", Host("::1")),
        ("[::1]:22", Host("::1", port=22)),
        ("deploy@[fe80::1%eth0]:22", Host("fe80::1%eth0", user="deploy", port=22)),
        ("deploy@2001:db8::1", Host("2001:db8::1", user="deploy")),
    ],
)
def test_hosts(text, host):
    assert read(HOSTS=[text]).hosts == (host,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":22",
        "web1:",
        "web1:ssh",
        "@web1",
        "-oProxyCommand=x",
        "-x@web1",
        "web 1",
        "[::1",
        "[::1]22",
        "ssh://web1",
    ],
)
def test_E007_no_host(text):
    assert mistakes(HOSTS=[text]) == [
        (
            "deploy.E007",
            "['HOSTS'][0]",
            f"is not a host: {text!r}. Write 'user@host:port', where the user and the port may be left out.",
        )
    ]


def test_a_signing_key_may_be_a_text_and_is_not_shown():
    text = "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----\n"

    target = read(SIGNING_KEY=text)

    assert target.signing_key == text.strip()
    assert "secret" not in repr(target)


def test_a_key_file_may_be_in_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")

    assert (
        read(HOSTS=[{"HOST": "web1", "KEY_FILE": "~/.ssh/deploy"}]).hosts[0].key_file
        == "/home/anna/.ssh/deploy"
    )


def test_a_host_without_an_index_can_build_nothing():
    message = "needs an index on the hosts for what builds there, and with VENDOR they have none."

    assert mistakes(VENDOR=True, BUILD_ON_HOST=True) == [
        ("deploy.E005", "['BUILD_ON_HOST']", f"{message} Unset one of them.")
    ]


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (None, None),
        ("/healthz/", HealthCheck("/healthz/", status=200)),
        ("http://127.0.0.1:8000/", HealthCheck("http://127.0.0.1:8000/", status=200)),
        ({"PATH": "/healthz/"}, HealthCheck("/healthz/", status=200)),
        ({"PATH": "/healthz/", "STATUS": None}, HealthCheck("/healthz/", status=None)),
        ({"HOST": "shop.example.com"}, HealthCheck("/", host="shop.example.com", status=None)),
    ],
)
def test_a_path_that_was_named_must_answer_200(check, expected):
    assert read(HEALTH_CHECK=check).health_check == expected


def test_commands_that_write_to_the_database_run_once():
    target = read(
        STEPS=[
            "migrate",
            "collectstatic",
            {"COMMAND": "createcachetable"},
            {"COMMAND": "migrate", "ON": "each"},
        ]
    )

    assert [step.on for step in target.steps] == ["once", "each", "once", "each"]


def test_all_mistakes_are_reported_together():
    found = mistakes(
        HOSTS=["web1", "web 2"], ROOTS="/srv", KEEP_RELEASES=0, PROCESSES={"web": {"COMAND": "x"}}
    )

    assert found == [
        ("deploy.E002", "['ROOTS']", "is not a key that is known. Did you mean 'ROOT'?"),
        (
            "deploy.E007",
            "['HOSTS'][1]",
            "is not a host: 'web 2'. Write 'user@host:port', where the user and the port may be left out.",
        ),
        (
            "deploy.E002",
            "['PROCESSES']['web']['COMAND']",
            "is not a key that is known. Did you mean 'COMMAND'?",
        ),
        ("deploy.E003", "['PROCESSES']['web']", "needs the key 'COMMAND'."),
        ("deploy.E006", "['KEEP_RELEASES']", "must be between 1 and 200, not 0."),
    ]


def test_the_error_is_a_page_for_people():
    with pytest.raises(ConfigError) as caught:
        read(HOST="web1", BATCH=0)

    assert caught.value.exit_status == 2
    assert str(caught.value) == (
        "The settings of the target 'staging' have 2 mistakes.\n"
        "  DEPLOY_TARGETS['staging']['HOST']: is not a key that is known. Did you mean 'HOSTS'?\n"
        "  DEPLOY_TARGETS['staging']['BATCH']: must be 1 or more, not 0."
    )


def explode():
    raise RuntimeError("the vault is closed")


ONE_MISTAKE = {
    "unknown key": ({"hosts": []}, "E002", "['hosts']", "is not a key that is known. Did you mean 'HOSTS'?"),
    "unknown key, nothing near": ({7: 1}, "E002", "[7]", "is not a key that is known."),
    "hosts as a string": ({"HOSTS": "local"}, "E004", "['HOSTS']", "must be a list of hosts, not a string. Write ['local']."),
    "hosts as a number": ({"HOSTS": 1}, "E004", "['HOSTS']", "must be a list of hosts, not a number."),
    "no hosts": ({"HOSTS": []}, "E007", "['HOSTS']", "names no host. For a folder of this machine, write ['local']."),
    "host of no type": ({"HOSTS": [None]}, "E004", "['HOSTS'][0]", "must be a dict, not None."),
    "host without HOST": ({"HOSTS": [{"PORT": 22}]}, "E003", "['HOSTS'][0]", "needs the key 'HOST'."),
    "port": ({"HOSTS": ["web1:0"]}, "E006", "['HOSTS'][0]", "must be between 1 and 65535, not 0."),
    "port in a dict": (
        {"HOSTS": [{"HOST": "web1", "PORT": "22"}]}, "E004", "['HOSTS'][0]['PORT']", "must be a whole number, not a string.",
    ),
    "local with a user": (
        {"HOSTS": ["anna@local"]}, "E007", "['HOSTS'][0]", "is this machine: 'local' takes no user, port, key file or jump host.",
    ),
    "the same host": ({"HOSTS": ["web1", "web2", "web1"]}, "E008", "['HOSTS']", "names the host 'web1' twice."),
    "two folders of this machine": ({"HOSTS": ["local", "local"]}, "E008", "['HOSTS']", "names the host 'local' twice."),
    "relative root": (
        {"ROOT": "srv/shop"}, "E009", "['ROOT']",
        "must be an absolute path of a folder of its own, not 'srv/shop'. Write the whole path, say '/srv/shop'.",
    ),
    "root of all": (
        {"ROOT": "/"}, "E009", "['ROOT']",
        "must be an absolute path of a folder of its own, not '/'. Write the whole path, say '/srv/shop'.",
    ),
    "root that climbs": (
        {"ROOT": "/srv/../etc"}, "E009", "['ROOT']",
        "must be an absolute path of a folder of its own, not '/srv/../etc'. Write the whole path, say '/srv/shop'.",
    ),
    "root with a space": (
        {"ROOT": "/srv/my shop"}, "E009", "['ROOT']",
        "must not have ' ' in it, which process managers read as something else: '/srv/my shop'."
        " Choose another path, say '/srv/shop'.",
    ),
    "root with a line end": ({"ROOT": "/srv\n"}, "E009", "['ROOT']", "is not a path: '/srv\\n'."),
    "python that is an option": ({"PYTHON": "-c"}, "E009", "['PYTHON']", "is not a path: '-c'."),
    "settings module": (
        {"SETTINGS_MODULE": "shop/settings.py"}, "E016", "['SETTINGS_MODULE']",
        "must be the dotted name of a module, not 'shop/settings.py'.",
    ),
    "environment's type": (
        {"ENV": []}, "E004", "['ENV']", "must be a dict, or the dotted path of a callable, not a list.",
    ),
    "variable's name": ({"ENV": {"A-B": "x"}}, "E011", "['ENV']['A-B']", "is not the name of an environment variable."),
    "variable's type": ({"ENV": {"DEBUG": False}}, "E004", "['ENV']['DEBUG']", "must be a string, not False."),
    "variable with a NUL": ({"ENV": {"A": "x\0"}}, "E011", "['ENV']['A']", "must not contain a NUL character."),
    "variable that is ours": (
        {"ENV": {"DJANGO_SETTINGS_MODULE": "x"}}, "E011", "['ENV']['DJANGO_SETTINGS_MODULE']",
        "is set from the target's SETTINGS_MODULE. Write that key instead.",
    ),
    "variable of the release": (
        {"ENV": {"DJANGO_DEPLOY_SHARED": "x"}}, "E011", "['ENV']['DJANGO_DEPLOY_SHARED']",
        "is set for each release, and says where that is. Use another name for what you mean.",
    ),
    "no dotted path": ({"ENV": "vault!"}, "E012", "['ENV']", "is a string, but not the dotted path of a callable."),
    "requirements": (
        {"REQUIREMENTS": "enviroment"}, "E005", "['REQUIREMENTS']",
        "must be 'environment', 'closure', 'freeze', or the path of a requirements.in, requirements.txt or"
        " pylock.toml, not 'enviroment'. Did you mean 'environment'?",
    ),
    "lock file of another tool": (
        {"LOCK_FILE": "site/uv.lock"}, "E005", "['LOCK_FILE']",
        "must be the path of a requirements.txt or pylock.toml, not 'site/uv.lock'."
        " `uv export --format pylock.toml --output-file pylock.toml` makes one of it.",
    ),
    "signing key that is none": (
        {"SIGNING_KEY": "secret\ntext"}, "E009", "['SIGNING_KEY']",
        "is neither the path of a file nor the text of a private key.",
    ),
    "signing key's type": (
        {"SIGNING_KEY": b"key"}, "E004", "['SIGNING_KEY']",
        "must be a path, or the text of a private key, not bytes.",
    ),
    "trusted keys that are one": (
        {"TRUSTED_KEYS": "/keys/ann.pub"}, "E004", "['TRUSTED_KEYS']",
        "must be a list of keys, not a string. Write ['/keys/ann.pub'].",
    ),
    "trusted key of another kind": (
        {"TRUSTED_KEYS": ["ssh-rsa AAAAB3NzaC1yc2E= ann"]}, "E009", "['TRUSTED_KEYS'][0]",
        "must be an Ed25519 key, not ssh-rsa. Make one that can be used: ssh-keygen -t ed25519.",
    ),
    "trusted key without a name": ({"TRUSTED_KEYS": [""]}, "E009", "['TRUSTED_KEYS'][0]", "is not a path: ''."),
    "lock file that is none": (
        {"LOCK_FILE": "requirements.in"}, "E005", "['LOCK_FILE']",
        "must be the path of a requirements.txt or pylock.toml, not 'requirements.in'.",
    ),
    "requirements of a wrong type": (
        {"REQUIREMENTS": ["environment"]}, "E004", "['REQUIREMENTS']",
        "must be 'environment', 'closure', 'freeze', or the path of a requirements.in, requirements.txt or"
        " pylock.toml, not a list.",
    ),
    "choice, nearly": (
        {"INSTALLER": "PIP"}, "E005", "['INSTALLER']", "must be 'uv' or 'pip', not 'PIP'. Did you mean 'pip'?",
    ),
    "extra": ({"EXTRAS": ["a b"]}, "E016", "['EXTRAS'][0]", "must be the name of an extra, not 'a b'."),
    "distribution": ({"EXCLUDE": ["x==1"]}, "E016", "['EXCLUDE'][0]", "must be the name of a distribution, as in 'pytest-*', not 'x==1'."),
    "index": (
        {"INDEX_URL": "index:secret"}, "E017", "['INDEX_URL']",
        "is not the address of an index. Write 'https://…', 'http://…' or 'file:///…'.",
    ),
    "index that is no address at all": (
        {"INDEX_URL": "https://[/"}, "E017", "['INDEX_URL']",
        "is not the address of an index. Write 'https://…', 'http://…' or 'file:///…'.",
    ),
    "step through manage.py": (
        {"STEPS": ["python manage.py migrate"]}, "E010", "['STEPS'][0]",
        "is run by manage.py: it must not name it. Leave out what stands before the command's name.",
    ),
    "step without a word": ({"STEPS": [""]}, "E010", "['STEPS'][0]", "is an empty command line."),
    "step's ON": ({"STEPS": [{"COMMAND": "x", "ON": "all"}]}, "E005", "['STEPS'][0]['ON']", "must be 'each' or 'once', not 'all'."),
    "step's TIMEOUT": ({"STEPS": [{"COMMAND": "x", "TIMEOUT": 0}]}, "E006", "['STEPS'][0]['TIMEOUT']", "must be more than 0."),
    "open quotation": (
        {"PROCESSES": {"web": "gunicorn 'x"}}, "E010", "['PROCESSES']['web']",
        "cannot be split into words: no closing quotation. Or write a list of words.",
    ),
    "shell": (
        {"PROCESSES": {"web": "cd x && gunicorn"}}, "E010", "['PROCESSES']['web']",
        "has '&&' in it, but runs without a shell. Write one command a line, or ['sh', '-c', '…'].",
    ),
    "words of other types": (
        {"PROCESSES": {"web": ["gunicorn", 1]}}, "E004", "['PROCESSES']['web']",
        "must be a command line: a string, or a list of strings.",
    ),
    "line end in a command": (
        {"PROCESSES": {"web": ["gunicorn", "a\nb"]}}, "E010", "['PROCESSES']['web']", "has a control character in it.",
    ),
    "process's name": (
        {"PROCESSES": {"a.b": "x"}}, "E013", "['PROCESSES']['a.b']",
        "is not a name for a process: use letters, digits, '-' and '_', at most 40 of them.",
    ),
    "placeholder, nearly": (
        {"PROCESSES": {"web": "gunicorn {sock}"}}, "E013", "['PROCESSES']['web']",
        "has {sock} in its command line. Did you mean {socket}?",
    ),
    "singleton with a socket": (
        {"PROCESSES": {"web": {"COMMAND": "x {socket}", "SINGLETON": True}}}, "E013", "['PROCESSES']['web']",
        "has a {socket} and is a SINGLETON: the new one must answer before the old one stops.",
    ),
    "the maintenance page's name": (
        {"PROCESSES": {maintenance.NAME: "x {socket}"}}, "E013", "['PROCESSES']['maintenance']",
        "has a {socket}, and run/maintenance.sock is where the maintenance page answers. Give it another name.",
    ),
    "several of a singleton": (
        {"PROCESSES": {"beat": {"COMMAND": "x", "SINGLETON": True, "INSTANCES": 2}}}, "E013",
        "['PROCESSES']['beat']", "is a SINGLETON, which runs once, and has INSTANCES.",
    ),
    "no instances": (
        {"PROCESSES": {"web": {"COMMAND": "x", "INSTANCES": 0}}}, "E006", "['PROCESSES']['web']['INSTANCES']",
        "must be between 1 and 99, not 0.",
    ),
    "stop timeout": (
        {"PROCESSES": {"web": {"COMMAND": "x", "STOP_TIMEOUT": -1}}}, "E006", "['PROCESSES']['web']['STOP_TIMEOUT']",
        "must be 0 or more, not -1.",
    ),
    "restart as a string": (
        {"RESTART": "systemctl restart shop"}, "E004", "['RESTART']",
        "must be a list of command lines, not a string. Write ['systemctl restart shop'].",
    ),
    "check that is no path": (
        {"HEALTH_CHECK": "healthz"}, "E015", "['HEALTH_CHECK']",
        "must be a path or an http:// address, not 'healthz'. Write '/healthz/', or 'http://127.0.0.1/healthz/'.",
    ),
    "check with a space": (
        {"HEALTH_CHECK": {"PATH": "/a b"}}, "E015", "['HEALTH_CHECK']['PATH']",
        "must be a path or an http:// address, not '/a b'. Write '/healthz/', or 'http://127.0.0.1/healthz/'.",
    ),
    "check's status": ({"HEALTH_CHECK": {"STATUS": 99}}, "E006", "['HEALTH_CHECK']['STATUS']", "must be between 100 and 599, not 99."),
    "check's header": (
        {"HEALTH_CHECK": {"HEADERS": {"a b": "x"}}}, "E015", "['HEALTH_CHECK']['HEADERS']['a b']", "is not the name of a header.",
    ),
    "check's header that splits": (
        {"HEALTH_CHECK": {"HEADERS": {"A": "x\r\nB: y"}}}, "E015", "['HEALTH_CHECK']['HEADERS']['A']",
        "must not contain a control character.",
    ),
    "check of nothing": (
        {"HEALTH_CHECK": "/", "PROCESSES": {"worker": "celery"}}, "E015", "['HEALTH_CHECK']",
        "is a path, which processes with a {socket} are asked for, and PROCESSES has none."
        " Name an address, say 'http://127.0.0.1/healthz/'.",
    ),
    "batch": ({"BATCH": 0}, "E006", "['BATCH']", "must be 1 or more, not 0."),
    "size of a batch": ({"BATCH": {"SIZE": 0}}, "E006", "['BATCH']['SIZE']", "must be 1 or more, not 0."),
    "pause": ({"BATCH": {"SIZE": 1, "PAUSE": -1}}, "E006", "['BATCH']['PAUSE']", "must be 0 or more, not -1."),
    "batch without a size": ({"BATCH": {"PAUSE": 1}}, "E003", "['BATCH']", "needs the key 'SIZE'."),
    "canary": ({"CANARY_SECONDS": "30"}, "E004", "['CANARY_SECONDS']", "must be a number of seconds, not a string."),
    "batch of nothing": (
        {"BATCH": "0%"}, "E006", "['BATCH']", "must be a number of hosts or a percentage, say '25%', not '0%'.",
    ),
    "backup that is a number": ({"BACKUP": 1}, "E004", "['BACKUP']", "must be True, False or 'contract', not a number."),
    "backup of another kind": ({"BACKUP": "contracts"}, "E005", "['BACKUP']", "must be True, False or 'contract', not 'contracts'. Did you mean 'contract'?"),
    "no backups kept": ({"KEEP_BACKUPS": 0}, "E006", "['KEEP_BACKUPS']", "must be between 1 and 200, not 0."),
    "number that is a bool": ({"KEEP_RELEASES": True}, "E004", "['KEEP_RELEASES']", "must be a whole number, not True."),
    "bool that is a number": ({"REQUIRE_CLEAN": 1}, "E004", "['REQUIRE_CLEAN']", "must be True or False, not a number."),
    "wait": ({"LOCK_WAIT": float("nan")}, "E006", "['LOCK_WAIT']", "must be 0 or more, not nan."),
    "wait for ever": ({"LOCK_WAIT": float("inf")}, "E006", "['LOCK_WAIT']", "must be 0 or more, not inf."),
    "a wait of many digits": (
        {"LOCK_WAIT": 10**400}, "E006", "['LOCK_WAIT']", "must be at most 31536000, not a number of many digits.",
    ),
    "a port of many digits": ({"HOSTS": ["web1:" + "9" * 5000]}, "E006", "['HOSTS'][0]", "must be between 1 and 65535, not 99999999999999999999."),
    "more digits than Python writes": (
        {"KEEP_RELEASES": 10**5000}, "E006", "['KEEP_RELEASES']", "must be between 1 and 200, not a number of many digits.",
    ),
    "root with a colon": (
        {"ROOT": "/srv/a:b"}, "E009", "['ROOT']",
        "must not have ':' in it, which process managers read as something else: '/srv/a:b'."
        " Choose another path, say '/srv/shop'.",
    ),
    "root that is not UTF-8": ({"ROOT": "/srv/\udcff"}, "E009", "['ROOT']", "is not a path: '/srv/\\udcff'."),
    "root with a terminal's command": ({"ROOT": "/srv/\x9b2J"}, "E009", "['ROOT']", "is not a path: '/srv/\\x9b2J'."),
    "a home of nobody": (
        {"HOSTS": [{"HOST": "web1", "KEY_FILE": "~nobody-at-all/key"}]}, "E009", "['HOSTS'][0]['KEY_FILE']",
        "is in the home of '~nobody-at-all', and nobody has that name.",
    ),
    "a variable of a lone surrogate": (
        {"ENV": {"A": "\ud800"}}, "E004", "['ENV']['A']", "has a character that no encoding can write (a lone surrogate).",
    ),
    "a long variable": (
        {"ENV": {"A": "x" * 5_000_000}}, "E011", "['ENV']['A']",
        "is 5000002 bytes long, and 131071 are possible, which is the kernel's limit. Put it into a file, and name that.",
    ),
    "many long variables": (
        {"ENV": {f"A{number}": "x" * 120_000 for number in range(9)}}, "E011", "['ENV']",
        "is 1080018 bytes long, and 1048576 are possible. Put what is long into a file.",
    ),
    "a long word": (
        {"RESTART": [["echo", "x" * 5_000_000]]}, "E010", "['RESTART'][0]",
        "has a word of 5000000 bytes, and 131071 are possible, which is the kernel's limit. Put it into a file, and name that.",
    ),
    "a word of a lone surrogate": (
        {"RESTART": [["echo", "\ud800"]]}, "E004", "['RESTART'][0]", "has a character that no encoding can write (a lone surrogate).",
    ),
    "a check of half an address": (
        {"HEALTH_CHECK": "http://["}, "E015", "['HEALTH_CHECK']",
        "must be a path or an http:// address, not 'http://['. Write '/healthz/', or 'http://127.0.0.1/healthz/'.",
    ),
    "a check at no port": (
        {"HEALTH_CHECK": "http://localhost:web/"}, "E015", "['HEALTH_CHECK']",
        "must be a path or an http:// address, not 'http://localhost:web/'."
        " Write '/healthz/', or 'http://127.0.0.1/healthz/'.",
    ),
    "a check with a user": (
        {"HEALTH_CHECK": "http://ann:pw@localhost/"}, "E015", "['HEALTH_CHECK']",
        "must be a path or an http:// address, not 'http://ann:pw@localhost/'."
        " Write '/healthz/', or 'http://127.0.0.1/healthz/'.",
    ),
    "a header that is not Latin 1": (
        {"HEALTH_CHECK": {"HEADERS": {"X-Key": "\u20ac"}}}, "E015", "['HEALTH_CHECK']['HEADERS']['X-Key']",
        "must be of characters that a header can have (Latin 1).",
    ),
    "an index at no port": (
        {"INDEX_URL": "https://index:99999999/simple/"}, "E017", "['INDEX_URL']",
        "is not the address of an index. Write 'https://…', 'http://…' or 'file:///…'.",
    ),
    "a user that useradd refuses": (
        {"HOSTS": ["web1"], "USER": "Emma"}, "E007", "['USER']",
        "must be the name of a user: small letters, digits, '-' and '_', at most 31, not 'Emma'.",
    ),
    "two users": (
        {"USER": "shop"}, "E019", "['USER']",
        "is 'shop', and HOSTS logs in as another: deploy@web1.example.com. Leave out one of them.",
    ),
    "a web server that is not known": ({"WEB": "ngnix", "DOMAIN": "a.b"}, "E005", "['WEB']", "must be 'nginx' or 'caddy', not 'ngnix'. Did you mean 'nginx'?"),
    "a domain with a path": (
        {"DOMAIN": "example.com/shop"}, "E007", "['DOMAIN']",
        "must be the name that visitors type, as in 'shop.example.com', not 'example.com/shop'.",
    ),
    "a web server without a domain": (
        {"WEB": "nginx"}, "E019", "['WEB']",
        "serves a DOMAIN, and there is none. Name what visitors type, say \"DOMAIN\": \"shop.example.com\".",
    ),
    "a web server without a socket": (
        {"WEB": "nginx", "DOMAIN": "a.b", "PROCESSES": {}, "HEALTH_CHECK": None}, "E019", "['WEB']",
        "leads to a process with a {socket}, and PROCESSES has none. Where the web process listens, write unix:{socket}.",
    ),
    "an authority of nginx": (
        {"WEB": "nginx", "DOMAIN": "a.b", "TLS": "internal"}, "E019", "['TLS']",
        "is of Caddy, which is its own authority then. For nginx name files: {'CERTIFICATE': 'shop.pem', 'KEY': 'shop.key'}.",
    ),
    "TLS of no kind": ({"TLS": True}, "E005", "['TLS']", "must be 'internal' or a dict. Or name files: {'CERTIFICATE': 'shop.pem', 'KEY': 'shop.key'}."),
    "TLS without a key": ({"TLS": {"CERTIFICATE": "shop.pem"}}, "E003", "['TLS']", "needs the key 'KEY'."),
    "a certificate on the host, by half a path": (
        {"TLS": {"CERTIFICATE": "host:shop.pem", "KEY": "shop.key"}}, "E009", "['TLS']['CERTIFICATE']",
        "is not the path of a file on the host: 'host:shop.pem'."
        " Write the whole path, say 'host:/etc/letsencrypt/live/shop.example.com/privkey.pem'.",
    ),
    "a database that is not known": ({"DATABASE": "postgres"}, "E005", "['DATABASE']", "must be 'postgresql', not 'postgres'. Did you mean 'postgresql'?"),
    "a database of each host": (
        {"HOSTS": ["web1", "web2"], "DATABASE": "postgresql"}, "E019", "['DATABASE']",
        "is made on the host itself, and there are 2 hosts. Have them share a database server, and name it in ENV or with deploy_env.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "id", "place", "message"), ONE_MISTAKE.values(), ids=ONE_MISTAKE)
def test_one_mistake(keys, id, place, message):
    with pytest.raises(ConfigError) as caught:
        read_target("staging", {**SMALL, **keys})

    (issue,) = caught.value.issues
    assert (issue.id, issue.where) == (f"deploy.{id}", f"{PLACE}{place}")
    assert f"{issue.message} {issue.hint}".rstrip() == message


def test_hosts_without_a_user_are_logged_in_to_as_USER():
    target = read(HOSTS=["web1", "shop@web2", "local"], USER="shop")

    assert target.hosts == (Host("web1", user="shop"), Host("web2", user="shop"), Host("local"))


def test_E001_E003_an_entry_that_is_no_dict():
    assert mistakes({"HOSTS": ["web1"]}) == [
        ("deploy.E003", "", "needs the key 'ROOT'."),
        ("deploy.E003", "", "needs the key 'SETTINGS_MODULE'."),
    ]
    with pytest.raises(ConfigError, match=r"\['staging'\]: must be a dict, not a list\.$"):
        read_target("staging", [])


def test_E014_a_socket_that_the_kernel_would_refuse():
    longest = "/" + "x" * (107 - len("/") - len("/run/web.") - 24 - len(".sock"))

    assert read(ROOT=longest).root == PurePosixPath(longest)
    assert mistakes(ROOT=f"{longest}y") == [
        (
            "deploy.E014",
            "['PROCESSES']['web']",
            "has a socket whose path is 108 bytes long, and 107 are possible. Choose a shorter ROOT or name.",
        )
    ]
    assert mistakes(ROOT=f"{longest[:-1]}é")[0][0] == "deploy.E014"  # bytes count, not characters
    web = {"COMMAND": "daphne -u {socket}", "INSTANCES": 10}
    assert mistakes(ROOT=longest, PROCESSES={"web": web})[0][2].startswith(
        "has a socket whose path is 110 bytes long"  # run/web.10....sock
    )


def test_callables_answer_when_a_command_needs_them():
    target = read(HOSTS=lambda: ["web1", "web2"], ENV=lambda: {"SECRET_KEY": "xyzzy"})

    assert [host.name for host in target.hosts] == ["web1", "web2"]
    assert target.env == {"SECRET_KEY": "xyzzy"}


def test_callables_are_left_alone_without_a_resolver():
    target = read_target("staging", {**SMALL, "HOSTS": "shop.deploy.hosts", "ENV": explode})

    assert target.hosts == ()
    assert target.env == {}


def test_E012_a_callable_that_fails():
    ((id, place, message),) = mistakes(ENV=explode)

    assert (id, place) == ("deploy.E012", "['ENV']")
    assert message.startswith("is a callable that failed: RuntimeError: the vault is closed (")
    assert f"{__file__}, line {explode.__code__.co_firstlineno + 1})." in message


def test_an_expected_error_of_a_callable_passes():
    def locked():
        raise DeployError("The vault is locked.", remedy="Open it.")

    with pytest.raises(DeployError) as caught:
        read(ENV=locked)

    assert str(caught.value) == "The vault is locked.\nOpen it."


def test_what_a_callable_answers_is_judged():
    assert mistakes(HOSTS=lambda: "web1") == [
        ("deploy.E004", "['HOSTS']", "must be a list of hosts, not a string. Write ['web1'].")
    ]
    assert mistakes(HOSTS=list)[0][1:] == (
        "['HOSTS']",
        "names no host. For a folder of this machine, write ['local'].",
    )


@pytest.mark.parametrize(
    "keys",
    [
        {"ENV": {"A": 31337, "B-": "31337", "C": "31337\0"}},
        {"INDEX_URL": "user:31337@x"},
        {"HOSTS": 1, "ENV": "31337"},
    ],
)
def test_values_that_may_be_secret_are_in_no_message(keys):
    with pytest.raises(ConfigError) as caught:
        read(**keys)

    assert "31337" not in str(caught.value)


FLEET = ["deploy@web1", "deploy@web2:2222", "deploy@db.example.com", "deploy@[2001:db8::1]:22", "10.0.0.7"]


@pytest.mark.parametrize(
    ("jump", "hosts"),
    [
        ("bastion", [Host("bastion")]),
        ("ann@bastion:2222,inner", [Host("bastion", "ann", 2222), Host("inner")]),
        (["ann@[2001:db8::1]:22", "inner"], [Host("2001:db8::1", "ann", 22), Host("inner")]),
    ],
)
def test_jump_hosts(jump, hosts):
    (host,) = read(HOSTS=[{"HOST": "web1", "JUMP": jump}]).hosts

    assert list(host.jump) == hosts


@pytest.mark.parametrize(
    ("jump", "id", "message"),
    [
        (
            "a b",
            "deploy.E007",
            "is not a host: 'a b'. Write 'user@host:port', where the user and the port may be left out.",
        ),
        (
            "",
            "deploy.E007",
            "is not a host: ''. Write 'user@host:port', where the user and the port may be left out.",
        ),
        ("local", "deploy.E007", "is this machine: 'local' is no host to jump through."),
        (22, "deploy.E004", "must be a host or a list of hosts, not a number."),
        ([22], "deploy.E004", "must be a host, not a number."),
    ],
)
def test_E007_no_host_to_jump_through(jump, id, message):
    assert mistakes(HOSTS=[{"HOST": "web1", "JUMP": jump}]) == [(id, "['HOSTS'][0]['JUMP']", message)]


WITH_ROLES = [
    {"HOST": "web1", "ROLES": ["web"]},
    {"HOST": "web2", "ROLES": ["web", "jobs"]},
    {"HOST": "local", "ROLES": ["jobs"]},
    "spare",
]


@pytest.mark.parametrize(
    ("keys", "place", "message"),
    [
        (
            {"PROCESSES": {"worker": {"COMMAND": "x", "ROLES": ["job"]}}, "HEALTH_CHECK": None},
            "['PROCESSES']['worker']['ROLES']",
            "names 'job', a role that no host has. Did you mean 'jobs'?",
        ),
        (
            {"STEPS": ["migrate", {"COMMAND": "compress", "ROLES": ["web", "mail"]}]},
            "['STEPS'][1]['ROLES']",
            "names 'mail', a role that no host has. There is: jobs, web.",
        ),
        (
            {"HOSTS": ["web1"], "STEPS": [{"COMMAND": "compress", "ROLES": ["web"]}]},
            "['STEPS'][0]['ROLES']",
            "names 'web', a role that no host has. There is: no role at all.",
        ),
        (
            {"STEPS": [{"COMMAND": "compress", "ROLES": ["a b"]}]},
            "['STEPS'][0]['ROLES'][0]",
            "must be the name of a role: letters, digits, '-' and '_', not 'a b'.",
        ),
    ],
)
def test_E018_no_such_role(keys, place, message):
    assert mistakes(**{"HOSTS": WITH_ROLES, **keys}) == [("deploy.E018", place, message)]


def test_roles_of_hosts_that_are_not_known_yet_are_not_judged():
    read_target(
        "staging", {**SMALL, "HOSTS": "inventory.hosts", "STEPS": [{"COMMAND": "compress", "ROLES": ["web"]}]}
    )


def test_an_inventory_from_a_callable_has_roles_and_can_be_limited():
    process = {"COMMAND": "celery worker", "ROLES": ["jobs"]}
    target = read(HOSTS=lambda: WITH_ROLES, PROCESSES={"worker": process}, HEALTH_CHECK=None)

    limited = target.limited_to("web*")

    assert [(host.name, host.roles) for host in limited.hosts] == [
        ("web1", ("web",)),
        ("web2", ("web", "jobs")),
    ]
    assert mistakes(HOSTS=lambda: ["web1"], PROCESSES={"worker": process}, HEALTH_CHECK=None) == [
        (
            "deploy.E018",
            "['PROCESSES']['worker']['ROLES']",
            "names 'jobs', a role that no host has. There is: no role at all.",
        )
    ]


def test_E008_the_same_host_with_other_roles():
    hosts = [{"HOST": "web1", "ROLES": ["web"]}, {"HOST": "web1", "ROLES": ["jobs"]}]

    assert mistakes(HOSTS=hosts)[0][0] == "deploy.E008"


def test_W001_nothing_runs():
    (issue,) = warnings_of(read(PROCESSES={}))

    assert issue.id == "deploy.W001"
    assert str(issue) == (
        "DEPLOY_TARGETS['staging']: has neither PROCESSES nor RESTART: releases are installed, but nothing runs them."
        " Name the site's programs in PROCESSES, or in RESTART the commands that restart them."
    )


@pytest.mark.parametrize(
    "keys",
    [
        {"PROCESSES": {"web": "gunicorn shop.wsgi"}},
        {"PROCESSES": {"worker": "celery worker"}, "RESTART": ["true"]},
        {"PROCESSES": {}, "RESTART": ["true"]},
    ],
)
def test_W003_nobody_asks_the_site(keys):
    (issue,) = warnings_of(read(**keys))

    assert issue.id == "deploy.W003"
    assert str(issue) == (
        "DEPLOY_TARGETS['staging']: has no process with a {socket}: nobody asks whether a new release answers."
        " Where a web process listens, write unix:{socket}; else name an http:// address in HEALTH_CHECK,"
        " or None where there is nothing to ask."
    )
    for check in None, "http://127.0.0.1:8000/":
        assert warnings_of(read(**keys, HEALTH_CHECK=check)) == ()
    assert warnings_of(read(PROCESSES={"web": "gunicorn --bind unix:{socket}"})) == ()


def test_ids_are_stable():
    assert [kind.value for kind in Kind] == [f"deploy.E{number:03}" for number in range(1, 21)] + [
        "deploy.W001",
        "deploy.W002",
        "deploy.W003",
        "deploy.W004",
    ]
