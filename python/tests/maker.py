"""Makes streams for the tests, straight from docs/format.md and without the package under test.

Only what tests need: records are built one by one and put into blocks as they are told to, right or
wrong. `Stream` keeps the counts that blocks carry.
"""

import struct

MAGIC = b"\x89FSM\r\n\x1a\n"
SYNC = b"\xf5BK\x01"
SLOT = 64
HEADER_LEN = 4096
GRID = 1 << 20
START = 10_000_000_000
WALL = 1_767_225_600_000_000_000
FINAL = 4


def _table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _table()


def crc32c(data):
    """The plainest form, to hold the package's against."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def padded(data):
    """Zeros up to the next multiple of a slot."""
    return data + bytes(-len(data) % SLOT)


def record(tag, flags, body):
    """A record: its first four bytes, then `body`, then zeros."""
    data = padded(bytes(4) + body)
    return struct.pack("<BBH", tag, len(data) // SLOT, flags) + data[4:]


def clock(time=START, realtime=WALL):
    return record(8, 0, struct.pack("<IQQ", 0, time, realtime))


def directory(id, parent, name, flags=0, generation=0, fs=1, obj=99):
    fields = struct.pack("<IIIIHHQ", id, parent, fs, generation, len(name), 0, obj)
    return record(2, flags, fields + name)


def string(id, data):
    return record(4, 0, struct.pack("<IHH", id, len(data), 0) + data)


def process(id, pid, ppid=1, parent=0, prev=0, start=0, uid=1000, gid=100, comm=b"cc", exe=0,
            cgroup=0, cgroup_id=0, user=0, cmdline=0, flags=3, exec=0, exe_root=0):
    fields = struct.pack("<IIIIIQII16sIIQIIII", id, pid, ppid, parent, prev, start, uid, gid, comm,
                         exe, cgroup, cgroup_id, user, cmdline, exec, exe_root)
    return record(3, flags, fields + bytes(40))


def event(dir=0, name=b"", mask=0x100, time=START + 1, proc=0, obj=0, dir2=0, name2=b"", flags=0):
    fields = struct.pack("<IQIIQIHH", dir, time, mask, proc, obj, dir2, len(name), len(name2))
    return record(1, flags, fields + name + name2)


def loss(reason=1, first=START, last=START + 1, count=2**64 - 1, total=1):
    return record(5, 0, struct.pack("<IQQQQ", reason, first, last, count, total) + bytes(24))


def stats(time=START + 1, events=0):
    fields = struct.pack("<IQQQQQII", 7, time, WALL, 12, events, 0, 3, 2)
    return record(6, 0, fields + bytes(8))


def end(events, time=START + 2, losses=0, reason=0):
    return record(7, 0, struct.pack("<IQQQ", reason, time, events, losses) + bytes(32))


def gap(cause=2, time=START + 1, from_=WALL - 9, to=WALL + 1, stream_id=b"the one before it", events=7):
    return record(9, 0, struct.pack("<IQQQ16sQ", cause, time, from_, to, stream_id, events) + bytes(8))


def note(what=1, path=b"", text=b"", types=0, flags=0, time=START + 1, path_len=None, text_len=None):
    path_len = len(path) if path_len is None else path_len
    text_len = len(text) if text_len is None else text_len
    return record(10, flags, struct.pack("<IQIHH", what, time, types, path_len, text_len) + path + text)


def entry(tag, value):
    return struct.pack("<HH", tag, len(value)) + value


def file_header(stream_id=b"made for a test!", segment=0, first_event=0, first_block=0, major=1,
                incompatible=0, slot=SLOT, header_len=HEADER_LEN, entries=b"", realtime=WALL, block_max=65536,
                grid=GRID):
    head = struct.pack(
        "<8sHHIIIQQ16s16s16sIIQQQQIII", MAGIC, major, 0, header_len, slot, 0, incompatible, 0,
        stream_id, b"b" * 16, b"m" * 16, 1, segment, START, realtime, first_event, first_block,
        block_max, grid, len(entries))
    data = bytearray((head.ljust(192, b"\0") + entries).ljust(header_len, b"\0"))
    data[20:24] = struct.pack("<I", crc32c(data))
    return bytes(data)


def block(raw, number, first_event, events, tag=b"made", flags=0, kind=1, codec=0, stored=None,
          raw_len=None, first_time=START, last_time=START + 9):
    """A block of the payload `raw`, stored as `stored` if that is given."""
    stored = raw if stored is None else stored
    raw_len = len(raw) if raw_len is None else raw_len
    head = struct.pack("<4sBBHIIQQQQI4sI", SYNC, kind, codec, flags, len(stored), raw_len, number,
                       first_event, first_time, last_time, events, tag, crc32c(stored))
    return padded(head + struct.pack("<I", crc32c(head)) + stored)


def count_events(raw):
    """EVENT records in a payload."""
    at, events = 0, 0
    while at + 2 <= len(raw) and raw[at + 1]:
        events += raw[at] == 1
        at += raw[at + 1] * SLOT
    return events


class Stream:
    """Blocks one behind the other, with the counts right."""

    def __init__(self, **header):
        self.tag = header.get("stream_id", b"made for a test!")[:4]
        self.number = header.get("first_block", 0)
        self.events = header.get("first_event", 0)
        self.data = file_header(**header)

    def add(self, *records, clocked=True, **block_args):
        """A block of these records behind a CLOCK."""
        raw = (clock() if clocked else b"") + b"".join(records)
        events = count_events(raw)
        args = {"number": self.number, "first_event": self.events, "events": events,
                "tag": self.tag, **block_args}
        self.data += block(raw, **args)
        self.number += 1
        self.events += events
        return self

    def close(self, *records):
        """The last block, with END."""
        events = self.events + count_events(b"".join(records))
        return self.add(*records, end(events), flags=FINAL)


def cut(data):
    """The whole of a file as (file header, [block, ...]); it must be sound and in one file."""
    at = struct.unpack_from("<I", data, 12)[0]
    head, blocks = data[:at], []
    while at < len(data):
        length = 64 + struct.unpack_from("<I", data, at + 8)[0]
        length += -length % SLOT
        blocks.append(data[at:at + length])
        at += length
    return head, blocks
