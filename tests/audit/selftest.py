#!/usr/bin/env python3
"""Checks the comparison itself, on made-up recordings: that it notices what it should.

    python3 -B tests/audit/selftest.py
"""

import json
import os
import tempfile
import unittest

from auditlog import FILES, FORKS, NAMES, Reader, Tree
from matching import compare, fsmon_lines

PROCESS = {"pid": 20, "ppid": 10, "comm": "cc1", "uid": 7, "gid": 8}


class Recordings(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name + "/tree"
        os.mkdir(self.root)
        self.layout = Tree(self.root)
        self.inode = os.stat(self.root).st_ino
        self.log, self.json = folder.name + "/log", folder.name + "/json"
        self.serial = 0

    def audit(self, *paths, key=FILES, result=0, cwd=None, **who):
        """One system call: its PATH records are (nametype, name, inode)."""
        self.serial += 1
        head = f"msg=audit(1000.{self.serial:03}:{self.serial}):"
        who = PROCESS | who
        lines = [f"type=SYSCALL {head} arch=c000003e syscall=1 success=yes exit={result} a0=0 "
                 f'ppid={who["ppid"]} pid={who["pid"]} euid={who["uid"]} egid={who["gid"]} '
                 f'comm="{who["comm"]}" key="{key}"',
                 f'type=CWD {head} cwd="{cwd or self.root}"']
        for kind, name, inode in paths:
            mode = "040755" if name.endswith("/") or kind == "PARENT" else "0100644"
            lines.append(f'type=PATH {head} item=0 name="{name}" inode={inode} mode={mode} nametype={kind}')
        with open(self.log, "a", encoding="utf-8") as log:
            log.write("\n".join(lines) + "\n")

    def fsmon(self, kind, path, old=None, second=1, **fields):
        event = {"time": f"1970-01-01T00:16:40.{second:03}5Z", "event_type": kind,
                 "path": f"{self.root}/{path}", "cmd": "cc1"}
        event |= {name: PROCESS[name] for name in ("pid", "ppid", "uid", "gid")} | fields
        if old is not None:
            event["old_path"] = f"{self.root}/{old}"
        with open(self.json, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(event) + "\n")

    def verdict(self):
        open(self.json, "a", encoding="utf-8").close()
        log = Reader(self.layout).read(self.log)
        return compare(log, fsmon_lines(self.json)[0])

    def create(self, name="f", inode=100, **more):
        self.audit(("PARENT", self.root, self.inode), ("CREATE", name, inode), **more)

    def test_the_same_is_right(self):
        self.create()
        self.fsmon("CREATE", "f")
        verdict = self.verdict()
        self.assertTrue(verdict.right())
        self.assertEqual((verdict.exact, verdict.forks_unseen), (1, 1))

    def test_every_wrong_field_is_noticed(self):
        for field, told in (("pid", 21), ("ppid", 11), ("cmd", "as"), ("uid", 0), ("gid", 0), ("is_dir", True)):
            with self.subTest(field):
                self.setUp()
                self.create()
                self.fsmon("CREATE", "f", **{field: told})
                verdict = self.verdict()
                self.assertFalse(verdict.right())
                self.assertEqual([name for name, pairs in verdict.wrong.items() if pairs][:1],
                                 ["comm" if field == "cmd" else field])

    def test_a_flagged_record_may_be_wrong_only_if_asked_for(self):
        self.create()
        self.fsmon("CREATE", "f", cmd="as", attribution="ambiguous")
        verdict = self.verdict()
        self.assertFalse(verdict.right())
        self.assertTrue(verdict.right(flagged_may_differ=True))
        self.assertEqual((verdict.exact, verdict.flagged_fields), (0, {"comm": 1}))

    def test_what_one_side_lacks_is_noticed(self):
        self.create("f")
        self.create("g", 101)
        self.fsmon("CREATE", "g")
        self.assertEqual([change.path for change in self.verdict().missing], [self.root + "/f"])
        self.setUp()
        self.create("f")
        self.fsmon("CREATE", "f")
        self.fsmon("CREATE", "h")
        self.assertEqual([change.path for change in self.verdict().surplus], [self.root + "/h"])

    def test_the_second_line_of_an_exchange_is_where_the_first_went(self):
        parent = ("PARENT", self.root, self.inode)
        halves = [("DELETE", "a", 100), ("DELETE", "b", 101), ("CREATE", "a", 101), ("CREATE", "b", 100)]
        self.audit(parent, *halves)
        self.fsmon("RENAME", "b", "a", exchange=True)
        self.fsmon("RENAME", "a", exchange=True)
        self.assertTrue(self.verdict().right())
        self.setUp()
        self.audit(parent, *halves)
        self.fsmon("RENAME", "b", "a")
        self.fsmon("RENAME", "a")
        self.assertFalse(self.verdict().right())

    def test_only_what_waited_together_can_be_one_line(self):
        self.create()  # at .001
        self.create()  # at .002
        self.fsmon("CREATE", "f", second=1)
        self.assertEqual(len(self.verdict().missing), 1)
        self.setUp()
        self.create()
        self.create()
        self.fsmon("CREATE", "f", second=2)
        verdict = self.verdict()
        self.assertEqual((len(verdict.merged), len(verdict.missing)), (1, 0))

    def test_the_record_of_the_fork_decides_about_the_parent(self):
        self.audit(key=FORKS, result=20, pid=10, ppid=1)
        self.create(ppid=1)  # its parent is gone, init took it
        self.fsmon("CREATE", "f", ppid=10)
        verdict = self.verdict()
        self.assertTrue(verdict.right())
        self.assertEqual(verdict.reparented, 1)
        self.setUp()
        self.audit(key=FORKS, result=20, pid=10, ppid=1)
        self.create(ppid=1)
        self.fsmon("CREATE", "f", ppid=1)
        self.assertEqual(len(self.verdict().wrong["ppid"]), 1)

    def test_a_pid_that_is_used_again_has_the_parent_of_its_time(self):
        self.audit(key=FORKS, result=20, pid=10)
        self.create("f", 100)
        self.audit(key=FORKS, result=20, pid=11)
        self.create("g", 101, ppid=11)
        self.fsmon("CREATE", "f", second=2)
        self.fsmon("CREATE", "g", second=4, ppid=11)
        verdict = self.verdict()
        self.assertTrue(verdict.right())
        self.assertEqual(verdict.forks_unseen, 0)

    def test_a_thread_may_have_a_name_of_its_own_but_not_fsmon_an_unheard_of_one(self):
        self.audit(key=FORKS, result=21)
        self.audit(key=NAMES, comm="worker")
        self.create(comm="worker")
        self.fsmon("CREATE", "f")
        self.assertEqual(len(self.verdict().own_names), 1)
        self.setUp()
        self.audit(key=NAMES, comm="worker")
        self.create(comm="worker")
        self.fsmon("CREATE", "f", cmd="as")
        self.assertEqual(len(self.verdict().wrong["comm"]), 1)

    def test_names_relative_to_a_descriptor_are_found_by_inode(self):
        self.create("d/", 200)
        # Audit prints the working directory for the parent; its inode is that of d.
        self.audit(("PARENT", "/elsewhere", 200), ("CREATE", "f", 201), cwd="/elsewhere")
        self.fsmon("CREATE", "d", is_dir=True)
        self.fsmon("CREATE", "d/f")
        self.assertTrue(self.verdict().right())

    def test_a_rename_is_one_line_whatever_the_order_of_its_parents(self):
        self.create("d/", 200)
        self.create("f", 201)
        self.audit(("PARENT", "d/", 200), ("PARENT", self.root, self.inode),
                   ("DELETE", "f", 201), ("CREATE", "d/g", 201))
        self.audit(("PARENT", "/", 200), ("PARENT", "/", self.inode),
                   ("DELETE", "g", 201), ("CREATE", "g", 201), cwd="/elsewhere")
        self.fsmon("CREATE", "d", is_dir=True)
        self.fsmon("CREATE", "f")
        self.fsmon("RENAME", "d/g", old="f")
        self.fsmon("RENAME", "g", old="d/g")
        self.assertTrue(self.verdict().right())

    def test_what_happens_elsewhere_is_left_out(self):
        self.audit(("PARENT", "/elsewhere", 1), ("CREATE", "f", 2), cwd="/elsewhere")
        verdict = self.verdict()
        self.assertEqual((verdict.exact, verdict.missing), (0, []))


if __name__ == "__main__":
    unittest.main()
