"""Hosts that are connected at once and answer by themselves, for what is said while one waits for them."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import PurePosixPath

from django_deploy.exceptions import DeployError
from django_deploy.target import Host, Target
from django_deploy.transport import fleet

RELEASE = "20261122T174500Z-3f9c2a1"
WEB1, WEB2 = Host("web1"), Host("web2")
TARGET = Target("staging", (WEB1, WEB2), PurePosixPath("/srv/shop"), settings_module="shop.settings")


class Interrupting(Future):
    """A reply; while somebody waits for it Ctrl-C is pressed."""

    def result(self, timeout=None):
        raise KeyboardInterrupt


class Session:
    """A host that answers all that it is asked, with what ``answers`` has or an error, up to ``last``."""

    end = None

    def __init__(self, host, last="", *, live=RELEASE, answers=None):
        self.host, self.last, self.answers = host, last, answers or {}
        processes = [{"name": "worker", "command": ["celery"]}]
        releases = [{"id": live, "state": "live", "processes": processes}] if live else []
        self.facts = {"live": live, "current": live, "releases": releases, "maintenance": None}

    def request(self, name, **fields):
        reply = Interrupting() if name == self.last else Future()
        answer = self.answers.get(name, {"settings": [], "host": []})
        if isinstance(answer, DeployError):
            reply.set_exception(answer)
        else:
            reply.set_result(answer)
        return reply

    def close(self):
        pass


def connect(monkeypatch, *sessions):
    """From here on these sessions are what all hosts are connected by."""
    found = {session.host: session for session in sessions}
    monkeypatch.setattr(fleet, "open_session", lambda host, target, **options: found[host])


def interrupt_at_the_end(event):
    """As a ``Report``."""
    if event.kind == "rollout.finished":
        raise KeyboardInterrupt
