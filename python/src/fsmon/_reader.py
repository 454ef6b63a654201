"""From files to items: in order, checked against what came before, past damage if asked to."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

from . import _blocks, _codec
from ._blocks import FINAL, FIXED, MAGIC, RECORDS, SLOT, SYNC
from ._errors import DamagedError, FsmonError
from ._items import Event, Gap
from ._records import Broken, Decoder

#: Bytes asked for at one time.
_PIECE = 1 << 18


def open(source, *, salvage=False, follow=False, poll=0.05):
    """A reader of a file, of a directory of segments, or of anything that can be read.

    With `salvage` damage is passed over and told as a Gap. With `follow` the end of a file that was
    not closed in order is waited at, looking again every `poll` seconds, for ever if need be.
    """
    return Reader(source, salvage=salvage, follow=follow, poll=poll)


class Reader:
    """An iterator of events. Raises DamagedError at the first damage, unless it salvages."""

    def __init__(self, source, *, salvage=False, follow=False, poll=0.05):
        self.salvage, self.follow, self.poll = salvage, follow, poll
        #: The file header read last.
        self.header = None
        #: Whether the last block read ended its file in order.
        self.closed = False
        self._files = _files(source)
        self._expected = None
        self._items = self._read_all()

    def __iter__(self):
        return (item for item in self._items if isinstance(item, Event))

    def items(self):
        """Everything: events, losses, counters, gaps and the end, in order."""
        return self._items

    def _read_all(self):
        for path in self._files:
            if isinstance(path, (str, os.PathLike)):
                with io.open(path, "rb", buffering=0) as file:
                    yield from self._read(file)
            else:
                yield from self._read(path)

    def _read(self, file):
        window = _Window(file, self)
        gap, self.closed, first = None, False, True
        while True:
            found, skip = self._next(window, first)
            if isinstance(found, str):
                if not self.salvage:
                    raise DamagedError(window.offset, found)
                if gap is None:
                    gap = (window.offset, found)
                if skip == 0:
                    break
                window.skip(skip)
                continue
            if found is None:
                break
            first = False
            missing = self._missing(found)
            if gap is not None or missing:
                at, what = gap or (window.offset, "blocks are missing")
                yield Gap(at, what, window.offset - at, missing)
                gap = None
            window.drop(skip)
            yield from self._take(found)
        if gap is not None:
            yield Gap(gap[0], gap[1], window.offset - gap[0], None)

    def _missing(self, found):
        """Events that the numbers say are missing before a block; None where it cannot be told."""
        block, _ = found
        if block is None:
            return 0
        if self._expected is None:
            return None if self.header is None else 0
        return block.first_event - self._expected[1]

    def _take(self, found):
        block, rest = found
        if block is None:
            same = self.header is not None and self.header.stream_id == rest.stream_id
            if not same or self._expected is None:
                self._expected = (rest.first_block, rest.first_event)
            self.header, self.closed = rest, False
            return
        self._expected = (block.number + 1, block.first_event + block.events)
        self.closed = bool(block.flags & FINAL)
        yield from rest

    def _next(self, window, first):
        """What lies at the front: (None, header) or (block, items) and its bytes; None at the end;
        or what is wrong, and how many bytes to pass over at the least."""
        data = window.need(len(MAGIC), self.closed)
        if not data:
            if self.closed:
                return None, 0
            return ("not an fsmon stream" if first else
                    "the stream ends without an end record: it was cut off"), 0
        if data.startswith(MAGIC):
            return self._header(window, first)
        if data.startswith(SYNC):
            return self._block(window, first)
        if len(data) < len(MAGIC) and (SYNC.startswith(data[:4]) or MAGIC.startswith(data)):
            return "the stream is cut off here", len(data)
        if self.closed:
            return "bytes after the end of the stream", 1
        if first:
            return "not an fsmon stream", 1
        if not any(data[:8]):
            return "zeros where a block should begin: never written", 1
        return "no block where one should begin", 1

    def _header(self, window, first):
        data = window.need(FIXED)
        if len(data) < FIXED:
            return "the stream is cut off here", len(data)
        try:
            length = _blocks.header_len(data, window.offset)
            data = window.need(length)
            if len(data) < length:
                return "the stream is cut off here", FIXED
            header = _blocks.parse_header(bytes(data[:length]), window.offset)
        except DamagedError as error:
            return error.what, FIXED
        if not first and not self.closed:
            return "the stream ends without an end record: it was cut off", length
        return (None, header), length

    def _block(self, window, first):
        data = window.need(SLOT)
        if len(data) < SLOT:
            return "the stream is cut off here", len(data)
        block, payload_crc, wrong = _blocks.parse_block(bytes(data[:SLOT]))
        if wrong:
            return wrong, 1
        total = _blocks.total_len(block)
        data = window.need(total)
        if len(data) < total:
            return "the stream is cut off here", len(data)
        stored = bytes(data[SLOT : SLOT + block.stored_len])
        if _codec.crc32c(stored) != payload_crc or any(data[SLOT + block.stored_len : total]):
            return "a block does not match its checksum", total
        wrong = self._misplaced(block, first)
        if wrong:
            return wrong, total
        if block.kind != RECORDS:
            return (block, ()), total
        payload, wrong = _blocks.decompress(block, stored)
        if wrong:
            return wrong, total
        decoder = Decoder(block.first_event)
        try:
            items = decoder.items(payload)
        except Broken as rule:
            return f"a record breaks a rule: {rule}", total
        if decoder.number - block.first_event != block.events:
            return "not as many events as the block header says", total
        return (block, items), total

    def _misplaced(self, block, first):
        if self.closed:
            return "bytes after the end of the stream"
        if first and self.header is None and not self.salvage:
            return "not an fsmon stream"
        if self.header is not None and block.tag != self.header.stream_id[:4]:
            return "a block of another stream"
        if self._expected is None:
            return None
        number, event = self._expected
        if block.number < number:
            return f"block {block.number} comes again or out of its place"
        if block.number > number and not self.salvage:
            return f"blocks are missing: block {block.number} comes instead"
        wrong = block.first_event != event if block.number == number else block.first_event < event
        return f"the block's first event is number {block.first_event}" if wrong else None


class _Window:
    """The bytes at hand, and where they are in the file."""

    def __init__(self, file, reader):
        self.file, self.reader = file, reader
        self.data, self.offset = bytearray(), 0

    def need(self, length, may_end=False):
        """So many bytes or more, and less only where the file ends. A follower waits, unless it
        `may_end` here."""
        while len(self.data) < length:
            piece = self.file.read(_PIECE)
            if piece:
                self.data += piece
            elif piece is None or (self.reader.follow and not may_end):
                time.sleep(self.reader.poll)
            else:
                break
        return self.data

    def drop(self, count):
        del self.data[:count]
        self.offset += count

    def skip(self, count):
        """Passes over bytes, and on to what may be a header."""
        self.drop(count)
        found = [at for at in (self.data.find(SYNC), self.data.find(MAGIC)) if at >= 0]
        # The beginning of one may be at the end of what is at hand.
        self.drop(min(found) if found else max(0, len(self.data) - len(MAGIC)))
        if not found and self.data and not self.file_goes_on():
            self.drop(len(self.data))

    def file_goes_on(self):
        before = len(self.data)
        return len(self.need(before + 1)) > before


def _files(source):
    if not isinstance(source, (str, os.PathLike)):
        return [source]
    path = Path(source)
    if not path.is_dir():
        return [path]
    found, began = [], {}
    for file in sorted(path.glob("*.fsmon")):
        with io.open(file, "rb") as opened:
            data = opened.read(_blocks.HEADER_MAX)
        try:
            header = _blocks.parse_header(data[: _blocks.header_len(data[:FIXED], 0)], 0)
        except Exception as error:
            if not isinstance(error, FsmonError) and len(data) >= FIXED:
                raise
            # What is wrong with it is told when it is read, after the others.
            found.append(((1, b"", 0), file))
            continue
        began[header.stream_id] = min(
            header.realtime_ns, began.get(header.stream_id, header.realtime_ns)
        )
        found.append(((0, header.stream_id, header.segment), file))
    if not found:
        raise FsmonError(f"{path} has no files *.fsmon in it")
    found.sort(key=lambda one: (one[0][0], began.get(one[0][1], 0), one[0], one[1]))
    return [file for _, file in found]
