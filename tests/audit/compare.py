#!/usr/bin/env python3
"""Compares fsmon with the Linux audit subsystem on a real build, or on any command.

    compare.py [options]                  builds a Debian source package
    compare.py [options] -- COMMAND...    runs COMMAND in an empty directory, or in --tree DIR

Both record the same run. Every file that audit saw created, renamed or deleted must be a line of
fsmon with the same path, process, name, user, group and parent, and no line may be without its
record. Exit 0: all is the same. 1: something is not. 77: it cannot be compared here, which a line
that begins with SKIP says. FSMON=path names the binary, else that of `cargo build --release`.

fsmon's parent is the one that forked; audit's that at the time. Where they differ audit's own
record of the fork decides. Told apart and counted, not wrong: what the kernel merged in fsmon's
queue (docs/accuracy.md, Merged events), and names that threads gave themselves, of which fsmon tells that
of the process. What io_uring does audit sees only by rules that are not set here, and it does not
tell where a directory is that came in from outside within another: records without a place.

Takes root, auditd (Debian: apt install auditd), Python 3.10 and, for the build, apt, dpkg-source,
setpriv, make and a C compiler. No other audit daemon may be at work. All settings of audit are put
back at the end, but one thing the kernel keeps until it boots again: after audit was on once, each
system call of every new process is a little slower. `auditctl -a never,task` ends that.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import recording
from auditlog import Reader, Tree
from matching import FIELDS, compare, fsmon_lines
from recording import Broken, Skip

HERE = Path(__file__).resolve().parent
LOGIN = 2_130_000_000
"""A login uid that nobody has; audit knows the processes of the command by it."""

SHOWN = 10
"""How many of each sort of mismatch are printed."""


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="compare.py [options] [-- COMMAND...]")
    parser.add_argument("--package", default="sed", help="Debian source package to build [sed]")
    parser.add_argument("--jobs", type=int, default=4, help="of make [4]")
    parser.add_argument("--runs", type=int, default=1, help="how often [1]")
    parser.add_argument("--scratch", type=Path, help="where to work [a temporary directory]")
    parser.add_argument("--tree", type=Path, help="watch this directory, for a COMMAND")
    parser.add_argument("--keep", action="store_true", help="leave the recordings there")
    parser.add_argument("--flagged-may-differ", action="store_true",
                        help="what fsmon says it is not sure of may be wrong")
    parser.add_argument("--fsmon-args", type=shlex.split, default=[], metavar="ARGS",
                        help="more options for fsmon, in one word")
    parser.add_argument("command", nargs="*", help=argparse.SUPPRESS)
    return parser.parse_args()


def binary():
    path = Path(os.environ.get("FSMON") or HERE.parents[1] / "target/release/fsmon")
    if not path.is_file():
        raise Broken(f"no {path}: cargo build --release, or set FSMON=path")
    return path.resolve()


def source(package, to):
    """Downloads a Debian source package with apt, whose own state stays untouched."""
    for tool in ("apt-get", "dpkg-source", "setpriv", "make", "cc"):
        if shutil.which(tool) is None:
            raise Skip(f"the build takes {tool}; give a command instead: -- COMMAND...")
    state, files = to / "apt", to / "source"
    for below in (state / "lists/partial", state / "cache/archives/partial", files):
        below.mkdir(parents=True)
    release = dict(line.strip().split("=", 1) for line in open("/etc/os-release") if "=" in line)
    suite = release.get("VERSION_CODENAME", "stable").strip('"') if release["ID"] == "debian" else "stable"
    (state / "sources").write_text(f"deb-src http://deb.debian.org/debian {suite} main\n")
    apt = ["apt-get", "-qq", "-o", f"Dir::Etc::sourcelist={state}/sources",
           "-o", "Dir::Etc::sourceparts=-", "-o", f"Dir::State::lists={state}/lists",
           "-o", f"Dir::Cache={state}/cache", "-o", "APT::Sandbox::User=root"]
    for what in (["update"], ["source", "--download-only", package]):
        done = subprocess.run([*apt, *what], cwd=files, capture_output=True, text=True)
        if done.returncode != 0:
            raise Skip(f"apt cannot get the source of {package}: {done.stderr.strip()}")
    return files


def record(command, tree, scratch, fsmon_args):
    """One run; the recordings are in `scratch`. Gives what the run was like."""
    with recording.audit(tree, scratch, LOGIN) as run:
        with recording.fsmon(binary(), fsmon_args, tree, scratch) as said:
            layout = Tree(str(tree))
            run["exit"], run["seconds"] = recording.run(command, tree, scratch, LOGIN)
    run["said"] = said[-1] if said else ""
    return layout, run


def report(run, log, types, losses, verdict):
    """Prints the table, and examples of all that calls for an explanation."""
    seen = Counter(change.kind for change in log.changes)
    rows = [
        ("command", f"exit {run['exit']}, {run['seconds']:.1f} s"),
        ("fsmon says", run["said"].removeprefix("fsmon: ")),
        ("changes that audit saw", f"{len(log.changes)}: " + counts(seen)),
        ("forks that audit saw", sum(map(len, log.forks.values()))),
        ("records that audit lost", run["lost"]),
        ("records without a place", len(log.unresolved)),
        ("losses that fsmon tells", len(losses)),
        ("fsmon's lines of other types", counts({k: n for k, n in types.items() if k not in seen})),
        ("pairs that fsmon is sure of", verdict.exact),
        *((f"  of them wrong {name}", len(verdict.wrong[name])) for name in FIELDS),
        ("pairs that fsmon flags", f"{verdict.flagged.total()} {counts(verdict.flagged)}".strip()),
        ("  of them wrong", f"{len(verdict.flagged_wrong)} {counts(verdict.flagged_fields)}".strip()),
        ("identical changes in one line", len(verdict.merged)),
        ("path before a merged rename of its directory", len(verdict.elsewhere)),
        ("in audit alone", len(verdict.missing)),
        ("in fsmon alone", len(verdict.surplus)),
        ("  beside it, found in directories moved in", len(verdict.found)),
        ("parent died before: that at the fork told", verdict.reparented),
        ("fork unseen: parent at the change compared", verdict.forks_unseen),
        ("audit shows a thread's own name", len(verdict.own_names)),
        ("audit shows the directory alone", verdict.unnamed),
    ]
    for name, value in rows:
        print(f"{name:<46} {value}")
    show("lost", losses)
    show("without a place", log.unresolved)
    show("in audit alone", verdict.missing)
    show("in fsmon alone", verdict.surplus)
    show("before a merged rename", verdict.elsewhere)
    show("in one line", verdict.merged)
    show("thread's own name", verdict.own_names)
    for name, pairs in verdict.wrong.items():
        show(f"wrong {name}", pairs)
    show("flagged and wrong", verdict.flagged_wrong)


def complete(run, log, losses):
    """Whether both recordings are whole, and of something."""
    both = run["lost"] == 0 and not log.unresolved and log.changes
    return bool(both and not losses and run["said"].endswith("complete"))


def counts(of):
    return ", ".join(f"{number} {name}" for name, number in sorted(of.items()))


def show(what, items):
    for item in items[:SHOWN]:
        print(f"{what}: " + ("\n    ".join(map(str, item)) if isinstance(item, tuple) else str(item)))
    if len(items) > SHOWN:
        print(f"{what}: and {len(items) - SHOWN} more")


def one(options, scratch, number):
    here = scratch / f"run-{number}"
    here.mkdir()
    if options.command:
        command = options.command
    else:
        command = [HERE / "build.sh", scratch / "source", str(options.jobs)]
    tree = options.tree.resolve() if options.tree else here / "tree"
    tree.mkdir(exist_ok=True)
    layout, run = record(command, tree, here, options.fsmon_args)
    log = Reader(layout).read(here / "audit.log")
    lines, types, losses = fsmon_lines(here / "fsmon.json")
    print(f"\nrun {number}: {shlex.join(map(str, command))}")
    verdict = compare(log, lines)
    report(run, log, types, losses, verdict)
    if not options.command and run["exit"] != 0:
        raise Broken(f"the build failed, {here}/command.log says why (with --keep)")
    right = complete(run, log, losses) and verdict.right(options.flagged_may_differ)
    but = " but for what is flagged" if verdict.flagged_wrong else ""
    print(f"the same{but}" if right else "NOT THE SAME")
    return right


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    recording.refuse_unless_possible()
    binary()
    scratch = Path(tempfile.mkdtemp(prefix="fsmon-audit-", dir=options.scratch)).resolve()
    # The steps of the build have users of their own.
    scratch.chmod(0o755)
    try:
        if not options.command:
            source(options.package, scratch)
        results = [one(options, scratch, number) for number in range(1, options.runs + 1)]
    finally:
        if options.keep:
            print(f"recordings: {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"\n{sum(results)} of {len(results)} runs the same")
    return 0 if all(results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Skip as reason:
        print(f"SKIP audit: {reason}")
        sys.exit(77)
    except Broken as error:
        print(f"compare.py: {error}", file=sys.stderr)
        sys.exit(1)
