from __future__ import annotations

import os
import random
import tracemalloc
import zlib

import pytest

from django_deploy.host.delta import COPY, INSERT, INSTRUCTION, PIECE, XOR, DeltaError, rebuild, xor

BASE = random.Random(1).randbytes(1000)


def recipe(*instructions):
    """Of (kind, offset, length, bytes), as it travels."""
    return zlib.compress(b"".join(INSTRUCTION.pack(*head) + data for *head, data in instructions))


def pieces(data, size=7):
    """As it comes over a link, and each piece valid only until the next one."""
    buffer = bytearray(size)
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        buffer[: len(piece)] = piece
        yield memoryview(buffer)[: len(piece)]


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.whl"
    path.write_bytes(BASE)
    with path.open("rb", buffering=0) as file:
        yield file


def result(base, data, size):
    return b"".join(rebuild(base, pieces(data), size))


def refusal(base, data, size):
    with pytest.raises(DeltaError) as caught:
        result(base, data, size)
    return str(caught.value)


def test_ranges_are_copied_and_the_new_is_between_them(base):
    data = recipe((COPY, 100, 300, b""), (INSERT, 0, 5, b"hello"), (COPY, 0, 50, b""))

    assert result(base, data, 355) == BASE[100:400] + b"hello" + BASE[:50]


def test_a_range_with_few_other_bytes(base):
    change = bytes(20) + b"\x01" + bytes(19)

    made = result(base, recipe((XOR, 10, 40, change)), 40)

    assert made == xor(BASE[10:50], change)
    assert [one != other for one, other in zip(made, BASE[10:50], strict=True)].count(True) == 1


def test_xor_keeps_leading_zeros():
    assert xor(b"\x07abc", b"\x07abd") == b"\0\0\0\x07"
    assert xor(b"", b"") == b""


def test_long_ranges_come_in_pieces(tmp_path):
    content = random.Random(2).randbytes(3 * PIECE + 11)
    path = tmp_path / "base.whl"
    path.write_bytes(content)
    new = random.Random(3).randbytes(2 * PIECE)

    with path.open("rb", buffering=0) as file:
        data = recipe((COPY, 5, 3 * PIECE, b""), (INSERT, 0, len(new), new))
        made = [*rebuild(file, pieces(data, 1 << 16), 5 * PIECE)]

    assert max(map(len, made)) == PIECE
    assert b"".join(made) == content[5 : 5 + 3 * PIECE] + new


@pytest.mark.parametrize(
    "instruction",
    [
        (COPY, 1000, 1, b""),
        (COPY, 999, 2, b""),
        (COPY, 2**64 - 1, 1, b""),
        (XOR, 999, 2, b"ab"),
        (COPY, 0, 11, b""),
        (INSERT, 0, 11, b"hello world"),
        (INSERT, 0, 2**64 - 1, b"hello world"),
        (COPY, 0, 0, b""),
        (b"D", 0, 10, b""),
    ],
    ids=repr,
)
def test_a_hostile_instruction_is_refused(base, instruction):
    assert refusal(base, recipe(instruction), 10) == "the recipe is not for this file"


def test_a_recipe_that_ends_early_is_refused(base):
    whole = recipe((INSERT, 0, 5, b"hello"))

    assert refusal(base, recipe((COPY, 0, 5, b"")), 10) == "the recipe ends too early"
    assert refusal(base, recipe((INSERT, 0, 10, b"hello")), 10) == "the recipe ends too early"
    assert refusal(base, whole[:-8], 5) == "the recipe ends too early"
    assert refusal(base, b"", 5) == "the recipe ends too early"


def test_what_is_no_recipe_is_refused(base):
    assert refusal(base, b"PK\x03\x04 a whole wheel", 5).startswith("the recipe cannot be read: Error -3")


def test_more_than_the_file_is_not_made(base):
    assert result(base, recipe((COPY, 0, 5, b""), (COPY, 0, 900, b"")), 5) == BASE[:5]


def test_a_bomb_is_not_inflated(base):
    """100 MB of zeros in 100 kB: no more of it is inflated than is asked for."""
    bomb = zlib.compress(INSTRUCTION.pack(INSERT, 0, 10) + bytes(100_000_000))

    tracemalloc.start()
    made = b"".join(rebuild(base, pieces(bomb, 1 << 16), 10))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert made == bytes(10)
    assert peak < 4_000_000


def test_a_base_that_cannot_be_read_is_told(base):
    with open(base.name, "ab", buffering=0) as not_for_reading:
        message = refusal(not_for_reading, recipe((COPY, 0, 5, b"")), 5)

    assert message == "the base cannot be read: Bad file descriptor"


def test_a_base_that_is_cut_meanwhile_is_told(base):
    making = rebuild(base, pieces(recipe((COPY, 0, 5, b""), (COPY, 0, 500, b""))), 505)
    assert next(making) == BASE[:5]
    os.truncate(base.name, 100)

    with pytest.raises(DeltaError, match="the base is too short"):
        next(making)
