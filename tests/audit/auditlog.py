"""Reads the raw log of auditd: which names were made, moved and removed below a directory, by whom.

Audit's PATH records are known to be difficult, see audit_log_name() in the kernel's auditsc.c: a
name relative to a file descriptor is printed as given and its PARENT record shows the working
directory instead of the directory that was meant; a name that the kernel followed a link to is
`(null)`; the two parents of a rename come in no particular order. Only inode numbers are always
right. So the tree is kept here by inode number: what was there at the start, and what the log
itself tells of names made and moved.
"""

import os
import re
import stat
from collections import defaultdict
from dataclasses import dataclass

FILES, FORKS, NAMES = "fsmon-files", "fsmon-forks", "fsmon-names"
"""The keys of the three rules: changes of files, new processes, processes that rename themselves."""

OUTSIDE = ""
"""Stands for the one path of a RENAME that is not in the tree."""

UNKNOWN = object()
"""A directory that may be in the tree or outside."""

CLONE_PARENT = 0x8000
CLONE_SYSCALL = {"c000003e": "56", "c00000b7": "220"}
"""The number of clone(2), whose first argument is its flags: x86-64, arm64."""

LINE = re.compile(r"type=(\S+) msg=audit\((\d+)\.(\d+):(\d+)\): ?(.*)")
FIELD = re.compile(r'(\w+)=("[^"]*"|\S+)')


@dataclass(frozen=True)
class Who:
    pid: int
    ppid: int
    comm: str
    uid: int
    gid: int


@dataclass
class Change:
    """A name that appeared, disappeared or moved, as audit and fsmon both tell it."""

    kind: str
    """CREATE, DELETE or RENAME"""
    path: str | None
    """None: audit does not know the last part of the name; `folder` it always knows"""
    old_path: str | None
    folder: str
    is_dir: bool
    who: Who
    time: int
    """ns since 1970. Audit: of the system call's entry, at most a tick early"""
    where: str
    """what to search for in the log"""
    attribution: str = "exact"

    def __str__(self):
        old = "" if self.old_path is None else f"{self.old_path} -> "
        who = self.who
        return (f"{self.where}: {self.kind} {old}{self.folder + '/?' if self.path is None else self.path} "
                f"by {who.comm}[{who.pid}] of {who.ppid}, {who.uid}:{who.gid}, {self.attribution}")


@dataclass
class Log:
    changes: list[Change]
    forks: dict[int, list[tuple[int, int]]]
    """by child: (time, parent) of each time that this pid was given out, in order of time"""
    names: dict[int, list[tuple[int, str]]]
    """by process: (time, name) of each PR_SET_NAME by one of its threads"""
    comms: dict[int, set[str]]
    """by process: the names that its records show"""
    unresolved: list[str]
    """what could not be given a place inside or outside of the tree"""

    def parent(self, pid, time):
        """Who forked the process that had this pid at that time, or None."""
        born = [parent for at, parent in self.forks.get(pid, []) if at <= time]
        return born[-1] if born else None

    def named_itself(self, pid, comm, time):
        """Whether a thread of the process called itself so before."""
        return any(at <= time and name == comm for at, name in self.names.get(pid, []))


def text(value):
    """A string that audit prints in quotes, or in hex where it has a blank, a quote or worse."""
    if value is None or value == "(null)":
        return None
    if value.startswith('"'):
        return value[1:-1]
    return os.fsdecode(bytes.fromhex(value))


def records(path):
    """The records of each audit event, in the order of their serial numbers."""
    events = defaultdict(list)
    with open(path, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            found = LINE.match(line)
            if found:
                kind, seconds, millis, serial, rest = found.groups()
                time = (int(seconds) * 1000 + int(millis)) * 1_000_000
                events[int(serial)].append((kind, time, rest))
    for serial in sorted(events):
        yield serial, events[serial]


class Tree:
    """What is below the watched directory, by inode number."""

    def __init__(self, root):
        self.root = root
        self.folders = {os.stat(root).st_ino: (None, root)}
        """inode of a directory → that of its parent, its name"""
        self.names = {}
        """inode of a directory, name in it → inode"""
        for folder, below, files in os.walk(root):
            parent = os.stat(folder).st_ino
            for name in below + files:
                there = os.lstat(os.path.join(folder, name))
                self.put(parent, name, there.st_ino, stat.S_ISDIR(there.st_mode))

    def path(self, inode):
        parts = []
        while inode is not None:
            inode, name = self.folders[inode]
            parts.append(name)
        return os.path.join(*reversed(parts))

    def put(self, parent, name, inode, is_dir):
        self.names[parent, name] = inode
        if is_dir:
            self.folders[inode] = (parent, name)


class Reader:
    """Goes through the log once."""

    def __init__(self, tree):
        self.tree = tree
        self.log = Log([], defaultdict(list), defaultdict(list), defaultdict(set), [])

    def read(self, path):
        for serial, event in records(path):
            by_type = defaultdict(list)
            for kind, time, rest in event:
                by_type[kind].append(dict(FIELD.findall(rest)))
            for call in by_type["SYSCALL"]:
                self.call(call, time, serial, by_type["PATH"], by_type["CWD"])
        for births in self.log.forks.values():
            births.sort()
        return self.log

    def call(self, call, time, serial, paths, cwds):
        key = text(call.get("key"))
        who = Who(int(call["pid"]), int(call["ppid"]), text(call["comm"]),
                  int(call["euid"]), int(call["egid"]))
        self.log.comms[who.pid].add(who.comm)
        if key == FORKS:
            parent = who.pid
            if call["syscall"] == CLONE_SYSCALL.get(call["arch"]) and int(call["a0"], 16) & CLONE_PARENT:
                parent = who.ppid
            self.log.forks[int(call["exit"])].append((time, parent))
        elif key == NAMES:
            self.log.names[who.pid].append((time, who.comm))
        elif key == FILES:
            cwd = text(cwds[0]["cwd"]) if cwds else None
            self.files(paths, cwd, Context(who, time, f"audit({time // 10**9}.*:{serial})"))

    def files(self, paths, cwd, context):
        parents, made, gone = [], [], []
        for record in paths:
            if "inode" not in record:
                continue  # a name that was looked for and not there
            to = {"PARENT": parents, "CREATE": made, "DELETE": gone}.get(record["nametype"])
            if to is not None:
                to.append(Entry(int(record["inode"]), text(record.get("name")),
                                stat.S_ISDIR(int(record["mode"], 8))))
        if not parents:
            if made or gone:
                self.log.unresolved.append(context.where)
            return
        if made and gone:
            self.renamed(parents, made, gone, cwd, context)
            return
        for entry in made + gone:
            # A link that is followed has several parents; in the last the file came to be.
            self.one("CREATE" if made else "DELETE", entry, parents[-1], cwd, context)

    def one(self, kind, entry, parent, cwd, context):
        folder = self.folder(parent, cwd)
        if folder is UNKNOWN:
            self.log.unresolved.append(context.where)
        if folder in (None, UNKNOWN):
            return
        name = entry.last()
        path = None if name is None else os.path.join(folder, name)
        if kind == "CREATE" and name is not None:
            self.tree.put(parent.inode, name, entry.inode, entry.is_dir)
        self.log.changes.append(context.change(kind, path, None, folder, entry.is_dir))

    def renamed(self, parents, made, gone, cwd, context):
        """DELETE and CREATE of one inode are a rename; two of them an exchange. A DELETE without
        its CREATE is what was replaced, for which fsmon promises no line."""
        for new in made:
            old = next((entry for entry in gone if entry.inode == new.inode), None)
            if old is None:
                self.log.unresolved.append(context.where)
                continue
            # Where both names are the same string in memory audit keeps one of them.
            old_name, new_name = old.last() or new.last(), new.last() or old.last()
            orders = [(parents[-1], parents[0]), (parents[0], parents[-1])]
            source, target = max(orders, key=lambda order: (
                self.tree.names.get((order[0].inode, old_name)) == old.inode,
                old.can_be_in(order[0], cwd) + new.can_be_in(order[1], cwd)))
            self.moved(source, old_name, target, new_name, new, cwd, context)

    def moved(self, source, old_name, target, new_name, entry, cwd, context):
        # Of an unknown place and a known one the unknown is most likely outside.
        old, new = (None if at is UNKNOWN else at
                    for at in (self.folder(source, cwd), self.folder(target, cwd)))
        if new is not None:
            self.tree.put(target.inode, new_name, entry.inode, entry.is_dir)
        if old is None and new is None:
            return
        here = OUTSIDE if new is None else os.path.join(new, new_name)
        there = OUTSIDE if old is None else os.path.join(old, old_name)
        self.log.changes.append(context.change("RENAME", here, there, new or old, entry.is_dir))

    def folder(self, parent, cwd):
        """The path of a directory in the tree; None outside. Of an inode that is not known only an
        absolute name can be trusted, and not where it may stand for the directory of a descriptor.
        """
        if parent.inode in self.tree.folders:
            return self.tree.path(parent.inode)
        if parent.name is None or cwd is None:
            return None
        named = os.path.normpath(os.path.join(cwd, parent.name))
        if named != self.tree.root and not named.startswith(self.tree.root + "/"):
            return None
        return named if parent.name.startswith("/") and named != cwd else UNKNOWN


@dataclass(frozen=True)
class Entry:
    """A PATH record."""

    inode: int
    name: str | None
    is_dir: bool

    def last(self):
        return None if self.name is None else os.path.basename(self.name.rstrip("/"))

    def can_be_in(self, parent, cwd):
        """Whether the names go together: `sub/file` and its PARENT `sub/`."""
        if self.name is None or parent.name is None:
            return False
        return (os.path.dirname(self.name) or cwd).rstrip("/") == parent.name.rstrip("/")


@dataclass(frozen=True)
class Context:
    """What the changes of one system call have in common."""

    who: Who
    time: int
    where: str

    def change(self, kind, path, old_path, folder, is_dir):
        return Change(kind, path, old_path, folder, is_dir, self.who, self.time, self.where)
