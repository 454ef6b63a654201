"""Compressed blocks, with a package and without."""

import random
import unittest
from unittest import mock

from helping import fsmon, golden, items

from compressing import FRAME, compressed, frames, lz4, zstd
from fsmon import codec, lz4block
from fsmon.errors import Invalid
from maker import Stream, cut, event

try:
    from lz4 import block as package
except ImportError:
    package = None

GOLDEN = golden("v1-all")[0]
HAS_ZSTD = bool(codec._zstd_of_python() or codec._zstd_of_package())


def many_blocks(count, **header):
    """A stream of so many blocks with an event each, and the end in the last one."""
    stream = Stream(**header)
    for _ in range(count - 1):
        stream.add(event(0))
    return stream.close(event(0)).data


def samples():
    rng = random.Random(4)
    yield from (b"", b"a", b"abcd" * 3, b"a" * 65472, bytes(300), GOLDEN[4096:])
    for _ in range(60):
        words = [bytes(rng.getrandbits(8) for _ in range(rng.randrange(1, 30))) for _ in range(5)]
        yield b"".join(rng.choice(words) for _ in range(rng.randrange(300)))
    yield bytes(rng.getrandbits(8) for _ in range(60000))


class Lz4(unittest.TestCase):
    def test_comes_back(self):
        for data in samples():
            self.assertEqual(lz4block.decompress(lz4(data), len(data)), data)

    def test_other_lengths_are_refused(self):
        for data in samples():
            for length in (len(data) - 1, len(data) + 1, 0):
                if length >= 0 and length != len(data):
                    with self.assertRaises(Invalid):
                        lz4block.decompress(lz4(data), length)

    def test_hostile(self):
        rng = random.Random(5)
        good = lz4(GOLDEN[4096:])
        hostile = [b"\xf0" + b"\xff" * 60000, b"\x1fa\x01\x00" + b"\xff" * 60000, b"\x1fa\x00\x00\x00",
                   b"\x10a\x05\x00", b"\x10a\x01", b"\x10a\x01\x00"]
        for _ in range(500):
            changed = bytearray(good)
            for _ in range(3):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            hostile.append(bytes(changed))
        for data in hostile:
            try:
                self.assertEqual(len(lz4block.decompress(data, 3840)), 3840)
            except Invalid:
                pass

    @unittest.skipUnless(package, "lz4 is not installed")
    def test_the_package_agrees(self):
        rng = random.Random(6)
        for data in samples():
            stored = package.compress(data, store_size=False)
            self.assertEqual(lz4block.decompress(stored, len(data)), data)
            if data:
                self.assertEqual(package.decompress(lz4(data), uncompressed_size=len(data)), data)
            for _ in range(20):
                changed = bytearray(stored)
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
                try:
                    expected = package.decompress(bytes(changed), uncompressed_size=len(data))
                except (package.LZ4BlockError, ValueError):
                    # Some of what it refuses is not forbidden, only never written.
                    continue
                if len(expected) == len(data):
                    self.assertEqual(lz4block.decompress(bytes(changed), len(data)), expected)


class Streams(unittest.TestCase):
    def check(self, stored, compress):
        plain = items(GOLDEN)
        self.assertEqual(items(compressed(GOLDEN, stored, compress)), plain)

    def test_lz4(self):
        self.check(1, lz4)

    def test_lz4_in_python(self):
        with mock.patch.dict(codec._CODECS, {1: lz4block.decompress}):
            self.check(1, lz4)

    def test_wrong_lz4(self):
        for stored in (b"", b"\xff" * 99, lz4(b"x" * 64), lz4(b"x" * 6400)):
            stream = Stream().add(event(0), codec=1, stored=stored).close(event(0))
            found, error = items(stream.data)
            self.assertIsInstance(error, fsmon.DamagedError)
            found, error = items(stream.data, salvage=True)
            self.assertEqual([type(item) for item in found], [fsmon.Gap, fsmon.Event, fsmon.End])

    def test_zstd(self):
        if codec._zstd_of_python() or codec._zstd_of_package():
            self.check(2, zstd)
        else:
            for salvage in (False, True):
                _, error = items(compressed(GOLDEN, 2, zstd), salvage=salvage)
                self.assertIsInstance(error, fsmon.MissingPackageError)
                self.assertIn("pip install zstandard", str(error))

    def test_wrong_zstd(self):
        if not (codec._zstd_of_python() or codec._zstd_of_package()):
            self.skipTest("zstandard is not installed")
        huge = b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 7 + b"\x0f" + b"\x03\xff\xff" + b"x"
        # A block of 128 KiB out of one byte, again and again.
        bomb = b"\x28\xb5\x2f\xfd\x00\x58" + ((128 << 10) << 3 | 2).to_bytes(3, "little") + b"x"
        for stored in (b"", b"\xff" * 99, zstd(b"x" * 64), zstd(b"x" * 64000), huge, bomb, zstd(b"x" * 128)[:-1]):
            stream = Stream().add(event(0), codec=2, stored=stored).close(event(0))
            found, error = items(stream.data, salvage=True)
            self.assertIsNone(error)
            self.assertEqual([type(item) for item in found], [fsmon.Gap, fsmon.Event, fsmon.End], stored[:20])

    def test_one_frame_over_blocks(self):
        plain = items(GOLDEN)
        window, text = golden("v1-zstd-window")
        if not HAS_ZSTD:
            for salvage in (False, True):
                _, error = items(window, salvage=salvage)
                self.assertIsInstance(error, fsmon.MissingPackageError)
                self.assertIn("pip install zstandard", str(error))
            return
        self.assertEqual(items(window), plain)
        self.assertEqual(text.count("\nblock "), 2)
        other = many_blocks(3, stream_id=b"one behind it...")
        for every in (1, 2, 9):
            self.assertEqual(items(frames(GOLDEN, every) + frames(other, every)), items(GOLDEN + other))

    def test_damage_costs_what_goes_on_from_it(self):
        if not HAS_ZSTD:
            self.skipTest("zstandard is not installed")
        stream = frames(many_blocks(9), every=4)
        head, parts = cut(stream)
        self.assertEqual(len(parts), 9)
        for hit, lost in ((0, range(0, 4)), (1, range(1, 4)), (3, [3]), (5, range(5, 8)), (4, range(4, 8)), (8, [8])):
            broken = bytearray(head + b"".join(parts))
            broken[len(head) + sum(map(len, parts[:hit])) + 70] ^= 1
            for data, what in ((bytes(broken), "does not match its checksum"),
                               (head + b"".join(parts[:hit] + parts[hit + 1:]), "missing|without its last block")):
                found, error = items(data)
                self.assertEqual(len(found), hit)
                self.assertRegex(str(error), what)
                found, error = items(data, salvage=True)
                self.assertIsNone(error)
                gap, = [item for item in found if isinstance(item, fsmon.Gap)]
                self.assertEqual(len([item for item in found if isinstance(item, fsmon.Event)]), 9 - len(lost))
                if hit < 8:
                    self.assertEqual((gap.blocks, gap.events), (len(lost), len(lost)))

    def test_wrong_frames(self):
        if not HAS_ZSTD:
            self.skipTest("zstandard is not installed")
        raw = event(0)
        bomb = b"\x28\xb5\x2f\xfd\x00\x58" + ((128 << 10) << 3 | 2).to_bytes(3, "little") + b"x"
        wide = b"\x28\xb5\x2f\xfd\x00\x60" + (len(raw) << 3).to_bytes(3, "little") + raw
        ended = zstd(raw)
        for stored in (b"", b"\xff" * 99, zstd(b"x" * 64), bomb, bomb * 2000, wide, ended):
            stream = Stream().add(event(0), codec=3, flags=FRAME, stored=stored).close(event(0))
            found, error = items(stream.data, salvage=True)
            self.assertIsNone(error)
            self.assertEqual([type(item) for item in found], [fsmon.Gap, fsmon.Event, fsmon.End], stored[:20])

    def test_a_codec_that_is_not_known(self):
        stream = Stream().add(event(0), codec=9).close(event(0))
        _, error = items(stream.data)
        self.assertIsInstance(error, fsmon.UnsupportedError)
        self.assertIn("method 9", str(error))
        found, error = items(stream.data, salvage=True)
        self.assertIsNone(error)
        self.assertEqual((found[0].events, "method 9" in found[0].what), (1, True))


if __name__ == "__main__":
    unittest.main()
