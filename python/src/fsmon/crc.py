"""CRC32C, with a package if one is installed, else in Python."""

import struct
from typing import Callable, List, Tuple

_POLYNOMIAL = 0x82F63B78


def _bytes_table() -> List[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


def _words_tables() -> Tuple[List[int], List[int]]:
    """What the high and the low two bytes of a word of four leave of themselves in the checksum."""
    table = _bytes_table()
    high = [table[table[n & 255] & 255 ^ n >> 8] ^ table[n & 255] >> 8 for n in range(65536)]
    # Two zero bytes further on.
    low = [high[crc & 65535] ^ crc >> 16 for crc in high]
    return high, low


class PythonCrc32c:
    """CRC32C four bytes at a time: about 30 MB/s. Its tables take 5 MB and are made when needed."""

    def __init__(self) -> None:
        self._tables: Tuple[List[int], List[int], List[int]] = ([], [], [])

    def __call__(self, data: bytes) -> int:
        if not self._tables[0]:
            self._tables = (*_words_tables(), _bytes_table())
        high, low, table = self._tables
        words = len(data) // 4
        crc = 0xFFFFFFFF
        for word in struct.unpack_from(f"<{words}I", data):
            crc ^= word
            crc = low[crc & 65535] ^ high[crc >> 16]
        for byte in data[words * 4:]:
            crc = table[(crc ^ byte) & 255] ^ crc >> 8
        return crc ^ 0xFFFFFFFF


def _choose() -> "Tuple[Callable[[bytes], int], str]":
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
