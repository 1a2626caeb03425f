"""The sessions with all hosts of a target, opened at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from django_deploy.exceptions import DeployError, HostUnreachable, RolloutFailed
from django_deploy.host.protocol import Report
from django_deploy.target import Host, Target
from django_deploy.transport.session import HostSession, Reply, open_session
from django_deploy.transport.ssh import Prompts

T = TypeVar("T")


class Courier:
    """One host's session and the thread that sends to it, in order; it never blocks the others."""

    def __init__(self, host: Host, open: Callable[[], HostSession]) -> None:
        self.host = host
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=f"courier {host.name}", daemon=True).start()
        self.session: Future[HostSession] = self.submit(open)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Do ``work`` in the courier's thread, after all that was submitted before."""
        future: Future[T] = Future()

        def do() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # whoever waits for the future decides
                future.set_exception(error)

        self._work.put(do)
        return future

    def stop(self) -> None:
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


class Fleet:
    """All hosts of a target. As a context manager it closes every link at the end, whatever happened."""

    def __init__(self, target: Target, *, report: Report, prompts: Prompts) -> None:
        def opener(host: Host) -> Callable[[], HostSession]:
            return lambda: open_session(host, target, report=report, prompts=prompts)

        self.couriers = [Courier(host, opener(host)) for host in target.hosts]

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exception: object) -> None:
        self.dismiss([courier.host for courier in self.couriers])

    def dismiss(self, hosts: Collection[Host]) -> None:
        """Close the links to these hosts; the others are the fleet."""
        for courier in self.couriers:
            if courier.host in hosts:
                courier.stop()
                courier.session.add_done_callback(_close_session)
        self.couriers = [courier for courier in self.couriers if courier.host not in hosts]

    def sessions(self) -> list[HostSession]:
        """Wait for all hosts; raises ``RolloutFailed`` with the error of each that did not answer."""
        return gather([courier.session for courier in self.couriers], "Nothing was changed.")

    def unreachable(self) -> list[tuple[Host, HostUnreachable]]:
        """Wait for all hosts; those at whose address nothing answers, unless that is none of them."""
        outcomes = self.outcomes()
        silent = [(host, found) for host, found in outcomes if isinstance(found, HostUnreachable)]
        return silent if len(silent) < len(outcomes) else []

    def outcomes(self) -> list[tuple[Host, HostSession | DeployError]]:
        """Wait for all hosts; a host that did not answer stands there with its error."""
        found: list[tuple[Host, HostSession | DeployError]] = []
        for courier in self.couriers:
            try:
                found.append((courier.host, courier.session.result()))
            except DeployError as error:
                found.append((courier.host, error))
        return found


def gather(futures: Sequence[Future[T]], message: str) -> list[T]:
    """Wait for all; their results, or one ``RolloutFailed`` with every expected error among them."""
    results: list[T] = []
    errors: list[DeployError] = []
    for future in futures:
        try:
            results.append(future.result())
        except DeployError as error:
            errors.append(error)
    if errors:
        raise RolloutFailed(message, errors=errors)
    return results


def result_of(future: DeployError | Future[Reply]) -> DeployError | Reply:
    """A host's reply, or its error."""
    try:
        return future if isinstance(future, DeployError) else future.result()
    except DeployError as error:
        return error


def _close_session(future: Future[Any]) -> None:
    if future.exception() is None:
        future.result().close()
