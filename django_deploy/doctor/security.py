"""Security releases that what is live does not have yet, by what pip-audit knows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django_deploy.bundle.index.sources import Sources, default_index_url
from django_deploy.doctor.finding import Finding, error, not_checked, ok, warning
from django_deploy.reporters.text import count
from django_deploy.wording import listed

#: How many distributions and flaws a message names.
DISTRIBUTIONS_SHOWN = 5
FLAWS_SHOWN = 3

#: Seconds that it may take: it asks for each distribution.
AUDIT_TIMEOUT = 120.0

PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")

MISSING = "pip-audit is not installed here", "pip install 'django-deploy[audit]'"


def check_security(versions: Mapping[str, str] | None, sources: Sources) -> Finding:
    """``versions`` by canonical name, of what is live and comes from ``sources``; None where nothing is live.

    Whom pip-audit asks learns names and versions. Unless all is from PyPI, some may be private, and it is
    asked about Django only.
    """
    if versions is None:
        return not_checked("security releases", "nothing is live yet")
    if find_spec("pip_audit") is None:
        return not_checked("security releases", *MISSING)
    if are_public(sources):
        return _audit(versions)
    found = _audit({name: version for name, version in versions.items() if name == "django"})
    return replace(found, message=f"{found.message}; others were not asked about, as not all is from PyPI")


def are_public(sources: Sources) -> bool:
    """Whether everybody may know what is installed from there."""
    hosts = {urlsplit(url).hostname for url in sources.index_urls}
    return hosts <= {urlsplit(default_index_url()).hostname} and not sources.find_links


def _audit(versions: Mapping[str, str]) -> Finding:
    # They come from a host, and go into a file whose lines mean something.
    pins = [f"{name}=={version}" for name, version in sorted(versions.items())]
    pins = [pin for pin in pins if PIN.fullmatch(pin)]
    if not pins:
        return not_checked("security releases", "neither Django nor anything else is from an index")
    with tempfile.TemporaryDirectory(prefix="django-deploy-") as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("".join(f"{pin}\n" for pin in pins))
        argv = [sys.executable, "-m", "pip_audit", "--requirement", str(file), "--no-deps", "--disable-pip"]
        argv += ["--format", "json", "--progress-spinner", "off", "--desc", "off"]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=AUDIT_TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            why = f"pip-audit has not answered within {AUDIT_TIMEOUT:g} s"
            return not_checked("security releases", why, "Is its source of data in reach?")
    try:
        report = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
        return not_checked("security releases", f"pip-audit failed: {last.strip()[:300]}")
    return judge_report(report)


def judge_report(report: list[dict[str, Any]]) -> Finding:
    """The ``dependencies`` of pip-audit's JSON. What it has no data of is not taken for sound."""
    behind = {entry["name"].lower(): entry for entry in report if entry.get("vulns")}
    unknown = [entry["name"] for entry in report if "skip_reason" in entry]
    text = "; ".join(_describe(entry) for entry in behind.values())
    remedy = "Install the newer versions here, try the site, and deploy."
    if "django" in behind:
        return error("security releases", text, remedy)
    if len(unknown) == len(report) or "django" in map(str.lower, unknown):
        why = f"pip-audit has no data of {listed(unknown, DISTRIBUTIONS_SHOWN)}"
        return not_checked("security releases", why, "Is its source of data in reach?")
    if behind:
        return warning("security releases", text, remedy)
    known = count("distribution", str(len(report) - len(unknown)))
    rest = f"; no data of {listed(unknown, DISTRIBUTIONS_SHOWN)}" if unknown else ""
    return ok("security releases", f"none is missing for {known}{rest}")


def _describe(entry: Mapping[str, Any]) -> str:
    fixes = [version for flaw in entry["vulns"] for version in flaw.get("fix_versions", ())]
    ids = listed([_cve(flaw) for flaw in entry["vulns"]], FLAWS_SHOWN)
    fixed = f", fixed in {', '.join(dict.fromkeys(fixes))}" if fixes else ""
    return f"{entry['name']} {entry['version']} has {ids}{fixed}"


def _cve(flaw: Mapping[str, Any]) -> str:
    """The name that most people know."""
    names = [str(flaw["id"]), *map(str, flaw.get("aliases", ()))]
    return next((name for name in names if name.startswith("CVE-")), names[0])
