"""The golden streams hold what the texts beside them say."""

import re
import unittest
from unittest import mock

from helping import events, fsmon, golden, items, reader

TYPE_EVENT = re.compile(
    r'EVENT \[(?P<types>.*?)\] (?P<attribution>\w+) (?P<time>\d+) 0x(?P<mask>\w+) found (?P<found>\w+) '
    r'dir (?P<dir>\d+) "(?P<name>.*)" dir2 (?P<dir2>\d+) "(?P<name2>.*)" proc (?P<proc>\d+) '
    r'object 0x(?P<object>\w+)')
TYPE_DIR = re.compile(r'DIR (?P<id>\d+) parent (?P<parent>\d+) fs \d+ generation \d+ object \w+ "(?P<name>.*)"')
TYPE_GAP = re.compile(
    r'GAP (?P<cause>\w+)(\((?P<code>\d+)\))? (?P<time>\d+) from (?P<from>\d+) to (?P<to>\d+) '
    r'stream "(?P<stream>.*)" events (?P<events>\d+)')
TYPE_NOTE = re.compile(
    r'NOTE (?P<what>\w+)(\((?P<code>\d+)\))? (?P<time>\d+) types 0x(?P<types>\w+) recursive (?P<recursive>\w+) '
    r'"(?P<path>.*)" "(?P<text>.*)"')
TYPE_STR = re.compile(r'STR (?P<id>\d+) "(?P<bytes>.*)"')
TYPE_PROC = re.compile(
    r'PROC (?P<id>\d+) pid (?P<pid>\d+) ppid (?P<ppid>\d+) parent (?P<parent>\d+) prev (?P<prev>\d+) '
    r'start (?P<start>\d+) uid (?P<uid>\d+) gid (?P<gid>\d+) comm "(?P<comm>.*)" exe (?P<exe>\d+) '
    r'cgroup (?P<cgroup>\d+) \((?P<cgroup_id>\d+)\) user (?P<user>\d+) cmdline (?P<cmdline>\d+) '
    r'flags \w+( exec (?P<exec>\d+) root (?P<exe_root>\d+))?')


def unescaped(text):
    """The texts escape twice."""
    for _ in range(2):
        text = text.encode("latin-1").decode("unicode_escape")
    return text.encode("latin-1")


class Expected:
    """The text, line by line, as what a reader gives."""

    def __init__(self, text):
        self.text = text
        self.events, self.others = [], []

    def read(self):
        for line in self.text.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "block":
                self.dirs, self.strings, self.processes = {0: (0, None)}, {0: None}, {0: None}
            reader = getattr(self, "_" + kind.lower(), None)
            if reader:
                reader(line, rest)
        return self

    def _clock(self, _, rest):
        self.time, self.wall = (int(number) for number in rest.split())

    def _str(self, line, _):
        match = TYPE_STR.fullmatch(line)
        self.strings[int(match["id"])] = unescaped(match["bytes"])

    def _dir(self, line, _):
        match = TYPE_DIR.fullmatch(line)
        self.dirs[int(match["id"])] = (int(match["parent"]), unescaped(match["name"]))

    def _proc(self, line, _):
        match = TYPE_PROC.match(line)
        number = {key: int(value or 0) for key, value in match.groupdict().items() if key != "comm"}
        self.processes[number["id"]] = {
            "pid": number["pid"], "ppid": number["ppid"], "uid": number["uid"], "gid": number["gid"],
            "comm": unescaped(match["comm"]).rstrip(b"\0"), "start_ns": number["start"],
            "cgroup_id": number["cgroup_id"], "parent": self.processes[number["parent"]], "exe_root": number["exe_root"],
            **{key: self.strings[number[key]] for key in ("exe", "exec", "cgroup", "user", "cmdline")}}

    def _path(self, dir_id, name):
        names = [name] if name else []
        while dir_id:
            dir_id, part = self.dirs[dir_id]
            names.insert(0, part)
        return b"/".join(names) or None

    def _event(self, line, _):
        match = TYPE_EVENT.fullmatch(line)
        mask = int(match["mask"], 16)
        self.events.append({
            "types": tuple(re.findall(r"\w+", match["types"])), "attribution": match["attribution"].lower(),
            "time_ns": int(match["time"]), "realtime_ns": int(match["time"]) + self.wall - self.time,
            "mask": mask, "found": match["found"] == "true", "is_dir": bool(mask & 0x40000000),
            "unsure": False, "exchange": False, "object": int(match["object"], 16),
            "path": self._path(int(match["dir"]), unescaped(match["name"])),
            "old_path": self._path(int(match["dir2"]), unescaped(match["name2"])),
            "process": self.processes[int(match["proc"])]})

    def _loss(self, _, rest):
        reason, times, _, count, _, total = rest.split()
        first, last = times.split("..")
        self.others.append(("Loss", re.sub("(?<=[a-z])(?=[A-Z])", "_", reason).lower(), int(first), int(last),
                            None if int(count) == 2**64 - 1 else int(count), int(total)))

    def _stats(self, _, rest):
        time, wall, _, kernel, _, count, _, losses = rest.split()
        self.others.append(("Stats", int(time), int(wall), int(kernel), int(count), int(losses)))

    def _gap(self, line, _):
        match = TYPE_GAP.fullmatch(line)
        count, stream = int(match["events"]), unescaped(match["stream"])
        self.others.append((
            "Pause", match["cause"].lower(), int(match["code"] or -1), int(match["time"]), int(match["from"]),
            int(match["to"]), None if stream == bytes(16) else stream, None if count == 2**64 - 1 else count))

    def _note(self, line, _):
        match = TYPE_NOTE.fullmatch(line)
        types = int(match["types"], 16)
        self.others.append((
            "Note", re.sub("(?<=[a-z])(?=[A-Z])", "_", match["what"]).lower(), int(match["code"] or -1),
            int(match["time"]), int(match["time"]) + self.wall - self.time, fsmon.records.types_of(types),
            match["recursive"] == "true", unescaped(match["path"]), unescaped(match["text"])))

    def _end(self, _, rest):
        time, _, reason, _, count, _, losses = rest.split()
        name = {0: "stopped", 1: "failed"}[int(reason)]
        self.others.append(("End", int(time), name, int(count), int(losses)))


def told(process):
    """A process as `Expected` has it."""
    if process is None:
        return None
    fields = ("pid", "ppid", "uid", "gid", "comm", "start_ns", "cgroup_id", "exe",
              "exe_root", "exec", "cgroup", "user", "cmdline")
    return {"parent": told(process.parent), **{name: getattr(process, name) for name in fields}}


def other(item):
    if isinstance(item, fsmon.Loss):
        return ("Loss", item.reason, item.first_time_ns, item.time_ns, item.lost, item.total)
    if isinstance(item, fsmon.Stats):
        return ("Stats", item.time_ns, item.realtime_ns, item.kernel_events, item.events, item.losses)
    if isinstance(item, fsmon.Pause):
        code = item.cause_code if item.cause == "other" else -1
        return ("Pause", item.cause, code, item.time_ns, item.from_ns, item.realtime_ns, item.stream_id, item.events)
    if isinstance(item, fsmon.Note):
        code = item.what_code if item.what == "other" else -1
        return ("Note", item.what, code, item.time_ns, item.realtime_ns, item.types, item.recursive, item.path,
                item.text)
    return ("End", item.time_ns, item.reason, item.events, item.losses)


class Golden(unittest.TestCase):
    def test_contents(self):
        for name in ("v1-small", "v1-all", "v1-exe", "v1-history"):
            with self.subTest(name):
                data, text = golden(name)
                expected = Expected(text).read()
                found, error = items(data)
                self.assertIsNone(error)
                fields = [{**event._asdict(), "process": told(event.process)} for event in events(found)]
                # The recordings are of before there were these flags.
                self.assertEqual({(event.pop("named"), event.pop("via")) for event in fields}, {(False, None)})
                self.assertEqual(fields, expected.events)
                self.assertEqual([other(item) for item in found if not isinstance(item, fsmon.Event)],
                                 expected.others)

    def test_header(self):
        stream = reader(golden("v1-small")[0])
        self.assertIsNone(stream.header)
        next(stream)
        header = stream.header
        self.assertEqual((header.version, header.kernel, header.host), (b"1.0.0", b"6.18.1", b"builder"))
        self.assertEqual(header.stream_id, b"\x01\x02\x03\x04stream of v1")
        self.assertEqual(header.types, 0x1000030C)
        self.assertEqual(header.roots, (b"/srv/b",))
        self.assertEqual(header.filesystems, ((1, 0x1122334455667788, b"ext4", b"/srv"),))
        self.assertEqual(header.realtime_ns, 1767225600000000000)

    def test_complete_and_counts(self):
        stream = reader(golden("v1-small")[0])
        self.assertFalse(stream.complete)
        self.assertEqual(len(list(stream)), 1)
        self.assertTrue(stream.complete)
        stream = reader(golden("v1-all")[0])
        with self.assertWarns(fsmon.LossWarning):
            self.assertEqual(len(list(stream)), 13)
        self.assertFalse(stream.complete, "it holds a loss")
        self.assertEqual((stream.event_count, stream.loss_count, stream.gap_count), (13, 1, 0))
        self.assertEqual(stream.losses[0].reason, "queue_overflow")
        self.assertEqual((stream.stats.kernel_events, stream.end.events), (12, 13))

    def test_history(self):
        stream = reader(golden("v1-history")[0])
        with self.assertWarns(fsmon.LossWarning):
            self.assertEqual([event.path for event in stream], [b"/srv/b/main.o", b"/srv/b/main.o", b"/srv/b/after.o"])
        self.assertEqual(stream.header.minor, 1)
        self.assertEqual((stream.event_count, stream.loss_count, stream.gap_count, stream.pause_count), (3, 1, 0, 3))
        self.assertEqual([pause.cause for pause in stream.pauses], ["killed", "disk", "other"])
        self.assertFalse(stream.complete)

    def test_readers_of_format_1_0_see_the_same_events(self):
        data = golden("v1-history")[0]
        whole = [item for item in items(data)[0] if not isinstance(item, (fsmon.Pause, fsmon.Note))]
        known = fsmon.records.Decoder._readers

        def readers(decoder):
            return {tag: read for tag, read in known(decoder).items() if tag not in (9, 10)}

        with mock.patch.object(fsmon.records.Decoder, "_readers", readers):
            self.assertEqual(items(data), (whole, None))
        self.assertEqual(len(whole), 5)

    def test_blocks(self):
        blocks = list(reader(golden("v1-all")[0]).blocks())
        self.assertEqual([(block.offset, block.header.number, block.header.events) for block in blocks],
                         [(4096, 0, 11), (6784, 1, 2)])


if __name__ == "__main__":
    unittest.main()
