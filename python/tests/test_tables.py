"""Events as tables, where the packages for them are installed."""

import importlib.util
import struct
import unittest
from unittest import mock

from helping import fsmon, golden, reader
from maker import Stream, clock, directory, event, process

from fsmon import layout

ALL = golden("v1-all")[0]
RENAME = 0x10000000


def needs(*names):
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return unittest.skipIf(missing, f"not installed: {missing}")


def sample():
    """A name that is not UTF-8, a rename, an unknown process, a time beyond what numpy has."""
    records = [directory(1, 0, b"/srv"), process(1, 5, ppid=4, comm=b"cc")]
    records += [event(1, b"n\xff", mask=RENAME, dir2=1, name2=b"o", proc=1, time=10_000_000_007)]
    records += [event(1, b"m", mask=0x108), clock(0, 2**64 - 1), event(0, time=0, flags=3)]
    return reader(Stream().close(*records).data)


class Structures(unittest.TestCase):
    STRUCTS = {"EVENT": layout.EVENT_FIELDS, "DIR": layout.DIR_FIELDS, "PROC": layout.PROC_FIELDS,
               "STR": layout.STR_FIELDS, "LOSS": layout.LOSS_FIELDS, "STATS": layout.STATS_FIELDS,
               "END": layout.END_FIELDS, "CLOCK": layout.CLOCK_FIELDS}

    @needs("numpy")
    def test_every_field_is_where_the_reader_has_it(self):
        import numpy

        for name, fields in self.STRUCTS.items():
            dtype = fsmon.SLOT_DTYPES[name]
            self.assertEqual(dtype.itemsize, 128 if name == "PROC" else 64)
            raw = bytes(range(1, 129))
            one = numpy.frombuffer(raw[:dtype.itemsize], dtype)[0]
            values = set(fields.unpack_from(raw, 4)) | set(struct.unpack_from("<BBH", raw))
            for field in dtype.names:
                if dtype[field].kind not in "V":
                    self.assertIn(one[field].item(), values, (name, field))

    @needs("numpy")
    def test_slots(self):
        blocks = list(reader(ALL).blocks())
        found = fsmon.slots(blocks[0], "EVENT")
        self.assertEqual(found["mask"].tolist()[:2], [0x100, 0xA])
        self.assertEqual(len(found), 11)
        processes = fsmon.slots(blocks[0], "PROC")
        self.assertEqual((processes["pid"].tolist(), processes["user"].tolist()), ([4200, 4242], [3, 3]))
        self.assertEqual(processes["comm"].tolist(), [b"make", b"cc"])
        self.assertEqual(len(fsmon.slots(blocks[0], "END")), 0)

    def test_without_numpy(self):
        with mock.patch.dict("sys.modules", {"numpy": None}):
            with self.assertRaisesRegex(fsmon.MissingPackageError, "pip install numpy"):
                fsmon.dtypes()


class Tables(unittest.TestCase):
    @needs("numpy")
    def test_numpy(self):
        rows = fsmon.to_numpy(sample())
        self.assertEqual(rows["path"].tolist(), [b"/srv/n\xff", b"/srv/m", None])
        self.assertEqual(rows["old_path"].tolist(), [b"/srv/o", None, None])
        self.assertEqual(rows["pid"].tolist(), [5, -1, -1])
        self.assertEqual(str(rows["realtime"][0]), "2026-01-01T00:00:00.000000007")
        self.assertEqual(str(rows["realtime"][2]), "NaT")
        self.assertEqual(rows["attribution"].tolist(), [0, 0, 3])
        self.assertEqual(len(fsmon.to_numpy([])), 0)

    @needs("numpy", "pandas")
    def test_pandas(self):
        table = fsmon.to_pandas(sample())
        self.assertEqual(table["type"].tolist(), ["RENAME", "CREATE", "CLOSE_WRITE", "CREATE"])
        self.assertEqual(table["path"].tolist()[:2], ["/srv/n\ufffd", "/srv/m"])
        self.assertEqual(table["path_bytes"][0], b"/srv/n\xff")
        self.assertEqual(table["path_bytes"].isna().tolist(), [False, True, True, True])
        self.assertEqual(str(table["time"].dtype), "datetime64[ns, UTC]")
        self.assertEqual(table["time"][0].isoformat(), "2026-01-01T00:00:00.000000007+00:00")
        self.assertTrue(table["time"].isna()[3])
        self.assertEqual(str(table["pid"].dtype), "UInt32")
        self.assertEqual(table["pid"].isna().tolist(), [False, True, True, True])
        self.assertEqual(table["cmd"][0], "cc")
        self.assertEqual(len(fsmon.to_pandas([])), 0)

    @needs("pyarrow")
    def test_arrow(self):
        table = fsmon.to_arrow(sample())
        rows = table.to_pylist()
        self.assertEqual([row["type"] for row in rows], ["RENAME", "CREATE", "CLOSE_WRITE", "CREATE"])
        self.assertEqual((rows[0]["path_bytes"], rows[1]["path_bytes"]), (b"/srv/n\xff", None))
        self.assertEqual((rows[0]["pid"], rows[1]["pid"], rows[0]["cmd"]), (5, None, "cc"))
        self.assertIsNone(rows[3]["time"])
        self.assertEqual(str(table.schema.field("time").type), "timestamp[ns, tz=UTC]")
        self.assertEqual(fsmon.to_arrow([]).num_rows, 0)

    @needs("numpy")
    def test_a_hole_is_not_silent(self):
        with self.assertWarns(fsmon.LossWarning):
            self.assertEqual(len(fsmon.to_numpy(reader(ALL))), 13)



if __name__ == "__main__":
    unittest.main()
