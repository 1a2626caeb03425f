"""The site that the faults happen to: a kiosk of a few lines, built once, on hosts that stay."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uv

from tests.hosts.bookshop import copy_package, run
from tests.hosts.deployer import Deployer
from tests.hosts.inspection import assert_consistent, look, visit
from tests.hosts.machines import DEPLOY, Machine, boot
from tests.hosts.proxy import Proxy
from tests.hosts.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.hosts.index import Index
    from tests.hosts.laptop import Laptop
    from tests.hosts.network import Network

KIOSK = Path(__file__).parent / "kiosk"

#: ROOT is a disk of this size: a release of the kiosk takes some 50 MB, less what it shares with others.
ROOM = "1g"

#: The host's own uv, which can be held.
UV = """\
#!/bin/sh
while [ -e /tmp/gate-install ]; do : > /tmp/at-install; sleep 0.02; done
exec /usr/local/lib/uv "$@"
"""

WEB = "gunicorn kiosk.wsgi --bind unix:{socket} --threads 4 --no-control-socket"
WORKER = "python -m kiosk.worker"


class Developer:
    """Who deploys: the kiosk, a virtualenv, and bundle files, so that no deployment builds anything."""

    def __init__(self, folder: Path, laptop: Laptop, index: Index) -> None:
        self.folder = folder / "kiosk"
        self.laptop = laptop
        self.index = index
        self._python = folder / "venv/bin/python"
        self._bundles: dict[str, Path] = {}
        shutil.copytree(KIOSK, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        # What takes a while to send.
        (self.folder / "kiosk/map.bin").write_bytes(random.Random(0).randbytes(4_000_000))
        copy_package(folder / "django-deploy")
        run(uv.find_uv_bin(), "venv", "--quiet", "--python", sys.executable, folder / "venv")
        self._pip("install", "--editable", str(folder / "django-deploy"), "django~=5.2.0", "gunicorn")

    def _pip(self, *words: str) -> None:
        environment = {
            **os.environ,
            "UV_DEFAULT_INDEX": self.index.url,
            "VIRTUAL_ENV": str(self._python.parents[1]),
        }
        run(uv.find_uv_bin(), "pip", *words[:1], "--quiet", *words[1:], environment=environment)

    def bundle(self, *extra: str) -> Path:
        """The kiosk as a file, with these distributions as well; made once."""
        name = "-".join(["kiosk", *extra])
        if name not in self._bundles:
            if extra:
                self._pip("install", *extra)
            file = self.folder.with_name(f"{name}.bundle")
            targets = self.write_targets("bundle", {"HOSTS": ["local"], "ROOT": "/srv/site"})
            with self.start(targets, "deploy_bundle", "--output", str(file)) as command:
                done = command.end()
            assert done.status == 0, done
            if extra:
                self._pip("uninstall", *(word.partition("=")[0] for word in extra))
            self._bundles[name] = file
        return self._bundles[name]

    def write_targets(self, name: str, target: dict[str, Any]) -> Path:
        file = self.folder.with_name(f"targets-{name}.json")
        file.write_text(json.dumps({"staging": {"SETTINGS_MODULE": "kiosk.settings", **target}}))
        return file

    def start(self, targets: Path, command: str, *words: str) -> Deployer:
        """``python manage.py COMMAND staging WORDS``, under way."""
        environment = {
            **self.laptop.environment,
            "UV_DEFAULT_INDEX": self.index.url,
            "PIP_INDEX_URL": self.index.url,
            "PIP_TRUSTED_HOST": self.index.host,
            "KIOSK_TARGETS": str(targets),
        }
        return Deployer(
            [str(self._python), "manage.py", command, "staging", *words], self.folder, environment
        )


class Site:
    """A host, what lies between it and the deployer, and the kiosk on it."""

    def __init__(self, machine: Machine, developer: Developer) -> None:
        self.machine = machine
        self.developer = developer
        self.link = Proxy(machine.address)
        self._editions = count(1)
        self._place_uv()

    def _place_uv(self) -> None:
        disk = self.machine.disk
        shutil.copy(uv.find_uv_bin(), disk / "usr/local/lib/uv")
        self.machine.chroot("install", "-d", "-o", "deploy", "-g", "deploy", "/home/deploy/.local/bin")
        self.machine.put("/home/deploy/.local/bin/uv", UV, mode="755")

    def close(self) -> None:
        self.link.close()

    @property
    def root(self) -> Path:
        """ROOT, from here, while the host is on."""
        return self.machine.inner / self.machine.root.lstrip("/")

    @property
    def address(self) -> str:
        return f"{self.link.address}:{self.link.port}"

    @property
    def name(self) -> str:
        return f"deploy@{self.address}"

    # The command

    def target(self, **changes: Any) -> dict[str, Any]:
        """A target like this makes a new release each time: one value of ENV is another."""
        return {
            "HOSTS": [self.name],
            "ROOT": self.machine.root,
            "ENV": {
                "KIOSK_SECRET_KEY": "no secret",
                "KIOSK_ALLOWED_HOSTS": self.machine.address,
                "KIOSK_EDITION": str(next(self._editions)),
            },
            "INDEX_URL": self.developer.index.url,
            "STEPS": ["migrate", "gate"],
            "PROCESSES": {"web": WEB, "worker": WORKER},
            "HEALTH_CHECK": "/healthz/",
            **changes,
        }

    def start(self, *words: str, extra: Sequence[str] = (), **changes: Any) -> Deployer:
        """A deployment of a new release, under way."""
        targets = self.developer.write_targets(self.machine.name, self.target(**changes))
        bundle = str(self.developer.bundle(*extra))
        return self.developer.start(targets, "deploy", "--json", "--bundle", bundle, *words)

    def deployed(self) -> str:
        """Deploy, as it should be without any help; the release that is live then."""
        with self.start() as deployer:
            result = deployer.end()
        assert result.status == 0, result
        page = visit(self.machine)
        assert page.release == result.release, page
        assert_consistent(self.machine, result.release)
        return result.release

    @contextmanager
    def visited(self) -> Iterator[Visitor]:
        """Somebody asks the site through its nginx, again and again; the mark is the release."""
        url = f"http://{self.machine.address}/"
        with Visitor(url, mark=r"\d{8}T\d{6}Z-[0-9a-f]{7}", connections=1, pause=0.03) as visitor:
            yield visitor

    # Gates

    def shut(self, gate: str) -> None:
        (self.machine.inner / f"tmp/gate-{gate}").touch()

    def open(self, gate: str) -> None:
        (self.machine.inner / f"tmp/gate-{gate}").unlink(missing_ok=True)
        (self.machine.inner / f"tmp/at-{gate}").unlink(missing_ok=True)

    def has_reached(self, gate: str) -> bool:
        return (self.machine.inner / f"tmp/at-{gate}").exists()

    # What goes wrong

    def host_programs(self) -> list[int]:
        """As this machine numbers them."""
        return self.pids("python3 -I -S ")

    def pids(self, words: str) -> list[int]:
        """The programs on the host whose command line has these words near its start."""
        found = []
        for pid in self.machine.slot.pids():
            with suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes()[:300].replace(b"\0", b" ")
                if words.encode() in line:
                    found.append(pid)
        return found

    def remount(self, option: str) -> None:
        """ROOT's disk with another size or number of inodes."""
        disk = self.machine.disk / self.machine.root.lstrip("/")
        subprocess.run(["mount", "-o", f"remount,{option}", disk], check=True, capture_output=True)

    def own(self, path: Path) -> None:
        """What the rig made there belongs to the site's user."""
        os.chown(path, DEPLOY, DEPLOY, follow_symlinks=False)

    def store_entries(self) -> list[Path]:
        """The wheels that the store has."""
        return sorted(path for path in self.root.glob(".deploy/store/*/*.whl"))


class Sites:
    """``sites(3)``: so many hosts that serve the kiosk; those that stand already come first."""

    def __init__(self, disk: Path, network: Network, laptop: Laptop, developer: Developer) -> None:
        self.parts = (disk, network, laptop)
        self.laptop = laptop
        self.developer = developer
        self.made: list[Site] = []
        self.guard = threading.Lock()

    def __call__(self, number: int) -> list[Site]:
        self.add(number - len(self.made))
        return self.made[:number]

    def add(self, number: int = 1) -> list[Site]:
        """So many more."""
        new = [Machine(*self.parts, room=ROOM) for _ in range(number)]
        sites = [Site(machine, self.developer) for machine in new]
        boot(new)
        for site in sites:
            with self.guard:
                self.laptop.trust(site.link.address, site.machine.host_keys, port=site.link.port)
            site.deployed()
        self.made += sites
        return sites

    def drop(self, site: Site) -> None:
        """What is left of a host that failed is nobody's business any more."""
        self.made.remove(site)
        with self.guard:
            self.destroy(site)

    def destroy(self, site: Site) -> None:
        site.close()
        self.laptop.forget(site.link.address, port=site.link.port)
        site.machine.destroy()

    def close(self) -> None:
        for site in self.made:
            self.destroy(site)


def live(site: Site) -> str:
    """The release that ``current`` leads to."""
    link: str = look(site.machine)["current"]
    return link.removeprefix("releases/")
