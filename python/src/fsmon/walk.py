"""From the bytes of one or more files to sound blocks, one behind the other.

This is where damage is noticed: raised at once, or, when salvaging, passed over and told as a gap that
stands before whatever comes next.
"""

import re
from typing import Iterator, List, NamedTuple, Optional, Tuple, Type, Union

from . import blocks, codec, header, layout
from .blocks import Block, BlockHeader
from .crc import crc32c
from .errors import DamagedError, Invalid, NotAStreamError, TruncatedError, UnsupportedError
from .header import FileHeader
from .model import End, Gap, Item
from .records import Decoder
from .segments import Folder
from .source import Source

_UNFINISHED = "the stream ends without its last block: its writer was stopped"
_CUT = "the stream is cut off here"

_MAGIC = re.compile(re.escape(layout.MAGIC))
_MARKS = re.compile(re.escape(layout.MAGIC) + b"|" + re.escape(layout.SYNC))

_CHECKED_AT_LEAST, _CHECKED_PER_BYTE = 1 << 20, 32
"""How many bytes of what may be file headers are looked at, in all, while looking for a sound one: each
can be 64 KiB long, and eight bytes are enough to look like the beginning of one."""

_Counts = Tuple[int, int]
"""Number of a block, EVENT records before it."""


class Part(NamedTuple):
    """A block and what it tells."""

    block: Block
    items: List[Item]


class _Passed:
    """What is being passed over."""

    def __init__(self, source: Source, offset: int, what: str) -> None:
        self.source = source
        self.offset = offset
        self.what = what
        self.end: Optional[int] = None

    def freeze(self) -> None:
        """Nothing more belongs to it."""
        if self.end is None:
            self.end = self.source.offset

    def gap(self, blocks_: Optional[int], events: Optional[int]) -> Gap:
        self.freeze()
        length = (self.end or self.offset) - self.offset
        return Gap(self.source.name, self.offset, length, blocks_, events, self.what)


class Walk:
    """One pass over all files of a reader."""

    def __init__(self, sources: Iterator[Source], salvage: bool, folder: Optional[Folder],
                 owns: bool) -> None:
        self._sources = sources
        self._salvage = salvage
        self._folder = folder
        self._owns = owns
        self._source: Optional[Source] = None
        self.header: Optional[FileHeader] = None
        self._tag: Optional[bytes] = None
        self._stream_id: Optional[bytes] = None
        self._next: Optional[_Counts] = None
        # Up to where it was told what is missing, be it that it comes yet, in a copy of the stream.
        self._told: Optional[_Counts] = None
        # Behind the last block that was passed over although its header was sound; was that FINAL?
        self._behind: Optional[_Counts] = None
        self._final_passed = False
        self._final = False
        self._begun = False
        self._passed: Optional[_Passed] = None
        self._frames = codec.Frames()
        self._parts = self._all()

    def parts(self) -> Iterator[Union[Gap, Part]]:
        """Blocks and gaps; there is one position, however often this is called."""
        return self._parts

    def note_end(self) -> None:
        """END was read."""
        if self._folder is not None:
            self._folder.ended = True

    def close(self) -> None:
        """Closes the file at hand, if this opened it."""
        if self._owns and self._source is not None:
            self._source.close()

    def _all(self) -> Iterator[Union[Gap, Part]]:
        for source in self._sources:
            self._source = source
            self._final = self._final_passed = self._begun = False
            self.header = None
            self._frames.leave()
            try:
                yield from self._file(source)
            finally:
                self.close()
            if self._final or self._final_passed:
                yield from self._told_at_end()
            elif self._passed is not None:
                self._passed.freeze()
        yield from self._told_at_end()

    def _file(self, source: Source) -> Iterator[Union[Gap, Part]]:
        while True:
            start = source.peek(8, wait=not self._final)
            if not start:
                break
            start = source.peek(8)
            if start == layout.MAGIC:
                yield from self._file_header(source)
            elif self._final:
                yield from self._trouble(source, "bytes after the end of the stream")
                self._resync(source)
            elif start[:4] == layout.SYNC:
                yield from self._block(source)
            elif not any(start):
                if source.read_again():
                    continue
                if source.stopped:
                    return
                yield from self._trouble(source, "zeros where a block should begin: never written")
                self._resync(source)
            else:
                yield from self._no_block(source, start)
        if not self._final and not self._final_passed and not source.stopped:
            yield from self._unfinished(source)

    def _no_block(self, source: Source, start: bytes) -> Iterator[Gap]:
        if len(start) < 8 and source.stopped:
            source.skip(len(start))
        elif len(start) < 8 and (layout.MAGIC + b"\0").startswith(start):
            yield from self._cut(source)
        elif not self._begun and source.offset == 0:
            yield from self._trouble(source, "this does not begin as a stream does", NotAStreamError)
            self._resync(source)
        else:
            yield from self._trouble(source, "no block begins here")
            self._resync(source)

    def _unfinished(self, source: Source) -> Iterator[Gap]:
        if not self._begun and not source.offset:
            yield from self._trouble(source, "this is empty, no stream", NotAStreamError)
        elif self._passed is None or self._passed.end is not None:
            yield from self._trouble(source, _UNFINISHED, TruncatedError)

    # Headers of files.

    def _file_header(self, source: Source) -> Iterator[Gap]:
        try:
            start = source.peek(24)
            length = header.length_of(start) if len(start) == 24 else len(start) + 1
            data = source.peek(length)
            if len(data) < length:
                if not source.stopped:
                    yield from self._trouble(source, _CUT, TruncatedError)
                # Its length may be what is damaged.
                self._resync(source)
                return
            told = header.parse(data)
        except Invalid as error:
            yield from self._trouble(source, str(error))
            self._resync(source)
            return
        except UnsupportedError as error:
            raise UnsupportedError(f"{source.name}: byte {source.offset}: {error}") from None
        yield from self._begin_file(source, told)

    def _begin_file(self, source: Source, told: FileHeader) -> Iterator[Gap]:
        if self._begun and not self._final and not self._final_passed:
            yield from self._unfinished(source)
        if self._passed is not None:
            self._passed.freeze()
        yield from self._continue(source, told)
        source.skip(told.length)
        self.header = told
        self._frames.leave()
        self._begun = True
        self._final = self._final_passed = False

    def _continue(self, source: Source, told: FileHeader) -> Iterator[Gap]:
        """Whether this file goes on where the one before ended."""
        begin = (told.first_block, told.first_event)
        same = told.tag == self._tag and self._stream_id in (None, told.stream_id)
        if same and self._next is not None:
            if begin > (self._known() or begin) and self._passed is None:
                yield from self._trouble(source, "segments are missing before this one")
            elif begin < self._next:
                yield from self._trouble(source, "a segment comes again or out of its place")
            if self._passed is not None:
                self._passed.freeze()
        else:
            yield from self._told_at_end()
            if self._folder is not None and told.first_block:
                yield Gap(source.name, 0, 0, *begin, "the segments before this one are gone")
            self._next, self._told = begin, None
        self._tag, self._stream_id, self._behind = told.tag, told.stream_id, None

    # Blocks.

    def _block(self, source: Source) -> Iterator[Union[Gap, Part]]:
        start = source.peek(layout.BLOCK_HEADER)
        if len(start) < layout.BLOCK_HEADER:
            yield from self._cut(source)
            return
        try:
            head = blocks.parse(start)
        except Invalid as error:
            yield from self._trouble(source, str(error))
            self._resync(source)
            return
        if self.header is None and not self._salvage:
            yield from self._trouble(source, "this does not begin as a stream does", NotAStreamError)
        data = source.peek(head.size)
        if len(data) < head.size:
            yield from self._cut(source)
            return
        try:
            part = self._part(source, head, data)
        except Invalid as error:
            yield from self._trouble(source, str(error), block=head.number)
            source.skip(head.size)
            return
        yield from self._deliver(source, head, part)

    def _part(self, source: Source, head: BlockHeader, data: bytes) -> Optional[Part]:
        """What a block tells; None if it has nothing for us. Raises `Invalid` if it is to be passed over."""
        stored = data[layout.BLOCK_HEADER:layout.BLOCK_HEADER + head.stored_len]
        is_ours = self._tag is None or head.tag == self._tag
        # No checksum covers the filling.
        filling = data[layout.BLOCK_HEADER + head.stored_len:]
        right = crc32c(stored) == head.payload_crc and not any(filling)
        if is_ours and not right:
            self._pass_sound(head)
        if not right:
            raise Invalid("a block does not match its checksum")
        if not is_ours:
            raise Invalid("a block of another stream")
        self._check_place(head)
        if head.kind != layout.KIND_RECORDS:
            return None
        try:
            part, events = self._decode(source, head, stored)
        except Invalid:
            self._pass_sound(head)
            raise
        if events != head.events:
            # What this header says of itself does not hold.
            raise Invalid("a block does not hold as many events as its header says")
        return part

    def _check_place(self, head: BlockHeader) -> None:
        if self._next is None:
            return
        number, events = self._next
        if head.number < number:
            raise Invalid(f"block {head.number} comes again or out of its place")
        if head.first_event < events or (head.number == number and head.first_event != events):
            raise Invalid(f"a block begins with event {head.first_event}, not {events}")

    def _decode(self, source: Source, head: BlockHeader, stored: bytes) -> Tuple[Part, int]:
        """What a block tells, and how many events that is."""
        if not codec.is_known(head.codec):
            what = f"a block is compressed with method {head.codec}, which is not known here"
            if self._salvage:
                raise Invalid(what)
            raise UnsupportedError(f"{source.name}: byte {source.offset}, block {head.number}: {what}")
        payload = self._payload(head, stored)
        decoder = Decoder(payload)
        items = decoder.decode()
        end = items[-1] if items else None
        if isinstance(end, End) and end.events != head.first_event + decoder.events:
            raise Invalid("the end counts other events than the blocks")
        return Part(Block(source.name, source.offset, head, payload), items), decoder.events

    def _payload(self, head: BlockHeader, stored: bytes) -> bytes:
        if head.codec != codec.ZSTD_WINDOW:
            return codec.decode(head.codec, stored, head.raw_len)
        begins = bool(head.flags & layout.FLAG_FRAME)
        try:
            return self._frames.decode(head.number, begins, stored, head.raw_len)
        except Invalid:
            if not begins and self._next is not None and head.number > self._next[0]:
                raise Invalid(f"blocks are missing: block {head.number} comes instead") from None
            raise

    def _deliver(self, source: Source, head: BlockHeader,
                 part: Optional[Part]) -> Iterator[Union[Gap, Part]]:
        begin = (head.number, head.first_event)
        if (self._known() or begin)[0] < head.number and self._passed is None:
            what = f"blocks are missing: block {head.number} comes instead"
            yield from self._trouble(source, what, block=self._next[0])
        yield from self._told_before(begin)
        source.skip(head.size)
        self._tag = head.tag
        self._next = (head.number + 1, head.first_event + head.events)
        self._behind = None
        self._begun = True
        self._final = head.final
        self._final_passed = False
        if part is not None:
            yield part

    # Damage.

    def _trouble(self, source: Source, what: str, kind: Type[DamagedError] = DamagedError,
                 block: Optional[int] = None) -> Iterator[Gap]:
        """Raises, or begins to pass over what comes next."""
        if not self._salvage:
            expected = self._next[0] if self._next is not None else None
            raise kind(source.name, source.offset, block if block is not None else expected, what)
        passed = self._passed
        if passed is not None and passed.source is source:
            passed.end = None
            return
        if passed is not None:
            # Of two gaps with no block between them the counts are known together, not of each.
            yield passed.gap(None, None)
        self._passed = _Passed(source, source.offset, what)

    def _cut(self, source: Source) -> Iterator[Gap]:
        """The input ends within something."""
        if not source.stopped:
            yield from self._trouble(source, _CUT, TruncatedError)
        self._skip_all(source)

    @staticmethod
    def _skip_all(source: Source) -> None:
        while True:
            rest = source.at_hand or len(source.peek(1, wait=False))
            if not rest:
                return
            source.skip(rest)

    def _pass_sound(self, head: BlockHeader) -> None:
        """A block whose header is sound is passed over whole: what it says of itself holds."""
        if self._next is not None and head.number < self._next[0]:
            return
        self._behind = (head.number + 1, head.first_event + head.events)
        self._final_passed = head.final
        self._begun = True

    def _told_before(self, begin: _Counts) -> Iterator[Gap]:
        """The gap that ends here, where these counts go on."""
        if self._passed is not None:
            yield self._passed.gap(*self._missing(begin))
            self._passed = None

    def _told_at_end(self) -> Iterator[Gap]:
        if self._passed is not None:
            ended = self._final or self._final_passed
            begin = (self._behind or self._next) if ended else None
            yield self._passed.gap(*self._missing(begin))
            self._told = begin
            self._passed = None

    def _missing(self, begin: Optional[_Counts]) -> Tuple[Optional[int], Optional[int]]:
        known = self._known()
        if begin is None or known is None:
            return None, None
        return max(begin[0] - known[0], 0), max(begin[1] - known[1], 0)

    def _known(self) -> Optional[_Counts]:
        """Up to where nothing is missing, or it was told what is."""
        if self._next is None or self._told is None:
            return self._next
        return max(self._next[0], self._told[0]), max(self._next[1], self._told[1])

    def _resync(self, source: Source) -> None:
        """Goes on to where a header begins that is sound: of a file, or of a block of this stream.

        Whether the rest of the block is sound, too, is seen when it is read. If not, it is passed over
        whole: within it are other people's bytes.
        """
        begin = source.offset
        checked = 0
        source.skip(1)
        while True:
            if len(source.peek(8)) < 8:
                self._skip_all(source)
                return
            if not source.skip_to(_MAGIC if self._final else _MARKS, keep=7):
                continue
            if source.peek(4) == layout.SYNC:
                found = self._is_block_header(source)
            else:
                most = _CHECKED_AT_LEAST + _CHECKED_PER_BYTE * (source.offset - begin) - checked
                found, length = self._is_file_header(source, most)
                checked += length
            if found:
                return
            source.skip(1)

    def _is_block_header(self, source: Source) -> bool:
        start = source.peek(layout.BLOCK_HEADER)
        try:
            return len(start) == layout.BLOCK_HEADER and self._tag in (None, blocks.parse(start).tag)
        except Invalid:
            return False

    @staticmethod
    def _is_file_header(source: Source, most: int) -> Tuple[bool, int]:
        """Whether it is one, and for how many bytes that was looked at, `most` at the most."""
        start = source.peek(24)
        length = 0
        try:
            length = header.length_of(start) if len(start) == 24 else most + 1
            if length > most or len(source.peek(length)) < length:
                return False, 0
            header.parse(source.peek(length))
        except Invalid:
            return False, length
        except UnsupportedError:
            return True, length
        return True, length
