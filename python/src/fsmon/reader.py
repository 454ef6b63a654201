"""Reads streams: checks each block, and says what is missing."""

import os
import threading
import warnings
from collections import deque
from typing import Any, Deque, Iterator, List, Optional

from .blocks import Block
from .errors import LossWarning
from .header import FileHeader
from .model import End, Event, Gap, Item, Loss, Note, Pause, Stats
from .segments import Folder
from .source import Source
from .walk import Walk

KEPT = 1000
"""Losses, gaps and pauses that a reader keeps."""


class Reader:
    """The events of a stream, in their order.

    Iterating gives events alone, and warns (`LossWarning`) at the first loss, gap or pause; `items()` gives
    everything. There is one position: both go on where the other stopped.
    """

    def __init__(self, walk: Walk, stop: threading.Event) -> None:
        self._walk = walk
        self._stop = stop
        self._items = self._all_items()
        self._warned = False
        self.event_count = 0
        self.loss_count = 0
        self.gap_count = 0
        self.pause_count = 0
        self.losses: Deque[Loss] = deque(maxlen=KEPT)
        """The latest 1000."""
        self.gaps: Deque[Gap] = deque(maxlen=KEPT)
        """The latest 1000."""
        self.pauses: Deque[Pause] = deque(maxlen=KEPT)
        """The latest 1000."""
        self.stats: Optional[Stats] = None
        """The latest counters."""
        self.end: Optional[End] = None
        """The END record, once it was read."""

    @property
    def header(self) -> Optional[FileHeader]:
        """That of the file that is read now; None before the first item, or if damaged."""
        return self._walk.header

    @property
    def complete(self) -> bool:
        """Whether the stream was closed in order, and nothing is missing in what was read."""
        ended = self.end is not None and self.end.complete
        return ended and not self.loss_count and not self.gap_count and not self.pause_count

    def items(self) -> Iterator[Item]:
        """Events, losses, gaps, pauses, notes, counters and the end, as they come."""
        return self._items

    def blocks(self) -> Iterator[Block]:
        """Sound blocks of records, for who decodes them in another way (see `fsmon.slots`).

        Gaps are kept in `gaps`. Do not mix this with `items()`: it has the same position.
        """
        for part in self._walk.parts():
            if isinstance(part, Gap):
                self._note(part)
            else:
                yield part.block

    def __iter__(self) -> "Reader":
        return self

    def __next__(self) -> Event:
        for item in self._items:
            if isinstance(item, Event):
                return item
            if isinstance(item, (Loss, Gap, Pause)) and not self._warned:
                self._warned = True
                warnings.warn(f"the record has a hole, see items(): {item}", LossWarning, stacklevel=2)
        raise StopIteration

    def stop(self) -> None:
        """Ends the waiting of `follow`, from any thread: what is there is still given."""
        self._stop.set()

    def close(self) -> None:
        """Closes the files that this reader opened."""
        self._stop.set()
        self._walk.close()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def batches(self) -> Iterator[List[Item]]:
        """Like `items()`, but what came at once: a block's items, or a gap. Do not mix the two."""
        for part in self._walk.parts():
            items: List[Item] = [part] if isinstance(part, Gap) else part.items
            for item in items:
                self._note(item)
            yield items

    def _all_items(self) -> Iterator[Item]:
        for part in self._walk.parts():
            items: List[Item] = [part] if isinstance(part, Gap) else part.items
            for item in items:
                self._note(item)
                yield item

    def _note(self, item: Item) -> None:
        if isinstance(item, Event):
            self.event_count += 1
        elif isinstance(item, Loss):
            self.loss_count += 1
            self.losses.append(item)
        elif isinstance(item, Gap):
            self.gap_count += 1
            self.gaps.append(item)
        elif isinstance(item, Pause):
            self.pause_count += 1
            self.pauses.append(item)
        elif isinstance(item, Note):
            pass
        elif isinstance(item, Stats):
            self.stats = item
        else:
            self.end = item
            self._walk.note_end()


def open_reader(source: Any, *, salvage: bool = False, follow: bool = False, poll: float = 0.05) -> Reader:
    """Opens a stream.

    `source` is a path, a directory of segments, or a binary file object, also of a live pipe such as
    `sys.stdin.buffer`; a file object stays the caller's to close. Without `salvage` the reader raises a
    `DamagedError` at the first damage, behind all events before it; with it, it goes on behind the
    damage and gives a `Gap`. With `follow` it waits, looking every `poll` seconds, until a file that
    grows has its last block.
    """
    stop = threading.Event()
    folder = None
    if hasattr(source, "read"):
        name = str(getattr(source, "name", "stream"))
        sources: Iterator[Source] = iter([Source(source, name, follow, poll, stop)])
    elif os.path.isdir(source):
        folder = Folder(os.fsdecode(source), follow, poll, stop)
        sources = folder.sources()
    else:
        file = open(source, "rb", buffering=0)
        sources = iter([Source(file, os.fsdecode(source), follow, poll, stop)])
    return Reader(Walk(sources, salvage, folder, owns=not hasattr(source, "read")), stop)
