"""The header of a file: 192 to 65536 bytes at its beginning."""

from typing import Dict, List, NamedTuple, Tuple

from . import layout
from .crc import crc32c
from .errors import Invalid, UnsupportedError


class Filesystem(NamedTuple):
    """A filesystem that is watched, by the number that `fs` of DIR records has."""

    number: int
    fsid: int
    kind: bytes
    mount_point: bytes


class FileHeader(NamedTuple):
    """What a file says of itself. Times are nanoseconds."""

    length: int
    """Bytes; the first block begins there."""
    minor: int
    compatible: int
    stream_id: bytes
    """16 bytes, the same in all segments of one stream; the first four are the stream's tag."""
    boot_id: bytes
    """16 bytes: of the boot that `time_ns` of events belongs to."""
    machine_id: bytes
    """16 bytes; zeros unknown."""
    clock_id: int
    segment: int
    time_ns: int
    realtime_ns: int
    first_event: int
    """EVENT records in the segments before."""
    first_block: int
    """Blocks in the segments before."""
    version: bytes
    """Of fsmon."""
    kernel: bytes
    host: bytes
    types: int
    """The event types asked for, bits as in `Event.mask`."""
    filesystems: Tuple[Filesystem, ...]
    roots: Tuple[bytes, ...]
    """The watched directories, absolute paths."""
    left_out: int
    """Filesystems and roots that did not fit."""

    @property
    def tag(self) -> bytes:
        """What the stream's blocks are marked with."""
        return self.stream_id[:4]


def length_of(start: bytes) -> int:
    """How long a file header is, by its first 24 bytes. Raises `Invalid` if it cannot be one."""
    if start[:8] != layout.MAGIC:
        raise Invalid("this does not begin as a stream does")
    length = int.from_bytes(start[12:16], "little")
    if length % layout.SLOT or not layout.HEADER_MIN <= length <= layout.HEADER_MAX:
        raise Invalid("damaged file header: its length is out of bounds")
    return length


def parse(data: bytes) -> FileHeader:
    """Reads a whole header. Raises `Invalid` if it is damaged, `UnsupportedError` if it is newer."""
    (_, major, minor, length, slot, crc, incompatible, compatible, stream_id, boot_id, machine_id,
     clock_id, segment, time, realtime, first_event, first_block, block_max, grid, entries_len
     ) = layout.FILE_HEADER.unpack_from(data)
    at = layout.FILE_CRC_AT
    if crc32c(data[:at] + bytes(4) + data[at + 4:]) != crc:
        raise Invalid("damaged file header: it does not match its checksum")
    if major != layout.MAJOR:
        raise UnsupportedError(f"format version {major} is not known; a newer reader reads it")
    if (slot, block_max, grid) != (layout.SLOT, layout.BLOCK_MAX, layout.GRID):
        raise UnsupportedError("the stream has slots, blocks or a grid of other sizes than are known; "
                               "a newer reader reads it")
    if incompatible:
        raise UnsupportedError(f"the stream needs features {incompatible:#x}; a newer reader has them")
    if entries_len > length - layout.ENTRIES_AT:
        raise Invalid("damaged file header: its entries are longer than itself")
    entries = _entries(data[layout.ENTRIES_AT:layout.ENTRIES_AT + entries_len])
    return FileHeader(
        length, minor, compatible, stream_id, boot_id, machine_id, clock_id, segment, time, realtime,
        first_event, first_block, _last(entries, 1), _last(entries, 2), _last(entries, 3),
        _number(entries, 4), tuple(_filesystem(value) for value in entries.get(5, [])),
        tuple(entries.get(6, [])), _number(entries, 7))


def _entries(data: bytes) -> Dict[int, List[bytes]]:
    entries: Dict[int, List[bytes]] = {}
    at = 0
    while at < len(data):
        if len(data) - at < layout.ENTRY.size:
            raise Invalid("damaged file header: an entry is cut off")
        tag, length = layout.ENTRY.unpack_from(data, at)
        at += layout.ENTRY.size
        if length > len(data) - at:
            raise Invalid("damaged file header: an entry is cut off")
        entries.setdefault(tag, []).append(data[at:at + length])
        at += length
    return entries


def _last(entries: Dict[int, List[bytes]], tag: int) -> bytes:
    return entries.get(tag, [b""])[-1]


def _number(entries: Dict[int, List[bytes]], tag: int) -> int:
    value = _last(entries, tag) or bytes(4)
    if len(value) != 4:
        raise Invalid("damaged file header: a number is not four bytes long")
    return int.from_bytes(value, "little")


def _filesystem(value: bytes) -> Filesystem:
    kind, zero, mount_point = value[12:].partition(b"\0")
    if not zero:
        raise Invalid("damaged file header: a filesystem is cut off")
    number = int.from_bytes
    return Filesystem(number(value[:4], "little"), number(value[4:12], "little"), kind, mount_point)
