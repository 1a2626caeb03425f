"""All errors that a user can cause or fix.

::

    DeployError                     exit status 1
    ├── ConfigError                 settings, arguments: exit status 2, every mistake in ``issues``
    ├── BundleError                 the environment cannot be packaged
    ├── HostError                   one host; names it in ``host``
    │   ├── ConnectionFailed        no connection, or no Python there
    │   │   ├── HostUnreachable     nothing answers at its address
    │   │   ├── HostKeyError        unknown, changed or revoked host key
    │   │   └── AuthenticationFailed
    │   ├── ConnectionLost          there was a connection; the host reverts alone
    │   ├── HostLocked              another deployment holds the lock
    │   ├── AdministrationRefused   this login gives no root shell there
    │   ├── SetupFailed             a host could not be made ready, or is not of a kind that can be
    │   └── RequestFailed           the host program answered with an error; ``type`` says which
    ├── RolloutFailed               a deployment failed: what, where, and what every host serves now
    └── Interrupted                 Ctrl-C: exit status 130

Everything that is not a ``DeployError`` is a bug and keeps its traceback.

Every error has an ``id``, which is an anchor in docs/reference/errors.rst: the class in small letters
(``host-key-error``), of ``RequestFailed`` its type (``install-failed``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from django_deploy.tracebacks import without_machinery


class DeployError(Exception):
    """An expected failure: what happened and, where there is one, the remedy."""

    exit_status = 1

    #: Of the work that it ended, where that had begun: as ``Clock`` tells them.
    phase = ""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    @property
    def id(self) -> str:
        """Short and stable, for programs and for looking it up."""
        return _in_small_letters(type(self).__name__)

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


def _in_small_letters(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


class ConfigError(DeployError):
    """Settings or arguments are wrong; nothing was changed."""

    exit_status = 2

    def __init__(self, message: str, *, issues: Sequence[Issue] = (), remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.issues = tuple(issues)

    def __str__(self) -> str:
        lines = [self.message, *(f"  {issue}" for issue in self.issues)]
        return "\n".join([*lines, self.remedy] if self.remedy else lines)


class Issue:
    """One mistake in the settings: where (``DEPLOY_TARGETS['staging']['ROOT']``), what, and a hint."""

    def __init__(self, where: str, message: str, *, hint: str = "", id: str = "") -> None:
        self.where = where
        self.message = message
        self.hint = hint
        self.id = id

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}"
        return f"{text} {self.hint}" if self.hint else text

    def __repr__(self) -> str:
        return f"<Issue {self.id} {self}>"


class BundleError(DeployError):
    """The running environment cannot be packaged as it is."""


class HostError(DeployError):
    """Something failed on, or on the way to, one host."""

    def __init__(self, host: str, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.host = host

    def __str__(self) -> str:
        return f"{self.host}: {super().__str__()}"


class ConnectionFailed(HostError):
    """No session with the host could be started; nothing was changed there."""


class HostUnreachable(ConnectionFailed):
    """No SSH server answers at the host's address.

    ``is_lasting`` says that another try would end alike.
    """

    def __init__(self, host: str, message: str, *, remedy: str = "", is_lasting: bool = False) -> None:
        super().__init__(host, message, remedy=remedy)
        self.is_lasting = is_lasting


class HostKeyError(ConnectionFailed):
    """The host's key is unknown, has changed, or was revoked."""


class AuthenticationFailed(ConnectionFailed):
    """The host accepted none of the keys that were offered."""


class ConnectionLost(HostError):
    """The host fell silent or the link was cut during the deployment."""


class HostLocked(HostError):
    """Another deployment holds the host's lock."""


class AdministrationRefused(HostError):
    """What only root may do cannot be done by this login; nothing was changed."""


class SetupFailed(HostError):
    """A host is not ready for the site. ``lines`` are the last ones of what failed."""

    def __init__(self, host: str, message: str, *, lines: Sequence[str] = (), remedy: str = "") -> None:
        super().__init__(host, message, remedy=remedy)
        self.lines = tuple(lines)

    def __str__(self) -> str:
        parts = [f"{self.host}: {self.message}", *(f"  | {line}" for line in self.lines)]
        return "\n".join([*parts, self.remedy] if self.remedy else parts)


class RequestFailed(HostError):
    """The host program refused or failed a request.

    ``type`` is one of the error types of ``host.protocol``; ``details`` are its fields (say the
    ``command``, ``exit`` and last ``lines`` of a failed step); ``reverted`` is true when the host
    has undone what the deployment changed on it.
    """

    def __init__(
        self,
        host: str,
        message: str,
        *,
        type: str,
        remedy: str = "",
        details: Mapping[str, object] | None = None,
        reverted: bool = True,
    ) -> None:
        super().__init__(host, message, remedy=remedy)
        self.type = type
        self.details = dict(details or {})
        self.reverted = reverted

    @property
    def id(self) -> str:
        """By its type; a host may say anything there."""
        is_name = re.fullmatch(r"[A-Z][A-Za-z]{1,39}", self.type)
        return _in_small_letters(self.type) if is_name else super().id

    @property
    def lines(self) -> tuple[str, ...]:
        """What the failed command, step or process wrote last."""
        lines = self.details.get("lines")
        return tuple(str(line) for line in lines) if isinstance(lines, list | tuple) else ()

    def __str__(self) -> str:
        """For people; ``lines`` has all of them."""
        parts = [f"{self.host}: {self.message}", *(f"  | {line}" for line in without_machinery(self.lines))]
        return "\n".join([*parts, self.remedy] if self.remedy else parts)


class RolloutFailed(DeployError):
    """A deployment or rollback failed.

    ``errors`` are the hosts' own errors; ``unreverted`` names the hosts that could not be put
    back. With any of those the exit status is 3.
    """

    def __init__(
        self,
        message: str,
        *,
        errors: Sequence[DeployError],
        unreverted: Sequence[str] = (),
        remedy: str = "",
        phase: str = "",
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.phase = phase
        self.errors = tuple(errors)
        self.unreverted = tuple(unreverted)
        self.exit_status = 3 if unreverted else 1

    def __str__(self) -> str:
        lines = [*(str(error) for error in self.errors), self.message]
        return "\n".join([*lines, self.remedy] if self.remedy else lines)


class Interrupted(DeployError):
    """The user pressed Ctrl-C."""

    exit_status = 130


def ids_of(error: DeployError) -> tuple[str, ...]:
    """The id of an error, or those of its causes, each once."""
    causes = error.errors if isinstance(error, RolloutFailed) else ()
    return tuple(dict.fromkeys(id for cause in causes for id in ids_of(cause))) or (error.id,)
