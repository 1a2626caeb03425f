"""What a host is to be ready for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from django_deploy.target import Certificate, Served

#: The first words of every configuration file of ours; one that lacks them is somebody's, and left alone.
MARK = "# Written by manage.py deploy_setup"


@dataclass(frozen=True)
class Key:
    """A public key of ours: its line for ``authorized_keys``, its type and fingerprint, where it is from."""

    line: str
    label: str
    origin: str

    @property
    def blob(self) -> str:
        return self.line.split()[1]


@dataclass(frozen=True)
class SentFile:
    """A file that is sent: its path here, and the sha256 of what is in it."""

    source: str
    sha256: str


@dataclass(frozen=True)
class Site:
    """A site of a target on one host.

    ``keys`` are ours; one of them in ``authorized_keys`` is enough, else the first one is put there.
    ``sockets`` are those of the web process. ``tls`` is ``INTERNAL``, files, or None. ``sent`` are the files
    of this machine that go along, by the name that they have on the way. ``max_body_mb`` is how large a
    request may be, an upload say. ``deployer`` is who does it, and ``lock_wait`` for how many seconds it
    waits for a deployment to end.
    """

    target: str
    host: str
    user: str
    root: PurePosixPath
    keys: tuple[Key, ...]
    web: str | None = None
    domain: str = ""
    tls: str | Certificate | None = None
    sockets: tuple[str, ...] = ()
    static: Served | None = None
    media: Served | None = None
    has_database: bool = False
    sent: tuple[tuple[str, SentFile], ...] = ()
    max_body_mb: int = 20
    deployer: str = ""
    lock_wait: float = 0.0

    @property
    def static_folder(self) -> PurePosixPath:
        return self.root / "current" / (self.static.folder if self.static else "static")

    @property
    def media_folder(self) -> PurePosixPath:
        return self.root / "shared" / (self.media.folder if self.media else "media")

    @property
    def identifier(self) -> str:
        """The domain as part of a name: ``shop_example_com``; no other domain has the same."""
        return self.domain.lower().replace("-", "__").replace(".", "_")

    @property
    def database(self) -> str:
        """``/srv/shop`` has the database ``shop``, ``/srv/staging/shop`` has ``staging_shop``."""
        parts = self.root.parts[2:] or self.root.parts[1:]
        return re.sub(r"[^a-z0-9_]", "_", "_".join(parts).lower())[:63]

    @property
    def database_url(self) -> str:
        """By PostgreSQL's socket, where it knows the user: there is no password."""
        return f"postgresql://{self.user}@%2Fvar%2Frun%2Fpostgresql/{self.database}"
