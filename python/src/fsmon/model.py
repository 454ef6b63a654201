"""What a stream tells: events and the processes behind them, losses, gaps, pauses, notes, counters, the end.

Times ending in `_ns` are nanoseconds. `time_ns` is CLOCK_MONOTONIC of the boot in the file header;
`realtime_ns` is wall time since 1970, UTC. Both are 0 to 2**64 - 1.
"""

from typing import Any, Iterator, List, NamedTuple, Optional, Tuple, Union

from .text import text

CHAIN_MAX = 64
"""Ancestors of a process that `Process.chain` gives at the most."""


class Process:
    """A process image: a process between two changes of its identity (fork, exec, credentials, cgroup).

    Strings are bytes as the kernel gave them; None is unknown. `id` keeps its meaning throughout the
    stream, but for blocks marked RENUMBERED. `parent` is the parent's image at the fork, where the same
    block tells it.
    """

    __slots__ = ("id", "pid", "ppid", "parent_id", "prev_id", "start_ns", "comm", "uid", "gid", "exe",
                 "exe_root", "exec", "user", "cgroup", "cgroup_id", "cmdline", "exe_late", "exe_read_late", "exe_unsure", "exe_cut",
                 "cmdline_late", "cmdline_cut",
                 "parent")

    id: int
    pid: int
    ppid: Optional[int]
    parent_id: int
    """The image of the parent at the fork; 0 unknown. It may be one that `parent` does not have."""
    prev_id: int
    """The image that this one took over from; 0 none."""
    start_ns: int
    """When it was forked, CLOCK_MONOTONIC; 0 before the watch began."""
    comm: Optional[bytes]
    """At most 16 bytes."""
    uid: Optional[int]
    gid: Optional[int]
    exe: Optional[bytes]
    """The path of the file that runs, at most 4096 bytes. Streams written before fsmon 1.0 have the file
    name given to exec here, and no `exec`."""
    exe_root: int
    """The number of the mount namespace that `exe` holds in; 0 for that of fsmon."""
    exec: Optional[bytes]
    """The file name given to exec, at most 4096 bytes."""
    user: Optional[bytes]
    cgroup: Optional[bytes]
    cgroup_id: int
    """The kernel's id of the cgroup; 0 unknown."""
    cmdline: Optional[bytes]
    """The words with zero bytes between them, at most 4096 bytes."""
    exe_late: bool
    """`exe` was read from /proc, not seen at exec."""
    exe_read_late: bool
    """`exe` was read after the exec: it may be that of another exec."""
    exe_unsure: bool
    """A rename ran while `exe` was read, or its filesystem is mounted nowhere any more."""
    exe_cut: bool
    """`exe` is the end of a longer path."""
    cmdline_late: bool
    """`cmdline` was read from /proc, not told with the exec."""
    cmdline_cut: bool
    """`cmdline` is the beginning of a longer one."""
    parent: "Optional[Process]"

    def __init__(self, **fields: Any) -> None:
        for name in self.__slots__:
            setattr(self, name, fields[name])

    @property
    def cmd(self) -> Optional[str]:
        """`comm` as lossy text."""
        return text(self.comm)

    @property
    def args(self) -> Optional[List[bytes]]:
        """The words of the command line."""
        return None if self.cmdline is None else self.cmdline.split(b"\0")

    def chain(self) -> "Iterator[Process]":
        """The ancestors, nearest first, at most 64.

        Ends where the parent is unknown, or is not the process that `ppid` names.
        """
        child = self
        for _ in range(CHAIN_MAX):
            parent = child.parent
            if parent is None or parent.pid != (child.ppid or 0):
                return
            yield parent
            child = parent

    def _key(self) -> Tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__[:-1])

    def __eq__(self, other: object) -> bool:
        """The same image with the same ancestors. Not by recursion: a line can be hundreds long."""
        if not isinstance(other, Process):
            return NotImplemented
        one: Optional[Process] = self
        two: Optional[Process] = other
        while one is not two:
            if one is None or two is None or one._key() != two._key():
                return False
            one, two = one.parent, two.parent
        return True

    def __hash__(self) -> int:
        return hash((self.id, self.pid))

    def __repr__(self) -> str:
        return f"<Process {self.pid} {self.comm!r} exe={self.exe!r} uid={self.uid}>"


class Event(NamedTuple):
    """Something changed. The kernel merges pending events of one object: `types` can be several."""

    time_ns: int
    """When it was read from the kernel."""
    realtime_ns: int
    types: Tuple[str, ...]
    """Names of event types in the order in which they happened. Empty if all are unknown here."""
    path: Optional[bytes]
    """None: outside the watched paths, or the directory is unknown. RENAME: the new place."""
    old_path: Optional[bytes]
    """RENAME, MOVED_FROM: the old place; None if that is outside the watched paths."""
    process: Optional[Process]
    attribution: str
    """`exact`, `ambiguous` (one of two images of one process), `late` (read after the fact), `unknown`."""
    found: bool
    """Found by walking a directory or by a look at the name, not seen being made."""
    unsure: bool
    """The path may be that of a moment before or after."""
    exchange: bool
    """A RENAME of an exchange of two names."""
    is_dir: bool
    object: int
    """A hash of the object's file handle, 0 unknown. FS_ERROR: see `error`."""
    mask: int
    """The kernel's bits."""
    named: bool = False
    """CREATE: events told of the file before, when it had no name; `object` joins them."""
    via: Optional[bytes] = None
    """The name through which the file was changed, where that is not watched: a hard link."""

    @property
    def error(self) -> Optional[int]:
        """FS_ERROR: the errno."""
        return self.object & 0xFFFFFFFF if self.mask & 0x8000 else None

    @property
    def error_count(self) -> Optional[int]:
        """FS_ERROR: how many errors."""
        return self.object >> 32 if self.mask & 0x8000 else None


class Loss(NamedTuple):
    """fsmon itself missed something, and knows it: between `first_time_ns` and `time_ns`."""

    time_ns: int
    """When it was noticed."""
    realtime_ns: int
    first_time_ns: int
    """Nothing before was lost."""
    reason: str
    """queue_overflow, process_messages, max_dirs, max_processes, walk, unmarked, mount, unmount, max_files, tables_full, name_too_long, disk; `other` if not known here."""
    reason_code: int
    lost: Optional[int]
    """How many; None unknown."""
    total: int
    """Losses of this reason since the start."""
    path: Optional[bytes] = None
    """The directory that it concerns; None where there is none, or it is not known."""


class Gap(NamedTuple):
    """Bytes or blocks that could not be read: what `salvage` passed over, or a segment that is gone."""

    source: str
    offset: int
    """Bytes from the beginning of the source to what was passed over."""
    length: int
    """Bytes passed over; 0 where bytes are missing."""
    blocks: Optional[int]
    """Blocks that are missing; None unknown."""
    events: Optional[int]
    """EVENT records that are missing; None unknown."""
    what: str


class Pause(NamedTuple):
    """For a time nothing was recorded: a GAP record, the `GAP` lines of JSON.

    `Gap` is another thing: bytes of a stream that could not be read.
    """

    time_ns: int
    """When recording went on, CLOCK_MONOTONIC of this stream's boot."""
    from_ns: int
    """Wall time since 1970: the last moment that is known to be recorded."""
    realtime_ns: int
    """Wall time when recording went on: `to` in JSON."""
    cause: str
    """unknown, stopped, killed, reboot, disk; `other` if not known here."""
    cause_code: int
    stream_id: Optional[bytes]
    """Of the stream before, 16 bytes; its own for a pause within a stream; None unknown."""
    events: Optional[int]
    """EVENT records of that stream before; None unknown."""


class Note(NamedTuple):
    """What is watched, and what the recorder did."""

    time_ns: int
    realtime_ns: int
    what: str
    """watch_began, watch_ended, watch_pending (its path does not exist yet), watch_failed, segment_deleted (before
    it reached its age); `other` if not known here."""
    what_code: int
    types: Tuple[str, ...]
    """Of a watch: the event types that are recorded."""
    recursive: bool
    """Of a watch: it includes everything below its path."""
    path: bytes
    """Of a watch, or the name of a deleted file; may be empty."""
    text: bytes
    """For people; may be empty."""


class Stats(NamedTuple):
    """Counters of fsmon, now and then."""

    time_ns: int
    realtime_ns: int
    ring_peak: int
    """Slots of the ring between reader and writer in use at the most."""
    kernel_events: int
    events: int
    losses: int
    dirs: int
    processes: int


class End(NamedTuple):
    """The stream was closed in order."""

    time_ns: int
    realtime_ns: int
    reason: str
    """`stopped` by the user, the watch `failed`, or `other`."""
    events: int
    """EVENT records in the stream."""
    losses: int
    """LOSS records in the stream."""
    complete: bool = True
    """Whether the writer says that nothing is missing in the stream."""


Item = Union[Event, Loss, Gap, Pause, Note, Stats, End]
