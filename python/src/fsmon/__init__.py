"""Reads the binary stream of fsmon: who changed which file.

Written from docs/format.md alone, and so a check of it::

    import fsmon

    for event in fsmon.open("build.fsmon"):
        print(event.time, event.types, event.path, event.process)

An iteration gives events; what is missing is never passed over in silence: damage raises
:class:`DamagedError` unless ``salvage=True``, which gives a :class:`Gap` instead, and
:meth:`Reader.items` gives the losses that the stream tells of, too.
"""

from ._errors import DamagedError, FsmonError
from ._items import End, Event, Gap, Loss, Process, Stats
from ._lines import line
from ._reader import Reader, open
from ._records import EVENT_TYPES
from ._table import dtypes, to_arrow, to_numpy, to_pandas

__all__ = [
    "EVENT_TYPES",
    "DamagedError",
    "End",
    "Event",
    "FsmonError",
    "Gap",
    "Loss",
    "Process",
    "Reader",
    "Stats",
    "dtypes",
    "line",
    "open",
    "to_arrow",
    "to_numpy",
    "to_pandas",
]
