"""Streams that are being written: growing files, pipes."""

import io
import os
import random
import tempfile
import threading
import unittest

from helping import events, fsmon, golden, items, reader
from maker import Stream, cut, directory, event

ALL = golden("v1-all")[0]
POLL = 0.001
PATIENCE = 60
"""Seconds until a test gives up waiting: a limit, not a measurement."""


def in_pieces(data, write, seed):
    rng = random.Random(seed)
    at = 0
    while at < len(data):
        length = rng.choice((1, 7, 64, 700, 3000))
        write(data[at:at + length])
        at += length


class Growing(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "stream.fsmon")
        open(self.path, "wb").close()

    def append(self, data):
        with open(self.path, "ab", buffering=0) as file:
            file.write(data)

    def test_in_pieces_of_any_size(self):
        for seed in range(5):
            open(self.path, "wb").close()
            writer = threading.Thread(target=in_pieces, args=(ALL, self.append, seed))
            writer.start()
            with fsmon.open(self.path, follow=True, poll=POLL) as stream:
                found = list(stream.items())
            writer.join(PATIENCE)
            self.assertEqual(found, items(ALL)[0])

    def test_a_block_is_given_before_the_next_is_written(self):
        head, blocks = cut(ALL)
        with fsmon.open(self.path, follow=True, poll=POLL) as stream:
            self.append(head + blocks[0] + blocks[1][:100])
            found = [next(stream) for _ in range(11)]
            self.append(blocks[1][100:])
            found += events(stream.items())
        self.assertEqual(found, events(items(ALL)[0]))

    def test_salvage_waits_too(self):
        head, blocks = cut(ALL)
        broken = bytearray(blocks[0])
        broken[20] ^= 1
        writer = threading.Thread(target=in_pieces, args=(head + bytes(broken) + blocks[1], self.append, 9))
        writer.start()
        with fsmon.open(self.path, follow=True, salvage=True, poll=POLL) as stream:
            gap, *found = stream.items()
        writer.join(PATIENCE)
        self.assertEqual((gap.blocks, gap.events, gap.length), (1, 11, len(broken)))
        self.assertEqual(len(events(found)), 2)

    def test_space_that_is_not_written_yet(self):
        head, blocks = cut(ALL)
        self.append(head + blocks[0] + bytes(len(blocks[1])))

        def write():
            with open(self.path, "r+b", buffering=0) as file:
                file.seek(len(head) + len(blocks[0]))
                file.write(blocks[1])

        with fsmon.open(self.path, follow=True, poll=POLL) as stream:
            found = [next(stream) for _ in range(11)]
            write()
            found += events(stream.items())
        self.assertEqual(found, events(items(ALL)[0]))

    def test_stop_ends_the_waiting(self):
        for data, count in ((ALL[:-100], 11), (ALL[:100], 0), (b"", 0), (ALL[:6784] + bytes(64), 11)):
            open(self.path, "wb").close()
            self.append(data)
            with fsmon.open(self.path, follow=True, poll=POLL) as stream:
                timer = threading.Timer(0.05, stream.stop)
                timer.start()
                self.assertEqual(len(events(list(stream.items()))), count)
                self.assertFalse(stream.complete)
                timer.join()

    def test_a_file_that_is_written_anew(self):
        self.append(ALL[:-100])
        with fsmon.open(self.path, follow=True, poll=POLL) as stream:
            next(stream)
            os.truncate(self.path, 0)
            with self.assertRaisesRegex(fsmon.DamagedError, "became shorter"):
                list(stream.items())


class Pipes(unittest.TestCase):
    def through_a_pipe(self, data, **options):
        read, write = os.pipe()

        def fill():
            with open(write, "wb", buffering=0) as pipe:
                in_pieces(data, pipe.write, 3)

        writer = threading.Thread(target=fill)
        writer.start()
        with open(read, "rb") as pipe:
            found = list(fsmon.open(pipe, poll=POLL, **options).items())
        writer.join(PATIENCE)
        return found

    def test_whole(self):
        for follow in (False, True):
            self.assertEqual(self.through_a_pipe(ALL, follow=follow), items(ALL)[0])

    def test_its_end_is_the_end(self):
        for follow in (False, True):
            with self.assertRaises(fsmon.TruncatedError):
                self.through_a_pipe(ALL[:-1], follow=follow)

    def test_an_event_comes_before_the_pipe_is_closed(self):
        head, blocks = cut(ALL)
        read, write = os.pipe()
        with open(read, "rb") as pipe, open(write, "wb", buffering=0) as filled:
            filled.write(head + blocks[0])
            stream = fsmon.open(pipe)
            self.assertEqual(len([next(stream) for _ in range(11)]), 11)

    def test_files_that_can_only_read(self):
        class Plain:
            def __init__(self, data):
                self.read = io.BytesIO(data).read

        self.assertEqual(len(list(fsmon.open(Plain(Stream().close(event(0)).data)))), 1)
        text = io.StringIO("text")
        with self.assertRaises(TypeError):
            list(fsmon.open(text))


class Folders(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, data):
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(data)

    @staticmethod
    def segment(number, count, first, last=False, realtime=10**18, stream_id=b"made for a test!"):
        stream = Stream(segment=number, first_event=first, first_block=number, realtime=realtime + number,
                        stream_id=stream_id)
        records = [directory(1, 0, b"/srv")]
        records += [event(1, b"%d" % (first + index)) for index in range(count)]
        return (stream.close(*records) if last else stream.add(*records, flags=4)).data

    def names(self, **options):
        with fsmon.open(self.folder, **options) as stream:
            found = list(stream.items())
        return [int(one.path.rpartition(b"/")[2]) for one in events(found)], [
            (item.blocks, item.events) for item in found if isinstance(item, fsmon.Gap)]

    def test_in_the_order_that_headers_tell(self):
        self.write("c.fsmon", self.segment(0, 2, 0))
        self.write("a.fsmon", self.segment(1, 2, 2))
        self.write("b.fsmon", self.segment(2, 2, 4, last=True))
        self.write("0.fsmon", self.segment(0, 1, 0, last=True, realtime=2 * 10**18, stream_id=b"a later one 1234"))
        self.write("notes.txt", b"of somebody")
        self.assertEqual(self.names(), ([0, 1, 2, 3, 4, 5, 0], []))

    def test_the_first_are_gone(self):
        self.write("b.fsmon", self.segment(2, 2, 4, last=True))
        self.assertEqual(self.names(), ([4, 5], [(2, 4)]))

    def test_one_in_between_is_gone(self):
        self.write("a.fsmon", self.segment(0, 2, 0))
        self.write("c.fsmon", self.segment(2, 2, 4, last=True))
        with self.assertRaisesRegex(fsmon.DamagedError, "segments are missing"):
            self.names()
        self.assertEqual(self.names(salvage=True), ([0, 1, 4, 5], [(1, 2)]))

    def test_one_was_cut(self):
        self.write("a.fsmon", self.segment(0, 2, 0)[:-64])
        self.write("b.fsmon", self.segment(1, 2, 2, last=True))
        with self.assertRaises(fsmon.TruncatedError):
            self.names()
        self.assertEqual(self.names(salvage=True), ([2, 3], [(1, 2)]))

    def test_a_damaged_header_belongs_where_its_name_says(self):
        names = [f"20260101T000000Z-6d616465-{number:06}.fsmon" for number in range(3)]
        for number, name in enumerate(names):
            self.write(name, self.segment(number, 2, 2 * number, last=number == 2))
        with open(os.path.join(self.folder, names[1]), "r+b") as file:
            file.seek(100)
            file.write(b"!")
        with self.assertRaises(fsmon.DamagedError):
            self.names()
        self.assertEqual(self.names(salvage=True), ([0, 1, 2, 3, 4, 5], [(0, 0)]))

    def test_followed_to_the_last(self):
        whole = [self.segment(number, 2, 2 * number, last=number == 2) for number in range(3)]

        def write():
            for number, data in enumerate(whole):
                with open(os.path.join(self.folder, f"{number}.fsmon"), "wb", buffering=0) as file:
                    in_pieces(data, file.write, number)

        writer = threading.Thread(target=write)
        writer.start()
        self.assertEqual(self.names(follow=True, poll=POLL), ([0, 1, 2, 3, 4, 5], []))
        writer.join(PATIENCE)

    def test_empty(self):
        self.assertEqual(self.names(), ([], []))


class Reading(unittest.TestCase):
    def test_one_position(self):
        stream = reader(ALL)
        found = [next(stream), *stream.items()]
        self.assertEqual(found, items(ALL)[0])
        self.assertEqual(list(stream), [])

    def test_a_file_object_stays_open(self):
        file = io.BytesIO(ALL)
        with fsmon.open(file) as stream:
            list(stream.items())
        self.assertFalse(file.closed)


if __name__ == "__main__":
    unittest.main()
