"""A database of the site's own, on the host itself."""

from __future__ import annotations

from collections.abc import Iterator

from django_deploy.provision.pieces import Piece
from django_deploy.provision.site import Site


def database_pieces(site: Site) -> Iterator[Piece]:
    """A role of the user's name, which PostgreSQL knows by its socket, and a database that belongs to it.

    A database that is somebody else's makes the second one fail, and is left as it is.
    """
    role, name = site.user, site.database
    select = 'as postgres psql -XAtqc "SELECT'
    yield Piece(
        f"the PostgreSQL role {role}, without a password",
        f'[ "$({select} 1 FROM pg_roles WHERE rolname = \'{role}\'")" = 1 ]',
        f"as postgres createuser {role}",
    )
    owner = f"pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{name}'"
    yield Piece(
        f"the PostgreSQL database {name}, which belongs to {role}",
        f'[ "$({select} {owner}")" = {role} ]',
        f"as postgres createdb --owner {role} --encoding UTF8 --locale C.UTF-8 --template template0 {name}\n"
        f"as {role} psql -XAtqc 'SELECT 1' {name} >/dev/null",
    )
