"""Reads a trace by Perfetto's own definitions and with its trace processor, and holds it against the
JSON lines, which were made with --chain.

perfetto_trace.py TRACE LINES
"""

import bisect
import collections
import sys

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos
from google.protobuf.unknown_fields import UnknownFieldSet

import lines as json_lines
import trace_processor

MONOTONIC, REALTIME = 3, 1
Instant = collections.namedtuple("Instant", "track ns wall name facts")
Slice = collections.namedtuple("Slice", "start end name facts")


class Trace:
    """What a trace says, with the names of what is interned put in."""

    def __init__(self, path):
        whole = protos.Trace()
        with open(path, "rb") as file:
            whole.ParseFromString(file.read())
        self.tracks, self.instants, self.slices = {}, [], collections.defaultdict(list)
        self.ahead, self.open = None, {}
        self.interned = collections.defaultdict(dict)
        for packet in whole.packet:
            assert not UnknownFieldSet(packet), packet
            assert packet.trusted_packet_sequence_id == 1
            self.take(packet)
        assert not self.open, "slices that do not end"

    def take(self, packet):
        if packet.sequence_flags & 1:
            self.interned.clear()
            assert packet.trace_packet_defaults.timestamp_clock_id == MONOTONIC
        for field, names in packet.interned_data.ListFields():
            for name in names:
                text = name.str.decode() if hasattr(name, "str") else name.name
                assert name.iid not in self.interned[field.name]
                self.interned[field.name][name.iid] = text
        if packet.HasField("clock_snapshot"):
            clocks = {c.clock_id: c.timestamp for c in packet.clock_snapshot.clocks}
            assert packet.clock_snapshot.primary_trace_clock == MONOTONIC
            self.ahead = clocks[REALTIME] - clocks[MONOTONIC]
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            assert track.uuid not in self.tracks and track.uuid != 0
            # Parents come first.
            assert not track.HasField("parent_uuid") or track.parent_uuid in self.tracks
            self.tracks[track.uuid] = (track.name, track.parent_uuid)
        if packet.HasField("track_event"):
            self.event(packet.timestamp, packet.track_event)

    def event(self, ns, event):
        assert event.track_uuid in self.tracks
        kind, facts = event.type, self.facts(event)
        name = self.interned["event_names"].get(event.name_iid)
        if kind == protos.TrackEvent.TYPE_SLICE_BEGIN:
            assert event.track_uuid not in self.open
            self.open[event.track_uuid] = (ns, name, facts)
        elif kind == protos.TrackEvent.TYPE_SLICE_END:
            start, name, facts = self.open.pop(event.track_uuid)
            before = self.slices[event.track_uuid]
            assert start <= ns and (not before or before[-1].end <= start)
            before.append(Slice(start, ns, name, facts))
        else:
            assert kind == protos.TrackEvent.TYPE_INSTANT
            self.instants.append(Instant(event.track_uuid, ns, ns + self.ahead, name, facts))

    def facts(self, event):
        facts = {}
        for fact in event.debug_annotations:
            key = self.interned["debug_annotation_names"][fact.name_iid]
            if fact.HasField("string_value_iid"):
                facts[key] = self.interned["debug_annotation_string_values"][fact.string_value_iid]
            else:
                ((_, value),) = [x for x in fact.ListFields() if x[0].name != "name_iid"]
                facts[key] = value
        return facts

    def line_of(self, track):
        """Names of the tracks from this one to the top."""
        names = []
        while track:
            name, track = self.tracks[track]
            names.append(name)
        return names

    def slice_at(self, track, ns):
        slices = self.slices[track]
        at = bisect.bisect_right([x.start for x in slices], ns) - 1
        return slices[at] if at >= 0 and ns < slices[at].end else None


def pid(name):
    return int(name.rsplit(" ", 1)[1]) if name.rsplit(" ", 1)[-1].isdigit() else None


def every_line_is_an_instant(trace, lines):
    """In the same order, at the same time, on the track of its process, below its parent's."""
    assert len(trace.instants) == len(lines), (len(trace.instants), len(lines))
    last = collections.defaultdict(lambda: (0, 0))
    for instant, line in zip(trace.instants, lines):
        # Of one time, each comes 1 ns after the one before.
        wanted, (time, moment) = json_lines.time_ns(line), last[instant.track]
        if wanted - trace_ahead(instant) >= time:
            wanted = max(wanted, moment + 1 + trace_ahead(instant))
        assert instant.wall == wanted, (instant, line)
        last[instant.track] = (json_lines.time_ns(line) - trace_ahead(instant), instant.ns)
        if line["event_type"] == "LOSS":
            assert instant.name == f"LOSS {line['reason']}", (instant, line)
            assert instant.facts.get("lost") == line.get("lost")
            assert trace.tracks[instant.track][0] == "losses"
            continue
        if line["event_type"] == "GAP":
            assert instant.name == f"GAP {line['cause']}", (instant, line)
            for key in ["cause", "from", "events"]:
                assert instant.facts.get(key) == line.get(key), (key, instant, line)
            assert trace.tracks[instant.track][0] == "losses"
            continue
        assert instant.name == line["event_type"], (instant, line)
        for key in ["path", "old_path", "path_b64", "old_path_b64", "is_dir", "found", "exchange",
                    "unsure", "attribution", "error", "error_count"]:
            assert instant.facts.get(key) == line.get(key), (key, instant, line)
        on_its_track(trace, instant, line)
    print(f"instants: {len(lines)} the same")


def trace_ahead(instant):
    return instant.wall - instant.ns


def on_its_track(trace, instant, line):
    names = trace.line_of(instant.track)
    if "pid" not in line:
        assert names[0] == "unknown process", (names, line)
        return
    chain = [line["pid"]] + [above["pid"] for above in line.get("chain", [])]
    assert [pid(name) for name in names][: len(chain)] == chain, (names, line)
    image = trace.slice_at(instant.track, instant.ns)
    assert image and image.name == line.get("cmd", "?"), (image, instant, line)
    for key in ["pid", "ppid", "exe", "exe_root", "exe_late", "exec", "uid", "gid", "user", "cgroup"]:
        assert image.facts.get(key) == line.get(key), (key, image, line)


def every_process_has_a_track(trace, lines):
    seen = {line["pid"] for line in lines if "pid" in line}
    tracks = [pid(name) for name, _ in trace.tracks.values()]
    assert seen <= set(tracks), seen - set(tracks)
    tops = [name for name, parent in trace.tracks.values() if not parent]
    assert len(tops) == 1, tops
    print(f"processes: {len(seen)} of {len(trace.tracks)} tracks")


def the_trace_processor_agrees(trace, path, lines):
    errors, kinds, depth, bounds, wall, tracks = trace_processor.queries(path, [
        "select name, value from stats where severity in ('error', 'data_loss') and value > 0",
        "select name, count(*) from slice where dur = 0 group by name order by name",
        "select max(depth) from slice",
        "select count(*), sum(dur > 0) from slice where dur >= 0",
        "select ts, clock_value from clock_snapshot where clock_name = 'REALTIME' order by ts",
        "select t.name, p.name from track t join track p on t.parent_id = p.id",
    ])
    assert not errors, errors
    names = collections.Counter(x.name for x in trace.instants)
    slices = [x for track in trace.slices.values() for x in track]
    names.update(x.name for x in slices if x.start == x.end)
    assert kinds == sorted(names.items()), (kinds, names)
    # Instants lie in the slice of their image, and nothing lies in them.
    assert depth in ([(0,)], [(1,)]), depth
    assert bounds[0][0] == len(trace.instants) + len(slices), bounds
    assert {trace_ahead(x) for x in trace.instants} <= {wall - ns for ns, wall in wall}, wall
    used = {x.track for x in trace.instants} | set(trace.slices)
    wanted = {(trace.tracks[t][0], trace.tracks[trace.tracks[t][1]][0]) for t in used}
    assert wanted <= set(tracks), wanted - set(tracks)
    print(f"trace processor: {bounds[0][0]} slices, {len(tracks)} tracks")


def main():
    trace, lines = Trace(sys.argv[1]), json_lines.load(sys.argv[2])
    every_process_has_a_track(trace, lines)
    every_line_is_an_instant(trace, lines)
    the_trace_processor_agrees(trace, sys.argv[1], lines)


main()
