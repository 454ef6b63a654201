"""What can go wrong. Every error that bytes of a stream can cause is an `FsmonError`."""

from typing import Optional


class FsmonError(Exception):
    """The base of all errors of this package."""


class UnsupportedError(FsmonError):
    """The stream is sound, but made by a newer fsmon or with a method that is not known here."""


class MissingPackageError(FsmonError):
    """Reading on needs a package that is not installed; the message names it."""


class DamagedError(FsmonError):
    """Bytes that break the format, or bytes that are missing.

    `offset` is in bytes from the beginning of `source`, `block` the number of the block in its
    stream where it is known.
    """

    def __init__(self, source: str, offset: int, block: Optional[int], what: str) -> None:
        where = f"byte {offset}" if block is None else f"byte {offset}, block {block}"
        super().__init__(f"{source}: {where}: {what}")
        self.source = source
        self.offset = offset
        self.block = block
        self.what = what


class TruncatedError(DamagedError):
    """The stream ends although its last block did not come: its writer was stopped, or it was cut."""


class NotAStreamError(DamagedError):
    """What was opened does not begin as a stream does."""


class LossWarning(UserWarning):
    """The record has a hole, and only events were asked for."""


class Invalid(Exception):
    """Inside the package: a header or a block breaks a rule. Becomes a `DamagedError` or a gap."""
