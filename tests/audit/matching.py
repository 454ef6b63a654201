"""Pairs what audit and fsmon saw, and judges each pair."""

import base64
import json
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from auditlog import OUTSIDE, Change, Who

KINDS = ("CREATE", "DELETE", "RENAME")
FIELDS = ("pid", "comm", "uid", "gid", "ppid", "is_dir")


@dataclass
class Verdict:
    """What came of the comparison."""

    exact: int = 0
    """pairs of which fsmon is sure"""
    flagged: Counter = field(default_factory=Counter)
    """pairs of which fsmon says itself that it is not, by what it says"""
    flagged_wrong: list = field(default_factory=list)
    """of them those that are wrong: (audit, fsmon)"""
    flagged_fields: Counter = field(default_factory=Counter)
    """how often which field is wrong in them"""
    wrong: dict = field(default_factory=lambda: defaultdict(list))
    """by field: (audit, fsmon) of pairs that fsmon is sure of"""
    reparented: int = 0
    """fsmon tells the parent at the fork, as audit's record of that fork does, although audit's
    record of the change shows another that the process was given to since"""
    forks_unseen: int = 0
    """audit has no record of the fork: the parent was compared with that at the change"""
    own_names: list = field(default_factory=list)
    """audit shows the name that a thread gave itself, fsmon another that the process has in audit's
    records. A main thread that fsmon missed renaming itself would be among these"""
    unnamed: int = 0
    """audit does not know the name, only the directory: paired by that"""
    merged: list = field(default_factory=list)
    """identical changes, two of which are one line"""
    found_out: list = field(default_factory=list)
    """renames of directories that fsmon found out afterwards, as the kernel had merged them"""
    elsewhere: list = field(default_factory=list)
    """in a directory of which the kernel merged renames: fsmon puts it at the other name"""
    missing: list = field(default_factory=list)
    """of audit, without a line of fsmon"""
    surplus: list = field(default_factory=list)
    """of fsmon, without a record of audit"""
    found: list = field(default_factory=list)
    """of fsmon, which read a directory that came in and says so: nobody made them there"""

    def right(self, flagged_may_differ=False):
        return not (self.missing or self.surplus or any(self.wrong.values())
                    or self.flagged_wrong and not flagged_may_differ)


def fsmon_lines(path):
    """The changes in fsmon's JSON, how many lines there are of each type, and those that tell of
    a loss."""
    changes, types, losses = [], Counter(), []
    first_half = {}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            event = json.loads(line)
            kind = event["event_type"]
            types[kind] += 1
            if kind == "LOSS":
                losses.append(line.strip())
            elif kind in KINDS:
                # Of two files that are exchanged the second line has no old path: it is where the first went.
                if event.get("exchange") and kind == "RENAME":
                    if "old_path" not in event and first_half.get("old_path") == event.get("path"):
                        event |= renamed("old_path", first_half, "path")
                    first_half = event
                changes.append(change(event, f"line {number}"))
    return changes, types, losses


def renamed(key, event, name):
    """The path `name` of an event, under another key."""
    return {key + end: event[name + end] for end in ("", "_b64") if name + end in event}


def change(event, where):
    is_rename = event["event_type"] == "RENAME"

    def path(key):
        exact = event.get(key + "_b64")
        here = event.get(key) if exact is None else os.fsdecode(base64.b64decode(exact))
        return OUTSIDE if here is None and is_rename else here

    attribution = "found" if event.get("found") else event.get("attribution", "exact")
    who = Who(event.get("pid", 0), event.get("ppid", 0), event.get("cmd", ""),
              event.get("uid", -1), event.get("gid", -1))
    here = path("path")
    return Change(event["event_type"], here, path("old_path"), os.path.dirname(here),
                  bool(event.get("is_dir")), who, nanoseconds(event["time"]), where, attribution)


def nanoseconds(stamp):
    seconds, fraction = stamp.rstrip("Z").split(".")
    whole = datetime.fromisoformat(seconds + "+00:00").timestamp()
    return int(whole) * 10**9 + int(fraction.ljust(9, "0"))


def compare(log, lines):
    verdict = Verdict()
    by_audit, by_fsmon = defaultdict(list), defaultdict(list)
    for seen in log.changes:
        by_audit[key(seen)].append(seen)
    for line in lines:
        by_fsmon[key(line)].append(line)
    for what in by_audit.keys() | by_fsmon.keys():
        pairs = pair(by_audit[what], by_fsmon[what], verdict)
        for seen, line in pairs:
            judge(seen, line, log, verdict)
    pair_left(log, verdict)
    verdict.found = [line for line in verdict.surplus if line.attribution == "found"]
    verdict.surplus = [line for line in verdict.surplus if line.attribution != "found"]
    return verdict


def key(of):
    return of.kind, of.folder + "/?" if of.path is None else of.path, of.old_path


def pair(seen, lines, verdict):
    """Pairs changes of the same kind and path: first those of the same process, in their order,
    then what is left, which is then of the wrong process."""
    pairs, seen_left, lines_left = [], [], []
    pids = {of.who.pid for of in seen} | {of.who.pid for of in lines}
    for pid in pids:
        ours = [of for of in seen if of.who.pid == pid]
        theirs = [of for of in lines if of.who.pid == pid]
        next_line = 0
        for index, one in enumerate(ours):
            left = len(ours) - index
            # Several changes for one line: the kernel merged those that wait in its queue
            # together. What is read before it happened was not this one.
            previous = next_line - 1
            if (left > len(theirs) - next_line and previous >= 0
                    and one.time <= theirs[previous].time):
                verdict.merged.append((one, theirs[previous]))
            elif next_line < len(theirs):
                pairs.append((one, theirs[next_line]))
                next_line += 1
            else:
                seen_left.append(one)
        lines_left.extend(theirs[next_line:])
    order = lambda of: of.time
    seen_left.sort(key=order)
    lines_left.sort(key=order)
    common = min(len(seen_left), len(lines_left))
    verdict.missing.extend(seen_left[common:])
    verdict.surplus.extend(lines_left[common:])
    return pairs + list(zip(seen_left[:common], lines_left[:common]))


def pair_left(log, verdict):
    """Explains what is left where the cause is known: audit's records without a name, and what
    happened in a directory of which the kernel merged renames. All else of such a pair is judged.
    """
    renames = [one for one, _ in verdict.merged if one.kind == "RENAME" and one.is_dir]
    swaps = [(one.path, one.old_path) for one in renames + verdict.found_out]
    swaps += [(there, here) for here, there in swaps]
    for one in list(verdict.missing):
        if one.path is None:
            known = {(one.kind, one.folder)}
        else:
            known = {(one.kind, moved(one.path, swap), moved(one.old_path, swap)) for swap in swaps}
        for line in verdict.surplus:
            told = (line.kind, line.folder) if one.path is None else key(line)
            if told in known and line.who.pid == one.who.pid:
                verdict.missing.remove(one)
                verdict.surplus.remove(line)
                if one.path is None:
                    verdict.unnamed += 1
                else:
                    verdict.elsewhere.append((one, line))
                judge(one, line, log, verdict)
                break


def moved(path, swap):
    """The path as it is after a rename of a directory above."""
    here, there = swap
    return there + path[len(here):] if path is not None and path.startswith(here + "/") else path


def judge(seen, line, log, verdict):
    """Compares a pair field by field."""
    wrong = [name for name in ("pid", "uid", "gid") if getattr(seen.who, name) != getattr(line.who, name)]
    if seen.is_dir != line.is_dir:
        wrong.append("is_dir")
    if readable(seen.who.comm) != line.who.comm:
        of_process = {readable(comm) for comm in log.comms[seen.who.pid]}
        if log.named_itself(seen.who.pid, seen.who.comm, seen.time) and line.who.comm in of_process:
            verdict.own_names.append((seen, line))
        else:
            wrong.append("comm")
    parent = log.parent(seen.who.pid, seen.time)
    if parent is None:
        verdict.forks_unseen += 1
        parent = seen.who.ppid
    if line.who.ppid != parent:
        wrong.append("ppid")
    elif seen.who.ppid != parent:
        verdict.reparented += 1

    if line.attribution == "exact":
        verdict.exact += 1
        for name in wrong:
            verdict.wrong[name].append((seen, line))
    else:
        verdict.flagged[line.attribution] += 1
        if wrong:
            verdict.flagged_wrong.append((seen, line))
            verdict.flagged_fields.update(wrong)
        if seen.kind == "RENAME" and seen.is_dir and line.attribution == "late":
            verdict.found_out.append(seen)


def readable(comm):
    return os.fsencode(comm).decode("utf-8", "replace")
