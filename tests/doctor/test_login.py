from __future__ import annotations

import pytest

from django_deploy.doctor import login
from django_deploy.exceptions import (
    AuthenticationFailed,
    ConnectionFailed,
    HostKeyError,
    HostUnreachable,
    RolloutFailed,
)
from django_deploy.target import Host

HOST = Host("web1", user="deploy")
NO_PYTHON = ConnectionFailed("deploy@web1", "there is no python3 on the host", remedy="Install it there.")


def outcomes(failure):
    return [(finding.check, finding.outcome) for finding in login.check_connection(HOST, failure)]


@pytest.mark.parametrize(
    ("failure", "found"),
    [
        (None, [("connection", "ok"), ("host key", "ok"), ("login", "ok")]),
        (HostUnreachable("web1", "no answer"), [("connection", "error")]),
        (HostKeyError("web1", "it has changed"), [("connection", "ok"), ("host key", "error")]),
        (
            AuthenticationFailed("web1", "no"),
            [("connection", "ok"), ("host key", "ok"), ("login", "error")],
        ),
        (NO_PYTHON, [("connection", "error")]),
        (RolloutFailed("no", errors=[]), [("connection", "error")]),
    ],
)
def test_how_far_we_came(failure, found):
    assert outcomes(failure) == found


def test_what_is_said():
    found = list(login.check_connection(HOST, None))

    assert [finding.message for finding in found] == ["web1 answers", "known", "deploy may log in"]
    [error] = login.check_connection(HOST, NO_PYTHON)
    assert (error.message, error.remedy) == ("there is no python3 on the host", "Install it there.")
