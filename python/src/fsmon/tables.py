"""Events as tables: numpy, pandas, Arrow."""

from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Optional, Tuple

from .structures import numpy
from .errors import MissingPackageError
from .lines import Line, lines
from .model import Event, Process
from .text import is_utf8, text

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import pyarrow

_TIME_MAX = 2**63 - 1
_NO_TIME = -(2**63)
"""What numpy calls NaT: times beyond the year 2262 do not fit."""


def _time(realtime_ns: int) -> int:
    return realtime_ns if realtime_ns <= _TIME_MAX else _NO_TIME


def to_numpy(events: Iterable[Event]) -> "np.ndarray[Any, Any]":
    """A structured array with one row for each event; merged events stay one, see `mask`.

    Fields: time (ns, CLOCK_MONOTONIC), realtime (datetime64[ns], UTC), mask, object, is_dir, found,
    unsure, exchange, attribution (0 exact, 1 ambiguous, 2 late, 3 unknown), pid, ppid, uid, gid (int64, -1
    unknown), and path, old_path, comm as Python objects: bytes, or None.
    """
    module = numpy()
    dtype = module.dtype([
        ("time", "u8"), ("realtime", "M8[ns]"), ("mask", "u4"), ("object", "u8"), ("is_dir", "?"),
        ("found", "?"), ("unsure", "?"), ("exchange", "?"), ("attribution", "u1"), ("pid", "i8"),
        ("ppid", "i8"), ("uid", "i8"), ("gid", "i8"), ("path", "O"), ("old_path", "O"), ("comm", "O")])
    rows: "np.ndarray[Any, Any]" = module.array([_row(event) for event in events], dtype)
    return rows


_ATTRIBUTION = {"exact": 0, "ambiguous": 1, "late": 2, "unknown": 3}


def _row(event: Event) -> Tuple[Any, ...]:
    who: Tuple[Any, ...] = (-1, -1, -1, -1)
    comm = None
    process = event.process
    if process is not None:
        who = tuple(-1 if value is None else value
                    for value in (process.pid, process.ppid, process.uid, process.gid))
        comm = process.comm
    return (event.time_ns, _time(event.realtime_ns), event.mask, event.object, event.is_dir, event.found,
            event.unsure, event.exchange, _ATTRIBUTION[event.attribution], *who, event.path,
            event.old_path, comm)


def _exact(path: Optional[bytes]) -> Optional[bytes]:
    return None if path is None or is_utf8(path) else path


def _cgroup(process: Process) -> Optional[str]:
    return text(process.cgroup) or (f"id:{process.cgroup_id}" if process.cgroup_id else None)


# Name, sort, value of a line, or of a line's process.
_OF_LINE: List[Tuple[str, str, Callable[[Line], Any]]] = [
    ("time", "time", lambda line: _time(line.event.realtime_ns)),
    ("type", "category", lambda line: line.type),
    ("path", "text", lambda line: text(line.path)),
    ("path_bytes", "bytes", lambda line: _exact(line.path)),
    ("old_path", "text", lambda line: text(line.old_path)),
    ("old_path_bytes", "bytes", lambda line: _exact(line.old_path)),
    ("is_dir", "bool", lambda line: line.event.is_dir),
]
_OF_PROCESS: List[Tuple[str, str, Callable[[Process], Any]]] = [
    ("pid", "u4", lambda process: process.pid or None),
    ("ppid", "u4", lambda process: process.ppid),
    ("cmd", "category", lambda process: text(process.comm)),
    ("exe", "category", lambda process: text(process.exe)),
    ("exec", "category", lambda process: text(process.exec)),
    ("uid", "u4", lambda process: process.uid),
    ("gid", "u4", lambda process: process.gid),
    ("user", "category", lambda process: text(process.user)),
    ("cgroup", "category", _cgroup),
    ("cmdline", "category", lambda process: text(process.cmdline)),
]
_OF_EVENT: List[Tuple[str, str, Callable[[Line], Any]]] = [
    ("attribution", "category", lambda line: line.event.attribution),
    ("found", "bool", lambda line: line.event.found),
    ("unsure", "bool", lambda line: line.event.unsure),
    ("exchange", "bool", lambda line: line.event.exchange),
]


def _columns(events: Iterable[Event]) -> Dict[str, Tuple[str, List[Any]]]:
    """The columns of the tables, with their sort; one row for each type of each event."""
    rows = [line for event in events for line in lines(event)]
    columns = {name: (sort, [value(row) for row in rows]) for name, sort, value in _OF_LINE}
    for name, sort, of in _OF_PROCESS:
        columns[name] = (sort, _by_process(rows, of))
    columns.update({name: (sort, [value(row) for row in rows]) for name, sort, value in _OF_EVENT})
    return columns


def _by_process(rows: List[Line], of: Callable[[Process], Any]) -> List[Any]:
    """One value a row, made once for each process: the rows keep them all alive, so ids are theirs."""
    known: Dict[int, Any] = {id(None): None}
    values = []
    for row in rows:
        process = row.event.process
        if process is not None and id(process) not in known:
            known[id(process)] = of(process)
        values.append(known[id(process)])
    return values


def to_pandas(events: Iterable[Event]) -> "pandas.DataFrame":
    """A DataFrame with one row for each type of each event, as `decode -f json` has lines.

    `time` is datetime64[ns, UTC]; `path` is lossy text, and `path_bytes` has the bytes where that is not
    exact; numbers of the process are nullable; what repeats is categorical.
    """
    try:
        import pandas
    except ImportError:
        raise MissingPackageError("this needs pandas: pip install pandas") from None
    module = numpy()
    make: Dict[str, Callable[[List[Any]], Any]] = {
        "time": lambda values: pandas.DatetimeIndex(module.array(values, "M8[ns]"), tz="UTC"),
        "text": lambda values: pandas.array(values, dtype="string"),
        "category": lambda values: pandas.Categorical(values),
        "bytes": lambda values: pandas.Series(values, dtype="object"),
        "bool": lambda values: module.array(values, "?"),
        "u4": lambda values: pandas.array(values, dtype="UInt32"),
    }
    columns = _columns(events)
    return pandas.DataFrame({name: make[sort](values) for name, (sort, values) in columns.items()})


def to_arrow(events: Iterable[Event]) -> "pyarrow.Table":
    """An Arrow table with the rows and columns of `to_pandas`; what repeats is dictionary-encoded."""
    try:
        import pyarrow
    except ImportError:
        raise MissingPackageError("this needs pyarrow: pip install pyarrow") from None
    kinds = {
        "time": pyarrow.timestamp("ns", tz="UTC"), "text": pyarrow.string(), "bytes": pyarrow.binary(),
        "category": pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), "bool": pyarrow.bool_(),
        "u4": pyarrow.uint32(),
    }
    arrays = {}
    for name, (sort, values) in _columns(events).items():
        if sort == "time":
            values = [None if value == _NO_TIME else value for value in values]
        arrays[name] = pyarrow.array(values, kinds[sort])
    return pyarrow.table(arrays)
