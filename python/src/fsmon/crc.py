"""CRC32C, with a package if one is installed, else in Python."""

import struct
from array import array
from typing import Callable, List, Optional, Tuple

_POLYNOMIAL = 0x82F63B78


def _bytes_table() -> List[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


def _words_tables() -> "Tuple[array[int], array[int]]":
    """What the high and the low two bytes of a word of four leave of themselves in the checksum.

    Arrays and not lists: half a megabyte that stays in the processor's cache is twice as fast.
    """
    table = _bytes_table()
    high = [table[table[n & 255] & 255 ^ n >> 8] ^ table[n & 255] >> 8 for n in range(65536)]
    # Two zero bytes further on.
    low = [high[crc & 65535] ^ crc >> 16 for crc in high]
    return array("I", high), array("I", low)


class PythonCrc32c:
    """CRC32C four bytes at a time: some 30 MB/s. Its tables are made when first needed."""

    def __init__(self) -> None:
        self._tables: "Optional[Tuple[array[int], array[int]]]" = None
        self._bytes = _bytes_table()

    def __call__(self, data: bytes) -> int:
        if self._tables is None:
            self._tables = _words_tables()
        high, low = self._tables
        words = len(data) // 4
        crc = 0xFFFFFFFF
        for word in struct.unpack_from(f"<{words}I", data):
            crc ^= word
            crc = low[crc & 65535] ^ high[crc >> 16]
        for byte in data[words * 4:]:
            crc = self._bytes[(crc ^ byte) & 255] ^ crc >> 8
        return crc ^ 0xFFFFFFFF


def _choose() -> Tuple[Callable[[bytes], int], str]:
    try:
        import google_crc32c  # type: ignore[import-not-found,import-untyped,unused-ignore]

        # It has a slow fallback of its own.
        if google_crc32c.implementation == "c":
            return google_crc32c.value, "google-crc32c"
    except (ImportError, AttributeError):
        pass
    try:
        import crc32c as package  # type: ignore[import-not-found,import-untyped,unused-ignore]

        return package.crc32c, "crc32c"
    except (ImportError, AttributeError):
        return PythonCrc32c(), "python"


crc32c, IMPLEMENTATION = _choose()
"""`crc32c(data)` is the checksum of bytes; IMPLEMENTATION says whose it is."""
