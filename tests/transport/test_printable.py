from __future__ import annotations

import pytest

from django_deploy.transport.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("Grüße", "Grüße", id="letters"),
        pytest.param("one\ntwo\n", "one\ntwo", id="lines"),
        pytest.param("\x1b[31mred\x07", "[31mred", id="escape sequences"),
        pytest.param("one\r\ntwo\r\n", "one\ntwo", id="lines of a network protocol"),
        pytest.param("over\rwritten", "over written", id="carriage return"),
        pytest.param("a\u202eb", "a b", id="direction marks"),
        pytest.param(b"\xff\xfeabc", "\ufffd\ufffdabc", id="bytes"),
        pytest.param("x" * 5000, "x" * 1000, id="too long"),
        pytest.param(b"x" * 5000, "x" * 1000, id="too many bytes"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown
