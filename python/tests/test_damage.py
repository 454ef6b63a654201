"""Whatever happens to the bytes: what is delivered is true, and what is missing is said."""

import os
import random
import struct
import tempfile
import unittest
import warnings

from helping import events, fsmon, gaps, golden, is_subsequence, items
from maker import (Stream, block, clock, crc32c, cut, directory, end, event, file_header, loss, process, record,
                   stats, string)

SMALL = golden("v1-small")[0]
ROOT = directory(1, 0, b"/srv")


def four_blocks():
    """Of one event each, but for the first, behind the shortest header there can be."""
    stream = Stream(header_len=192)
    stream.add(ROOT, event(1, b"a", time=1), event(1, b"a2", time=2)).add(ROOT, event(1, b"b", time=3))
    return stream.add(ROOT, event(1, b"c", time=4)).close(ROOT, event(1, b"d", time=5)).data


def names(found):
    return [one.path.rpartition(b"/")[2].decode() for one in events(found)]


class Copies(unittest.TestCase):
    def test_what_was_told_to_be_missing_is_taken_from_a_copy(self):
        sound = four_blocks()
        torn = bytearray(sound)
        # In the payload of the last block, whose header says what is missing.
        torn[-70] ^= 1
        with tempfile.TemporaryDirectory() as folder:
            for name, data in (("a.fsmon", bytes(torn)), ("b.fsmon", sound)):
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(data)
            with fsmon.open(folder, salvage=True) as reader:
                found = list(reader.items())
        self.assertEqual(names(found), ["a", "a2", "b", "c", "d"])
        # The first three blocks come again; nothing is missing that was not told.
        self.assertEqual([gap.events for gap in gaps(found)], [1, 0])


class Cuts(unittest.TestCase):
    def check(self, data):
        whole = events(items(data)[0])
        for length in range(len(data)):
            found, error = items(data[:length])
            self.assertIsInstance(error, fsmon.DamagedError, length)
            self.assertEqual(events(found), whole[:len(events(found))], length)
            saved, error = items(data[:length], salvage=True)
            self.assertIsNone(error, length)
            self.assertEqual(events(saved), events(found), length)
            self.assertEqual(len(gaps(saved)), 1, length)

    def test_at_every_byte(self):
        self.check(four_blocks())
        self.check(SMALL)

    def test_where_a_block_ends_all_before_is_there(self):
        head, blocks = cut(four_blocks())
        self.assertEqual(names(items(head + b"".join(blocks[:3]))[0]), ["a", "a2", "b", "c"])
        self.assertIsInstance(items(head + b"".join(blocks[:3]))[1], fsmon.TruncatedError)


class Flips(unittest.TestCase):
    def check(self, data, bits):
        whole = events(items(data)[0])
        for bit in bits:
            broken = bytearray(data)
            broken[bit // 8] ^= 1 << bit % 8
            found, error = items(bytes(broken))
            self.assertIsInstance(error, fsmon.DamagedError, bit)
            self.assertTrue(is_subsequence(events(found), whole), bit)
            saved, error = items(bytes(broken), salvage=True)
            self.assertIsNone(error, bit)
            self.assertTrue(is_subsequence(events(saved), whole), bit)
            self.assertTrue(gaps(saved), bit)

    def test_every_bit_of_several_blocks(self):
        data = four_blocks()
        self.check(data, range(8 * len(data)))

    def test_every_bit_of_the_golden_stream(self):
        # What is behind the entries of its file header is 3.8 KiB of zeros: one bit of each byte.
        zeros = range(8 * 320, 8 * 4096, 8)
        self.check(SMALL, [*range(8 * 320), *zeros, *range(8 * 4096, 8 * len(SMALL))])


class Blocks(unittest.TestCase):
    def setUp(self):
        self.head, self.blocks = cut(four_blocks())

    def of(self, *order):
        return self.head + b"".join(self.blocks[index] for index in order)

    def check(self, data, delivered, *told):
        """What salvage delivers, and its gaps as (length, blocks, events)."""
        found, error = items(data)
        self.assertIsInstance(error, fsmon.DamagedError)
        self.assertEqual(names(found), delivered[:len(names(found))])
        found, error = items(data, salvage=True)
        self.assertIsNone(error)
        self.assertEqual(names(found), delivered)
        self.assertEqual([(gap.length, gap.blocks, gap.events) for gap in gaps(found)], list(told))

    def test_missing(self):
        self.check(self.of(0, 2, 3), ["a", "a2", "c", "d"], (0, 1, 1))
        self.check(self.of(1, 2, 3), ["b", "c", "d"], (0, 1, 2))
        self.check(self.of(0, 1, 2), ["a", "a2", "b", "c"], (0, None, None))

    def test_again(self):
        self.check(self.of(0, 1, 1, 2, 3), ["a", "a2", "b", "c", "d"], (256, 0, 0))

    def test_swapped(self):
        self.check(self.of(0, 2, 1, 3), ["a", "a2", "c", "d"], (0, 1, 1), (256, 0, 0))

    def test_of_another_stream(self):
        other = Stream(stream_id=b"somebody else's.").close(event(0)).data[4096:]
        data = self.of(0) + other + b"".join(self.blocks[1:])
        self.check(data, ["a", "a2", "b", "c", "d"], (len(other), 0, 0))

    def test_behind_the_end(self):
        self.check(self.of(0, 1, 2, 3, 3), ["a", "a2", "b", "c", "d"], (len(self.blocks[3]), 0, 0))
        self.check(self.of(0, 1, 2, 3) + b"more", ["a", "a2", "b", "c", "d"], (4, 0, 0))

    def test_never_written(self):
        rest = b"".join(self.blocks[1:])
        self.check(self.of(0) + bytes(4096) + rest, ["a", "a2", "b", "c", "d"], (4096, 0, 0))
        self.check(self.of(0) + bytes(4096), ["a", "a2"], (4096, None, None))

    def test_counts_that_contradict(self):
        twice = block(clock() + ROOT + event(1, b"x"), 1, 9, 1)
        self.check(self.of(0) + twice, ["a", "a2"], (len(twice), None, None))
        early = block(clock() + ROOT + event(1, b"x"), 7, 1, 1)
        self.check(self.of(0) + early + b"".join(self.blocks[1:]), ["a", "a2", "b", "c", "d"],
                   (len(early), 0, 0))

    def test_never_into_the_payload_of_a_sound_header(self):
        # A command line can hold any bytes, those of a whole block among them.
        forged = block(clock() + ROOT + event(1, b"forged"), 1, 2, 1)
        told = clock() + ROOT + string(1, bytes(52) + forged) + event(1, b"b")
        honest = bytearray(block(told, 1, 2, 1))
        honest[-1] ^= 1
        data = self.of(0) + bytes(honest) + b"".join(self.blocks[2:])
        self.check(data, ["a", "a2", "c", "d"], (len(honest), 1, 1))

    def test_the_end_of_the_file_is_believed_of_sound_blocks_alone(self):
        wrong = block(clock() + event(9, b"x"), 1, 2, 1, flags=4)
        self.check(self.of(0) + wrong + b"".join(self.blocks[2:]), ["a", "a2", "c", "d"], (len(wrong), 1, 1))
        self.check(self.of(0) + wrong, ["a", "a2"], (len(wrong), 1, 1))

    def test_a_damaged_length_of_the_file_header(self):
        data = bytearray(self.of(0, 1, 2, 3))
        data[12:16] = struct.pack("<I", 65536)
        self.check(bytes(data), ["a", "a2", "b", "c", "d"], (len(self.head), None, None))

    def test_the_error_says_where(self):
        _, error = items(self.of(0, 2))
        self.assertEqual((error.offset, error.block), (len(self.head) + len(self.blocks[0]), 1))
        self.assertIn(f"byte {error.offset}, block 1: blocks are missing", str(error))


class Files(unittest.TestCase):
    def test_joined(self):
        other = Stream(stream_id=b"another stream!!").close(event(0)).data
        found, error = items(four_blocks() + other)
        self.assertIsNone(error)
        self.assertEqual(len(events(found)), 6)

    def test_joined_although_the_first_was_cut(self):
        head, blocks = cut(four_blocks())
        data = head + blocks[0] + Stream(stream_id=b"x" * 16).close(event(0)).data
        found, error = items(data, salvage=True)
        self.assertEqual((len(events(found)), len(gaps(found)), error), (3, 1, None))
        self.assertIsInstance(items(data)[1], fsmon.TruncatedError)

    def test_newer(self):
        sound = Stream().close(event(0)).data[4096:]
        for changed in ({"major": 2}, {"incompatible": 4}, {"slot": 128}, {"block_max": 4096}, {"grid": 4096}):
            for salvage in (False, True):
                found, error = items(file_header(**changed) + sound, salvage=salvage)
                self.assertIsInstance(error, fsmon.UnsupportedError, changed)
                self.assertEqual(found, [])

    def test_no_stream(self):
        for data in (b"", b"x", b"no stream at all, but long enough to be looked at"):
            self.assertIsInstance(items(data)[1], fsmon.NotAStreamError, data)

    def test_the_end_counts(self):
        found, error = items(Stream().add(event(0), end(7), flags=4).data)
        self.assertIn("the end counts", str(error))
        self.assertEqual(events(found), [])


def fuzzed(rng, payload):
    """A payload with a few bytes changed."""
    payload = bytearray(payload)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(payload))
        payload[at] = rng.choice((0, 1, 2, 255, rng.randrange(256)))
    return bytes(payload)


class Garbage(unittest.TestCase):
    def check(self, data):
        for salvage in (False, True):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                items(data, salvage=salvage)

    def test_random(self):
        rng = random.Random(1)
        for _ in range(300):
            pieces = [SMALL[:8], SMALL[4096:4100], SMALL[:4096], SMALL[4096:], bytes(64), b"\xff" * 64]
            parts = [rng.choice(pieces) if rng.random() < 0.5
                     else bytes(rng.getrandbits(8) for _ in range(rng.randrange(200))) for _ in range(8)]
            self.check(b"".join(parts))

    def test_wrong_records_with_right_checksums(self):
        rng = random.Random(2)
        payload = clock() + ROOT + directory(2, 1, b"sub") + string(1, b"/bin/cc") + process(1, 5, exe=1)
        payload += process(2, 6, parent=1) + event(2, b"n", proc=2, dir2=1, name2=b"o", mask=0x10000000)
        payload += directory(1, 0, b"/new") + event(2, b"z" * 99, proc=1) + loss() + stats() + record(77, 0, b"")
        for _ in range(3000):
            changed = fuzzed(rng, payload)
            self.check(Stream(header_len=192).data + block(changed, 0, 0, 2, flags=4))

    def test_wrong_headers_with_right_checksums(self):
        rng = random.Random(3)
        for _ in range(1000):
            data = bytearray(SMALL)
            for _ in range(3):
                data[rng.choice((rng.randrange(256), rng.randrange(4096, 4160)))] = rng.randrange(256)
            data[20:24] = struct.pack("<I", crc32c(bytes(data[:20]) + bytes(4) + bytes(data[24:4096])))
            data[4156:4160] = struct.pack("<I", crc32c(bytes(data[4096:4156])))
            self.check(bytes(data))

    def test_many_beginnings_of_blocks(self):
        # Each must cost little, or such a file would take for ever.
        head = Stream(header_len=192).data
        self.check(head + SMALL[4096:4100] * 20000)
        self.check(head + block(b"", 0, 0, 0, tag=b"else") * 5000)
        self.check(SMALL[:8] * 5000)
        self.check(head + file_header(header_len=65536)[:24] * 5000)


if __name__ == "__main__":
    unittest.main()
