"""nginx in front of the site."""

from __future__ import annotations

from collections.abc import Iterator

from django_deploy.provision.down_page import DOWN_PAGE
from django_deploy.provision.facts import TLS_FOLDERS, Facts, site_links
from django_deploy.provision.pieces import Piece
from django_deploy.provision.site import MARK, Site
from django_deploy.provision.web import (
    FOR_A_MINUTE,
    FOR_AN_HOUR,
    FOR_EVER,
    HASHED,
    File,
    Include,
    Server,
    certificate_files,
    certificate_paths,
    web_piece,
)
from django_deploy.target import NGINX, Certificate

SERVER = Server("nginx", "www-data", "nginx -q -t", "systemctl reload nginx")

_MAIN = "/etc/nginx/nginx.conf"

#: Where certbot's ``--webroot`` puts its answers, as Debian has it.
CHALLENGES = "/var/www/html"


def nginx_piece(site: Site, facts: Facts) -> Piece:
    """The site's configuration, as Debian keeps them: in ``sites-available``, with a link."""
    [(link, file)] = site_links(site).items()
    include = Include(
        check=f'[ "$(readlink -f {link})" = "$(readlink -f {file})" ]',
        prepare=f"[ -e {link} ] || rm -f {link}  # one that leads nowhere, which nginx refuses",
        act=f"install -d {link.parent}\n[ -e {link} ] || {{ keep {link}; ln -s {file} {link}; }}",
        confirm=f"nginx -T 2>/dev/null | grep -qF 'configuration file {link}:'",
        refusal=f"nginx does not read {link.parent}, which {_MAIN} includes in Debian",
    )
    files = [*certificate_files(site), File(file, site_configuration(site, facts))]
    return web_piece(site, SERVER, files, include=include, has_systemd=facts.has_systemd)


def site_configuration(site: Site, facts: Facts) -> str:
    """The whole file."""
    name, paths = site.identifier, certificate_paths(site, TLS_FOLDERS[NGINX])
    listen = _listen("80", facts) if paths is None else [*_listen("443 ssl http2", facts), *_tls(*paths)]
    return "\n".join(
        [
            f"{MARK} {site.target}, which replaces it when the settings change.",
            "# To keep a file of your own here, remove these two lines: then it is left alone.",
            "",
            f"upstream site_{name} {{",
            *(f"    server unix:{socket} fail_timeout=0;" for socket in site.sockets),
            "}",
            f"map $http_upgrade $connection_of_{name} {{",
            "    default upgrade;",
            "    ''      close;",
            "}",
            f"map $uri $caching_of_{name} {{",
            f'    default "{FOR_A_MINUTE}";',
            f'    "~{HASHED}" "{FOR_EVER}";',
            "}",
            *(_redirect(site, facts) if paths is not None else []),
            "",
            "server {",
            *(f"    {line}".rstrip() for line in [*listen, *_server(site)]),
            "}",
            "",
        ]
    )


def _listen(words: str, facts: Facts) -> list[str]:
    return [f"listen {words};", *([f"listen [::]:{words};"] if facts.has_ipv6 else [])]


def _tls(certificate: str, key: str) -> list[str]:
    return [
        f"ssl_certificate {certificate};",
        f"ssl_certificate_key {key};",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "ssl_session_cache shared:SSL:10m;",
    ]


def _redirect(site: Site, facts: Facts) -> Iterator[str]:
    """From http to https, but for what certbot is asked."""
    yield from ["", "server {", *(f"    {line}" for line in _listen("80", facts))]
    yield f"    server_name {site.domain};"
    yield from _challenges("    ")
    yield from _block("location /", ["return 301 https://$host$request_uri;"], "    ")
    yield "}"


def _server(site: Site) -> Iterator[str]:
    upstream = f"proxy_pass http://site_{site.identifier};"
    yield f"server_name {site.domain};"
    yield f"client_max_body_size {site.max_body_mb}m;"
    yield ""
    yield "proxy_http_version 1.1;"
    yield "proxy_set_header Host $http_host;"
    yield "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    yield "proxy_set_header X-Forwarded-Proto $scheme;"
    yield "proxy_set_header Upgrade $http_upgrade;"
    yield f"proxy_set_header Connection $connection_of_{site.identifier};"
    yield ""
    if site.static:
        caching = [f"add_header Cache-Control $caching_of_{site.identifier};", "gzip_static on;"]
        yield from _folder(site.static.url, str(site.static_folder), caching)
    if site.media:
        caching = [f'add_header Cache-Control "{FOR_AN_HOUR}";']
        yield from _folder(site.media.url, str(site.media_folder), caching)
    if not isinstance(site.tls, Certificate):
        yield from _challenges()
    yield from _block("location /", [upstream])
    yield from _block("location @site", [upstream])
    yield ""
    yield "# No process of the site answers."
    yield "recursive_error_pages on;"
    yield "error_page 502 504 = @down;"
    yield from _block("location @down", _down())


def _challenges(indent: str = "") -> Iterator[str]:
    """What certbot is asked for over http, before and after there is a certificate."""
    yield from _block("location /.well-known/acme-challenge/", [f"root {CHALLENGES};"], indent)


def _folder(url: str, folder: str, caching: list[str]) -> Iterator[str]:
    """Files that are there are served from there; of all others the site is asked."""
    words = [f"alias {folder}/;", *caching, "add_header X-Content-Type-Options nosniff;"]
    yield from _block(f"location {url}", [*words, "log_not_found off;", "error_page 403 404 = @site;"])


def _down() -> list[str]:
    return [
        "default_type text/html;",
        "charset utf-8;",
        "add_header Retry-After 60 always;",
        "add_header Cache-Control no-store always;",
        f"return 503 '{DOWN_PAGE}';",
    ]


def _block(head: str, words: list[str], indent: str = "") -> Iterator[str]:
    yield f"{indent}{head} {{"
    yield from (f"{indent}    {word}" for word in words)
    yield f"{indent}}}"
