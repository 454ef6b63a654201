"""DuckDB and pandas read Parquet and must find what the JSON lines say.

parquet.py FILE|DIR LINES: the same rows in the same order; the answers to real questions.
"""

import collections
import json
import os
import shlex
import sys

import duckdb
import pandas
import pyarrow.parquet

import lines as json_lines

source, lines = sys.argv[1], json_lines.load(sys.argv[2])
partitioned = os.path.isdir(source)
pattern = f"{source}/**/*.parquet" if partitioned else source
events = f"read_parquet('{pattern}', hive_partitioning={str(partitioned).lower()})"
db = duckdb.connect()


def rows(query):
    return db.sql(query).fetchall()


def same(what, found, wanted):
    assert found == wanted, f"{what}:\nfound  {found}\nwanted {wanted}"
    print(f"{what}: {len(found)} the same")


SAME_NAME = ["event_type", "path", "old_path", "pid", "ppid", "cmd", "exe", "uid", "gid", "user",
             "cgroup", "exec", "exe_root", "cmdline_from", "error", "error_count", "reason", "lost"]
FLAGS = ["is_dir", "found", "exchange", "unsure", "cmdline_cut", "exe_late", "exe_unsure", "exe_cut"]


def every_row_is_a_line():
    columns = ", ".join(SAME_NAME + FLAGS)
    query = f"""select epoch_ns(time), path_raw, old_path_raw, cmdline_raw, cmdline, attribution, epoch_ns(since),
        {columns} from {events}"""
    found = collections.Counter(map(repr, rows(query)))
    wanted = collections.Counter(repr(expected(line)) for line in lines)
    missing, more = list((wanted - found).items()), list((found - wanted).items())
    assert not missing and not more, f"{len(missing)} missing: {missing[:2]}\nmore: {more[:2]}"
    print(f"rows: {found.total()} the same")
    if not partitioned:
        in_order = [row[:2] for row in rows(f"select epoch_ns(time), event_type from {events}")]
        same("order", in_order, [(json_lines.time_ns(x), x["event_type"]) for x in lines])


def expected(line):
    is_event = line["event_type"] not in ("LOSS", "GAP")
    # The cause of a gap is its reason.
    line = {**line, "reason": line.get("cause", line.get("reason"))}
    cmdline = line.get("cmdline")
    return (
        json_lines.time_ns(line),
        json_lines.raw(line, "path_b64"),
        json_lines.raw(line, "old_path_b64"),
        json_lines.raw(line, "cmdline_b64"),
        # As a shell would have it; what it makes of it is looked at below.
        quoted(cmdline) if cmdline else None,
        line.get("attribution", "exact") if is_event else None,
        json_lines.time_ns(line, "from") if "from" in line else None,
        *(line.get(name) for name in SAME_NAME),
        *(line.get(name, False) for name in FLAGS),
    )


def quoted(words):
    text = " ".join(map(quoted_word, words))
    assert shlex.split(text) == words, text
    return text


def quoted_word(word):
    plain = word and all(c.isascii() and (c.isalnum() or c in "%+,-./:=@_") for c in word)
    return word if plain else "'" + word.replace("'", "'\\''") + "'"


def counts_by_type():
    wanted = sorted(collections.Counter(line["event_type"] for line in lines).items())
    query = f"select event_type, count(*) from {events} group by all order by event_type"
    same("counts, DuckDB", rows(query), wanted)
    frame = pandas.read_parquet(source)
    same("counts, pandas", sorted(frame.groupby("event_type").size().items()), wanted)


def the_files_most_written():
    wanted = collections.Counter(x["path"] for x in lines if x["event_type"] == "CLOSE_WRITE")
    wanted = sorted(wanted.items(), key=lambda item: (-item[1], item[0]))[:10]
    query = f"""select path, count(*) from {events} where event_type = 'CLOSE_WRITE'
        group by path order by count(*) desc, path limit 10"""
    same("files most written", rows(query), wanted)


def who_wrote_it():
    for path in sorted({x["path"] for x in lines if x["event_type"] == "CLOSE_WRITE"})[:10]:
        wanted = {(x.get("cmd"), x.get("pid"), x.get("user")) for x in lines
                  if x["event_type"] == "CLOSE_WRITE" and x["path"] == path}
        query = f"""select distinct cmd, pid, user from {events}
            where event_type = 'CLOSE_WRITE' and path = $1"""
        same(f"who wrote {path}", set(db.execute(query, [path]).fetchall()), wanted)


def names_that_are_no_text():
    wanted = {json_lines.raw(x, "path_b64") for x in lines if "path_b64" in x}
    query = f"select distinct path_raw from {events} where path_raw is not null"
    same("paths that are no text", {row[0] for row in rows(query)}, wanted)
    frame = pandas.read_parquet(source)
    same("the same, pandas", set(frame["path_raw"].dropna()), wanted)


def what_the_file_says_of_itself():
    value = rows(f"select value from parquet_kv_metadata('{pattern}') where key = 'fsmon.streams'")
    for stream in json.loads(value[0][0]):
        assert len(stream["stream_id"]) == 32 and stream["fsmon"] and stream["kernel"], stream
        assert stream["roots"] and stream["segments"], stream
    time = pyarrow.parquet.read_schema(rows(f"select file from glob('{pattern}')")[0][0]).field("time")
    assert str(time.type) == "timestamp[ns, tz=UTC]", time


def partitions():
    days = {x["time"][:10] for x in lines}
    found = rows(f"select distinct day::varchar, host from {events} order by all")
    assert {day for day, _ in found} == days, found
    plan = f"select count(*) from {events} where day = '{min(days)}'"
    wanted = sum(x["time"].startswith(min(days)) for x in lines)
    same("rows of one day", rows(plan), [(wanted,)])


every_row_is_a_line()
counts_by_type()
the_files_most_written()
who_wrote_it()
names_that_are_no_text()
what_the_file_says_of_itself()
if partitioned:
    partitions()
