"""``deploy_bundle`` as people call it; what it calls is a use case of our own that answers as it is told."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from django.test import override_settings

from django_deploy.bundle import explanation
from django_deploy.bundle.manifest import Manifest
from django_deploy.exceptions import BundleError, ConfigError
from django_deploy.host.protocol import Event
from django_deploy.management.commands import deploy_bundle
from tests.error_ids import without_ids
from tests.management.use_cases import replaced

TARGETS = {"staging": {"HOSTS": ["web1"], "ROOT": "/srv/shop", "RESTART": ["true"]}}
MANIFEST = Manifest("shop", "1.0", "3.12.1", (), (), 0.0, "anna@laptop")


class Packing:
    """The use case's interface."""

    def __init__(self, error=None):
        self.error = error
        self.calls = []

    def pack(self, target, origin, file, sbom, *, report, prompts):
        self.calls.append((target.name, origin, file, sbom))
        if self.error is not None:
            raise self.error
        if sbom is not None:
            report(Event("sbom.written", fields={"file": str(sbom), "components": 40}))
            return MANIFEST
        report(Event("bundle.written", fields={"file": str(file), "bytes": 2_000_000, "sha256": "a" * 64}))
        return MANIFEST


class Origins:
    def from_environment(self, target, revision):
        return ("environment", target.name, revision)


def run(*argv, packing=None):
    """As from a shell: (exit status, standard output, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    made = deploy_bundle.Command(stdout=out, stderr=err)
    try:
        fakes = replaced(packing=packing or Packing(), origins=Origins())
        with override_settings(DEPLOY_TARGETS=TARGETS), fakes:
            made.run_from_argv(["manage.py", "deploy_bundle", *argv])
    except SystemExit as leaving:
        return leaving.code, out.getvalue(), without_ids(err.getvalue())
    return 0, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("option", ["-o", "--output"])
def test_a_file_is_written(option):
    packing = Packing()

    status, out, err = run("staging", option, "shop.bundle", packing=packing)

    assert (status, err) == (0, "")
    assert out == f"wrote shop.bundle, 2.0 MB, sha256 {'a' * 64}\n"
    assert packing.calls == [("staging", ("environment", "staging", None), Path("shop.bundle"), None)]


def test_a_bill_of_materials():
    packing = Packing()

    status, out, _ = run("staging", "--sbom", "shop.json", packing=packing)

    assert (status, out) == (0, "wrote shop.json, 40 components\n")
    assert packing.calls == [("staging", ("environment", "staging", None), None, Path("shop.json"))]


def test_a_revision():
    packing = Packing()

    status, _, _ = run("staging", "-o", "shop.bundle", "--revision", "v1", packing=packing)

    assert status == 0
    assert packing.calls[0][1] == ("environment", "staging", "v1")


def test_json():
    status, out, _ = run("staging", "-o", "shop.bundle", "--json")

    assert status == 0
    assert json.loads(out)["sha256"] == "a" * 64


def test_nothing_to_do():
    status, out, err = run("staging")

    assert (status, out) == (2, "")
    assert err == "CommandError: Nothing was asked for.\nName the file to write: -o FILE.\n"


def test_what_goes_wrong():
    error = BundleError("shop.bundle cannot be written: Permission denied.")

    status, _, err = run("staging", "-o", "shop.bundle", packing=Packing(error))

    assert (status, err) == (1, "CommandError: shop.bundle cannot be written: Permission denied.\n")


def test_an_explanation(monkeypatch):
    asked = []

    def explain_for(target, name):
        asked.append((target.name, name))
        return "redis 5.2 is deployed: it comes from an index.", "\x1b[2JRequired by:"

    monkeypatch.setattr(explanation, "explain_for", explain_for)

    status, out, err = run("staging", "--explain", "redis")

    assert (status, err) == (0, "")
    assert out == "redis 5.2 is deployed: it comes from an index.\nRequired by:\n"
    assert asked == [("staging", "redis")]


def test_an_explanation_of_what_nobody_knows(monkeypatch):
    def explain_for(target, name):
        raise ConfigError(f"{name} is not installed here, and nothing here requires it.")

    monkeypatch.setattr(explanation, "explain_for", explain_for)

    status, out, err = run("staging", "--explain", "rediss")

    assert (status, out) == (2, "")
    assert err == "CommandError: rediss is not installed here, and nothing here requires it.\n"
