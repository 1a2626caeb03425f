"""Where distributions come from: the indexes and folders that pip is configured to use."""

from __future__ import annotations

import configparser
import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: pip's words for no and yes, as configparser knows them.
_TRUE = ("1", "yes", "true", "on", "y", "t")


@dataclass(frozen=True)
class Sources:
    """Indexes and folders of archives, and how to reach them.

    ``index_url`` None is pip's own default, "" none at all. ``cert`` and ``client_cert`` are files,
    ``timeout`` is in seconds. ``keyring_provider`` is as pip has it: ``auto``, ``disabled``, ``import`` or
    ``subprocess``. ``is_only`` when a target's INDEX_URL says so: no tool shall ask anywhere else.
    """

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    cert: str = ""
    client_cert: str = ""
    proxy: str = ""
    timeout: float = 15.0
    keyring_provider: str = "auto"
    is_only: bool = False

    @property
    def index_urls(self) -> tuple[str, ...]:
        """All indexes, pip's default spelled out."""
        first = default_index_url() if self.index_url is None else self.index_url
        return tuple(dict.fromkeys(url for url in (first, *self.extra_index_urls) if url))

    @property
    def far(self) -> Sources:
        """Without folders of this machine, which no host can reach; uv would tell only their hashes."""
        urls = (url for url in self.extra_index_urls if not url.startswith("file:"))
        links = (place for place in self.find_links if place.startswith(("http:", "https:")))
        return replace(self, extra_index_urls=tuple(urls), find_links=tuple(links))

    @property
    def identity(self) -> tuple[str | None, ...]:
        """What tells these sources from others, without credentials."""
        index = self.index_url and redact(self.index_url)
        return (index, *map(redact, self.extra_index_urls), "find-links", *self.find_links)


def default_index_url() -> str:
    """The index that pip asks when it is told nothing."""
    from pip._internal.models.index import PyPI

    return PyPI.simple_url


def redact(url: str) -> str:
    """An address without user name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def read_sources(
    index_url: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    prefix: Path = Path(sys.prefix),
) -> Sources:
    """pip's configuration, read as pip documents it, without importing pip.

    An ``index_url`` given here is the only source: it is what the hosts will ask.
    """
    options = _read_options(environ, prefix)
    sources = Sources(
        index_url="" if options.get("no-index", "").lower() in _TRUE else options.get("index-url"),
        extra_index_urls=_words(options, "extra-index-url"),
        find_links=_words(options, "find-links"),
        trusted_hosts=_words(options, "trusted-host"),
        cert=options.get("cert", "") or environ.get("REQUESTS_CA_BUNDLE", ""),
        client_cert=options.get("client-cert", ""),
        proxy=options.get("proxy", ""),
        timeout=float(options.get("default-timeout") or options.get("timeout") or 15),
        keyring_provider=options.get("keyring-provider") or "auto",
    )
    if index_url is not None:
        return replace(sources, index_url=index_url, extra_index_urls=(), find_links=(), is_only=True)
    return replace(sources, extra_index_urls=()) if sources.index_url == "" else sources


def uv_variables(sources: Sources, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What makes uv use the same sources; nothing where uv has settings of its own, and may use them."""
    has_own = any(name.startswith(("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX")) for name in environ)
    if has_own and not sources.is_only:
        return {}
    has_keyring = sources.keyring_provider != "disabled" and shutil.which("keyring")
    places = {
        "UV_DEFAULT_INDEX": sources.index_url or "",
        "UV_INDEX": " ".join(sources.extra_index_urls),
        "UV_FIND_LINKS": ",".join(sources.find_links),
        "UV_NO_INDEX": "1" if sources.index_url == "" else "",
    }
    ways = {
        "UV_INDEX_STRATEGY": "unsafe-best-match" if sources.extra_index_urls else "",  # as pip does
        "UV_INSECURE_HOST": " ".join(sources.trusted_hosts),
        "UV_KEYRING_PROVIDER": "subprocess" if has_keyring else "",
        "SSL_CERT_FILE": sources.cert,
        "SSL_CLIENT_CERT": sources.client_cert,
        "HTTP_PROXY": sources.proxy,
        "HTTPS_PROXY": sources.proxy,
    }
    others = {"UV_NO_CONFIG": "1", "UV_INDEX_URL": "", "UV_EXTRA_INDEX_URL": ""}
    return _stated(places | others if sources.is_only else places, ways, sources)


def pip_variables(sources: Sources) -> dict[str, str]:
    """What makes pip use the same sources; all but the index is as its own configuration says, else."""
    if not sources.is_only:
        return {"PIP_INDEX_URL": sources.index_url} if sources.index_url else {}
    places = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": sources.index_url or "",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_NO_INDEX": "",
    }
    ways = {
        "PIP_TRUSTED_HOST": " ".join(sources.trusted_hosts),
        "PIP_CERT": sources.cert,
        "PIP_CLIENT_CERT": sources.client_cert,
        "PIP_PROXY": sources.proxy,
        "PIP_TIMEOUT": f"{sources.timeout:g}",
        "PIP_KEYRING_PROVIDER": sources.keyring_provider,
    }
    return _stated(places, ways, sources)


def _stated(places: dict[str, str], ways: dict[str, str], sources: Sources) -> dict[str, str]:
    """Without empty variables, but where they have to hide others: both tools take them for unset."""
    return {
        **{name: value for name, value in places.items() if value or sources.is_only},
        **{name: value for name, value in ways.items() if value},
    }


def _words(options: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(options.get(name, "").split())


def _read_options(environ: Mapping[str, str], prefix: Path) -> dict[str, str]:
    """Options of ``pip install``: a command's section wins over [global], the environment over both."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for file in _configuration_files(environ, prefix):
        parser = configparser.RawConfigParser()
        try:
            parser.read(file)
        except (configparser.Error, UnicodeDecodeError):
            continue  # pip itself will complain, and better
        for section, options in sections.items():
            if parser.has_section(section):
                options.update((key.replace("_", "-"), value) for key, value in parser.items(section))
    variables = {
        name[len("PIP_") :].lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_") and value
    }
    install = {name: value for name, value in sections["install"].items() if value}
    return sections["global"] | install | variables


def _configuration_files(environ: Mapping[str, str], prefix: Path) -> Iterator[Path]:
    """pip's configuration files, weakest first."""
    override = environ.get("PIP_CONFIG_FILE", "")
    if override == os.devnull:
        return
    home = Path(environ.get("HOME", "~")).expanduser()
    user_config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    if sys.platform == "darwin":
        yield Path("/Library/Application Support/pip/pip.conf")
        mac_config = home / "Library" / "Application Support"
        user_config = mac_config if (mac_config / "pip").is_dir() else user_config
    else:
        folders = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
        yield from (Path(folder, "pip", "pip.conf") for folder in folders)
        yield Path("/etc/pip.conf")
    if not (override and Path(override).exists()):
        yield home / ".pip" / "pip.conf"
        yield user_config / "pip" / "pip.conf"
    yield prefix / "pip.conf"
    if override:
        yield Path(override)
