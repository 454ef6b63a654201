"""Tables: numpy, pandas and pyarrow, each where it is installed."""

from ._items import Event
from ._lines import _is_text, _lossy
from ._reader import Reader, open as _open

_NAME = "S24"


def dtypes():
    """numpy's types of the records' first slots, by name: for arrays over the bytes of a block."""
    import numpy

    head = [("tag", "u1"), ("slots", "u1"), ("flags", "<u2")]
    records = {
        "EVENT": [("dir", "<u4"), ("time", "<u8"), ("mask", "<u4"), ("proc", "<u4"),
                  ("object", "<u8"), ("dir2", "<u4"), ("name_len", "<u2"), ("name2_len", "<u2"),
                  ("name", _NAME)],
        "DIR": [("id", "<u4"), ("parent", "<u4"), ("fs", "<u4"), ("generation", "<u4"),
                ("name_len", "<u2"), ("reserved", "<u2"), ("object", "<u8"), ("name", "S32")],
        "PROC": [("id", "<u4"), ("pid", "<u4"), ("ppid", "<u4"), ("parent", "<u4"),
                 ("prev", "<u4"), ("start", "<u8"), ("uid", "<u4"), ("gid", "<u4"),
                 ("comm", "S16"), ("exe", "<u4"), ("cgroup", "<u4")],
        "STR": [("id", "<u4"), ("len", "<u2"), ("reserved", "<u2"), ("text", "S52")],
        "LOSS": [("reason", "<u4"), ("first_time", "<u8"), ("last_time", "<u8"),
                 ("count", "<u8"), ("total", "<u8"), ("reserved", "S24")],
        "STATS": [("ring_peak", "<u4"), ("time", "<u8"), ("realtime", "<u8"),
                  ("kernel_events", "<u8"), ("events", "<u8"), ("losses", "<u8"),
                  ("dirs", "<u4"), ("images", "<u4"), ("reserved", "S8")],
        "END": [("reason", "<u4"), ("time", "<u8"), ("events", "<u8"), ("losses", "<u8"),
                ("reserved", "S32")],
        "CLOCK": [("reserved", "<u4"), ("time", "<u8"), ("realtime", "<u8"), ("rest", "S40")],
    }
    made = {name: numpy.dtype(head + fields) for name, fields in records.items()}
    assert all(dtype.itemsize == 64 for dtype in made.values())
    return made


def _reader(source):
    return source if isinstance(source, Reader) else _open(source)


def to_numpy(source):
    """A structured array, an element for each event: numbers, and paths as objects of bytes."""
    import numpy

    from ._records import EVENT_TYPES

    dtype = numpy.dtype([
        ("time_ns", "u8"), ("realtime", "M8[ns]"), ("mask", "u4"), ("pid", "u4"), ("ppid", "u4"),
        ("uid", "i8"), ("object", "u8"), ("number", "u8"), ("is_dir", "?"), ("found", "?"),
        ("unsure", "?"), ("path", "O"), ("old_path", "O"), ("comm", "S16"),
    ])
    rows = []
    for event in _reader(source):
        process = event.process
        pid, ppid, uid, comm = (0, 0, -1, b"") if process is None else (
            process.pid or 0, process.ppid or 0,
            -1 if process.uid is None else process.uid, process.comm or b"",
        )
        mask = sum(EVENT_TYPES[name] for name in event.types)
        rows.append((
            event.time_ns, event.realtime_ns, mask, pid, ppid, uid, event.object, event.number,
            event.is_dir, event.found, event.unsure, event.path, event.old_path, comm,
        ))
    return numpy.array(rows, dtype=dtype)


_TEXTS = ("path", "old_path", "cmd", "exe", "user", "cgroup", "cmdline")


def _columns(source):
    """A row for each type of each event; text is lossy, and beside paths are the exact bytes
    where they are not text."""
    names = (
        "time", "type", "path", "path_bytes", "old_path", "old_path_bytes", "is_dir", "pid",
        "ppid", "cmd", "exe", "uid", "gid", "user", "cgroup", "cmdline", "attribution", "found",
        "exchange", "unsure", "number",
    )
    columns = {name: [] for name in names}
    for event in _reader(source):
        for row in _rows(event):
            for name, value in zip(names, row):
                columns[name].append(value)
    return columns


def _rows(event: Event):
    process = event.process
    who = (None,) * 9 if process is None else (
        process.pid, process.ppid, _lossy(process.comm), _lossy(process.exe), process.uid,
        process.gid, _lossy(process.user), _lossy(process.cgroup),
        None if process.cmdline is None else _lossy(b" ".join(process.cmdline)),
    )
    for name in event.types:
        path = event.old_path if name == "MOVED_FROM" else event.path
        if path is None and name.startswith("MOVED"):
            continue
        old = event.old_path if name == "RENAME" else None
        yield (
            event.realtime_ns, name, _lossy(path), _raw(path), _lossy(old), _raw(old),
            event.is_dir, *who, event.attribution, event.found, event.exchange, event.unsure,
            event.number,
        )


def _raw(path):
    return None if path is None or _is_text(path) else path


def to_pandas(source):
    """A DataFrame, a row for each type of each event; what repeats is categorical."""
    import pandas

    frame = pandas.DataFrame(_columns(source))
    frame["time"] = pandas.to_datetime(frame["time"].astype("uint64"), unit="ns", utc=True)
    for name in ("pid", "ppid", "uid", "gid"):
        frame[name] = frame[name].astype("UInt32")
    for name in ("type", "cmd", "exe", "user", "cgroup", "attribution"):
        frame[name] = frame[name].astype("category")
    return frame


def to_arrow(source):
    """A pyarrow Table, a row for each type of each event; what repeats is dictionary-encoded."""
    import pyarrow

    text, raw = pyarrow.string(), pyarrow.binary()
    kinds = {
        "time": pyarrow.timestamp("ns", tz="UTC"), "path_bytes": raw, "old_path_bytes": raw,
        "number": pyarrow.uint64(), **{name: text for name in _TEXTS},
        **{name: pyarrow.uint32() for name in ("pid", "ppid", "uid", "gid")},
        **{name: pyarrow.bool_() for name in ("is_dir", "found", "exchange", "unsure")},
    }
    arrays = {}
    for name, values in _columns(source).items():
        array = pyarrow.array(values, type=kinds.get(name, text))
        repeats = name in ("type", "cmd", "exe", "user", "cgroup", "attribution")
        arrays[name] = array.dictionary_encode() if repeats else array
    return pyarrow.table(arrays)
