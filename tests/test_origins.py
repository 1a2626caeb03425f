"""Whole deployments of bundles from elsewhere to folders of this machine: revisions, files, other targets.

The bookshop is installed in them, but nothing is started: what is asked is which files they hold.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from tests.error_ids import without_ids
from tests.test_local_deployment import CHECKOUT, Shop

TARGETS = """
QUIET = {{
    "HOSTS": ["local"],
    "SETTINGS_MODULE": "bookshop.settings",
    "ENV": {{"BOOKSHOP_SECRET_KEY": "some secret key", "BOOKSHOP_ALLOWED_HOSTS": "localhost"}},
    "STEPS": [],
    "RESTART": ["true"],
    "HEALTH_CHECK": None,
}}
DEPLOY_TARGETS = {{
    "demo": {{**QUIET, "ROOT": "{folder}/site"}},
    "production": {{**QUIET, "ROOT": "{folder}/production"}},
    "other": {{**QUIET, "ROOT": "{folder}/other", "PYTHON": "{python}"}},
    "signed": {{**QUIET, "ROOT": "{folder}/signed"}},
    "airgap": {{**QUIET, "ROOT": "{folder}/airgap", "VENDOR": True, "INSTALLER": "pip"}},
}}
"""

#: A place from where nothing can be fetched, whatever this machine's pip and uv are configured to ask.
NOWHERE = {
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_FIND_LINKS": "",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "UV_NO_CONFIG": "1",
}


class Developer(Shop):
    """The shop with quiet targets in a git repository; its first edition is committed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        # Promotions must not need an index: the host has uv.
        folders = (str(Path(sys.executable).parent), os.environ["PATH"])
        self.environment["PATH"] = os.pathsep.join(folders)
        settings = self.project / "bookshop" / "settings.py"
        python = next(iter(other_interpreters()), "python3")
        settings.write_text(settings.read_text() + TARGETS.format(folder=folder, python=python))
        self.git("init", "-q")
        self.git("add", ".")
        self.git("-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-q", "-m", "first")

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.project, check=True, capture_output=True, text=True
        ).stdout.strip()

    def manage(self, *command: str, status: int = 0, **environ: str) -> str:
        """The output of a command; the error, where another exit status is expected."""
        done = subprocess.run(
            [self.venv / "bin" / "python", "manage.py", *command],
            cwd=self.project,
            env={**self.environment, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return without_ids(done.stderr) if status else done.stdout

    def events(self, *command: str, **environ: str) -> list[dict]:
        return [json.loads(line) for line in self.manage(*command, "--json", **environ).splitlines()]


class Site:
    """A folder that was deployed to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.live = root / "releases" / Path(os.readlink(root / "current")).name
        self.record = json.loads((self.live / "release.json").read_text())
        self.wheels = {wheel["name"]: wheel["sha256"] for wheel in self.record["wheels"]}

    @property
    def mark(self) -> str:
        (module,) = self.live.glob("venv/lib/python*/site-packages/catalogue/mark.py")
        return re.search('MARK = "(.*)"', module.read_text())[1]

    @property
    def lock(self) -> list[str]:
        """What was installed, without the places of the wheels."""
        lines = (self.live / "requirements.lock").read_text().splitlines()
        return sorted(re.sub(r"file://\S+/", "", line) for line in lines)


def other_interpreters() -> list[str]:
    """Interpreters of the same minor version as this one, and of another patch level or build."""
    found = []
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for path in ("/usr/bin/python3", f"/usr/bin/python{minor}"):
        if os.path.exists(path):
            version = subprocess.run([path, "-V"], capture_output=True, text=True, check=True).stdout.split()[
                1
            ]
            if version.startswith(minor) and version != sys.version.split()[0]:
                found.append(path)
    return found


@pytest.fixture(scope="module")
def developer():
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        yield Developer(Path(folder))


@pytest.fixture
def edited(developer):
    """The second edition, in the working tree only."""
    developer.change_mark("second edition")
    yield developer
    shutil.copy(CHECKOUT / "example_project/catalogue/mark.py", developer.project / "catalogue/mark.py")


@pytest.fixture(scope="module")
def bundle(developer):
    """The first edition as a file."""
    file = developer.folder / "shop.bundle"
    written = developer.events("deploy_bundle", "demo", "-o", str(file))[-1]
    assert written["event"] == "bundle.written"
    return file, written["sha256"]


@pytest.fixture(scope="module")
def tested(developer):
    """The first edition, live on "demo": deployed while the working tree had the second one."""
    developer.change_mark("second edition")
    developer.manage("deploy", "demo", "--revision", developer.git("rev-parse", "HEAD")[:9])
    return Site(developer.root)


def test_a_revision(edited, tested):
    commit = edited.git("rev-parse", "HEAD")

    assert tested.mark == "first edition"
    assert tested.record["revision"] == {"vcs": "git", "id": commit, "branch": "", "dirty": False}
    assert "second edition" in (edited.project / "catalogue" / "mark.py").read_text()
    assert "~ bookshop 1.0 (other content)" in edited.manage("deploy", "demo", "--plan")


def test_a_revision_that_is_not_there(edited):
    error = edited.manage("deploy", "demo", "--revision", "v9", status=1)

    assert error == (
        f"CommandError: git knows no revision 'v9' in {edited.project}: fatal: bad revision 'v9^{{commit}}'\n"
        "Is it there? `git fetch` gets what is new elsewhere.\n"
    )


def test_the_same_bytes_in_another_folder_with_an_empty_cache(developer, bundle):
    file, sha256 = bundle
    moved = developer.folder / "elsewhere" / "deeper"
    shutil.copytree(developer.project, moved)
    for path in moved.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    uv = Path(sys.executable).with_name("uv")
    install = [uv, "pip", "install", "--quiet", "--python", developer.venv / "bin" / "python", "--no-deps"]
    editable = ["-e", moved, "-e", moved / "reviews"]
    subprocess.run([*install, *editable], check=True)
    try:
        done = subprocess.run(
            [developer.venv / "bin" / "python", "manage.py", "deploy_bundle", "demo", "-o", "again.bundle"],
            cwd=moved,
            env={**developer.environment, "XDG_CACHE_HOME": str(developer.folder / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        here = ["-e", developer.project, "-e", developer.project / "reviews"]
        subprocess.run([*install, *here], check=True)

    assert done.returncode == 0, done.stderr
    assert (moved / "again.bundle").read_bytes() == file.read_bytes()
    assert f"sha256 {sha256}" in done.stdout


def test_a_file_needs_the_settings_only(developer, bundle):
    """In a folder with nothing but them, in an environment with nothing but django-deploy."""
    file, sha256 = bundle
    folder = developer.folder / "gate"
    folder.mkdir()
    text = 'INSTALLED_APPS = ["django_deploy"]\nSECRET_KEY = "x"\n'
    (folder / "gate_settings.py").write_text(text + TARGETS.format(folder=folder, python="python3"))
    uv, python = Path(sys.executable).with_name("uv"), folder / "venv" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, developer.package], check=True)

    done = subprocess.run(
        [python, "-m", "django", "deploy", "production", "--bundle", file, "--settings", "gate_settings"],
        cwd=folder,
        env={**developer.environment, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert f"  as shop.bundle has it: sha256 {sha256}\n" in done.stdout
    site = Site(folder / "production")
    assert (site.mark, site.record["project"]) == ("first edition", "bookshop")
    assert site.record["revision"]["id"] == developer.git("rev-parse", "HEAD")


def test_a_file_of_another_project(developer, bundle):
    file, _ = bundle
    settings = developer.folder / "site_settings.py"
    settings.write_text(
        'INSTALLED_APPS = ["django_deploy"]\nSECRET_KEY = "x"\n'
        + TARGETS.format(folder=developer.folder, python="python3").replace(
            "bookshop.settings", "cafe.settings"
        )
    )

    environ = {"PYTHONPATH": str(developer.folder), "DJANGO_SETTINGS_MODULE": "site_settings"}
    error = developer.manage("deploy", "production", "--bundle", str(file), status=1, **environ)

    assert error == (
        "CommandError: bookshop-1.0-py3-none-any.whl does not hold the settings module cafe.settings.\n"
        "The bundle was made of another project, or for another SETTINGS_MODULE than that of 'production'.\n"
    )


def test_a_signed_file(developer):
    """Only its makers' files are deployed where TRUSTED_KEYS names them."""
    folder = developer.folder / "keys"
    folder.mkdir()
    for name in ("ann", "bob"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    settings = developer.project / "bookshop" / "settings.py"
    kept = settings.read_text()
    file = str(developer.folder / "signed.bundle")
    try:
        settings.write_text(f"{kept}\nDEPLOY_TARGETS['demo']['SIGNING_KEY'] = {str(folder / 'bob')!r}\n")
        by_bob = developer.events("deploy_bundle", "demo", "-o", file)[-1]
        trust = f"\nDEPLOY_TARGETS['signed']['TRUSTED_KEYS'] = [{(folder / 'ann.pub').read_text()!r}]\n"
        settings.write_text(kept + trust)
        refused = developer.manage("deploy", "signed", "--bundle", file, status=1)
        options = ("-q", "-Y", "sign", "-n", "django-deploy", "-f", folder / "ann")
        Path(f"{file}.sig").unlink()
        subprocess.run(["ssh-keygen", *options, file], check=True)
        events = developer.events("deploy", "signed", "--bundle", file, "--plan")
    finally:
        settings.write_text(kept)

    assert refused == (
        f"CommandError: {file} is signed with {by_bob['key']}, which is not one of the TRUSTED_KEYS.\n"
        "If you know whose key that is and trust them, add it.\n"
    )
    (read,) = [event for event in events if event["event"] == "bundle.read"]
    assert read["key"].startswith("SHA256:")
    assert read["key"] != by_bob["key"]
    assert events[-1]["event"] == "plan.ready"


def test_a_bill_of_materials(developer):
    """With the library that it needs, which stays here."""
    file = developer.folder / "shop.cdx.json"
    missing = developer.manage("deploy_bundle", "demo", "--sbom", str(file), status=1)
    python = developer.venv / "bin" / "python"
    install = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, "-e", f"{developer.package}[sbom]"], check=True)

    developer.manage("deploy_bundle", "demo", "--sbom", str(file))

    assert missing == (
        "CommandError: An SBOM needs cyclonedx-python-lib, which is not installed here.\n"
        "Run `pip install 'django-deploy[sbom]'`.\n"
    )
    names = {component["name"] for component in json.loads(file.read_text())["components"]}
    assert {"django", "django-deploy", "bookshop-reviews", "gunicorn"} <= names
    assert not {"cyclonedx-python-lib", "packageurl-python", "sortedcontainers"} & names


def test_a_file_for_hosts_without_an_index(developer):
    """Written with an index, deployed where there is none, with an empty cache."""
    file = developer.folder / "airgap.bundle"
    developer.manage("deploy_bundle", "airgap", "-o", str(file))
    cache = {"XDG_CACHE_HOME": str(developer.folder / "airgap-cache")}

    events = developer.events("deploy", "airgap", "--bundle", str(file), **NOWHERE, **cache)

    site = Site(developer.folder / "airgap")
    assert site.mark == "first edition"
    assert all(" @ " in line for line in site.lock)
    assert "django" in site.wheels
    assert not [event for event in events if event["event"] == "vendor.started"]
    with zipfile.ZipFile(file) as opened:
        assert [tool["name"] for tool in json.loads(opened.read("manifest.json"))["tools"]] == ["pip"]


def test_promotion(edited, tested):
    """Whatever the working tree says by now; the wheels lie in the cache."""
    before = tested

    events = edited.events("deploy", "production", "--promote", "demo", **NOWHERE)

    after = Site(edited.folder / "production")
    assert after.mark == "first edition"
    assert after.lock == before.lock
    assert after.wheels == before.wheels
    (promoted,) = [event for event in events if event["event"] == "bundle.promoted"]
    assert (promoted["target"], promoted["release"]) == ("demo", before.live.name)
    (ready,) = [event for event in events if event["event"] == "plan.ready"]
    assert ready["plan"]["origin"] == (
        f"as it is live on demo: {before.live.name}, contents sha256 {promoted['sha256']}"
    )
    assert not [event for event in events if event["event"].startswith("build.")]


def test_promotion_of_what_somebody_else_has_deployed(edited, tested):
    """Nothing is in this machine's cache: the wheels come from the host that has them."""
    before = tested
    shutil.rmtree(edited.folder / "production", ignore_errors=True)
    cache = edited.folder / "empty cache"
    # What installs on a host is fetched in any case.
    home = Path(edited.environment.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "django-deploy" / "tools"
    if home.is_dir():
        shutil.copytree(home, cache / "django-deploy" / "tools")

    edited.manage("deploy", "production", "--promote", "demo", XDG_CACHE_HOME=str(cache))

    after = Site(edited.folder / "production")
    assert (after.mark, after.lock) == ("first edition", before.lock)
    fetched = {path.parent.name for path in (cache / "django-deploy" / "files").glob("*/*.whl")}
    assert fetched == set(before.wheels.values())


def test_promotion_of_a_wheel_that_has_gone(edited, tested):
    stored = edited.root / ".deploy" / "store" / tested.wheels["bookshop"]
    kept = stored.rename(edited.folder / "kept")
    before = os.readlink(edited.folder / "production" / "current")
    try:
        error = edited.manage(
            *("deploy", "production", "--promote", "demo"),
            status=1,
            XDG_CACHE_HOME=str(edited.folder / "none"),
        )
    finally:
        kept.rename(stored)

    assert error == (
        "CommandError: local: bookshop-1.0-py3-none-any.whl is neither here nor there any more: "
        f"No such file or directory: {stored}/bookshop-1.0-py3-none-any.whl.\n"
        "Deploy there again, then promote.\n"
    )
    assert os.readlink(edited.folder / "production" / "current") == before


@pytest.mark.skipif(not other_interpreters(), reason="no interpreter of another patch level is here")
def test_promotion_to_another_interpreter(edited, tested):

    error = edited.manage("deploy", "other", "--promote", "demo", status=1)

    assert re.fullmatch(
        r"CommandError: local: Python [\d.]+ on \S+ \(.*\) is there, and the bundle was live with "
        r"Python [\d.]+ on \S+ \(.*\)\.\nWhat was tested runs on the same interpreter only\.\n"
        r"Nothing was changed\.\n",
        error,
    )
    assert not (edited.folder / "other").exists()


def test_promotion_of_nothing(edited):
    error = edited.manage("deploy", "production", "--promote", "other", status=1)

    assert error == "CommandError: Nothing is live on other (local).\nDeploy there first.\n"
