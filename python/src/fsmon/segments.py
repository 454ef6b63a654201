"""The files of a directory that `fsmon -o DIR/` writes: segments of one or more streams."""

import os
import re
import threading
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from . import header, layout
from .errors import Invalid, UnsupportedError
from .source import Source

_NAME = re.compile(r"\d{8}T\d{6}Z-([0-9a-f]{8})-(\d+)\.fsmon", re.IGNORECASE)


class Segment(NamedTuple):
    """A file of a stream, as its header says, or its name where the header is damaged."""

    path: str
    tag: bytes
    number: int
    realtime_ns: Optional[int]


def list_segments(folder: str) -> List[Segment]:
    """The streams by age, each with its segments in order; files that tell nothing are the last."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(".fsmon"))
    paths = [os.path.join(folder, name) for name in names]
    found = [_look(path) for path in paths if os.path.isfile(path)]
    begun: Dict[bytes, int] = {}
    for segment in found:
        if segment.realtime_ns is not None:
            begun[segment.tag] = min(segment.realtime_ns, begun.get(segment.tag, layout.U64))

    def order(segment: Segment) -> Tuple[int, bytes, int, str]:
        return begun.get(segment.tag, layout.U64), segment.tag, segment.number, segment.path

    return sorted(found, key=order)


def _look(path: str) -> Segment:
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read(24) or b""
            data += file.read(header.length_of(data) - len(data)) or b""
        if len(data) != header.length_of(data):
            raise Invalid("cut off")
        told = header.parse(data)
        return Segment(path, told.tag, told.segment, told.realtime_ns)
    except (Invalid, UnsupportedError):
        # The reader will say what is wrong; the name tells where it belongs.
        match = _NAME.fullmatch(os.path.basename(path))
        if match is None:
            return Segment(path, b"", 0, None)
        return Segment(path, bytes.fromhex(match[1]), int(match[2]), None)


class Folder:
    """The segments of a directory as sources; with `follow` also those that are begun later."""

    def __init__(self, folder: str, follow: bool, poll: float, stop: threading.Event) -> None:
        self._folder = folder
        self._follow = follow
        self._poll = poll
        self._stop = stop
        self.ended = False
        """Set by the reader: the stream is closed, no other segment will come."""

    def sources(self) -> Iterator[Source]:
        """Each is to be read to its end before the next is asked for. Only the last is followed."""
        segments = self._wait_first()
        while segments:
            for segment in segments[:-1]:
                yield self._open(segment, follow=False)
            last = segments[-1]
            yield self._open(last, self._follow)
            segments = self._wait_next(last)

    def _open(self, segment: Segment, follow: bool) -> Source:
        file = open(segment.path, "rb", buffering=0)
        return Source(file, segment.path, follow, self._poll, self._stop)

    def _wait_first(self) -> List[Segment]:
        segments = list_segments(self._folder)
        while not segments and self._follow and not self._stop.wait(self._poll):
            segments = list_segments(self._folder)
        return segments

    def _wait_next(self, last: Segment) -> List[Segment]:
        """The segments of the same stream behind `last`."""
        # Its header may not have been there yet when it was found.
        last = _look(last.path)
        while self._follow and not self.ended and not self._stop.is_set():
            later = [segment for segment in list_segments(self._folder)
                     if segment.tag == last.tag and segment.number > last.number]
            if later:
                return later
            self._stop.wait(self._poll)
        return []
