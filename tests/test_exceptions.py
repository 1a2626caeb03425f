from __future__ import annotations

import pytest

from django_deploy.exceptions import (
    BundleError,
    ConfigError,
    DeployError,
    HostKeyError,
    HostLocked,
    Interrupted,
    RequestFailed,
    RolloutFailed,
    ids_of,
)

FAILED = RequestFailed("web1", "no", type="InstallFailed")


@pytest.mark.parametrize(
    ("error", "ids"),
    [
        (DeployError("no"), ["deploy-error"]),
        (ConfigError("no"), ["config-error"]),
        (BundleError("no"), ["bundle-error"]),
        (HostKeyError("web1", "no"), ["host-key-error"]),
        (HostLocked("web1", "no"), ["host-locked"]),
        (Interrupted("no"), ["interrupted"]),
        (FAILED, ["install-failed"]),
        (RequestFailed("web1", "no", type="\x1b[31m"), ["request-failed"]),
        (RolloutFailed("no", errors=[]), ["rollout-failed"]),
        (
            RolloutFailed("no", errors=[FAILED, HostLocked("web2", "no"), FAILED]),
            ["install-failed", "host-locked"],
        ),
        (RolloutFailed("no", errors=[RolloutFailed("no", errors=[FAILED])]), ["install-failed"]),
    ],
)
def test_ids(error, ids):
    assert list(ids_of(error)) == ids
