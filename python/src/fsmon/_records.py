"""The records of a block, with the rules that they must keep."""

import struct

from ._blocks import SLOT
from ._items import End, Event, Loss, Process, Stats

#: Name and bit of each type, in the order in which what was merged happened.
EVENT_TYPES = {
    "CREATE": 0x100, "MOVED_FROM": 0x40, "MOVED_TO": 0x80, "RENAME": 0x10000000,
    "MOVE_SELF": 0x800, "OPEN": 0x20, "OPEN_EXEC": 0x1000, "ACCESS": 0x1, "MODIFY": 0x2,
    "ATTRIB": 0x4, "CLOSE_NOWRITE": 0x10, "CLOSE_WRITE": 0x8, "DELETE": 0x200,
    "DELETE_SELF": 0x400, "FS_ERROR": 0x8000,
}
_ONDIR = 0x40000000
_ATTRIBUTIONS = ("exact", "ambiguous", "late", "unknown")
_REASONS = {
    1: "queue_overflow", 2: "process_messages", 3: "max_dirs", 4: "max_processes", 5: "walk",
}
_NAMES_MAX = 4096
_EVENT = struct.Struct("<HIQIIQIHH")
_DIR = struct.Struct("<HIIIIHHQ")
_PROC = struct.Struct("<HIIIIIQII16sIIQII")
_STR = struct.Struct("<HIH")
_TYPES = tuple(EVENT_TYPES.items())


class Broken(Exception):
    """A rule is broken: the whole block is invalid."""


class Decoder:
    """The records of one block: definitions are forgotten between blocks."""

    def __init__(self, first_event):
        self.number = first_event
        self.dirs, self.procs, self.strings = {}, {}, {}
        self.paths, self.processes = {}, {}
        self.clock = (0, 0)

    def items(self, payload):
        """Everything in the block but definitions."""
        take = {
            1: self._event, 2: self._dir, 3: self._proc, 4: self._str,
            5: self._loss, 6: self._stats, 7: self._end, 8: self._clock,
        }
        items, at, end = [], 0, len(payload)
        while at < end:
            length = payload[at + 1] * SLOT
            if length == 0 or at + length > end:
                raise Broken("a record's length")
            kind = take.get(payload[at])
            if kind is not None:
                item = kind(payload[at : at + length])
                if item is not None:
                    items.append(item)
            at += length
        return items

    def _wall(self, ns):
        time_ns, realtime_ns = self.clock
        return (realtime_ns + ns - time_ns) % 2**64

    def _event(self, record):
        flags, dir1, time_ns, mask, proc, handle, dir2, len1, len2 = _EVENT.unpack_from(record, 2)
        if 40 + len1 + len2 > len(record):
            raise Broken("a name longer than its record")
        name1, name2 = record[40 : 40 + len1], record[40 + len1 : 40 + len1 + len2]
        for known, wanted in ((self.dirs, dir1), (self.dirs, dir2), (self.procs, proc)):
            if wanted and wanted not in known:
                raise Broken("an id that is not defined")
        number, self.number = self.number, self.number + 1
        return Event(
            time_ns, self._wall(time_ns), tuple(name for name, bit in _TYPES if mask & bit),
            self._path(dir1, name1), self._path(dir2, name2), bool(mask & _ONDIR),
            self._process(proc), _ATTRIBUTIONS[flags & 3], bool(flags & 4), bool(flags & 8),
            bool(flags & 16), handle, number,
        )

    def _path(self, dir_id, name):
        if dir_id == 0:
            return None
        path = self.paths.get(dir_id)
        if path is None:
            path = self.paths[dir_id] = self._dir_path(dir_id)
        if not name:
            return path
        return path + name if path.endswith(b"/") else path + b"/" + name

    def _dir_path(self, dir_id):
        names = []
        while dir_id:
            dir_id, name = self.dirs[dir_id]
            names.append(name)
        names.reverse()
        if len(names) > 1 and names[0] == b"/":
            names[0] = b""
        return b"/".join(names)

    def _dir(self, record):
        _, number, parent, _, _, length, _, _ = _DIR.unpack_from(record, 2)
        if number == 0 or 32 + length > len(record) or length > _NAMES_MAX:
            raise Broken("a directory's name or number")
        if parent and parent not in self.dirs:
            raise Broken("an id that is not defined")
        above = parent
        while above:
            if above == number:
                raise Broken("directories in a cycle")
            above = self.dirs[above][0]
        self.dirs[number] = (parent, record[32 : 32 + length])
        self.paths.clear()

    def _proc(self, record):
        if len(record) < 2 * SLOT:
            raise Broken("a process of less than two slots")
        fields = _PROC.unpack_from(record, 2)
        number = fields[1]
        if number == 0 or number in self.procs:
            raise Broken("a process defined twice")
        for string in (fields[10], fields[11], fields[13], fields[14]):
            if string and string not in self.strings:
                raise Broken("an id that is not defined")
        self.procs[number] = fields

    def _process(self, number):
        if number not in self.procs:
            return None
        # Parents first, and not by recursion: a line of them can be long.
        line = []
        while number and number in self.procs and number not in self.processes:
            if number in line:
                break
            line.append(number)
            number = self.procs[number][4]
        for number in reversed(line):
            self.processes[number] = self._made(self.procs[number])
        return self.processes[line[0] if line else number]

    def _made(self, fields):
        flags, _, pid, ppid, parent, _, start, uid, gid, comm, exe, cgroup, cg_id, user, cmd = fields
        text = self.strings.get
        cmdline = text(cmd)
        has_cred = flags & 2
        return Process(
            pid or None, ppid or None, comm.partition(b"\0")[0] if flags & 1 else None, text(exe),
            uid if has_cred else None, gid if has_cred else None, text(user), text(cgroup),
            cg_id or None, None if cmdline is None else tuple(cmdline.split(b"\0")),
            None if cmdline is None else "proc" if flags & 8 else "exec",
            cmdline is not None and bool(flags & 16), start or None, self.processes.get(parent),
        )

    def _str(self, record):
        _, number, length = _STR.unpack_from(record, 2)
        if number == 0 or number in self.strings:
            raise Broken("a string defined twice")
        if 12 + length > len(record) or length > _NAMES_MAX:
            raise Broken("a string longer than its record")
        self.strings[number] = record[12 : 12 + length]

    def _loss(self, record):
        reason, _, last, count, _ = struct.unpack_from("<IQQQQ", record, 4)
        known = None if count == 2**64 - 1 else count
        return Loss(last, self._wall(last), _REASONS.get(reason, "other"), known)

    def _stats(self, record):
        _, time_ns, realtime_ns, kernel, events, losses = struct.unpack_from("<IQQQQQ", record, 4)
        return Stats(time_ns, realtime_ns, kernel, events, losses)

    def _end(self, record):
        reason, time_ns, events, losses = struct.unpack_from("<IQQQ", record, 4)
        return End(time_ns, self._wall(time_ns), reason, events, losses)

    def _clock(self, record):
        self.clock = struct.unpack_from("<QQ", record, 8)
