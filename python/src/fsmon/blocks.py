"""The header of a block: one slot that says what follows and where it belongs."""

from typing import NamedTuple

from . import layout
from .crc import crc32c
from .errors import Invalid


class BlockHeader(NamedTuple):
    """What a block says of itself. Lengths are bytes, times nanoseconds of CLOCK_MONOTONIC."""

    kind: int
    codec: int
    flags: int
    stored_len: int
    """At most 65472."""
    raw_len: int
    """Once decompressed; a multiple of 64, at most 65472."""
    number: int
    first_event: int
    """EVENT records of the stream before this block."""
    first_time: int
    last_time: int
    events: int
    """EVENT records in the block."""
    tag: bytes
    payload_crc: int

    @property
    def size(self) -> int:
        """Bytes of the block from its header to where the next one begins."""
        return layout.BLOCK_HEADER + self.stored_len + -self.stored_len % layout.SLOT

    @property
    def final(self) -> bool:
        """Whether it is the last block of a file that was closed in order."""
        return bool(self.flags & layout.FLAG_FINAL)


class Block(NamedTuple):
    """A sound block of records."""

    source: str
    offset: int
    """Bytes from the beginning of the source."""
    header: BlockHeader
    payload: bytes
    """Its records, decompressed."""


def parse(data: bytes) -> BlockHeader:
    """Reads 64 bytes. Raises `Invalid` if they are no block header or a damaged one."""
    (sync, kind, codec, flags, stored_len, raw_len, number, first_event, first_time, last_time, events,
     tag, payload_crc, header_crc) = layout.BLOCK.unpack(data)
    if sync != layout.SYNC:
        raise Invalid("no block begins here")
    if crc32c(data[:60]) != header_crc:
        raise Invalid("a block header does not match its checksum")
    longest = max(stored_len, raw_len)
    if longest > layout.PAYLOAD_MAX or raw_len % layout.SLOT or (codec == 0 and stored_len != raw_len):
        raise Invalid("a block's length is out of bounds")
    return BlockHeader(kind, codec, flags, stored_len, raw_len, number, first_event, first_time,
                       last_time, events, tag, payload_crc)
