"""One line for each type of an event, as `fsmon decode -f json` prints them."""

import re
from base64 import b64encode
from datetime import datetime, timedelta
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from .model import Event, Loss, Note, Pause, Process
from .text import is_utf8


class Line(NamedTuple):
    """One type of an event, with the paths that belong to it."""

    type: str
    path: Optional[bytes]
    old_path: Optional[bytes]
    """RENAME alone has one."""
    event: Event


def lines(event: Event) -> Iterator[Line]:
    """The lines of an event in the order in which its types happened.

    MOVED_FROM is told with the place that it left, MOVED_TO with the one that it came to; a place that is
    outside the watched paths gives no such line.
    """
    for name in event.types:
        if name == "MOVED_FROM":
            if event.old_path is not None:
                yield Line(name, event.old_path, None, event)
        elif name == "RENAME":
            yield Line(name, event.path, event.old_path, event)
        elif name != "MOVED_TO" or event.path is not None:
            yield Line(name, event.path, None, event)


# What changes how lines look or where they end is escaped: controls, and characters that cannot be seen.
_ESCAPED = re.compile(
    '["\\\\\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff'
    "\ufff9-\ufffb\U000e0000-\U000e007f]")
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(match: "re.Match[str]") -> str:
    char = match.group()
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 1023):04x}"


def _quoted(name: bytes) -> str:
    return '"' + _ESCAPED.sub(_escape, name.decode("utf-8", "replace")) + '"'


def _base64(name: bytes) -> str:
    return '"' + b64encode(name).decode("ascii") + '"'


_EPOCH = datetime(1970, 1, 1)

_SENTENCES = {"watch_began": "watching ", "watch_ended": "no longer watching ", "watch_pending": "waiting for ",
              "watch_failed": "cannot watch ", "segment_deleted": "deleted "}


def _sentence(note: Note) -> bytes:
    """A note as a sentence for people, with the bytes of its path and text as they are."""
    if note.what not in _SENTENCES and not note.path and not note.text:
        return b"something that this version does not know"
    extent = f" ({', '.join(note.types)})" if note.types else ""
    extent += ", with everything below it" if note.recursive else ""
    behind = {"watch_began": extent, "watch_pending": " to appear" + extent,
              "segment_deleted": " before it reached its age"}
    parts = [_SENTENCES.get(note.what, "").encode(), note.path, behind.get(note.what, "").encode()]
    if note.text:
        parts += [b": " if note.path else b"", note.text]
    return b"".join(parts)


class JsonLines:
    """Makes lines of JSON. Keeps what repeats from one line to the next: processes, seconds."""

    def __init__(self, chain: bool = False, cmdline: bool = False) -> None:
        self._chain = chain
        self._cmdline = cmdline
        self._second = (-1, "")
        self._processes: Dict[int, Tuple[Process, str]] = {}

    def of(self, item: Union[Event, Loss, Pause, Note]) -> List[str]:
        """The lines of an event, a loss, a pause or a note, each without its end of line."""
        if isinstance(item, Loss):
            return [self.loss(item)]
        if isinstance(item, Pause):
            return [self.pause(item)]
        if isinstance(item, Note):
            return [self.note(item)]
        return [self.line(line) for line in lines(item)]

    def loss(self, loss: Loss) -> str:
        """The line of a loss."""
        count = "" if loss.lost is None else f',"lost":{loss.lost}'
        parts = [self._head(loss.realtime_ns, "LOSS")]
        if loss.path is not None:
            parts.append(f',"path":{_quoted(loss.path)}')
        parts.append(f',"reason":"{loss.reason}"{count}')
        if loss.path is not None and not is_utf8(loss.path):
            parts.append(f',"path_b64":{_base64(loss.path)}')
        return "".join(parts) + "}"

    def pause(self, pause: Pause) -> str:
        """The line of a time for which nothing was recorded: a `GAP` line."""
        parts = [self._head(pause.realtime_ns, "GAP")]
        for name, realtime_ns in (("from", pause.from_ns), ("to", pause.realtime_ns)):
            parts.append(f',"{name}":"{self._time(realtime_ns)}"')
        parts.append(f',"cause":"{pause.cause}"')
        if pause.stream_id is not None:
            parts.append(f',"stream":"{pause.stream_id.hex()}"')
        if pause.events is not None:
            parts.append(f',"events":{pause.events}')
        return "".join(parts) + "}"

    def note(self, note: Note) -> str:
        """The line of a note."""
        parts = [self._head(note.realtime_ns, "NOTE")]
        parts.append(f',"note":{_quoted(_sentence(note))},"what":"{note.what}"')
        if note.path:
            parts.append(f',"path":{_quoted(note.path)}')
        if note.types:
            parts.append(',"types":[' + ",".join(f'"{name}"' for name in note.types) + "]")
        if note.recursive:
            parts.append(',"recursive":true')
        if note.text:
            parts.append(f',"text":{_quoted(note.text)}')
        if not is_utf8(note.path):
            parts.append(f',"path_b64":{_base64(note.path)}')
        return "".join(parts) + "}"

    def line(self, line: Line) -> str:
        """The line of one type."""
        event = line.event
        parts = [self._head(event.realtime_ns, line.type)]
        if line.path is not None:
            parts.append(f',"path":{_quoted(line.path)}')
        if line.old_path is not None:
            parts.append(f',"old_path":{_quoted(line.old_path)}')
        via = None if line.type in ("RENAME", "MOVED_FROM") else event.via
        if via is not None:
            parts.append(f',"via":{_quoted(via)}')
        if event.is_dir:
            parts.append(',"is_dir":true')
        is_nameless = line.path is None and line.old_path is None
        if event.object and line.type != "FS_ERROR" and (is_nameless or event.named):
            parts.append(f',"object":"{event.object:016x}"')
        if event.process is not None:
            parts.append(self._process(event.process))
        if event.attribution != "exact":
            parts.append(f',"attribution":"{event.attribution}"')
        for name, value in (("found", event.found), ("exchange", event.exchange), ("unsure", event.unsure)):
            if value:
                parts.append(f',"{name}":true')
        for name, path in (("path", line.path), ("old_path", line.old_path), ("via", via)):
            if path is not None and not is_utf8(path):
                parts.append(f',"{name}_b64":{_base64(path)}')
        if line.type == "FS_ERROR":
            parts.append(f',"error":{event.error},"error_count":{event.error_count}')
        parts.append("}")
        return "".join(parts)

    def _head(self, realtime_ns: int, name: str) -> str:
        return f'{{"time":"{self._time(realtime_ns)}","event_type":"{name}"'

    def _time(self, realtime_ns: int) -> str:
        second, nanos = divmod(realtime_ns, 1_000_000_000)
        if second != self._second[0]:
            self._second = (second, (_EPOCH + timedelta(seconds=second)).isoformat())
        return f"{self._second[1]}.{nanos:09}Z"

    def _process(self, process: Process) -> str:
        kept = self._processes.get(id(process))
        if kept is not None:
            return kept[1]
        if len(self._processes) >= 1024:
            self._processes.clear()
        fields = "".join(self._fields(process))
        # Kept with the process itself, so that its identity is nobody else's.
        self._processes[id(process)] = (process, fields)
        return fields

    def _fields(self, process: Process) -> Iterator[str]:
        if process.pid:
            yield f',"pid":{process.pid}'
        if process.ppid:
            yield f',"ppid":{process.ppid}'
        if process.comm is not None:
            yield f',"cmd":{_quoted(process.comm)}'
        if process.exe:
            yield from _exe(process, process.exe)
        if process.exec:
            yield f',"exec":{_quoted(process.exec)}'
        for name, path in (("exe", process.exe), ("exec", process.exec)):
            if path and not is_utf8(path):
                yield f',"{name}_b64":{_base64(path)}'
        if process.uid is not None:
            yield f',"uid":{process.uid},"gid":{process.gid}'
        if process.user:
            yield f',"user":{_quoted(process.user)}'
        if process.cgroup:
            yield f',"cgroup":{_quoted(process.cgroup)}'
        elif process.cgroup_id:
            yield f',"cgroup":"id:{process.cgroup_id}"'
        if self._chain:
            yield from _chain(process)
        if self._cmdline and process.cmdline:
            yield from _cmdline(process, process.cmdline)


def _chain(process: Process) -> Iterator[str]:
    entries = []
    for ancestor in process.chain():
        name = "" if ancestor.comm is None else f',"cmd":{_quoted(ancestor.comm)}'
        entries.append(f'{{"pid":{ancestor.pid}{name}}}')
    if entries:
        yield f',"chain":[{",".join(entries)}]'


def _exe(process: Process, path: bytes) -> Iterator[str]:
    yield f',"exe":{_quoted(path)}'
    if process.exe_root:
        yield f',"exe_root":"mnt:[{process.exe_root}]"'
    flags = (("exe_late", process.exe_read_late), ("exe_unsure", process.exe_unsure), ("exe_cut", process.exe_cut))
    for name, holds in flags:
        if holds:
            yield f',"{name}":true'


def _cmdline(process: Process, words: bytes) -> Iterator[str]:
    yield ',"cmdline":[' + ",".join(_quoted(word) for word in words.split(b"\0")) + "]"
    yield f',"cmdline_from":"{"proc" if process.cmdline_late else "exec"}"'
    if process.cmdline_cut:
        yield ',"cmdline_cut":true'
    if not is_utf8(words):
        yield f',"cmdline_b64":{_base64(words)}'


def json_line(item: Union[Line, Loss, Pause, Note], *, chain: bool = False, cmdline: bool = False) -> str:
    """A line of JSON, without its end of line. For many, `JsonLines` is faster."""
    maker = JsonLines(chain, cmdline)
    return maker.line(item) if isinstance(item, Line) else maker.of(item)[0]
