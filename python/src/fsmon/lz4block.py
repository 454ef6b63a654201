"""The LZ4 block format in Python, for where the package `lz4` is not installed."""

from typing import Tuple

from .errors import Invalid

_SHORT = "LZ4: the data end too early"


def decompress(data: bytes, raw_len: int) -> bytes:
    """Decompresses one block of the LZ4 block format to exactly `raw_len` bytes, or raises `Invalid`.

    Never makes more than `raw_len` bytes, whatever `data` is: lengths are checked before anything is
    copied.
    """
    out = bytearray()
    at, end = 0, len(data)
    while at < end:
        token = data[at]
        length, at = _length(data, at + 1, token >> 4)
        if length > end - at:
            raise Invalid(_SHORT)
        if length > raw_len - len(out):
            raise Invalid("LZ4: more bytes than announced")
        out += data[at:at + length]
        at += length
        if at == end:
            # The last sequence has literals alone.
            break
        if end - at < 2:
            raise Invalid(_SHORT)
        offset = data[at] | data[at + 1] << 8
        length, at = _length(data, at + 2, token & 15)
        _repeat(out, offset, length + 4, raw_len)
        if at == end:
            raise Invalid(_SHORT)
    if len(out) != raw_len:
        raise Invalid("LZ4: fewer bytes than announced")
    return bytes(out)


def _length(data: bytes, at: int, nibble: int) -> Tuple[int, int]:
    """A length that begins with `nibble` and goes on at `at`; and where it ends."""
    length = nibble
    if nibble == 15:
        while True:
            if at >= len(data):
                raise Invalid(_SHORT)
            byte = data[at]
            at += 1
            length += byte
            if byte != 255:
                break
    return length, at


def _repeat(out: bytearray, offset: int, length: int, raw_len: int) -> None:
    """Appends `length` bytes that begin `offset` before the end, and may run into themselves."""
    if not 0 < offset <= len(out):
        raise Invalid("LZ4: a copy from before the beginning")
    if length > raw_len - len(out):
        raise Invalid("LZ4: more bytes than announced")
    start = len(out) - offset
    if offset >= length:
        out += out[start:start + length]
    else:
        piece = bytes(out[start:])
        out += (piece * (length // offset + 1))[:length]
