"""The script as a whole; what it does is in ``tests/hosts/test_setup.py``."""

from __future__ import annotations

import fcntl
import json
import subprocess
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from django_deploy.host.lock import HOLDER
from django_deploy.host.shape import check
from django_deploy.provision import account, pieces
from django_deploy.provision.facts import asking
from django_deploy.provision.whole import all_pieces, doubts, obstacles
from django_deploy.target import Certificate

from .sites import DEBIAN, SENT, SERVED, SITE

KINDS = {
    "nothing": SITE,
    "database": replace(SITE, has_database=True),
    "caddy": replace(SERVED, web="caddy"),
    "caddy of its own": replace(SERVED, web="caddy", tls="internal"),
    "caddy with files": replace(SERVED, web="caddy", tls=Certificate("a.pem", "a.key"), sent=SENT),
    "nginx": replace(SERVED, web="nginx"),
    "nginx with files": replace(SERVED, web="nginx", tls=Certificate("a.pem", "a.key"), sent=SENT),
    "nginx with files of the host": replace(
        SERVED, web="nginx", tls=Certificate("host:/a.pem", "host:/a.key")
    ),
    "a name to be careful with": replace(SITE, deployer='o\'neill \\ "%s"@laptop'),
}


@pytest.fixture(params=KINDS)
def site(request):
    return KINDS[request.param]


def titles(site, facts=DEBIAN):
    return [piece.title for piece in all_pieces(site, facts)]


def script(site, facts=DEBIAN):
    locks = account.host_lock(site), account.lock(site)
    return pieces.script(["About."], (), all_pieces(site, facts), locks)


def test_a_shell_can_read_it(site):
    for text in (asking(site), pieces.checking(all_pieces(site, DEBIAN)), script(site)):
        read = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True)

        assert (read.returncode, read.stderr) == (0, "")


def test_pieces_in_their_order():
    site = replace(SERVED, web="nginx", has_database=True)

    assert titles(site) == [
        "the packages nginx, postgresql",
        "the user shop",
        "your key ssh-ed25519 SHA256:abc for shop",
        "/srv/shop and its folders, which belong to shop",
        "services of shop that need no login (lingering)",
        "the PostgreSQL role shop, without a password",
        "the PostgreSQL database shop, which belongs to shop",
        "DATABASE_URL in the environment of the site",
        "shop.example.com, served by nginx",
    ]


def test_a_host_that_has_all_programs_gets_no_packages():
    facts = replace(DEBIAN, installed=DEBIAN.installed | {"nginx", "postgresql"})

    assert titles(replace(SERVED, web="nginx", has_database=True), facts)[0] == "the user shop"


def test_without_systemd_nothing_lingers():
    facts = replace(DEBIAN, has_systemd=False, installed=frozenset({"apt-get", "python3"}))

    assert titles(SITE, facts) == [
        "the user shop",
        "your key ssh-ed25519 SHA256:abc for shop",
        "/srv/shop and its folders, which belong to shop",
    ]


def test_the_whole_text():
    assert script(SITE) == (
        r"""#!/bin/sh
# About.
# Another user's processes never get hold of root's terminal: they have a pipe, and a session of their own.
if [ -t 0 ] || [ -t 1 ] || [ -t 2 ]; then
    [ -f "$0" ] || { echo 'Save this as a file, and run that: sh setup.sh' >&2; exit 1; }
    exec 4>&1
    exit "$({ { sh "$0" </dev/null 2>&1 3>&- 4>&-; echo $? >&3; } | cat >&4; } 3>&1)"
fi

set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
say() { printf '\n== %s\n' "$*"; }
stop() { printf '%s\n' "$*" >&2; exit 1; }
as() { user=$1; shift; (cd / && setsid runuser -u "$user" -- "$@" 7>&-); }

# One setup of this host at a time. Services that are started do not get hold of the lock: 7>&-
text=$(printf '{"phase": "setting up", "by": %s, "target": %s, "since": %s, "pid": %s}' \
    '"emma@laptop"' '"staging"' "$(date +%s)" "$$")
umask 077
[ -w "$(dirname /run/deploy_setup.lock)" ] || stop 'Only root may do this: sudo sh setup.sh'
exec 7<>/run/deploy_setup.lock
flock --wait 0 7 || { cat /run/deploy_setup.lock >&2; exit 75; }
printf %s "$text" >/run/deploy_setup.lock
umask 022

say 'the user shop'
if {
    id -u shop
} >/dev/null 2>&1; then
    echo There already.
else
group=--user-group
! getent group shop >/dev/null || group='--gid shop'
useradd --create-home $group --shell /bin/bash --password '*' shop
fi

say 'your key ssh-ed25519 SHA256:abc for shop'
if {
    as shop grep -q -e '^[^#]*AAAAC3Nz+a/b=' ~shop/.ssh/authorized_keys
} >/dev/null 2>&1; then
    echo There already.
else
# ssh-ed25519 SHA256:abc (agent: emma@laptop)
as shop sh -c 'umask 077; cd ~shop; mkdir -p .ssh; cd .ssh
    [ ! -s authorized_keys ] || [ -z "$(tail -c 1 authorized_keys)" ] || echo >>authorized_keys
    printf "%s\n" "$1" >>authorized_keys' sh 'ssh-ed25519 AAAAC3Nz+a/b= emma@laptop'
fi

say '/srv/shop and its folders, which belong to shop'
if {
    as shop sh -c 'for folder; do test -d "$folder" && test -O "$folder" || exit 1; done' sh \
        /srv/shop /srv/shop/releases /srv/shop/shared /srv/shop/run /srv/shop/shared/media /srv/shop/.deploy
} >/dev/null 2>&1; then
    echo There already.
else
# As shop, wherever shop may: root would follow the links that are there.
folder() {
    as shop test -d "$2" -a -O "$2" ||
        as shop install -d -m "$1" "$2" && as shop test -O "$2"
}
need() {
    folder "$1" "$2" || stop "$2 does not belong to shop. See where it leads: namei -l $2;" \
        "and if it is a folder, then as root: chown -hR shop: $2"
}
if ! folder 755 /srv/shop 2>/dev/null; then
    for part in /srv /srv/shop; do
        owner=$(stat -c %U "$part" 2>/dev/null) || continue
        [ "$owner" != shop ] && { [ "$owner" = root ] || [ ! -L "$part" ]; } ||
            stop "$part belongs to $owner, and shop cannot make /srv/shop: root makes nothing there."
    done
    mkdir -p /srv
    cd -P /srv
    [ ! -L shop ] || stop "/srv/shop is a link: name the folder that it leads to as ROOT."
    [ -d shop ] || mkdir -m 755 shop
    chown -h shop:"$(id -gn shop)" shop
    cd /
fi
need 755 /srv/shop/releases
need 755 /srv/shop/shared
need 755 /srv/shop/run
need 755 /srv/shop/shared/media
need 700 /srv/shop/.deploy
fi

# Nobody deploys meanwhile. A process of shop holds the lock: root would follow a link that is there.
pipes=$(mktemp -d)
mkfifo "$pipes/end" "$pipes/said"
as shop sh -c '
    umask 077
    true <>"$1" || exit
    exec 8<>"$1"
    flock --wait "$2" 8 || { cat "$1" >&2; exit 75; }
    printf %s "$3" >"$1"
    echo locked
    read -r end
    : >"$1"
' sh /srv/shop/.deploy/lock 0 "$text" <"$pipes/end" >"$pipes/said" &
holder=$!
exec 9>"$pipes/end"
read -r said <"$pipes/said" || said=
rm -r "$pipes"
[ "$said" = locked ] || { wait "$holder" || exit; exit 1; }
trap 'trap "" PIPE; echo >&9 || :; wait "$holder" || :' EXIT

say 'services of shop that need no login (lingering)'
if {
    [ -e /var/lib/systemd/linger/shop ]
} >/dev/null 2>&1; then
    echo There already.
else
loginctl enable-linger shop
fi
"""
    )


def test_files_that_did_not_come_along():
    """Said before anything is changed."""
    site = replace(SERVED, web="nginx", tls=Certificate("a.pem", "a.key"), sent=SENT)
    text = script(site).replace("/run/deploy_setup.lock", "/nowhere/lock")

    run = subprocess.run(["sh"], input=text, capture_output=True, text=True)

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "DEPLOY_FILES names no folder with certificate.pem.\n"


def test_a_script_that_runs_twice(tmp_path):
    piece = pieces.Piece("a file", f"[ -e {tmp_path}/file ]", f"echo made >>{tmp_path}/file")
    text = pieces.script(["About."], (), [piece], ("", ""))

    runs = [subprocess.run(["sh"], input=text, capture_output=True, text=True) for _ in range(2)]

    assert [run.stdout for run in runs] == ["\n== a file\n", "\n== a file\nThere already.\n"]
    assert (tmp_path / "file").read_text() == "made\n"


def test_what_is_there_is_left_out_and_named():
    wanted = all_pieces(SITE, DEBIAN)

    assert pieces.script(["About."], wanted, (), ("lock", "lock")) == (
        "#!/bin/sh\n"
        "# About.\n"
        "# There already: the user shop; your key ssh-ed25519 SHA256:abc for shop; "
        "/srv/shop and its folders, which\n"
        "# belong to shop; services of shop that need no login (lingering).\n"
        "# Nothing is missing, and nothing is done.\n"
    )


def test_answers_to_the_checks(tmp_path):
    (tmp_path / "there").touch()
    wanted = [pieces.Piece(name, f"[ -e {tmp_path / name} ]", "") for name in ("there", "missing")]

    run = subprocess.run(["sh"], input=pieces.checking(wanted), capture_output=True, text=True, check=True)

    assert run.stdout == "0 yes\n1 no\n"
    assert pieces.missing(wanted, run.stdout.splitlines()) == (wanted[1],)


def test_who_may_not_write_to_run_is_told_that_it_is_for_root():
    text = f"{pieces.PRELUDE}{account.host_lock(SITE)}".replace(account.HOST_LOCK, "/nowhere/lock")

    run = subprocess.run(["sh"], input=text, capture_output=True, text=True)

    assert (run.returncode, run.stderr) == (1, "Only root may do this: sudo sh setup.sh\n")


def run_with_lock(tmp_path, commands, deployer="emma@laptop"):
    """The lock as in the script, but held as whoever runs the tests."""
    site = replace(SITE, root=tmp_path, deployer=deployer)
    host_lock = account.host_lock(site).replace(account.HOST_LOCK, str(tmp_path / "host.lock"))
    text = f'set -eu\nas() {{ shift; "$@" 7>&-; }}\n{host_lock}{account.lock(site)}{commands}\n'
    return subprocess.run(["sh"], input=text, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("deployer", ["emma@laptop", 'o\'neill \\ "%s"@laptop'])
def test_the_lock_says_who_has_it(tmp_path, deployer):
    lock = tmp_path / ".deploy/lock"
    lock.parent.mkdir()

    run = run_with_lock(tmp_path, f"cat {lock}; flock -n {lock} true || echo; exit 3", deployer)

    holder = json.loads(run.stdout)
    check(holder, HOLDER, "holder")
    assert (holder["by"], holder["phase"]) == (deployer, "setting up")
    assert run.stdout.endswith("\n"), "somebody else could take it"
    assert (run.returncode, run.stderr) == (3, "")
    assert (lock.read_text(), lock.stat().st_mode & 0o777) == ("", 0o600)
    assert subprocess.run(["flock", "-n", lock, "true"]).returncode == 0


def test_a_lock_that_somebody_has(tmp_path):
    lock = tmp_path / ".deploy/lock"
    lock.parent.mkdir()
    lock.write_text('{"by": "anna"}')

    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        run = run_with_lock(tmp_path, "echo reached")

    assert (run.returncode, run.stdout, run.stderr) == (account.LOCKED, "", '{"by": "anna"}')
    assert lock.read_text() == '{"by": "anna"}'


def test_a_host_that_somebody_sets_up(tmp_path):
    (tmp_path / ".deploy").mkdir()
    (tmp_path / "host.lock").write_text('{"by": "anna"}')

    with (tmp_path / "host.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        run = run_with_lock(tmp_path, "echo reached")
    after = run_with_lock(tmp_path, "echo reached")

    assert (run.returncode, run.stdout, run.stderr) == (account.LOCKED, "", '{"by": "anna"}')
    assert (after.returncode, after.stdout) == (0, "reached\n")


def test_a_lock_that_the_user_cannot_open(tmp_path):
    (tmp_path / ".deploy/lock").mkdir(parents=True)

    run = run_with_lock(tmp_path, "echo reached")

    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.endswith(f"cannot create {tmp_path}/.deploy/lock: Is a directory\n")


def test_root_opens_nothing_below_root_and_gives_nothing_away_there():
    """Whose the folders are may put links there: all is done as that user."""
    text = script(replace(SERVED, web="nginx", has_database=True))

    for line in text.splitlines():
        redirected = line.partition("<")[2] + line.partition(">")[2]
        assert "/srv/shop" not in redirected, line
        assert not ("/srv/shop/" in line and line.split()[0] in ("install", "chown", "chmod", "mv", "rm")), (
            line
        )


@pytest.mark.parametrize(
    ("root", "database"),
    [("/srv/shop", "shop"), ("/srv/staging/my-shop", "staging_my_shop"), ("/shop", "shop")],
)
def test_names_of_databases(root, database):
    site = replace(SITE, root=PurePosixPath(root))

    assert site.database == database
    assert site.database_url == f"postgresql://shop@%2Fvar%2Frun%2Fpostgresql/{database}"


def test_obstacles():
    site = replace(SERVED, web="caddy")
    facts = replace(
        DEBIAN, root_owner="root", is_root_empty=False, shell="/usr/sbin/nologin", ports=((80, "apache2"),)
    )

    assert [*obstacles(site, facts)] == [
        (
            "/srv/shop is there already, belongs to root and is not empty.",
            "Choose another ROOT, or give it away there, as root: chown -R shop: /srv/shop",
        ),
        (
            "The user shop may not log in: its shell is /usr/sbin/nologin.",
            "Choose another USER, or change it there, as root: usermod -s /bin/bash shop",
        ),
        (
            "apache2 listens on port 80, which is to be for caddy.",
            "Stop it there, as root: systemctl disable --now apache2; or have WEB name it.",
        ),
    ]
    assert [*obstacles(SITE, replace(facts, root_owner="shop", shell="/bin/sh"))] == []
    assert [*obstacles(SITE, replace(DEBIAN, root_owner="shop", is_own=False))] == [
        (
            "Not all in /srv/shop/.deploy belongs to shop, as which deploy works there.",
            "Give it back, as root: chown -hR shop: /srv/shop/.deploy",
        )
    ]


def test_certificates_of_somebody_else():
    file = "/etc/nginx/tls/shop.example.com.key"
    site = replace(SERVED, web="nginx", sent=SENT)

    assert [*obstacles(site, replace(DEBIAN, occupied=frozenset({file})))] == [
        (
            f"{file} was made by somebody else, and a file that TLS names would be put there.",
            f'Have TLS name that one, "host:{file}"; or move it away, as root: mv {file} {file}.own',
        )
    ]


def test_a_file_in_the_place_of_our_link():
    link, file = (f"/etc/nginx/sites-{kind}/shop.example.com" for kind in ("enabled", "available"))
    site = replace(SERVED, web="nginx")

    assert [*obstacles(site, replace(DEBIAN, occupied=frozenset({link}), others=frozenset({link})))] == [
        (
            f"{link} was made by somebody else, and is not a link to {file}.",
            f"Move it away, as root: mv {link} {file}.own. To keep using it, leave out WEB.",
        )
    ]


def test_a_domain_that_another_file_has():
    file = "/etc/nginx/sites-enabled/oldshop"
    site = replace(SERVED, web="nginx")

    assert [*obstacles(site, replace(DEBIAN, others=frozenset({file})))] == [
        (
            f"{file} has nginx serve shop.example.com already, and is not of /srv/shop.",
            "Take the name out of it there, or choose another DOMAIN. To keep using it, leave out WEB.",
        )
    ]


def test_a_configuration_of_somebody_else_is_left_alone():
    site = replace(SERVED, web="nginx")
    facts = replace(DEBIAN, foreign=frozenset({"/etc/nginx/sites-available/shop.example.com"}))

    assert not [title for title in titles(site, facts) if "served by" in title]
    assert [*doubts(site, facts)] == [
        "/etc/nginx/sites-available/shop.example.com is not ours and was left alone:"
        " nginx serves shop.example.com as it says.",
        "nginx serves shop.example.com without TLS, as the target names no certificate:"
        " see TLS in the documentation of the settings.",
    ]


def test_a_domain_of_before():
    file = "/etc/caddy/sites/old.example.com.caddy"

    assert [*doubts(replace(SERVED, web="caddy"), replace(DEBIAN, former=frozenset({file})))] == [
        f"{file} is of this site, too, under another DOMAIN, which caddy still serves."
        f" To end that, as root: rm {file}; systemctl reload caddy"
    ]


def test_domains_that_look_alike_have_names_of_their_own():
    domains = ("shop.example.com", "shop-example.com", "shop--example.com", "shop.example-com")

    assert [replace(SERVED, domain=domain).identifier for domain in domains] == [
        "shop_example_com",
        "shop__example_com",
        "shop____example_com",
        "shop_example__com",
    ]


@pytest.mark.parametrize(
    ("manager", "title", "command"),
    [
        ("dnf", "the packages nginx, postgresql-server", "dnf -y install nginx postgresql-server"),
        (
            "zypper",
            "the packages nginx, postgresql-server",
            "zypper --non-interactive install nginx postgresql-server",
        ),
        ("apk", "the packages nginx, postgresql, runuser", "apk add nginx postgresql runuser"),
        ("pacman", "the packages nginx, postgresql", "pacman -S --noconfirm --needed nginx postgresql"),
        ("", "the packages nginx, postgresql", "# Install: nginx postgresql"),
    ],
)
def test_packages_in_the_words_of_other_systems(manager, title, command):
    site = replace(SERVED, web="nginx", has_database=True)
    facts = replace(DEBIAN, manager=manager, installed=frozenset({"python3"}))

    [piece, *_] = all_pieces(site, facts)

    assert (piece.title, piece.act) == (title, command)
