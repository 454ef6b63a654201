"""Lines of JSON as `fsmon decode -f json` has them: one for each type of an event."""

import base64
import json
from datetime import datetime, timezone

from ._items import Event, Loss


def line(item, chain=False, cmdline=False):
    """The lines for an event or a loss, as dictionaries; none for anything else."""
    if isinstance(item, Event):
        return [fields for name in item.types for fields in _event(item, name, chain, cmdline)]
    if isinstance(item, Loss):
        fields = {"time": _time(item.realtime_ns), "event_type": "LOSS", "reason": item.reason}
        if item.count is not None:
            fields["lost"] = item.count
        return [fields]
    return []


def text(fields):
    """One line."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def _time(ns):
    seconds, ns = divmod(ns, 1_000_000_000)
    when = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{ns:09}Z"


def _event(event, name, chain, cmdline):
    path, old = event.path, event.old_path
    if name == "MOVED_FROM":
        path, old = old, None
    elif name != "RENAME":
        old = None
    if name in ("MOVED_FROM", "MOVED_TO") and path is None:
        return
    fields = {"time": _time(event.realtime_ns), "event_type": name}
    for key, value in (("path", path), ("old_path", old)):
        if value is not None:
            fields[key] = _lossy(value)
    if event.is_dir:
        fields["is_dir"] = True
    if event.process is not None:
        _process(event.process, chain, cmdline, fields)
    if event.attribution != "exact":
        fields["attribution"] = event.attribution
    for key in ("found", "exchange", "unsure"):
        if getattr(event, key):
            fields[key] = True
    for key, value in (("path_b64", path), ("old_path_b64", old)):
        if value is not None and not _is_text(value):
            fields[key] = _exact(value)
    if name == "FS_ERROR":
        fields["error"], fields["error_count"] = event.object & 0xFFFFFFFF, event.object >> 32
    yield fields


def _process(process, chain, cmdline, fields):
    known = {
        "pid": process.pid, "ppid": process.ppid, "cmd": _lossy(process.comm),
        "exe": _lossy(process.exe), "uid": process.uid, "gid": process.gid,
        "user": _lossy(process.user), "cgroup": _lossy(process.cgroup),
    }
    if process.cgroup is None and process.cgroup_id is not None:
        known["cgroup"] = f"id:{process.cgroup_id}"
    fields.update((key, value) for key, value in known.items() if value is not None)
    if chain:
        line = []
        for parent in process.ancestors():
            both = {"pid": parent.pid, "cmd": _lossy(parent.comm)}
            line.append({key: value for key, value in both.items() if value is not None})
        if line:
            fields["chain"] = line
    if cmdline and process.cmdline is not None:
        fields["cmdline"] = [_lossy(word) for word in process.cmdline]
        fields["cmdline_from"] = process.cmdline_from
        if process.cmdline_cut:
            fields["cmdline_cut"] = True
        whole = b"\0".join(process.cmdline)
        if not _is_text(whole):
            fields["cmdline_b64"] = _exact(whole)


def _lossy(value):
    return None if value is None else value.decode("utf-8", "replace")


def _is_text(value):
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _exact(value):
    return base64.b64encode(value).decode("ascii")
