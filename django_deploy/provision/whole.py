"""All pieces of a site in their order, and what stands against them."""

from __future__ import annotations

from collections.abc import Iterator

from django_deploy.provision.account import account_pieces, environment_piece
from django_deploy.provision.caddy import caddy_piece
from django_deploy.provision.facts import Facts, site_links
from django_deploy.provision.nginx import nginx_piece
from django_deploy.provision.packages import packages_piece
from django_deploy.provision.pieces import Piece
from django_deploy.provision.postgresql import database_pieces
from django_deploy.provision.site import Site
from django_deploy.target import CADDY, NGINX


def all_pieces(site: Site, facts: Facts) -> tuple[Piece, ...]:
    """What makes the host ready; a web server whose configuration is somebody's own is not among it."""
    return tuple(_pieces(site, facts))


def _pieces(site: Site, facts: Facts) -> Iterator[Piece]:
    packages = packages_piece(site, facts)
    if packages is not None:
        yield packages
    yield from account_pieces(site, facts)
    if site.has_database:
        yield from database_pieces(site)
        yield environment_piece(site)
    if site.web == NGINX and not facts.foreign:
        yield nginx_piece(site, facts)
    if site.web == CADDY and not facts.foreign:
        yield caddy_piece(site, facts)


def obstacles(site: Site, facts: Facts) -> Iterator[tuple[str, str]]:
    """Why nothing is to be changed on this host, each with its remedy."""
    if facts.root_owner not in ("", site.user) and not facts.is_root_empty:
        yield (
            f"{site.root} is there already, belongs to {facts.root_owner} and is not empty.",
            f"Choose another ROOT, or give it away there, as root: chown -R {site.user}: {site.root}"
            if facts.root_owner == "root"
            else f"Is it {facts.root_owner}'s site? Then say so in HOSTS or USER. Else choose another ROOT.",
        )
    elif not facts.is_own:
        yield (
            f"Not all in {site.root}/.deploy belongs to {site.user}, as which deploy works there.",
            f"Give it back, as root: chown -hR {site.user}: {site.root}/.deploy",
        )
    if facts.shell.endswith(("/nologin", "/false")):
        yield (
            f"The user {site.user} may not log in: its shell is {facts.shell}.",
            f"Choose another USER, or change it there, as root: usermod -s /bin/bash {site.user}",
        )
    for port, program in facts.ports if site.web else ():
        if program != site.web:
            yield (
                f"{program} listens on port {port}, which is to be for {site.web}.",
                f"Stop it there, as root: systemctl disable --now {program}; or have WEB name it.",
            )
    if not facts.foreign:
        yield from _files_in_the_way(site, facts)


def _files_in_the_way(site: Site, facts: Facts) -> Iterator[tuple[str, str]]:
    links = {str(link): file for link, file in site_links(site).items()}
    for path in sorted(facts.occupied & {*links}):
        yield (
            f"{path} was made by somebody else, and is not a link to {links[path]}.",
            f"Move it away, as root: mv {path} {links[path]}.own. To keep using it, leave out WEB.",
        )
    for path in sorted(facts.occupied - {*links}):
        yield (
            f"{path} was made by somebody else, and a file that TLS names would be put there.",
            f'Have TLS name that one, "host:{path}"; or move it away, as root: mv {path} {path}.own',
        )
    for file in sorted(facts.others - facts.occupied):
        yield (
            f"{file} has {site.web} serve {site.domain} already, and is not of {site.root}.",
            "Take the name out of it there, or choose another DOMAIN. To keep using it, leave out WEB.",
        )


def doubts(site: Site, facts: Facts) -> Iterator[str]:
    """What one should know, and what stops nothing."""
    for file in sorted(facts.foreign):
        yield f"{file} is not ours and was left alone: {site.web} serves {site.domain} as it says."
    for file in sorted(facts.former):
        server = NGINX if file.startswith("/etc/nginx/") else CADDY
        yield (
            f"{file} is of this site, too, under another DOMAIN, which {server} still serves."
            f" To end that, as root: rm {file}; systemctl reload {server}"
        )
    if site.web == NGINX and site.tls is None:
        yield (
            f"nginx serves {site.domain} without TLS, as the target names no certificate:"
            " see TLS in the documentation of the settings."
        )
