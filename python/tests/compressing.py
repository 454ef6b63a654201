"""Compresses for the tests: LZ4 blocks with matches, zstd frames without; and whole streams."""

import struct

from maker import FINAL, block, cut

FRAME = 16
"""The flag of a block with which a frame begins."""


def lz4(data):
    """A block of the LZ4 format: greedy, and plain."""
    out, seen, start, at = bytearray(), {}, 0, 0
    # The last five bytes are literals, and the last match begins twelve before the end.
    while at + 12 <= len(data):
        key = data[at:at + 4]
        before = seen.get(key)
        seen[key] = at
        if before is None or at - before > 65535:
            at += 1
            continue
        length = 4
        while at + length < len(data) - 5 and data[before + length] == data[at + length]:
            length += 1
        out += _sequence(data[start:at], at - before, length)
        at += length
        start = at
    return bytes(out + _sequence(data[start:], 0, 4))


def _sequence(literals, offset, length):
    token = min(len(literals), 15) << 4 | min(length - 4, 15)
    out = bytes([token]) + _more(len(literals)) + literals
    return out + struct.pack("<H", offset) + _more(length - 4) if offset else out


def _more(length):
    if length < 15:
        return b""
    length -= 15
    return b"\xff" * (length // 255) + bytes([length % 255])


def zstd(data):
    """A frame of one raw block, with the length of its content."""
    head = b"\x28\xb5\x2f\xfd" + bytes([0xA0]) + struct.pack("<I", len(data))
    return head + (len(data) << 3 | 1).to_bytes(3, "little") + data


def frames(stream, every=1000):
    """A stream whose blocks go on from one another; a frame begins with each of so many."""
    head, blocks = cut(stream)
    for at, data in enumerate(blocks):
        flags, = struct.unpack_from("<H", data, 6)
        stored_len, _, number, first_event, first, last, events = struct.unpack_from("<IIQQQQI", data, 8)
        raw = data[64:64 + stored_len]
        # A window of 2 MiB, and nothing else said; then a zstd block that is not the last one.
        begin = b"\x28\xb5\x2f\xfd\x00\x58" if at % every == 0 else b""
        stored = begin + (len(raw) << 3).to_bytes(3, "little") + raw
        head += block(raw, number, first_event, events, tag=data[52:56], flags=flags | (FRAME if begin else 0),
                      codec=3, stored=stored, first_time=first, last_time=last)
    return head


def compressed(stream, codec, compress):
    """A stream with all its blocks stored in another way; a longer form too, unlike fsmon does."""
    head, blocks = cut(stream)
    for data in blocks:
        flags, = struct.unpack_from("<H", data, 6)
        stored_len, raw_len, number, first_event, first, last, events = struct.unpack_from("<IIQQQQI", data, 8)
        raw = data[64:64 + stored_len]
        assert raw_len == stored_len and not flags & ~(FINAL | 3)
        head += block(raw, number, first_event, events, tag=data[52:56], flags=flags, codec=codec,
                      stored=compress(raw), first_time=first, last_time=last)
    return head
