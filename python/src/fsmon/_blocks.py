"""File headers and blocks, each checked by itself."""

import struct
from typing import NamedTuple

from . import _codec
from ._errors import DamagedError, FsmonError

MAGIC = b"\x89FSM\r\n\x1a\n"
SYNC = b"\xf5BK\x01"
SLOT = 64
ROOM = 65536 - SLOT
FIXED = 192
HEADER_MAX = 65536
RECORDS = 1
FINAL = 4

_FILE = struct.Struct("<8sHHIIIQQ16s16s16sIIQQQQIII")
_BLOCK = struct.Struct("<4sBBHIIQQQQI4sII")


class Header(NamedTuple):
    """What a stream says about itself."""

    stream_id: bytes
    boot_id: bytes
    machine_id: bytes
    segment: int
    time_ns: int
    realtime_ns: int
    first_event: int
    first_block: int
    version: bytes
    kernel: bytes
    host: bytes
    #: Bits of the event types asked for.
    types: int
    #: (index, fsid, type, mount point)
    filesystems: tuple
    roots: tuple


class Block(NamedTuple):
    """A block's header, and its records once they are asked for."""

    kind: int
    codec: int
    flags: int
    stored_len: int
    raw_len: int
    number: int
    first_event: int
    first_time: int
    last_time: int
    events: int
    tag: bytes


def header_len(data, offset):
    """Bytes of the file header whose first 192 bytes these are."""
    length, slot = struct.unpack_from("<II", data, 12)
    if not FIXED <= length <= HEADER_MAX or length % SLOT:
        raise DamagedError(offset, "damaged file header: its length")
    return length


def parse_header(data, offset):
    """A whole file header."""
    fields = _FILE.unpack_from(data)
    major, minor, slot, crc, incompatible = fields[1], fields[2], fields[4], fields[5], fields[6]
    if _codec.crc32c(data[:20] + bytes(4) + data[24:]) != crc:
        raise DamagedError(offset, "damaged file header: its checksum")
    if major != 1:
        raise FsmonError(f"format version {major} is not known; a newer package reads it")
    if incompatible:
        raise FsmonError(f"the stream needs features {incompatible:#x}; a newer package reads it")
    if slot != SLOT:
        raise DamagedError(offset, "damaged file header: the size of a slot")
    entries_len = fields[19]
    if FIXED + entries_len > len(data):
        raise DamagedError(offset, "damaged file header: its entries")
    texts, types, filesystems, roots = {}, 0, [], []
    for tag, value in _entries(data[FIXED : FIXED + entries_len], offset):
        if tag == 4 and len(value) == 4:
            types = int.from_bytes(value, "little")
        elif tag == 5 and len(value) >= 12:
            index, fsid = struct.unpack_from("<IQ", value)
            kind, _, mount = value[12:].partition(b"\0")
            filesystems.append((index, fsid, kind, mount))
        elif tag == 6:
            roots.append(value)
        else:
            texts[tag] = value
    stream_id, boot_id, machine_id, _, segment, time_ns, realtime_ns, event, block = fields[8:17]
    about = (texts.get(tag, b"") for tag in (1, 2, 3))
    return Header(
        stream_id, boot_id, machine_id, segment, time_ns, realtime_ns, event, block,
        *about, types, tuple(filesystems), tuple(roots),
    )


def _entries(data, offset):
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise DamagedError(offset, "damaged file header: an entry")
        tag, length = struct.unpack_from("<HH", data, at)
        at += 4
        if at + length > len(data):
            raise DamagedError(offset, "damaged file header: an entry")
        yield tag, data[at : at + length]
        at += length


def parse_block(data):
    """A block header: itself, its payload's checksum, and what is wrong with it. Where its own
    checksum is wrong there is nothing else."""
    fields = _BLOCK.unpack_from(data)
    if _codec.crc32c(data[:60]) != fields[13]:
        return None, 0, "a block header does not match its checksum"
    block = Block(*fields[1:12])
    wrong = None
    if block.stored_len > ROOM or block.raw_len > ROOM:
        wrong = "a block's length is out of bounds"
    return block, fields[12], wrong


def total_len(block):
    """Bytes from this block to the next."""
    return SLOT + (block.stored_len + SLOT - 1) // SLOT * SLOT


def decompress(block, stored):
    """The payload as it was, or what is wrong with it."""
    if block.raw_len % SLOT:
        return None, "a block's length is out of bounds"
    if block.codec == 0:
        same = block.raw_len == block.stored_len
        return (stored, None) if same else (None, "a block's length is out of bounds")
    known = {1: _codec.lz4, 2: _codec.zstd}.get(block.codec)
    if known is None:
        return None, f"a block is compressed with method {block.codec}, which is not known here"
    raw = known(stored, block.raw_len)
    return (raw, None) if raw is not None else (None, "a block does not decompress to its length")
