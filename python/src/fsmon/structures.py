"""Records as numpy structures: the fields of the first slot, or the first two of PROC."""

from typing import TYPE_CHECKING, Any, Dict, List, Tuple, Union

from . import layout
from .blocks import Block
from .errors import Invalid, MissingPackageError

if TYPE_CHECKING:
    import numpy as np

_Field = Tuple[str, str, int]
_HEAD: List[_Field] = [("tag", "u1", 0), ("slots", "u1", 1), ("flags", "<u2", 2)]

FIELDS: Dict[str, Tuple[int, List[_Field]]] = {
    "EVENT": (layout.EVENT, [
        ("dir", "<u4", 4), ("time", "<u8", 8), ("mask", "<u4", 16), ("proc", "<u4", 20),
        ("object", "<u8", 24), ("dir2", "<u4", 32), ("name_len", "<u2", 36), ("name2_len", "<u2", 38),
        ("names", "V24", 40)]),
    "DIR": (layout.DIR, [
        ("id", "<u4", 4), ("parent", "<u4", 8), ("fs", "<u4", 12), ("generation", "<u4", 16),
        ("name_len", "<u2", 20), ("object", "<u8", 24), ("name", "V32", 32)]),
    "PROC": (layout.PROC, [
        ("id", "<u4", 4), ("pid", "<u4", 8), ("ppid", "<u4", 12), ("parent", "<u4", 16),
        ("prev", "<u4", 20), ("start", "<u8", 24), ("uid", "<u4", 32), ("gid", "<u4", 36),
        ("comm", "S16", 40), ("exe", "<u4", 56), ("cgroup", "<u4", 60), ("cgroup_id", "<u8", 64),
        ("user", "<u4", 72), ("cmdline", "<u4", 76), ("exec", "<u4", 80), ("exe_root", "<u4", 84)]),
    "STR": (layout.STR, [("id", "<u4", 4), ("len", "<u2", 8), ("bytes", "V52", 12)]),
    "LOSS": (layout.LOSS, [
        ("reason", "<u4", 4), ("first_time", "<u8", 8), ("last_time", "<u8", 16), ("count", "<u8", 24),
        ("total", "<u8", 32)]),
    "STATS": (layout.STATS, [
        ("ring_peak", "<u4", 4), ("time", "<u8", 8), ("realtime", "<u8", 16), ("kernel_events", "<u8", 24),
        ("events", "<u8", 32), ("losses", "<u8", 40), ("dirs", "<u4", 48), ("processes", "<u4", 52)]),
    "END": (layout.END, [
        ("reason", "<u4", 4), ("time", "<u8", 8), ("events", "<u8", 16), ("losses", "<u8", 24)]),
    "GAP": (layout.GAP, [
        ("cause", "<u4", 4), ("time", "<u8", 8), ("from", "<u8", 16), ("to", "<u8", 24),
        ("stream_id", "V16", 32), ("events", "<u8", 48)]),
    "NOTE": (layout.NOTE, [
        ("what", "<u4", 4), ("time", "<u8", 8), ("types", "<u4", 16), ("path_len", "<u2", 20),
        ("text_len", "<u2", 22), ("texts", "V40", 24)]),
    "CLOCK": (layout.CLOCK, [("steps", "<u4", 4), ("time", "<u8", 8), ("realtime", "<u8", 16)]),
}
"""Tag of a record and its fields: name, numpy's type, bytes from the record's beginning."""


def numpy() -> Any:
    """The module, or an error that names the remedy."""
    try:
        import numpy
    except ImportError:
        raise MissingPackageError("this needs numpy: pip install numpy") from None
    return numpy


def dtypes() -> "Dict[str, np.dtype[Any]]":
    """numpy's structure of each record, by its name in the specification. PROC has two slots, 128 bytes."""
    return {name: _dtype(name) for name in FIELDS}


def _dtype(name: str) -> "np.dtype[Any]":
    fields = _HEAD + FIELDS[name][1]
    slots = layout.PROC_SLOTS if name == "PROC" else 1
    made: "np.dtype[Any]" = numpy().dtype({
        "names": [field[0] for field in fields], "formats": [field[1] for field in fields],
        "offsets": [field[2] for field in fields], "itemsize": slots * layout.SLOT})
    return made


def slots(block: Union[Block, bytes], name: str) -> "np.ndarray[Any, Any]":
    """All records of one sort in a block of `Reader.blocks()`, in their order.

    Names that go on in further slots are there with what the first slot has of them.
    """
    module = numpy()
    payload = block.payload if isinstance(block, Block) else block
    dtype, tag = _dtype(name), FIELDS[name][0]
    width = dtype.itemsize // layout.SLOT
    found = [at // layout.SLOT for at in _starts(payload, tag, width)]
    table = module.frombuffer(payload, module.uint8).reshape(-1, layout.SLOT)
    index = module.array(found, module.intp).reshape(-1, 1) + module.arange(width)
    made: "np.ndarray[Any, Any]" = table[index].reshape(len(found), dtype.itemsize).view(dtype)
    return made.reshape(len(found))


def _starts(payload: bytes, tag: int, width: int) -> List[int]:
    found, at = [], 0
    while at < len(payload):
        count = payload[at + 1]
        if not count or at + count * layout.SLOT > len(payload):
            raise Invalid("not the payload of a sound block")
        if payload[at] == tag and count >= width:
            found.append(at)
        at += count * layout.SLOT
    return found
