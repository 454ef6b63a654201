"""What a stream holds. Names and paths are bytes: they are in no particular encoding."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import NamedTuple, Optional


class Process(NamedTuple):
    """A process between two changes of its identity. What is not known is None."""

    pid: Optional[int]
    ppid: Optional[int]
    #: The kernel's name of it, at most 15 bytes.
    comm: Optional[bytes]
    #: As given to exec.
    exe: Optional[bytes]
    uid: Optional[int]
    gid: Optional[int]
    user: Optional[bytes]
    cgroup: Optional[bytes]
    #: The kernel's number of the control group.
    cgroup_id: Optional[int]
    #: The words of the command line.
    cmdline: Optional[tuple]
    #: "exec" or "proc": told with the exec, or read after the fact.
    cmdline_from: Optional[str]
    #: Whether these are the first 4096 bytes of a longer one.
    cmdline_cut: bool
    #: CLOCK_MONOTONIC ns of the fork; None before the watch began.
    start_ns: Optional[int]
    #: The parent's image at the fork.
    parent: Optional[Process]

    def ancestors(self):
        """The parents, nearest first, as far as they are known."""
        child = self
        for _ in range(64):
            parent = child.parent
            if parent is None or parent.pid != child.ppid:
                return
            yield parent
            child = parent


class Event(NamedTuple):
    """Something changed. The kernel merges what happens to one object, so there can be several
    types, in the order in which they happened."""

    #: CLOCK_MONOTONIC, ns.
    time_ns: int
    #: Wall time, ns since 1970.
    realtime_ns: int
    #: Names such as "CREATE".
    types: tuple
    #: None outside the watched directories. Of a rename the new one.
    path: Optional[bytes]
    #: Of a rename, and None outside the watched directories.
    old_path: Optional[bytes]
    is_dir: bool
    process: Optional[Process]
    #: "exact", "ambiguous", "late" or "unknown": how sure the process is.
    attribution: str
    #: Found by walking a directory or a look at a name, not seen happening.
    found: bool
    #: Half of an exchange of two names.
    exchange: bool
    #: The path may be that of a moment before or after.
    unsure: bool
    #: A hash of the object's handle; 0 unknown. Of FS_ERROR: errno and, above 32 bits, the count.
    object: int
    #: The number of the event in its stream.
    number: int

    @property
    def time(self):
        """Wall time as a datetime, in microseconds."""
        seconds, ns = divmod(self.realtime_ns, 1_000_000_000)
        return datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=ns // 1000)


class Loss(NamedTuple):
    """Something is missing here."""

    time_ns: int
    realtime_ns: int
    #: "queue_overflow" and so on.
    reason: str
    #: How many; None unknown.
    count: Optional[int]


class Stats(NamedTuple):
    """Counters, now and then."""

    time_ns: int
    realtime_ns: int
    kernel_events: int
    events: int
    losses: int


class End(NamedTuple):
    """The stream was closed in order."""

    time_ns: int
    realtime_ns: int
    #: 0 stopped by the user, 1 the watch failed.
    reason: int
    events: int
    losses: int


class Gap(NamedTuple):
    """Damage that a salvaging reader passed over."""

    offset: int
    what: str
    #: Bytes passed over.
    bytes: int
    #: Events missing; None where that cannot be told.
    events: Optional[int]
