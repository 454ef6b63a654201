"""How payloads are stored: as they are, LZ4, zstd."""

import io
from typing import Callable, Dict, Optional

from . import lz4block
from .errors import Invalid, MissingPackageError

WINDOW_LOG_MAX = 23
"""zstd frames may ask for a window of 8 MiB at most, what RFC 8878 wants every decoder to have."""


def _lz4() -> Callable[[bytes, int], bytes]:
    try:
        from lz4 import block  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return lz4block.decompress

    def decompress(data: bytes, raw_len: int) -> bytes:
        try:
            return bytes(block.decompress(data, uncompressed_size=raw_len))
        except (block.LZ4BlockError, ValueError) as error:
            raise Invalid(f"LZ4: {error}") from None

    return decompress


def _zstd_of_python() -> Optional[Callable[[bytes, int], bytes]]:
    """That of Python 3.14's own library."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    options = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX}

    def decompress(data: bytes, raw_len: int) -> bytes:
        try:
            frame = zstd.ZstdDecompressor(options=options)
            out = frame.decompress(data, max_length=raw_len + 1)
        except zstd.ZstdError as error:
            raise Invalid(f"zstd: {error}") from None
        return bytes(out)

    return decompress


def _zstd_of_package() -> Optional[Callable[[bytes, int], bytes]]:
    try:
        import zstandard  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None

    def decompress(data: bytes, raw_len: int) -> bytes:
        # Not `decompress()`: that makes as many bytes as the frame says it has.
        frame = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG_MAX)
        try:
            with frame.stream_reader(io.BytesIO(data)) as reader:
                return bytes(reader.read(raw_len + 1))
        except zstandard.ZstdError as error:
            raise Invalid(f"zstd: {error}") from None

    return decompress


def _zstd() -> Callable[[bytes, int], bytes]:
    found = _zstd_of_python() or _zstd_of_package()
    if found is None:
        raise MissingPackageError("the stream is compressed with zstd: pip install zstandard")
    return found


_MAKERS = {1: _lz4, 2: _zstd}
_CODECS: Dict[int, Callable[[bytes, int], bytes]] = {}


def is_known(codec: int) -> bool:
    """Whether the format's version 1 has this codec."""
    return codec == 0 or codec in _MAKERS


def decode(codec: int, stored: bytes, raw_len: int) -> bytes:
    """The payload of `raw_len` bytes, at most 65472, that was stored with a known codec."""
    if codec == 0:
        return stored
    if codec not in _CODECS:
        _CODECS[codec] = _MAKERS[codec]()
    raw = _CODECS[codec](stored, raw_len)
    if len(raw) != raw_len:
        raise Invalid("a block is not as long as announced once decompressed")
    return raw
