"""Reads the binary stream of fsmon: who changed which file.

    import fsmon

    for event in fsmon.open("build.fsmon"):
        print(event.types, event.path, event.process)

`open` takes a path, a directory of segments or a binary file object, also a live pipe. The format is
specified in docs/format.md of fsmon, and this package is written from that document alone.
"""

from typing import Any

from .errors import (DamagedError, FsmonError, LossWarning, MissingPackageError, NotAStreamError,
                     TruncatedError, UnsupportedError)
from .blocks import Block, BlockHeader
from .header import FileHeader, Filesystem
from .lines import JsonLines, Line, json_line, lines
from .model import End, Event, Gap, Item, Loss, Note, Pause, Process, Stats
from .reader import Reader
from .reader import open_reader as open
from .structures import dtypes, slots
from .tables import to_arrow, to_numpy, to_pandas
from .text import is_utf8, text


def __getattr__(name: str) -> Any:
    """`SLOT_DTYPES` is `dtypes()`, made when asked for: it needs numpy."""
    if name == "SLOT_DTYPES":
        return dtypes()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__version__ = "1.0.0a1"

__all__ = [
    "Block", "BlockHeader", "DamagedError", "End", "Event", "FileHeader", "Filesystem", "FsmonError",
    "Gap", "Item", "JsonLines", "Line", "Loss", "LossWarning", "MissingPackageError", "NotAStreamError", "Note",
    "Pause", "Process", "Reader", "Stats", "TruncatedError", "UnsupportedError", "dtypes", "is_utf8", "json_line", "lines",
    "open", "slots", "text", "to_arrow", "to_numpy", "to_pandas",
]
