"""Lines of JSON, and the program that prints them."""

import io
import os
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stderr
from unittest import mock

from helping import HERE, events, fsmon, golden, items
from maker import Stream, directory, event, gap, loss, note, process, string

from fsmon import __main__ as program

RENAME, MOVED = 0x10000000, 0xC0
ROOT = directory(1, 0, b"/srv")
TIME = '{"time":"2026-01-01T00:00:00.000000001Z","event_type":'


def lines(*records, **options):
    """What is behind the time in each line."""
    made = fsmon.JsonLines(**options)
    found, error = items(Stream().close(*records).data)
    assert error is None, error
    wanted = (fsmon.Event, fsmon.Loss, fsmon.Pause, fsmon.Note)
    return [line[len(TIME):] for item in found if isinstance(item, wanted) for line in made.of(item)]


class Json(unittest.TestCase):
    def test_all_fields_in_their_order(self):
        self.assertEqual(lines(
            ROOT, string(1, b"a\xff\0b"), string(2, b"/bin/a"), string(3, b"me"), string(4, b"/grp"),
            process(1, 5, ppid=4, comm=b"sh"),
            process(2, 6, ppid=5, parent=1, exe=2, user=3, cgroup=4, cmdline=1, flags=31),
            event(1, b"x\xff", proc=2, flags=31, mask=RENAME | 0x40000000, dir2=1, name2=b"\xfe"),
            chain=True, cmdline=True), [
            '"RENAME","path":"/srv/x\ufffd","old_path":"/srv/\ufffd","is_dir":true,"pid":6,"ppid":5,"cmd":"cc",'
            '"exe":"/bin/a","uid":1000,"gid":100,"user":"me","cgroup":"/grp","chain":[{"pid":5,"cmd":"sh"}],'
            '"cmdline":["a\ufffd","b"],"cmdline_from":"proc","cmdline_cut":true,"cmdline_b64":"Yf8AYg==",'
            '"attribution":"unknown","found":true,"exchange":true,"unsure":true,"path_b64":"L3Nydi94/w==",'
            '"old_path_b64":"L3Nydi/+"}'])

    def test_what_runs_and_what_exec_was_given(self):
        self.assertEqual(lines(
            string(1, b"/opt/\xff"), string(2, b"./\xfe"), process(1, 5, flags=0xe0, exe=1, exec=2, exe_root=9),
            process(2, 6, flags=0xe0, exec=2, exe_root=9), event(0, proc=1), event(0, proc=2)), [
            '"CREATE","pid":5,"ppid":1,"exe":"/opt/\ufffd","exe_root":"mnt:[9]","exe_late":true,"exe_unsure":true,'
            '"exe_cut":true,"exec":"./\ufffd","exe_b64":"L29wdC//","exec_b64":"Li/+"}',
            '"CREATE","pid":6,"ppid":1,"exec":"./\ufffd","exec_b64":"Li/+"}'])

    def test_what_is_unknown_is_absent(self):
        self.assertEqual(lines(process(1, 0, ppid=0, flags=0, cgroup_id=7), event(0), event(0, proc=1)),
                         ['"CREATE"}', '"CREATE","cgroup":"id:7"}'])

    def test_places_of_renames(self):
        self.assertEqual(lines(
            ROOT, event(1, b"n", mask=RENAME | MOVED, dir2=1, name2=b"o"), event(1, b"in", mask=RENAME | MOVED),
            event(0, mask=RENAME | MOVED, dir2=1, name2=b"out")), [
            '"MOVED_FROM","path":"/srv/o"}', '"MOVED_TO","path":"/srv/n"}',
            '"RENAME","path":"/srv/n","old_path":"/srv/o"}',
            '"MOVED_TO","path":"/srv/in"}', '"RENAME","path":"/srv/in"}',
            '"MOVED_FROM","path":"/srv/out"}', '"RENAME","old_path":"/srv/out"}'])

    def test_the_other_name_of_a_file(self):
        self.assertEqual(lines(
            ROOT, event(1, b"n", mask=0x2, dir2=1, name2=b"o", flags=64), event(1, b"n", mask=0x2, flags=64),
            event(1, b"n", mask=0x2, dir2=1, name2=b"o"), event(1, b"n", mask=0x2, dir2=1, name2=b"\xff", flags=64)), [
            '"MODIFY","path":"/srv/n","via":"/srv/o"}', '"MODIFY","path":"/srv/n"}', '"MODIFY","path":"/srv/n"}',
            '"MODIFY","path":"/srv/n","via":"/srv/\ufffd","via_b64":"L3Nydi//"}'])

    def test_errors_and_losses(self):
        self.assertEqual(lines(
            event(0, mask=0x8002, obj=5 | 3 << 32), loss(reason=5, count=2), loss(reason=6),
            loss(reason=10, count=7), loss(reason=99)), [
            '"MODIFY","object":"0000000300000005"}', '"FS_ERROR","error":5,"error_count":3}',
            '"LOSS","reason":"walk","lost":2}', '"LOSS","reason":"unmarked"}', '"LOSS","reason":"tables_full","lost":7}',
            '"LOSS","reason":"other"}'])

    def test_times_without_a_record(self):
        times = '"from":"2025-12-31T23:59:59.999999991Z","to":"2026-01-01T00:00:00.000000001Z"'
        self.assertEqual(lines(
            gap(stream_id=b"\x01\xab" + bytes(14)), gap(cause=99, stream_id=bytes(16), events=2**64 - 1)), [
            f'"GAP",{times},"cause":"killed","stream":"01ab0000000000000000000000000000","events":7}}',
            f'"GAP",{times},"cause":"other"}}'])

    def test_notes(self):
        self.assertEqual(lines(
            note(1, b"/srv", types=0x300, flags=1), note(2, b"/srv"), note(3, b"/srv/later", types=0x100),
            note(4, b"/srv/\xff\n", b'no "way"'), note(4, b"/srv"), note(5, b"old.fsmon", b"cc wrote it"), note(99),
            note(99, b"/srv", b"as never before"), note(99, b"", b"as never before")), [
            '"NOTE","note":"watching /srv (CREATE, DELETE), with everything below it","what":"watch_began",'
            '"path":"/srv","types":["CREATE","DELETE"],"recursive":true}',
            '"NOTE","note":"no longer watching /srv","what":"watch_ended","path":"/srv"}',
            '"NOTE","note":"waiting for /srv/later to appear (CREATE)","what":"watch_pending","path":"/srv/later",'
            '"types":["CREATE"]}',
            '"NOTE","note":"cannot watch /srv/\ufffd\\n: no \\"way\\"","what":"watch_failed","path":"/srv/\ufffd\\n",'
            '"text":"no \\"way\\"","path_b64":"L3Nydi//Cg=="}',
            '"NOTE","note":"cannot watch /srv","what":"watch_failed","path":"/srv"}',
            '"NOTE","note":"deleted old.fsmon before it reached its age: cc wrote it","what":"segment_deleted",'
            '"path":"old.fsmon","text":"cc wrote it"}',
            '"NOTE","note":"something that this version does not know","what":"other"}',
            '"NOTE","note":"/srv: as never before","what":"other","path":"/srv","text":"as never before"}',
            '"NOTE","note":"as never before","what":"other","text":"as never before"}'])

    def test_what_cannot_be_seen_is_escaped(self):
        name = 'a"\\\n\r\t\x08\x1b\x7f\x9b\xad\u200b\u202e\ufeff\U000e0041\u00e4\U0001f980'
        self.assertEqual(lines(ROOT, event(1, name.encode())), [
            '"CREATE","path":"/srv/a\\"\\\\\\n\\r\\t\\u0008\\u001b\\u007f\\u009b\\u00ad\\u200b\\u202e\\ufeff'
            '\\udb40\\udc41\u00e4\U0001f980"}'])

    def test_one_line(self):
        one = events(items(golden("v1-small")[0])[0])[0]
        kinds = [line.type for line in fsmon.lines(one)]
        self.assertEqual(kinds, ["CREATE", "CLOSE_WRITE"])
        line = fsmon.json_line(next(fsmon.lines(one)))
        self.assertEqual(line[:27], '{"time":"2026-01-01T00:00:0')


class Program(unittest.TestCase):
    def run_on(self, data, *args, name="stream"):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, name)
            with open(path, "wb") as file:
                file.write(data)
            stdout = io.TextIOWrapper(io.BytesIO())
            stderr = io.StringIO()
            with mock.patch("sys.stdout", stdout), redirect_stderr(stderr):
                status = program.main([*args, path])
        return status, stdout.buffer.getvalue().decode().splitlines(), stderr.getvalue()

    def test_whole(self):
        status, shown, said = self.run_on(golden("v1-all")[0])
        self.assertEqual((status, len(shown), said), (0, 15, ""))

    def test_notes_on_request(self):
        data = golden("v1-history")[0]
        status, shown, said = self.run_on(data)
        self.assertEqual((status, len(shown), said), (0, 8, ""))
        status, shown, said = self.run_on(data, "--notes")
        self.assertEqual((status, len(shown), said), (0, 15, ""))

    def test_damaged(self):
        status, shown, said = self.run_on(golden("v1-all")[0][:-1])
        self.assertEqual((status, len(shown)), (1, 13))
        self.assertIn("byte 6784: the stream is cut off here; 1151 bytes passed over", said)
        self.assertIn("damaged in 1 place", said)

    def test_no_stream(self):
        status, shown, said = self.run_on(b"something else")
        self.assertEqual((status, shown), (1, []))
        self.assertIn("this does not begin as a stream does", said)

    def test_standard_input_and_a_reader_that_has_enough(self):
        data = golden("v1-all")[0]
        command = [sys.executable, "-B", "-m", "fsmon", "-"]
        environment = {**os.environ, "PYTHONPATH": os.path.join(HERE, os.pardir, "src")}
        shown = subprocess.run(command, input=data, stdout=subprocess.PIPE, env=environment, check=True).stdout
        self.assertEqual(len(shown.splitlines()), 15)
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=environment)
        child.stdout.close()
        child.stdin.write(data)
        child.stdin.close()
        said = child.stderr.read()
        child.stderr.close()
        self.assertEqual((child.wait(), said), (0, b""))


if __name__ == "__main__":
    unittest.main()
