"""Golden streams and what can happen to them."""

import io
import json
import os
import random
import struct
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python" / "src"))

import fsmon  # noqa: E402
from fsmon import _codec  # noqa: E402
from fsmon._lines import text  # noqa: E402

GOLDEN = ROOT / "format" / "tests" / "golden"
HEADER = 4096


def golden(name):
    return (GOLDEN / f"{name}.fsmon").read_bytes()


def lines(source, **how):
    made = []
    for item in fsmon.open(source, **how).items():
        made += [text(fields) for fields in fsmon.line(item, chain=True, cmdline=True)]
    return made


def events(data, **how):
    """The events, whether damage ended them, and how many gaps there were."""
    found, gaps = [], 0
    try:
        for item in fsmon.open(io.BytesIO(data), **how).items():
            gaps += isinstance(item, fsmon.Gap)
            if isinstance(item, fsmon.Event):
                found.append(item)
    except fsmon.FsmonError as error:
        return found, str(error), gaps
    return found, None, gaps


def starts(data):
    """Where each block begins, and the end."""
    at = [HEADER]
    while at[-1] < len(data):
        stored, = struct.unpack_from("<I", data, at[-1] + 8)
        at.append(at[-1] + 64 + (stored + 63) // 64 * 64)
    return at


def sealed(block, payload, codec=0, raw=None):
    """A block with another payload, its checksums right."""
    head = bytearray(block[:64])
    head[5] = codec
    raw = len(payload) if raw is None else raw
    struct.pack_into("<II", head, 8, len(payload), raw)
    struct.pack_into("<I", head, 56, _codec.crc32c(payload))
    struct.pack_into("<I", head, 60, _codec.crc32c(bytes(head[:60])))
    return bytes(head) + payload + bytes(-len(payload) % 64)


class Golden(unittest.TestCase):
    def test_every_stream_has_its_lines(self):
        count = 0
        for kept in sorted(GOLDEN.glob("*.json")):
            stream = kept.with_suffix(".fsmon")
            if stream.stem.endswith("zstd") and not has_zstd():
                continue
            wanted = [json.loads(one) for one in kept.read_text().splitlines()]
            found = [json.loads(one) for one in lines(stream)]
            self.assertEqual(found, wanted, stream.name)
            self.assertEqual([list(one) for one in found], [list(one) for one in wanted])
            count += 1
        self.assertGreater(count, 4)

    def test_a_directory_of_segments_is_one_stream(self):
        with tempfile.TemporaryDirectory() as base:
            for name, segment in (("b", 0), ("a", 1)):
                Path(base, f"{name}.fsmon").write_bytes(golden(f"v1-segment-{segment}"))
            self.assertEqual(lines(base), lines(GOLDEN / "v1-all.fsmon"))
            os.remove(Path(base, "b.fsmon"))
            self.assertEqual(len(lines(base)), 2)

    def test_what_is_missing_between_segments_is_said(self):
        both = golden("v1-segment-0")[: starts(golden("v1-segment-0"))[0]]
        data = golden("v1-all")
        at = starts(data)
        self.assertEqual(len(both), HEADER)
        found, error, _ = events(data[:HEADER] + data[at[1] :])
        self.assertIn("blocks are missing", error)
        gap = next(
            item
            for item in fsmon.open(io.BytesIO(data[:HEADER] + data[at[1] :]), salvage=True).items()
            if isinstance(item, fsmon.Gap)
        )
        self.assertEqual((found, gap.events), ([], 11))

    def test_the_header_is_read(self):
        reader = fsmon.open(GOLDEN / "v1-small.fsmon")
        event, = reader
        self.assertEqual((reader.header.host, reader.header.roots), (b"builder", (b"/srv/b",)))
        self.assertEqual(event.types, ("CREATE", "CLOSE_WRITE"))
        self.assertEqual((event.path, event.process.exe), (b"/srv/b/main.o", b"/usr/bin/cc"))
        self.assertEqual(event.time.isoformat(), "2026-01-01T00:00:00+00:00")


class Damage(unittest.TestCase):
    def setUp(self):
        self.data = golden("v1-all")
        self.at = starts(self.data)
        self.true, error, gaps = events(self.data)
        self.assertEqual((error, gaps, len(self.true)), (None, 0, 13))

    def test_cut_anywhere_a_prefix_is_left(self):
        for end in list(range(0, 400)) + list(range(HEADER - 70, len(self.data))):
            found, error, _ = events(self.data[:end])
            whole = sum(start <= end for start in self.at) - 1
            self.assertEqual(found, self.true[: (0, 11, 13)[max(whole, 0)]], end)
            self.assertIsNotNone(error, end)
            salvaged, error, gaps = events(self.data[:end], salvage=True)
            self.assertEqual((salvaged, error, gaps), (found, None, 1), end)

    def test_no_flipped_bit_alters_an_event(self):
        data = bytearray(self.data)
        for bit in list(range(0, 320 * 8)) + list(range((HEADER - 8) * 8, len(data) * 8, 3)):
            data[bit // 8] ^= 1 << bit % 8
            found, error, _ = events(bytes(data))
            self.assertIsNotNone(error, bit)
            self.assertEqual(found, self.true[: len(found)], bit)
            if bit % 5 == 0:
                salvaged, error, gaps = events(bytes(data), salvage=True)
                refused = error is not None and "newer" in error
                self.assertTrue(refused or gaps > 0, bit)
                self.assertIn(salvaged, ([], self.true, self.true[:11], self.true[11:]), bit)
            data[bit // 8] ^= 1 << bit % 8

    def test_blocks_doubled_and_swapped(self):
        head, one, two = self.data[:HEADER], *(
            self.data[a:b] for a, b in zip(self.at, self.at[1:])
        )
        found, error, _ = events(head + one + one + two)
        self.assertEqual(found, self.true[:11])
        self.assertIn("comes again", error)
        self.assertEqual(events(head + one + one + two, salvage=True)[::2], (self.true, 1))
        found, _, gaps = events(head + two + one, salvage=True)
        self.assertEqual((found, gaps > 1), (self.true[11:], True))

    def test_garbage(self):
        chance = random.Random(7)
        for size in (0, 1, 8, 64, 5000):
            for _ in range(20):
                for how in (False, True):
                    found, error, gaps = events(chance.randbytes(size), salvage=how)
                    self.assertTrue(not found and (error or gaps or how))

    def test_garbage_with_right_checksums(self):
        chance, block = random.Random(9), self.data[self.at[0] : self.at[1]]
        for _ in range(2000):
            payload = bytearray(block[64:])
            for _ in range(chance.randrange(1, 6)):
                payload[chance.randrange(len(payload))] = chance.randrange(256)
            events(self.data[:HEADER] + sealed(block, bytes(payload)), salvage=True)

    def test_directories_in_a_cycle(self):
        block = self.data[self.at[0] : self.at[1]]
        one = struct.pack("<BBHII", 2, 1, 0, 1, 0).ljust(64, b"\0")
        two = struct.pack("<BBHII", 2, 1, 0, 2, 1).ljust(64, b"\0")
        again = struct.pack("<BBHII", 2, 1, 0, 1, 2).ljust(64, b"\0")
        _, error, _ = events(self.data[:HEADER] + sealed(block, one + two + again))
        self.assertIn("cycle", error)

    def test_newer_streams(self):
        for at, what in ((8, "version"), (24, "features")):
            data = bytearray(self.data)
            data[at] = 4
            struct.pack_into("<I", data, 20, 0)
            struct.pack_into("<I", data, 20, _codec.crc32c(bytes(data[:HEADER])))
            for how in (False, True):
                found, error, _ = events(bytes(data), salvage=how)
                self.assertEqual(found, [])
                self.assertIn(what, error)


class Compressed(unittest.TestCase):
    def test_lz4_in_python_alone(self):
        data = golden("v1-lz4")
        at = starts(data)[0]
        stored, raw = struct.unpack_from("<II", data, at + 8)
        stored = data[at + 64 : at + 64 + stored]
        plain = golden("v1-all")
        whole = _codec.lz4_plain(stored, raw)
        self.assertEqual(whole, plain[HEADER + 64 : HEADER + 64 + raw])
        for wrong in (raw - 1, raw + 1, 0, 65472):
            self.assertIsNone(_codec.lz4_plain(stored, wrong))
        chance = random.Random(3)
        for _ in range(3000):
            broken = bytearray(stored[: chance.randrange(len(stored) + 1)])
            for _ in range(chance.randrange(4)):
                if broken:
                    broken[chance.randrange(len(broken))] = chance.randrange(256)
            found = _codec.lz4_plain(bytes(broken), raw)
            self.assertTrue(found is None or len(found) == raw)

    def test_checksums(self):
        self.assertEqual(_codec.crc32c_plain(b"123456789"), 0xE3069283)
        self.assertEqual(_codec.crc32c(b"123456789"), 0xE3069283)

    def test_a_payload_of_another_length(self):
        data = golden("v1-lz4")
        at = starts(data)
        block = data[at[0] : at[1]]
        stored, raw = struct.unpack_from("<II", block, 8)
        for wrong in (raw - 64, raw + 64, 65472):
            block = sealed(block, block[64 : 64 + stored], 1, wrong)
            _, error, _ = events(data[:HEADER] + block)
            self.assertIn("does not decompress", error)


class Following(unittest.TestCase):
    def test_a_file_that_grows(self):
        data = golden("v1-all")
        with tempfile.TemporaryDirectory() as base:
            path = Path(base, "growing")
            path.write_bytes(b"")

            def grow():
                with path.open("ab", buffering=0) as file:
                    for at in range(0, len(data), 997):
                        file.write(data[at : at + 997])
                        time.sleep(0.002)

            writer = threading.Thread(target=grow)
            writer.start()
            found = list(fsmon.open(path, follow=True, poll=0.001))
            writer.join()
        self.assertEqual(found, events(data)[0])


class Tables(unittest.TestCase):
    def test_numpy(self):
        try:
            import numpy
        except ImportError:
            self.skipTest("no numpy here")
        table = fsmon.to_numpy(GOLDEN / "v1-all.fsmon")
        self.assertEqual((len(table), table["path"][0][-7:]), (13, b"/main.o"))
        self.assertEqual(str(table["realtime"][0]), "2026-01-01T00:00:00.000000001")
        data = golden("v1-small")
        slots = numpy.frombuffer(data[HEADER + 64 :], fsmon.dtypes()["EVENT"])
        event = slots[slots["tag"] == 1][0]
        self.assertEqual((event["name"], event["mask"]), (b"main.o", 0x108))

    def test_pandas(self):
        try:
            import pandas  # noqa: F401
        except ImportError:
            self.skipTest("no pandas here")
        frame = fsmon.to_pandas(GOLDEN / "v1-all.fsmon")
        kept = (GOLDEN / "v1-all.json").read_text().splitlines()
        wanted = [json.loads(one) for one in kept]
        wanted = [one["event_type"] for one in wanted if one["event_type"] != "LOSS"]
        self.assertEqual(list(frame["type"]), wanted)
        self.assertEqual(frame[frame["cmd"] == "make"]["pid"].unique().tolist(), [4200])

    def test_arrow(self):
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            self.skipTest("no pyarrow here")
        table = fsmon.to_arrow(GOLDEN / "v1-all.fsmon")
        self.assertEqual(table.column("path_bytes")[0].as_py()[-9:], b"\xff\xfe/main.o")


def has_zstd():
    try:
        _codec._zstd()
    except fsmon.FsmonError:
        return False
    return True


if __name__ == "__main__":
    unittest.main()
