"""Where bytes come from: a file, a pipe, a file that grows."""

import io
import os
import re
import stat
import threading
from typing import Any, Optional

from .errors import DamagedError

CHUNK = 1 << 17
"""Bytes to ask for at a time."""


class Source:
    """Bytes one behind the other, with a look ahead of as many as a block or a header has.

    With `follow`, too few bytes mean "not yet" and are waited for, unless this is a pipe or socket,
    whose end is the end.
    """

    def __init__(self, file: Any, name: str, follow: bool, poll: float, stop: threading.Event) -> None:
        self._file = file
        self.name = name
        self._poll = poll
        self._stop = stop
        self._follow = follow and _can_grow(file)
        self._buffer = b""
        self._at = 0
        self.offset = 0
        """Bytes of the source before what comes next."""

    def peek(self, count: int, wait: bool = True) -> bytes:
        """The next `count` bytes, without taking them. Fewer only at the end.

        Where the file is followed and `wait` is false, fewer if the others are not there yet.
        """
        while self.at_hand < count:
            chunk = self._read(count - self.at_hand)
            if chunk:
                self._buffer = self._buffer[self._at:] + chunk
                self._at = 0
            elif chunk is not None and not (self._follow and wait):
                break
            elif self._stop.is_set():
                break
            else:
                self._check_length()
                self._stop.wait(self._poll)
        return self._buffer[self._at:self._at + count]

    @property
    def at_hand(self) -> int:
        """Bytes that can be had without reading."""
        return len(self._buffer) - self._at

    def skip_to(self, mark: "re.Pattern[bytes]", keep: int) -> bool:
        """Takes what is before a mark, among the bytes at hand.

        If there is none, takes all but the last `keep` bytes, with which one may begin.
        """
        found = mark.search(self._buffer, self._at)
        if found is None:
            self.skip(max(self.at_hand - keep, 0))
            return False
        self.skip(found.start() - self._at)
        return True

    def skip(self, count: int) -> None:
        """Takes bytes that were peeked at."""
        self._at += count
        self.offset += count

    def read_again(self) -> bool:
        """Forgets what was read ahead, if it can be read again: it may have been written since."""
        if not self._follow or self._stop.is_set():
            return False
        try:
            self._file.seek(-self.at_hand, io.SEEK_CUR)
        except (OSError, ValueError):
            return False
        self._buffer, self._at = b"", 0
        self._stop.wait(self._poll)
        return True

    @property
    def stopped(self) -> bool:
        """Whether waiting was given up."""
        return self._stop.is_set()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _read(self, missing: int) -> Optional[bytes]:
        """What there is, up to a chunk. Empty at the end; None: nothing yet."""
        if isinstance(self._file, io.RawIOBase):
            return self._file.read(CHUNK)
        if hasattr(self._file, "read1"):
            data: bytes = self._file.read1(CHUNK)
            return data
        # It may wait for all that it is asked for.
        data = self._file.read(missing)
        return data

    def _check_length(self) -> None:
        """A file that became shorter is written anew: what was read of it is not its beginning."""
        try:
            length = os.fstat(self._file.fileno()).st_size
        except (AttributeError, OSError, ValueError):
            return
        read = self.offset + self.at_hand
        if self._follow and length < read:
            raise DamagedError(self.name, self.offset, None, "the file became shorter")


def _can_grow(file: Any) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):
        # Something made in Python: the caller says that it grows.
        return True
