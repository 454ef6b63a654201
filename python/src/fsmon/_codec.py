"""Checksums and compressed payloads; with packages where they are there, and without."""

from ._errors import FsmonError


def _table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _table()


def crc32c_plain(data):
    """CRC32C of bytes, in Python alone."""
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


try:
    from google_crc32c import value as _crc32c_fast

    def crc32c(data):
        """CRC32C of bytes."""
        return _crc32c_fast(bytes(data))

except ImportError:
    crc32c = crc32c_plain


def lz4_plain(stored, raw_len):
    """An LZ4 block of exactly `raw_len` bytes, in Python alone; None where it is not one."""
    out, at, end = bytearray(), 0, len(stored)

    def length(at, nibble):
        total = nibble
        while nibble == 15:
            if at >= end:
                return None, at
            byte, at = stored[at], at + 1
            total += byte
            if byte != 255 or total > raw_len:
                break
        return total, at

    while at < end:
        token, at = stored[at], at + 1
        literals, at = length(at, token >> 4)
        if literals is None or at + literals > end or len(out) + literals > raw_len:
            return None
        out += stored[at : at + literals]
        at += literals
        if at == end:
            # The last sequence is literals alone.
            return bytes(out) if len(out) == raw_len and token & 15 == 0 else None
        if at + 2 > end:
            return None
        offset, at = stored[at] | stored[at + 1] << 8, at + 2
        match, at = length(at, token & 15)
        if match is None or not 0 < offset <= len(out) or len(out) + match + 4 > raw_len:
            return None
        _copy(out, offset, match + 4)
    return None


def _copy(out, offset, count):
    """What lies `offset` back, once more; a copy may read what it has just written."""
    while count > 0:
        piece = out[len(out) - offset :][:count]
        out += piece
        count -= len(piece)


try:
    from lz4.block import LZ4BlockError, decompress as _lz4_fast

    def lz4(stored, raw_len):
        """An LZ4 block of exactly `raw_len` bytes; None where it is not one."""
        try:
            raw = _lz4_fast(stored, uncompressed_size=raw_len)
        except (LZ4BlockError, ValueError, OverflowError, MemoryError):
            return None
        return raw if len(raw) == raw_len else None

except ImportError:
    lz4 = lz4_plain


def zstd(stored, raw_len):
    """A zstd frame of exactly `raw_len` bytes; None where it is not one."""
    decompress, error = _zstd()
    try:
        raw = decompress(stored, raw_len)
    except error:
        return None
    return raw if len(raw) == raw_len else None


def _zstd():
    """What decompresses to no more than so many bytes, or else raises; and what it raises."""
    try:
        import zstandard

        def bounded(stored, raw_len):
            source = zstandard.ZstdDecompressor(max_window_size=1 << 27)
            with source.stream_reader(stored) as reader:
                # One byte more, so that a longer one is seen.
                return reader.read(raw_len + 1)

        return bounded, zstandard.ZstdError
    except ImportError:
        pass
    try:
        from compression import zstd as std

        def bounded(stored, raw_len):
            return std.ZstdDecompressor().decompress(stored, max_length=raw_len + 1)

        return bounded, std.ZstdError
    except ImportError:
        raise FsmonError(
            "blocks are compressed with zstd: pip install zstandard, or Python 3.14"
        ) from None
