"""The records of one block, made into events. All definitions are forgotten with the block.

Memory is bounded by the block: at most 65472 bytes of records refer to at most 1023 directories, 511
images and 1023 strings, and everything made of them is dropped with the decoder.
"""

from functools import lru_cache
from typing import Callable, Dict, List, Mapping, Optional, Tuple

from . import layout
from .errors import Invalid
from .model import End, Event, Item, Loss, Note, Pause, Process, Stats

_FLAGS = [(layout.ATTRIBUTIONS[bits & 3], bool(bits & 4), bool(bits & 16), bool(bits & 8))
          for bits in range(32)]
"""Attribution, found, unsure, exchange by the low five bits of an EVENT's flags."""

_HAS_OLD = 0x10000000 | 0x40
"""RENAME and MOVED_FROM tell of the place before."""


@lru_cache(maxsize=4096)
def types_of(mask: int) -> Tuple[str, ...]:
    """The event types in a mask, in the order in which they happened."""
    return tuple(name for name, bit in layout.TYPES if mask & bit)


class Decoder:
    """Walks the records of one block."""

    def __init__(self, payload: bytes) -> None:
        self._data = payload
        self._dirs: Dict[int, Tuple[int, bytes]] = {}
        self._paths: Dict[int, bytes] = {}
        self._procs: Dict[int, Process] = {}
        self._strings: Dict[int, bytes] = {}
        # Wall time minus CLOCK_MONOTONIC.
        self._wall = 0
        self._items: List[Item] = []
        self.events = 0

    def decode(self) -> List[Item]:
        """All that the block tells, in its order; raises `Invalid` if one record breaks a rule."""
        data, end = self._data, len(self._data)
        readers = self._readers()
        at, has_clock, ended = 0, False, False
        while at < end:
            tag, length = data[at], data[at + 1] * layout.SLOT
            if not length or length > end - at:
                raise Invalid(_at(at, "a record of no slots, or beyond the block"))
            read = readers.get(tag)
            if read is not None:
                if ended:
                    raise Invalid(_at(at, "a record behind the end of the stream"))
                if tag in layout.TIMED and not has_clock:
                    raise Invalid(_at(at, "a record with a time before the block's first clock"))
                read(at, length)
                has_clock |= tag == layout.CLOCK
                ended = tag == layout.END
            at += length
        return self._items

    def _readers(self) -> Dict[int, Callable[[int, int], None]]:
        return {layout.EVENT: self._event, layout.DIR: self._dir, layout.PROC: self._proc,
                layout.STR: self._str, layout.LOSS: self._loss, layout.STATS: self._stats,
                layout.END: self._end, layout.CLOCK: self._clock, layout.GAP: self._gap,
                layout.NOTE: self._note}

    def _event(self, at: int, length: int) -> None:
        data = self._data
        dir_id, time, mask, proc_id, handle, old_id, name_len, old_len = (
            layout.EVENT_FIELDS.unpack_from(data, at + 4))
        name_at = at + layout.EVENT_NAMES_AT
        old_at = name_at + name_len
        if old_at + old_len > at + length:
            raise Invalid(_at(at, "a name is longer than its record"))
        path = self._place(at, dir_id, data[name_at:old_at]) if dir_id else None
        old_path = self._place(at, old_id, data[old_at:old_at + old_len]) if old_id else None
        via = old_path if data[at + 2] & 64 else None
        if not mask & _HAS_OLD:
            old_path = None
        process = None
        if proc_id:
            process = self._procs.get(proc_id)
            if process is None:
                raise Invalid(_at(at, "an event of a process that the block does not define"))
        attribution, found, unsure, exchange = _FLAGS[data[at + 2] & 31]
        self.events += 1
        self._items.append(Event(
            time, time + self._wall & layout.U64, types_of(mask), path, old_path, process, attribution,
            found, unsure, exchange, mask & layout.IS_DIR != 0, handle, mask,
            data[at + 2] & 32 != 0, via))

    def _place(self, at: int, dir_id: int, name: bytes) -> bytes:
        path = self._paths.get(dir_id)
        if path is None:
            path = self._path_of(at, dir_id)
        if not name:
            return path
        return path + name if path == b"/" else b"%b/%b" % (path, name)

    def _path_of(self, at: int, dir_id: int) -> bytes:
        """The path of a directory at this moment; those on the way are kept, too."""
        way = []
        known = None
        while known is None:
            if dir_id not in self._dirs:
                raise Invalid(_at(at, "an event in a directory that the block does not define"))
            way.append(dir_id)
            parent, name = self._dirs[dir_id]
            known = name if parent == 0 else self._paths.get(parent)
            dir_id = parent
        if dir_id == 0:
            self._paths[way.pop()] = known
        for child in reversed(way):
            known = (b"/" if known == b"/" else known + b"/") + self._dirs[child][1]
            self._paths[child] = known
        return known

    def _dir(self, at: int, length: int) -> None:
        dir_id, parent, _, _, name_len, _, _ = layout.DIR_FIELDS.unpack_from(self._data, at + 4)
        start = at + layout.DIR_NAME_AT
        if name_len > layout.TEXT_MAX or start + name_len > at + length:
            raise Invalid(_at(at, "a name is longer than its record"))
        if dir_id == 0:
            raise Invalid(_at(at, "a definition of id 0"))
        if parent and parent not in self._dirs:
            raise Invalid(_at(at, "a directory whose parent the block does not define before"))
        if dir_id in self._dirs:
            # A rename: the directories below it have other paths from here on.
            self._check_cycle(at, dir_id, parent)
            self._paths.clear()
        self._dirs[dir_id] = (parent, self._data[start:start + name_len])

    def _check_cycle(self, at: int, dir_id: int, above: int) -> None:
        # Ends: what is defined so far has no cycle.
        while above:
            if above == dir_id:
                raise Invalid(_at(at, "a directory below itself"))
            above = self._dirs[above][0]

    def _proc(self, at: int, length: int) -> None:
        if length < layout.PROC_SLOTS * layout.SLOT:
            raise Invalid(_at(at, "a process of one slot"))
        (proc_id, pid, ppid, parent, prev, start, uid, gid, comm, exe, cgroup, cgroup_id, user, cmdline,
         exec_id, exe_root) = layout.PROC_FIELDS.unpack_from(self._data, at + 4)
        flags = self._data[at + 2]
        self._check_new(at, proc_id, self._procs)
        has_ids = flags & layout.PROC_IDS
        self._procs[proc_id] = Process(
            id=proc_id, pid=pid, ppid=ppid or None, parent_id=parent, prev_id=prev, start_ns=start,
            comm=comm.partition(b"\0")[0] if flags & layout.PROC_COMM else None,
            uid=uid if has_ids else None, gid=gid if has_ids else None,
            exe=self._string(at, exe), exe_root=exe_root, exec=self._string(at, exec_id),
            user=self._string(at, user), cgroup=self._string(at, cgroup),
            cgroup_id=cgroup_id, cmdline=self._string(at, cmdline),
            exe_late=bool(flags & layout.PROC_EXE_LATE),
            exe_read_late=bool(flags & layout.PROC_EXE_READ_LATE),
            exe_unsure=bool(flags & layout.PROC_EXE_UNSURE), exe_cut=bool(flags & layout.PROC_EXE_CUT),
            cmdline_late=bool(flags & layout.PROC_CMDLINE_LATE),
            cmdline_cut=bool(flags & layout.PROC_CMDLINE_CUT),
            # Only what is defined before: so there is never a cycle.
            parent=self._procs.get(parent))

    def _string(self, at: int, string_id: int) -> Optional[bytes]:
        if not string_id:
            return None
        string = self._strings.get(string_id)
        if string is None:
            raise Invalid(_at(at, "a process with a string that the block does not define"))
        return string

    def _str(self, at: int, length: int) -> None:
        string_id, size, _ = layout.STR_FIELDS.unpack_from(self._data, at + 4)
        start = at + layout.STR_BYTES_AT
        if size > layout.TEXT_MAX or start + size > at + length:
            raise Invalid(_at(at, "a string is longer than its record"))
        self._check_new(at, string_id, self._strings)
        self._strings[string_id] = self._data[start:start + size]

    @staticmethod
    def _check_new(at: int, new: int, known: Mapping[int, object]) -> None:
        if new == 0:
            raise Invalid(_at(at, "a definition of id 0"))
        if new in known:
            raise Invalid(_at(at, "an id defined twice"))

    def _loss(self, at: int, _: int) -> None:
        reason, first, last, count, total, dir_id = layout.LOSS_FIELDS.unpack_from(self._data, at + 4)
        self._items.append(Loss(
            last, last + self._wall & layout.U64, first, layout.LOSS_REASONS.get(reason, "other"), reason,
            None if count == layout.UNKNOWN_COUNT else count, total,
            self._place(at, dir_id, b"") if dir_id else None))

    def _stats(self, at: int, _: int) -> None:
        (ring_peak, time, realtime, kernel_events, events, losses, dirs, processes
         ) = layout.STATS_FIELDS.unpack_from(self._data, at + 4)
        self._items.append(Stats(time, realtime, ring_peak, kernel_events, events, losses, dirs, processes))

    def _end(self, at: int, _: int) -> None:
        reason, time, events, losses = layout.END_FIELDS.unpack_from(self._data, at + 4)
        self._items.append(End(time, time + self._wall & layout.U64,
                               layout.END_REASONS.get(reason, "other"), events, losses,
                               not self._data[at + 2] & layout.END_INCOMPLETE))

    def _gap(self, at: int, _: int) -> None:
        cause, time, from_, to, stream_id, events = layout.GAP_FIELDS.unpack_from(self._data, at + 4)
        self._items.append(Pause(
            time, from_, to, layout.GAP_CAUSES.get(cause, "other"), cause,
            stream_id if any(stream_id) else None, None if events == layout.UNKNOWN_COUNT else events))

    def _note(self, at: int, length: int) -> None:
        what, time, types, path_len, text_len = layout.NOTE_FIELDS.unpack_from(self._data, at + 4)
        start = at + layout.NOTE_TEXTS_AT
        middle, end = start + path_len, start + path_len + text_len
        if path_len + text_len > layout.NOTE_TEXT_MAX or end > at + length:
            raise Invalid(_at(at, "a note is longer than its record, or than allowed"))
        self._items.append(Note(
            time, time + self._wall & layout.U64, layout.NOTES.get(what, "other"), what, types_of(types),
            bool(self._data[at + 2] & layout.NOTE_RECURSIVE), self._data[start:middle], self._data[middle:end]))

    def _clock(self, at: int, _: int) -> None:
        _, time, realtime = layout.CLOCK_FIELDS.unpack_from(self._data, at + 4)
        self._wall = realtime - time


def _at(at: int, what: str) -> str:
    return f"slot {at // layout.SLOT} of the block: {what}"
