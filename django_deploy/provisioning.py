"""Makes hosts ready for their first deployment: looks at them, says what is missing, does just that."""

from __future__ import annotations

import getpass
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from .clock import Clock, interruptible
from .deployer import deployer
from .exceptions import (
    AuthenticationFailed,
    BundleError,
    ConfigError,
    DeployError,
    HostLocked,
    Interrupted,
    RolloutFailed,
    SetupFailed,
)
from .host.lock import HOLDER, describe
from .host.protocol import Event, ProtocolError, Report, decode, ignore
from .host.shape import check
from .provision import account, pieces
from .provision.facts import Facts, asking, read_facts
from .provision.pieces import HEADING, Piece
from .provision.site import Key, SentFile, Site
from .provision.whole import all_pieces, doubts, obstacles
from .shipment import fetch_tools, file_of, telling_of_upload
from .target import Certificate, Host, Target
from .transport import ssh_config
from .transport.administration import RootShell, open_root_shell
from .transport.fleet import Courier, Fleet, gather
from .transport.own_keys import authorized_line, comment_of, find_own_keys
from .transport.session import HostSession
from .transport.ssh import Prompts, no_prompts

#: Of what a piece wrote before it failed, so many lines are shown.
SHOWN_LINES = 20

#: What needs no quotes, in a shell, in SQL and in the configurations of web servers.
_PLAIN_PATH = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_PLAIN_USER = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")

#: The largest file of a certificate that is sent, in bytes.
LARGEST_FILE = 1 << 20

#: What TLS names: the name under which it is sent, what it is, and how PEM begins it (RFC 7468).
_TLS_FILES = {
    "CERTIFICATE": ("certificate.pem", "certificate", re.compile(rb"-----BEGIN [A-Z0-9 ]*CERTIFICATE-----")),
    "KEY": ("certificate.key", "private key", re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")),
}


@dataclass(frozen=True)
class SetupPlan:
    """What is to be done on a host: ``script`` does ``to_do``, and leaves alone what is ``there``.

    ``host`` is the one that is deployed to; ``administrator`` is who runs the script there.
    """

    host: Host
    administrator: str
    site: Site
    facts: Facts
    there: tuple[Piece, ...]
    to_do: tuple[Piece, ...]
    script: str

    def lines(self) -> list[str]:
        """For people: what will be done, in order."""
        if not self.to_do:
            return [f"{self.host.name}: nothing is missing."]
        titles = [f"  {piece.title}" for piece in self.to_do]
        return [
            f"Missing on {self.host.name} ({self.facts.system}), and made by {self.administrator}:",
            *titles,
        ]


#: Whether the plans are to be carried out.
Confirm = Callable[[Sequence[SetupPlan]], bool]


def set_up(
    target: Target,
    login: str,
    *,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
    confirm: Confirm = lambda plans: True,
) -> str:
    """Make every host ready. ``login`` is root, or a user there who may use sudo.

    Gives ``"set up"``, ``"set up already"`` where nothing was missing, or ``"declined"``. All hosts are
    looked at before any is changed. At the end it is tried whether ``deploy`` could log in.
    """
    clock = Clock(report)
    with interruptible(clock), ExitStack() as stack:
        plans, shells = _look(target, login, clock, prompts, stack)
        busy = [plan for plan in plans if plan.to_do]
        if busy and not confirm(plans):
            clock.finish("declined")
            return "declined"
        clock.interrupted = Interrupted(  # half of an installation helps nobody
            "Interrupted. Where the script had begun, it goes on to its end.",
            remedy="Run deploy_setup again with --wait SECONDS: then it does what is missing still.",
        )
        with clock.phase("set up"):
            _carry_out(busy, shells, _sent_files(target), report)
    with clock.phase("log in"):
        is_new = _log_in(target, plans, report, prompts)
    outcome = "set up" if busy or is_new else "set up already"
    clock.finish(outcome)
    return outcome


def preview(
    target: Target, login: str, *, report: Report = ignore, prompts: Prompts = no_prompts
) -> list[SetupPlan]:
    """What ``set_up`` would do; nothing is changed and no lock is taken."""
    clock = Clock(report)
    with interruptible(clock), ExitStack() as stack:
        return _look(target, login, clock, prompts, stack)[0]


def _look(
    target: Target, login: str, clock: Clock, prompts: Prompts, stack: ExitStack
) -> tuple[list[SetupPlan], Mapping[Host, RootShell]]:
    """The plan of each host, and root's shell there, which lives as long as ``stack``."""
    target = replace(target, hosts=tuple(_with_user(host, target) for host in target.hosts))
    shells: dict[Host, RootShell] = {}
    with clock.phase("connect"):
        for host in target.hosts:
            began = time.monotonic()
            shells[host] = stack.enter_context(closing(_open_shell(host, login, prompts)))
            seconds = round(time.monotonic() - began, 3)
            address = shells[host].connection.address
            clock.report(Event("host.connected", host.name, fields={"address": address, "seconds": seconds}))
    with clock.phase("look"):
        plans = [_make_plan(target, host, shells[host]) for host in target.hosts]
    _refuse_obstacles(plans)
    for plan in plans:
        fields = {
            "to_do": [piece.title for piece in plan.to_do],
            "there": [piece.title for piece in plan.there],
            "script": plan.script.splitlines(),
        }
        clock.report(Event("setup.planned", plan.host.name, fields=fields))
        for doubt in doubts(plan.site, plan.facts):
            clock.report(Event("warning", plan.host.name, fields={"message": doubt, "remedy": ""}))
    return plans, shells


def _with_user(host: Host, target: Target) -> Host:
    """Who the site belongs to is who ``deploy`` logs in as."""
    if host.is_local:
        remedy = "Make the folder ROOT: that is all that a deployment to this machine needs."
        raise ConfigError("deploy_setup is for hosts, and 'local' is this machine.", remedy=remedy)
    user = host.user or ssh_config.read(host).user
    remedy = f'Name who the site shall belong to: "USER": "{_project(target)}".'
    if user == "root":
        raise ConfigError(f"{host.name}: a site must not belong to root.", remedy=remedy)
    if host.user is None and user == getpass.getuser():
        raise ConfigError(
            f"Neither HOSTS nor USER say who the site on {host.name} belongs to.", remedy=remedy
        )
    return host if host.user else replace(host, user=user)


def _project(target: Target) -> str:
    return target.settings_module.partition(".")[0].lower()


def _open_shell(host: Host, login: str, prompts: Prompts) -> RootShell:
    administrator = replace(host, user=login)
    try:
        return open_root_shell(administrator, prompts)
    except AuthenticationFailed as error:
        hint = "Or log in as another user that is root or may use sudo: --login USER"
        raise AuthenticationFailed(error.host, error.message, remedy=f"{error.remedy}\n{hint}") from None


def _make_plan(target: Target, host: Host, shell: RootShell) -> SetupPlan:
    site = site_of(target, host, shell.host.user or "")
    answers: list[str] = []
    shell.run(asking(site), {}, answers.append)
    facts = read_facts(answers)
    wanted = all_pieces(site, facts)
    answers.clear()
    shell.run(pieces.checking(wanted), {}, answers.append)
    to_do = pieces.missing(wanted, answers)
    there = tuple(piece for piece in wanted if piece not in to_do)
    about = [
        f"What manage.py deploy_setup {target.name} does on {host.name} ({facts.system}), as root.",
        *(
            f"DEPLOY_FILES is a folder with {name}: here {sent.source}, sha256 {sent.sha256}."
            for name, sent in site.sent
        ),
        f"Then it logs in as {site.user}, as deploy will. Before the first deployment it puts what makes",
        f"releases (uv, unless the host has it) into {site.root}/.deploy.",
    ]
    script = pieces.script(about, there, to_do, (account.host_lock(site), account.lock(site)))
    return SetupPlan(host, shell.host.name, site, facts, there, to_do, script)


def site_of(target: Target, host: Host, administrator: str) -> Site:
    """What ``host`` is to be ready for; raises ``ConfigError`` where we have no key or no certificate."""
    web = next((process for process in target.processes if process.has_socket), None)
    names = web.instance_names() if web else ()
    _check_words(target, host)
    assert host.user is not None
    return Site(
        target=target.name,
        host=host.name,
        user=host.user,
        root=target.root,
        keys=_own_keys(host, administrator),
        web=target.web,
        domain=target.domain or "",
        tls=target.tls,
        sockets=tuple(str(target.root / "run" / f"{name}.sock") for name in names),
        static=target.static,
        media=target.media,
        has_database=target.database is not None,
        sent=tuple(_described_files(target)),
        max_body_mb=target.max_body_mb,
        deployer=deployer(),
        lock_wait=target.lock_wait,
    )


def _check_words(target: Target, host: Host) -> None:
    """What stands in the script and in configurations as it is must not mean anything else there."""
    if not _PLAIN_PATH.fullmatch(str(target.root)):
        remedy = "Use letters, digits, '.', '_', '-' and '/'."
        raise ConfigError(
            f"ROOT {str(target.root)!r} has characters that deploy_setup does not accept.", remedy=remedy
        )
    if not _PLAIN_USER.fullmatch(host.user or ""):
        remedy = "Use letters, digits, '.', '_' and '-'."
        raise ConfigError(f"{host.user!r} is not a user that deploy_setup can create.", remedy=remedy)


def _own_keys(host: Host, administrator: str) -> tuple[Key, ...]:
    found = find_own_keys(host, administrator)
    if not found:
        remedy = "Make one: ssh-keygen -t ed25519; or give one to your agent: ssh-add."
        raise ConfigError(f"You have no SSH key that could be put on {host.name}.", remedy=remedy)
    return tuple(
        Key(authorized_line(identity.public, comment_of(identity)), identity.label, identity.origin)
        for identity in found
        if identity.public is not None
    )


def _described_files(target: Target) -> Iterator[tuple[str, SentFile]]:
    for key, path in _local_files(target):
        yield _TLS_FILES[key][0], SentFile(path, sha256(_read(key, path)).hexdigest())


def _sent_files(target: Target) -> Mapping[str, bytes]:
    return {_TLS_FILES[key][0]: _read(key, path) for key, path in _local_files(target)}


def _local_files(target: Target) -> Iterator[tuple[str, str]]:
    """The keys of TLS that name a file of this machine, and its path."""
    if isinstance(target.tls, Certificate):
        files = {"CERTIFICATE": target.tls.certificate, "KEY": target.tls.key}
        yield from ((key, path) for key, path in files.items() if not path.startswith("host:"))


def _read(key: str, path: str) -> bytes:
    """Raises ``ConfigError`` where it is not what ``key`` names, or would show a private key to all."""
    _, what, begin = _TLS_FILES[key]
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        remedy = "Files that are on the host already begin with 'host:'."
        message = f"{path}, which TLS[{key!r}] names, cannot be read: {error.strerror}."
        raise ConfigError(message, remedy=remedy) from None
    if not begin.search(content) or len(content) > LARGEST_FILE:
        message = f"{path}, which TLS[{key!r}] names, is no {what} in PEM form."
        raise ConfigError(message, remedy="Are CERTIFICATE and KEY swapped, or is the file in another form?")
    if key == "CERTIFICATE" and b"PRIVATE KEY-----" in content:
        raise ConfigError(
            f"{path}, which TLS['CERTIFICATE'] names, holds a private key: all could read it there.",
            remedy="Put the key into a file of its own, which TLS['KEY'] names.",
        )
    return content


def _refuse_obstacles(plans: Sequence[SetupPlan]) -> None:
    errors: list[DeployError] = []
    for plan in plans:
        for message, remedy in obstacles(plan.site, plan.facts):
            errors.append(SetupFailed(plan.host.name, message, remedy=remedy))
        if not plan.facts.is_debian and plan.to_do:
            errors.append(_other_system(plan))
    if errors:
        raise RolloutFailed("Nothing was changed.", errors=errors)


def _other_system(plan: SetupPlan) -> SetupFailed:
    message = f"it runs {plan.facts.system}, and deploy_setup changes only Debian and Ubuntu. Missing there:"
    titles = [line for piece in plan.to_do for line in (f"{piece.title}:", *_indented(piece.act))]
    remedy = "Do that there as root, in the way of that system. Then run deploy_setup again, which looks."
    return SetupFailed(plan.host.name, message, lines=titles, remedy=remedy)


def _indented(text: str) -> Iterator[str]:
    return (f"    {line}" for line in text.strip().splitlines())


# Doing it


def _carry_out(
    plans: Sequence[SetupPlan], shells: Mapping[Host, RootShell], files: Mapping[str, bytes], report: Report
) -> None:
    """All hosts at once; a host that fails does not stop the others."""
    if not plans:
        return
    with ThreadPoolExecutor(len(plans)) as pool:
        futures = [pool.submit(_run, plan, shells[plan.host], files, report) for plan in plans]
        try:
            gather(futures, "What was made before that stays. Fix it, then run deploy_setup again.")
        except KeyboardInterrupt:
            for shell in shells.values():
                shell.close()
            raise


def _run(plan: SetupPlan, shell: RootShell, files: Mapping[str, bytes], report: Report) -> None:
    teller = _Teller(plan.host.name, report)
    status = shell.run(plan.script, files, teller)
    if status == account.LOCKED:
        raise HostLocked(plan.host.name, _holder(teller.lines), remedy="Wait for it with --wait SECONDS.")
    if status != 0:
        message = f"{teller.title or 'the script'}: failed with exit status {status}"
        raise SetupFailed(plan.host.name, message, lines=teller.lines[-SHOWN_LINES:])
    teller.end()


class _Teller:
    """Makes events of the script's lines: each piece is a step."""

    def __init__(self, host: str, report: Report) -> None:
        self.title = ""
        self.lines: list[str] = []
        self._host = host
        self._report = report
        self._began = 0.0

    def __call__(self, line: str) -> None:
        if line.startswith(HEADING):
            self.end()
            self.title, self.lines, self._began = line.removeprefix(HEADING), [], time.monotonic()
            self._report(Event("step.started", self._host, fields={"step": self.title}))
        elif line.strip():
            self.lines = [*self.lines[-200:], line]
            fields = {"step": self.title, "stream": "stdout", "line": line}
            self._report(Event("step.output", self._host, fields=fields))

    def end(self) -> None:
        """The piece that ran is done."""
        if self.title:
            seconds = round(time.monotonic() - self._began, 3)
            fields = {"step": self.title, "seconds": seconds, "result": {}}
            self._report(Event("step.finished", self._host, fields=fields))


def _holder(lines: Sequence[str]) -> str:
    """Who has the lock, from the lock file's text."""
    for line in reversed(lines):
        try:
            holder = decode(line.encode())
            check(holder, HOLDER, "holder")
        except ProtocolError:
            continue
        return describe(holder)
    return describe({})


def _log_in(target: Target, plans: Sequence[SetupPlan], report: Report, prompts: Prompts) -> bool:
    """As ``deploy`` will, with its program: what the host lacks for that is said now.

    A host that was never deployed to gets the tools of deployments; gives whether one has got any.
    """
    target = replace(target, hosts=tuple(plan.host for plan in plans))
    with Fleet(target, report=report, prompts=prompts) as fleet:
        outcomes = fleet.outcomes()
        errors = [found for _, found in outcomes if isinstance(found, DeployError)]
        if errors:
            message = "The hosts were set up, and yet deploy could not log in there."
            raise RolloutFailed(message, errors=errors)
        sent = [_submit_tools(courier, target, report) for courier in fleet.couriers]
        arrived = gather(sent, "The hosts were set up, and could not be sent what makes releases.")
        return any(arrived)


def _submit_tools(courier: Courier, target: Target, report: Report) -> Future[bool]:
    return courier.submit(lambda: _send_tools(target, courier.session.result(), report))


def _send_tools(target: Target, session: HostSession, report: Report) -> bool:
    """Of what makes releases, uv say, what the host lacks; gives whether that was anything."""
    host, facts = session.host, session.facts
    if facts["releases"] or "error" in facts["python"]:
        return False  # the next deployment looks after them
    try:
        tools = fetch_tools(target, host, facts)
    except BundleError as error:
        remedy = "The first deployment tries again."
        report(Event("warning", host.name, fields={"message": error.message, "remedy": remedy}))
        return False
    missing = [wheel for wheel in tools.values() if wheel.sha256 not in facts["tools"]]
    progress = telling_of_upload(host, sum(wheel.size for wheel in missing), report)
    for wheel in missing:
        session.send_file(wheel.path, wheel.sha256, wheel.path.name, progress)
    if missing:
        session.request("store_tools", tools={wheel.name: file_of(wheel) for wheel in missing}).result()
    return bool(missing)
