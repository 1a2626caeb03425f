"""A file as its difference to another one, the base: what is copied from it, and what is new.

A recipe is a zlib stream of instructions that yield the file from its start to its end. Each is an
``INSTRUCTION``: its kind, where in the base it begins, and how many bytes of the file it makes. Behind
``INSERT`` and ``XOR`` follow as many bytes. The recipe is data: nothing is believed before the file's
own hash is right.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any

#: Kind, offset in the base, length in bytes.
INSTRUCTION = struct.Struct(">cQQ")

#: From the base; from the recipe; from the base, with every byte changed (xor) as the recipe says.
COPY, INSERT, XOR = KINDS = (b"C", b"I", b"X")

#: How much of the file is made at a time, in bytes.
PIECE = 1 << 18


class DeltaError(Exception):
    """A file cannot be made from its recipe: the base is not what it should be, or the recipe is not."""


def rebuild(base: io.FileIO, recipe: Iterator[memoryview], size: int) -> Iterator[bytes]:
    """The file, of exactly ``size`` bytes, in pieces; raises ``DeltaError``.

    ``recipe`` is the recipe's bytes as they come. Whatever it says, no more than a few pieces are in
    memory, nothing beyond the base is read, and nothing beyond ``size`` is made.
    """
    stream = io.BufferedReader(_Inflated(recipe), PIECE)
    extent, left = os.fstat(base.fileno()).st_size, size
    while left:
        kind, offset, length = INSTRUCTION.unpack(_take(stream, INSTRUCTION.size))
        if kind not in KINDS or not 0 < length <= left or (kind != INSERT and offset + length > extent):
            raise DeltaError("the recipe is not for this file")
        left -= length
        for start in range(0, length, PIECE):
            count = min(PIECE, length - start)
            old = b"" if kind == INSERT else _read(base, offset + start, count)
            new = b"" if kind == COPY else _take(stream, count)
            yield xor(old, new) if kind == XOR else old or new


def xor(one: bytes, other: bytes) -> bytes:
    """Both, which are of one length, combined bit by bit; twice the same gives what was there before."""
    number = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return number.to_bytes(len(one), "big")


class _Inflated(io.RawIOBase):
    """What a deflated stream holds, inflated no further than it is read."""

    def __init__(self, pieces: Iterator[memoryview]) -> None:
        self._pieces = pieces
        self._zlib = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._zlib.decompress(self._zlib.unconsumed_tail, len(buffer))
            while not data and not self._zlib.eof:
                piece = next(self._pieces, None)
                if piece is None:
                    return 0
                data = self._zlib.decompress(piece, len(buffer))
        except zlib.error as error:
            raise DeltaError(f"the recipe cannot be read: {error}") from None
        buffer[: len(data)] = data
        return len(data)


def _take(stream: io.BufferedIOBase, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise DeltaError("the recipe ends too early")
    return data


def _read(base: io.FileIO, offset: int, size: int) -> bytes:
    try:
        data = os.pread(base.fileno(), size, offset)
    except OSError as error:
        raise DeltaError(f"the base cannot be read: {error.strerror}") from None
    if len(data) < size:
        raise DeltaError("the base is too short")
    return data
