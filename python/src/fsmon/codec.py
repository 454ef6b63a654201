"""How payloads are stored: as they are, LZ4, zstd by block, zstd over the blocks of a MiB."""

import io
from typing import Callable, Dict, Optional

from . import lz4block
from .errors import Invalid, MissingPackageError

WINDOW_LOG_MAX = 23
"""zstd frames may ask for a window of 8 MiB at most, what RFC 8878 wants every decoder to have."""

FRAME_LOG_MAX = 21
"""Frames over several blocks: 2 MiB at most."""

FED = 256
"""Bytes to feed at a time to a decompressor that has no limit of its own."""

Piece = Callable[[bytes, int], bytes]
"""Decompresses the next piece of a frame, which is at most so long."""


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


def _missing_zstd() -> MissingPackageError:
    return MissingPackageError("the stream is compressed with zstd: pip install zstandard")


def _zstd() -> Callable[[bytes, int], bytes]:
    found = _zstd_of_python() or _zstd_of_package()
    if found is None:
        raise _missing_zstd()
    return found


_MAKERS = {1: _lz4, 2: _zstd}
_CODECS: Dict[int, Callable[[bytes, int], bytes]] = {}

ZSTD_WINDOW = 3
"""Its blocks go on from one another: see `Frames`."""


def is_known(codec: int) -> bool:
    """Whether the format's version 1 has this codec."""
    return codec in (0, ZSTD_WINDOW) or codec in _MAKERS


def _pieces_of_python() -> Optional[Callable[[], Piece]]:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None

    def begin() -> Piece:
        frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: FRAME_LOG_MAX})

        def piece(stored: bytes, most: int) -> bytes:
            try:
                out = bytes(frame.decompress(stored, max_length=most))
            except (zstd.ZstdError, EOFError) as error:
                raise Invalid(f"zstd: {error}") from None
            if frame.eof or not frame.needs_input:
                raise Invalid("a zstd frame ends within a MiB, or a block is too long")
            return out

        return piece

    return begin


def _pieces_of_package() -> Optional[Callable[[], Piece]]:
    try:
        import zstandard  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None

    def begin() -> Piece:
        frame = zstandard.ZstdDecompressor(max_window_size=1 << FRAME_LOG_MAX).decompressobj()

        def piece(stored: bytes, most: int) -> bytes:
            out = bytearray()
            # It gives all that comes of what it gets. Four bytes can be a zstd block of 128 KiB.
            for at in range(0, len(stored), FED):
                try:
                    out += frame.decompress(stored[at:at + FED])
                except zstandard.ZstdError as error:
                    raise Invalid(f"zstd: {error}") from None
                if frame.eof or len(out) > most:
                    raise Invalid("a zstd frame ends within a MiB, or a block is too long")
            return bytes(out)

        return piece

    return begin


class Frames:
    """Decompresses blocks of which each goes on from the one before it, in zstd frames over several of them."""

    def __init__(self) -> None:
        self._begin: Optional[Callable[[], Piece]] = None
        self._piece: Optional[Piece] = None
        self._next: Optional[int] = None

    def leave(self) -> None:
        """Another file begins: the next block must begin a frame."""
        self._next = None

    def decode(self, number: int, begins: bool, stored: bytes, raw_len: int) -> bytes:
        """The payload of the block of this number, with which a frame begins or not."""
        if self._begin is None:
            self._begin = _pieces_of_python() or _pieces_of_package()
        if self._begin is None:
            raise _missing_zstd()
        if begins:
            self._piece = self._begin()
        elif self._next != number:
            raise Invalid("a block is compressed together with those before it, which could not be read")
        self._next = None
        assert self._piece is not None
        raw = self._piece(stored, raw_len + 1)
        if len(raw) != raw_len:
            raise Invalid("a block is not as long as announced once decompressed")
        self._next = number + 1
        return raw


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
