from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from django_deploy.bundle.index.sources import Sources
from django_deploy.doctor import security
from django_deploy.doctor.finding import Finding

#: As pip-audit 2.10 writes them.
FLAW = {"id": "PYSEC-2025-37", "fix_versions": ["4.2.22", "5.2.2"], "aliases": ["CVE-2025-48432"]}
PYPI = Sources()  # pip's own default
BEHIND = "Install the newer versions here, try the site, and deploy."


def entry(name, version="1.0", *flaws):
    return {"name": name, "version": version, "vulns": list(flaws)}


def skipped(name):
    return {"name": name, "skip_reason": f"Dependency not found on PyPI and could not be audited: {name}"}


def test_all_is_up_to_date():
    assert security.judge_report([entry("django"), entry("gunicorn")]) == Finding(
        "security releases", "ok", "none is missing for 2 distributions"
    )
    assert security.judge_report([entry("django"), skipped("acme")]) == Finding(
        "security releases", "ok", "none is missing for 1 distribution; no data of acme"
    )


def test_django_is_behind():
    report = [entry("Django", "5.2.1", FLAW), skipped("acme")]

    assert security.judge_report(report) == Finding(
        "security releases",
        "error",
        "Django 5.2.1 has CVE-2025-48432, fixed in 4.2.22, 5.2.2",
        BEHIND,
    )


def test_others_are_behind():
    flaws = [{"id": f"GHSA-{number}", "fix_versions": [], "aliases": []} for number in range(5)]

    assert security.judge_report([entry("django"), entry("pillow", "9.0", *flaws)]) == Finding(
        "security releases", "warning", "pillow 9.0 has GHSA-0, GHSA-1, GHSA-2 and 2 more", BEHIND
    )


def test_without_data_nothing_is_taken_for_sound():
    names = ["django", *(f"app{number}" for number in range(6))]

    assert security.judge_report([skipped("django"), entry("gunicorn")]) == Finding(
        "security releases",
        "not checked",
        "pip-audit has no data of django",
        "Is its source of data in reach?",
    )
    assert security.judge_report([*map(skipped, names)]).message == (
        "pip-audit has no data of django, app0, app1, app2, app3 and 2 more"
    )


def test_without_a_release_or_the_tool(monkeypatch):
    assert security.check_security(None, PYPI) == Finding(
        "security releases", "not checked", "nothing is live yet"
    )
    monkeypatch.setitem(sys.modules, "pip_audit", None)
    monkeypatch.setattr(security, "find_spec", lambda name: sys.modules.get(name))
    assert security.check_security({"django": "5.2.1"}, PYPI) == Finding(
        "security releases",
        "not checked",
        "pip-audit is not installed here",
        "pip install 'django-deploy[audit]'",
    )


# The real pip-audit, and a database of flaws that speaks OSV's protocol


class Flaws(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(asked["package"]["name"])
        is_bad = (asked["package"]["name"], asked["version"]) == ("django", "5.2.1")
        body = json.dumps({"vulns": [OSV]} if is_bad else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


OSV = {
    "id": "PYSEC-2025-37",
    "aliases": ["CVE-2025-48432"],
    "summary": "Log injection.",
    "affected": [
        {
            "package": {"name": "django", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "5.2.2"}]}],
        }
    ],
}


@pytest.fixture
def database(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Flaws) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{server.server_port}/v1/query")
        yield server
        server.shutdown()


def test_what_pip_audit_knows(database):
    assert security.check_security({"django": "5.2.1", "gunicorn": "23.0.0"}, PYPI) == Finding(
        "security releases", "error", "django 5.2.1 has CVE-2025-48432, fixed in 5.2.2", BEHIND
    )
    assert security.check_security({"django": "5.2.2", "gunicorn": "23.0.0"}, PYPI) == Finding(
        "security releases", "ok", "none is missing for 2 distributions"
    )


@pytest.mark.parametrize(
    "sources",
    [
        Sources(index_url="https://packages.example.com/simple"),
        Sources(extra_index_urls=("https://packages.example.com/x",)),
        Sources(find_links=("/wheels",)),
    ],
)
def test_nobody_is_told_of_what_may_be_private(database, sources):
    Flaws.asked.clear()

    found = security.check_security({"django": "5.2.2", "acme-secret": "1.0"}, sources)

    assert Flaws.asked == ["django"]
    assert found == Finding(
        "security releases",
        "ok",
        "none is missing for 1 distribution; others were not asked about, as not all is from PyPI",
    )


def test_a_host_that_writes_lines_of_its_own(database):
    Flaws.asked.clear()
    lies = {"django": "5.2.2", "x": "1\n-e git+https://evil.example/x", "--index-url": "x", "-e .": "1"}

    assert security.check_security(lies, PYPI).outcome == "ok"
    assert Flaws.asked == ["django"]
    assert security.check_security({"-e .": "1"}, PYPI).outcome == "not checked"


def test_a_database_that_is_out_of_reach(database, monkeypatch):
    monkeypatch.setenv("PIP_AUDIT_OSV_URL", "http://127.0.0.1:9/v1/query")

    found = security.check_security({"django": "5.2.1"}, PYPI)

    assert found.outcome == "not checked"
    assert found.message.startswith("pip-audit failed: ")
    assert "127.0.0.1" in found.message
