"""The rules of records: what they mean, and that a block that breaks one is refused whole."""

import unittest

from helping import events, fsmon, items
from maker import (
    START, WALL, Stream, clock, directory, end, event, gap, loss, note, process, record, stats, string)

RENAME, MOVED_FROM, IS_DIR = 0x10000000, 0x40, 0x40000000
ROOT = directory(1, 0, b"/srv")


def read(*records):
    """The events of a stream of these records."""
    found, error = items(Stream().close(*records).data)
    if error:
        raise error
    return events(found)


class Paths(unittest.TestCase):
    def test_of_names_from_the_root_down(self):
        found = read(ROOT, directory(2, 1, b"a"), directory(3, 2, b"b"), event(3, b"f"), event(3), event(1, b"g"))
        self.assertEqual([one.path for one in found], [b"/srv/a/b/f", b"/srv/a/b", b"/srv/g"])

    def test_no_second_slash_behind_the_root_of_all(self):
        found = read(directory(1, 0, b"/"), directory(2, 1, b"a"), event(1, b"f"), event(1), event(2, b"f"))
        self.assertEqual([one.path for one in found], [b"/f", b"/", b"/a/f"])

    def test_a_rename_holds_for_what_is_below(self):
        found = read(ROOT, directory(2, 1, b"a"), directory(3, 2, b"b"), event(3, b"f"),
                     directory(2, 1, b"new"), event(3, b"f"), directory(1, 0, b"/else"), event(3, b"f"))
        self.assertEqual([one.path for one in found], [b"/srv/a/b/f", b"/srv/new/b/f", b"/else/new/b/f"])

    def test_places_outside(self):
        found = read(ROOT, event(1, b"in", mask=RENAME), event(0, mask=RENAME, dir2=1, name2=b"out"), event(0))
        self.assertEqual([(one.path, one.old_path) for one in found],
                         [(b"/srv/in", None), (None, b"/srv/out"), (None, None)])

    def test_the_old_place_is_of_renames(self):
        found = read(ROOT, event(1, b"a", dir2=1, name2=b"o"), event(1, b"a", mask=MOVED_FROM, dir2=1, name2=b"o"))
        self.assertEqual([one.old_path for one in found], [None, b"/srv/o"])

    def test_a_directory_too_deep_has_its_whole_path(self):
        found = read(ROOT, directory(2, 0, b"/srv/a/b/c", flags=1), event(2, b"f"))
        self.assertEqual(found[0].path, b"/srv/a/b/c/f")


class Fields(unittest.TestCase):
    def test_flags(self):
        found = read(*[event(0, flags=bits) for bits in range(32)], event(0, flags=0xFFE0))
        for bits, one in enumerate(found[:32]):
            self.assertEqual(one.attribution, ("exact", "ambiguous", "late", "unknown")[bits & 3])
            told = (one.found, one.exchange, one.unsure)
            self.assertEqual(told, (bool(bits & 4), bool(bits & 8), bool(bits & 16)))
        self.assertEqual(found[32].attribution, "exact")

    def test_types_in_their_order(self):
        one = read(event(0, mask=0x1FFF | 0x8000 | RENAME | IS_DIR))[0]
        self.assertEqual(one.types, (
            "CREATE", "MOVED_FROM", "MOVED_TO", "RENAME", "MOVE_SELF", "OPEN", "OPEN_EXEC", "ACCESS", "MODIFY",
            "ATTRIB", "CLOSE_NOWRITE", "CLOSE_WRITE", "DELETE", "DELETE_SELF", "FS_ERROR"))
        self.assertTrue(one.is_dir)
        self.assertEqual(read(event(0, mask=0x20000000))[0].types, ())

    def test_fs_error(self):
        one, other = read(event(0, mask=0x8000, obj=5 | 3 << 32), event(0, obj=5))
        self.assertEqual((one.error, one.error_count, other.error), (5, 3, None))

    def test_process(self):
        one = read(string(1, b"/bin/cc"), string(2, b"a\0b c"), string(3, b""),
                   process(1, 5, ppid=4, exe=1, cmdline=2, user=3, cgroup_id=9, start=7, prev=77, flags=28),
                   process(2, 6, ppid=5, parent=1, uid=7, gid=8, comm=b"x" * 16), event(0, proc=2))[0].process
        self.assertEqual((one.pid, one.ppid, one.uid, one.gid, one.comm), (6, 5, 7, 8, b"x" * 16))
        self.assertEqual((one.exe, one.cmdline, one.args, one.user), (None, None, None, None))
        above = one.parent
        self.assertEqual((above.pid, above.comm, above.uid, above.gid), (5, None, None, None))
        self.assertEqual((above.exe, above.args, above.user), (b"/bin/cc", [b"a", b"b c"], b""))
        self.assertEqual((above.exe_late, above.cmdline_late, above.cmdline_cut), (True, True, True))
        self.assertEqual((above.exec, above.exe_root, above.exe_read_late), (None, 0, False))
        self.assertEqual((above.prev_id, above.start_ns, above.cgroup_id), (77, 7, 9))
        self.assertEqual([ancestor.pid for ancestor in one.chain()], [5])

    def test_a_parent_that_is_not_defined_is_unknown(self):
        for parent in (1, 2, 99):
            one = read(process(1, 5, parent=parent), process(2, 6), event(0, proc=1))[0].process
            self.assertIsNone(one.parent)
            self.assertEqual(one.parent_id, parent)

    def test_long_lines_of_ancestors(self):
        line = [process(1, 1, ppid=0)]
        line += [process(pid, pid, ppid=pid - 1, parent=pid - 1) for pid in range(2, 511)]
        one, same = (read(*line, event(0, proc=510))[0].process for _ in range(2))
        self.assertEqual([ancestor.pid for ancestor in one.chain()], list(range(509, 509 - 64, -1)))
        self.assertEqual(one, same)
        self.assertIn("510", repr(one))

    def test_wall_time(self):
        found = read(event(0, time=START + 5), clock(START + 10, 1000), event(0, time=START + 5),
                     clock(2**64 - 1, 0), event(0, time=0), clock(0, 2**64 - 1), event(0, time=2))
        self.assertEqual([one.realtime_ns for one in found], [WALL + 5, 995, 1, 1])

    def test_losses_and_counters(self):
        records = [loss(reason=2, count=5, first=3, last=START + 4), loss(reason=99), stats(events=3)]
        one, unknown, counters, last = items(Stream().close(*records).data)[0]
        self.assertEqual((one.reason, one.lost, one.first_time_ns, one.realtime_ns),
                         ("process_messages", 5, 3, WALL + 4))
        self.assertEqual((unknown.reason, unknown.reason_code, unknown.lost), ("other", 99, None))
        self.assertEqual((counters.ring_peak, counters.events, counters.processes), (7, 3, 2))
        self.assertEqual((last.reason, last.events), ("stopped", 0))

    def test_gaps_and_notes(self):
        found, error = items(Stream().close(gap(), note(4, b"/srv", b"why", types=0x300, flags=1)).data)
        self.assertIsNone(error)
        self.assertEqual(found[0], fsmon.Pause(
            START + 1, WALL - 9, WALL + 1, "killed", 2, b"the one before it"[:16], 7))
        self.assertEqual(found[1], fsmon.Note(
            START + 1, WALL + 1, "watch_failed", 4, ("CREATE", "DELETE"), True, b"/srv", b"why"))
        most = items(Stream().close(note(1, b"x" * 4000, b"y" * 96)).data)[0][0]
        self.assertEqual((len(most.path), len(most.text)), (4000, 96))

    def test_what_is_not_known_is_passed_over(self):
        data = Stream().add(record(99, 3, b"z" * 200), record(0, 0, b""), event(0), kind=1)
        data.add(ROOT, kind=7, codec=9).add(bytes(640), kind=0, clocked=False).close(event(0))
        self.assertEqual(len(events(items(data.data)[0])), 2)


class Refused(unittest.TestCase):
    def check(self, *records, clocked=True, what="", **block_args):
        stream = Stream().add(ROOT, *records, clocked=clocked, **block_args).close(event(0))
        found, error = items(stream.data)
        self.assertIsInstance(error, fsmon.DamagedError)
        self.assertIn(what, str(error))
        self.assertEqual(found, [], "nothing of it is delivered")
        found, error = items(stream.data, salvage=True)
        self.assertIsNone(error)
        self.assertEqual([type(item) for item in found], [fsmon.Gap, fsmon.Event, fsmon.End])

    def test_ids(self):
        self.check(event(0), event(9, b"x"), what="slot 3 of the block")
        self.check(event(1, b"x", dir2=9))
        self.check(event(1, b"x", proc=9))
        self.check(process(1, 5, exe=9))
        self.check(directory(2, 9, b"x"))
        self.check(directory(2, 2, b"x"))
        for made in (directory(0, 0, b"/a"), string(0, b"a"), process(0, 5)):
            self.check(made, what="id 0")
        for made in (string(1, b"a"), process(1, 5)):
            self.check(made, made, what="twice")

    def test_directories_below_themselves(self):
        self.check(directory(2, 1, b"a"), directory(1, 2, b"b"), what="below itself")
        self.check(directory(2, 1, b"a"), directory(3, 2, b"b"), directory(2, 3, b"c"), what="below itself")

    def test_lengths(self):
        self.check(event(1, b"x" * 25)[:64].replace(b"\x01\x02", b"\x01\x01", 1))
        self.check(directory(2, 1, b"x" * 33)[:64].replace(b"\x02\x02", b"\x02\x01", 1))
        self.check(string(2, b"x" * 53)[:64].replace(b"\x04\x02", b"\x04\x01", 1))
        self.check(string(1, b"x" * 4097))
        self.check(directory(2, 1, b"x" * 4097))
        self.check(process(1, 5)[:64].replace(b"\x03\x02", b"\x03\x01", 1))
        self.check(note(1, b"x" * 41)[:64].replace(b"\x0a\x02", b"\x0a\x01", 1), what="longer than its record")
        self.check(note(1, b"x" * 9, b"y" * 32)[:64].replace(b"\x0a\x02", b"\x0a\x01", 1))
        self.check(note(1, b"x" * 4097), what="than allowed")
        self.check(note(1, b"x" * 2000, b"y" * 2097))
        self.check(bytes(64))
        self.check(b"\x63\x09" + bytes(62))

    def test_order(self):
        self.check(event(0), clock(), clocked=False, what="before the block's first clock")
        self.check(end(0), event(0), what="behind the end")
        for recorder in (gap(), note()):
            self.check(recorder, clock(), clocked=False, what="before the block's first clock")
            self.check(end(0), recorder, what="behind the end")

    def test_counts(self):
        self.check(event(0), events=2, what="as many events")

    def test_bounds_of_blocks(self):
        self.check(event(0), raw_len=128)
        self.check(event(0), codec=1, raw_len=65472 + 64)
        self.check(event(0), codec=1, raw_len=100)


class Most(unittest.TestCase):
    def test_the_deepest_and_the_most(self):
        deep = [directory(number, number - 1, b"x" * 32) for number in range(2, 900)]
        one = read(ROOT, *deep, event(899, b"f"))[0]
        self.assertEqual(len(one.path), 4 + 898 * 33 + 2)
        text = [string(number, b"x" * 52) for number in range(1, 1015)]
        self.assertEqual(len(read(*text, event(0))), 1)


if __name__ == "__main__":
    unittest.main()
