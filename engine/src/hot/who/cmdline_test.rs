//! Which texts fsmon accepts as command lines, given the process messages that were sent. The pids are higher than any
//! that a kernel assigns. Only our own pid is real: tests read its command line.

use super::super::message::{Kind, Message, Source, comm};
use super::super::perf_record::Layout;
use super::super::{Loss, MessageSources, OpenExec, RingWriter, Table};
use super::*;

const PID: u32 = 0x3fff_0000;

fn who(rung: Rung) -> Processes {
    let table = Table::new(2 * CMDLINES_MAX, rung, true, OpenExec::None);
    let writer = RingWriter::Perf(Layout { filename: 0, cgroup: false });
    let mut who = Processes::new(table, MessageSources::new(Vec::new(), writer, None, rung));
    who.read_cmdlines();
    who
}

impl Processes {
    fn send(&mut self, kind: Kind, time_ns: u64, pid: u32, parent: u32) -> u32 {
        let message = Message::new(kind, Source::Perf, time_ns, pid);
        self.table.apply(&Message { parent, comm: comm(b"name"), ..message });
        self.table.pids.get(pid).map_or(0, |entry| entry.image)
    }

    fn exec(&mut self, time_ns: u64, pid: u32) -> u32 {
        self.send(Kind::CommExec, time_ns, pid, 0);
        self.send(Kind::Exec, time_ns + 1, pid, 0)
    }

    /// As if this had been read for an image, in time.
    fn put(&mut self, id: u32, text: &[u8]) {
        let at = id as usize % CMDLINE_READS;
        self.cmdlines.texts[at * CMDLINE_READ_BYTES..][..text.len()].copy_from_slice(text);
        let serial = self.table.images.get(id).serial;
        self.cmdlines.reads[at] = ReadText { image: id, serial, len: text.len(), is_sure: true };
    }

    /// What a definition of the image says.
    fn line_of(&mut self, id: u32) -> (u32, String) {
        let line = self.cmdline(id);
        let text = match line.text_of {
            0 => String::new(),
            of => String::from_utf8_lossy(self.cmdline_text(of)).replace('\0', " "),
        };
        (line.string, text)
    }
}

#[test]
fn the_nul_after_the_last_word_goes_and_the_rest_stays() {
    let (read, cut) = (proc_flag::CMDLINE_READ, proc_flag::CMDLINE_CUT);
    assert_eq!(trim(b"cc\0-c\0a.c\0"), (&b"cc\0-c\0a.c"[..], read));
    assert_eq!(trim(b"cc\0\0"), (&b"cc\0"[..], read));
    assert_eq!(trim(b"sshd: me"), (&b"sshd: me"[..], read));
    let mut long = [b'x'; CMDLINE_READ_BYTES];
    assert_eq!(trim(&long[..CMDLINE_BYTES]), (&long[..CMDLINE_BYTES], read));
    assert_eq!(trim(&long[..CMDLINE_BYTES + 1]), (&long[..CMDLINE_BYTES], read | cut));
    assert_eq!(trim(&long), (&long[..CMDLINE_BYTES], read | cut));
    long[CMDLINE_BYTES] = 0;
    assert_eq!(trim(&long[..CMDLINE_BYTES + 1]), (&long[..CMDLINE_BYTES], read));
    assert_eq!(trim(&long), (&long[..CMDLINE_BYTES], read | cut));
}

#[test]
fn a_text_from_proc_counts_if_no_newer_message_came() {
    let own = std::process::id();
    let later: [&dyn Fn(&mut Processes); 4] = [
        &|_| {},
        &|who| _ = who.exec(20, own),
        &|who| _ = who.send(Kind::Exit, 20, own, 0),
        &|who| {
            let loss = Loss { first_ns: 1, last_ns: 2, count: None };
            who.loss = Some(loss);
        },
    ];
    for (case, happen) in later.into_iter().enumerate() {
        let mut who = who(Rung::Comm);
        let id = who.exec(10, own);
        assert!(who.read_cmdline(id), "we can read our own");
        happen(&mut who);
        who.confirm_cmdlines();
        let (string, text) = who.line_of(id);
        assert_eq!(string != 0, case == 0, "case {case}");
        if case == 0 {
            let first = std::env::args().next().expect("a name");
            assert!(text.starts_with(&first), "{text}");
            assert!(!who.read_cmdline(id), "once is enough");
            assert_eq!(who.line_of(id), (string, String::new()));
        }
    }
}

#[test]
fn a_change_of_user_is_no_exec() {
    let own = std::process::id();
    let mut who = who(Rung::Tracepoint);
    who.table.apply(&Message::new(Kind::Fork, Source::Perf, 1, own));
    let first = who.exec(10, own);
    assert!(who.read_cmdline(first));
    let uid = Message { value: 7, ..Message::new(Kind::Uid, Source::Connector, 20, own) };
    who.table.images.get_mut(first).flags |= proc_flag::CRED;
    who.table.apply(&uid);
    let second = who.table.pids.get(own).expect("there").image;
    assert_ne!(first, second);
    who.confirm_cmdlines();
    let (string, text) = who.line_of(second);
    assert!(string != 0 && !text.is_empty(), "from the image before");
}

#[test]
fn a_child_that_is_gone_has_its_parents() {
    let mut who = who(Rung::Tracepoint);
    let parent = who.exec(10, PID);
    who.put(parent, b"sh\0-c\0x\0");
    let (string, text) = who.line_of(parent);
    assert_eq!(text, "sh -c x");
    let child = who.send(Kind::Fork, 20, PID + 1, PID);
    let grandchild = who.send(Kind::Fork, 30, PID + 2, PID + 1);
    for id in [child, grandchild] {
        assert_eq!(who.line_of(id), (string, String::new()));
    }
    who.put(child, b"sh\0-c\0x\0");
    assert_eq!(who.line_of(child), (string, String::new()), "the same is not sent again");
    let execed = who.exec(40, PID + 2);
    assert_eq!(who.line_of(execed), (0, String::new()));
    who.put(grandchild, b"renamed");
    let (own, text) = who.line_of(grandchild);
    assert!(own != string && text == "renamed");
}

#[test]
fn a_child_given_to_another_parent_has_not_that_ones() {
    let mut who = who(Rung::Tracepoint);
    let parent = who.exec(10, PID);
    who.put(parent, b"parent\0");
    who.line_of(parent);
    who.send(Kind::Fork, 20, PID + 1, PID);
    who.exec(30, PID + 1);
    let child = who.send(Kind::Fork, 40, PID + 2, PID + 1);
    let word = Message::new(Kind::Fork, Source::Connector, 41, PID + 2);
    who.table.apply(&Message { parent: PID, ..word });
    assert_eq!(who.table.images.get(child).parent, parent);
    assert_eq!(who.line_of(child), (0, String::new()));
}

impl Processes {
    /// Applies a message of our BPF programs. `args`: the arguments of an exec, as they are in memory.
    fn send_by_position(
        &mut self,
        kind: Kind,
        time_ns: u64,
        pid: u32,
        by: [u32; 2],
        args: &[u8],
    ) -> u32 {
        let mut message = Message::new(kind, Source::Bpf, time_ns, pid);
        ([message.caller, message.parent], message.comm) = (by, comm(b"name"));
        if kind == Kind::Exec {
            let sent = (!args.is_empty()).then_some((args, false));
            message.args = self.table.args.keep(sent);
        }
        self.table.apply_by_position(&message, (time_ns, time_ns));
        self.table.pids.get(pid).map_or(0, |entry| entry.image)
    }
}

fn with_args() -> Processes {
    let mut who = who(Rung::Bpf);
    who.table.args = Args::new();
    who.cmdlines = Cmdlines::new();
    who
}

#[test]
fn arguments_from_the_message_of_an_exec_are_inherited_by_children() {
    let mut who = with_args();
    let shell = who.send_by_position(Kind::Exec, 10, PID, [0; 2], b"sh\0-c\0x\0");
    let child = who.send_by_position(Kind::Fork, 20, PID + 1, [PID, PID], b"");
    let sibling = who.send_by_position(Kind::Fork, 30, PID + 2, [PID + 1, PID], b"");
    let (string, text) = who.line_of(shell);
    assert_eq!(text, "sh -c x");
    assert_eq!((who.line_of(child).0, who.line_of(sibling).0), (string, string));
    let tool = who.send_by_position(Kind::Exec, 40, PID + 1, [0; 2], b"sh\0-c\0y\0");
    assert_eq!(who.line_of(tool).1, "sh -c y");
    assert!(!who.read_cmdline(tool), "nothing is left to ask");
    let [tool, child] = [tool, child].map(|id| *who.table.images.get(id));
    assert!(!tool.says_the_same(&child), "events of one are not those of the other");
    let line = who.cmdline(shell);
    assert_eq!(line.flags, 0);
    who.send_by_position(Kind::Exit, 50, PID + 1, [0; 2], b"");
    who.table.retire(60);
    assert_eq!(who.table.args.text(who.table.images.get(shell).args), b"sh\0-c\0x");
}

#[test]
fn an_exec_without_arguments_in_its_message_has_none_and_differs_from_every_other() {
    let mut who = with_args();
    let first = who.send_by_position(Kind::Exec, 10, PID, [0; 2], b"sh\0-c\0x\0");
    who.line_of(first);
    let second = who.send_by_position(Kind::Exec, 20, PID, [0; 2], b"");
    let third = who.send_by_position(Kind::Exec, 30, PID, [0; 2], b"");
    assert_eq!((who.line_of(second).0, who.line_of(third).0), (0, 0));
    let [second, third] = [second, third].map(|id| *who.table.images.get(id));
    assert!(!third.says_the_same(&second) && third.says_the_same(&third));
}

#[test]
fn with_an_exec_under_way_what_is_read_does_not_count() {
    let own = std::process::id();
    for begins in [false, true] {
        let mut who = with_args();
        let id = who.send_by_position(Kind::Fork, 10, own, [PID; 2], b"");
        assert!(who.read_cmdline(id), "we can read our own");
        if begins {
            assert_eq!(who.send_by_position(Kind::CommExec, 20, own, [0; 2], b""), id);
        }
        who.confirm_cmdlines();
        assert_eq!(who.line_of(id).0 != 0, !begins);
    }
}

#[test]
fn who_another_called_fork_for_has_that_ones() {
    let mut who = with_args();
    let parent = who.send_by_position(Kind::Fork, 10, PID, [0; 2], b"");
    who.put(parent, b"parent\0");
    who.line_of(parent);
    who.send_by_position(Kind::Fork, 20, PID + 1, [PID; 2], b"");
    let child = who.send_by_position(Kind::Fork, 30, PID + 2, [PID + 1, PID], b"");
    assert_eq!(who.line_of(child), (0, String::new()), "not its parent's");
}

#[test]
fn a_place_is_free_once_its_image_is() {
    let mut who = who(Rung::Tracepoint);
    let mut strings = Vec::new();
    for round in 0..2 * CMDLINES_MAX as u64 {
        let id = who.exec(10 * round + 1, PID);
        who.put(id, format!("round\0{round}\0").as_bytes());
        let (string, text) = who.line_of(id);
        assert_eq!(text, format!("round {round}"));
        strings.push(string);
        who.table.retire(10 * round + 2);
    }
    strings.sort_unstable();
    strings.dedup();
    assert!(strings.len() < 16, "{} slots touched", strings.len());
}

#[test]
fn without_room_it_is_left_out() {
    let mut who = who(Rung::Tracepoint);
    let mut without = 0;
    for pid in 0..CMDLINES_MAX as u32 + 100 {
        let id = who.exec(10, PID + pid);
        who.put(id, b"x\0");
        without += u32::from(who.line_of(id) == (0, String::new()));
    }
    assert_eq!(without, 100);
}

#[test]
fn lower_rungs_and_those_not_asked_have_none() {
    let own = std::process::id();
    for rung in [Rung::Connector, Rung::Proc] {
        let mut who = who(rung);
        let id = who.exec(10, own);
        who.cmdlines.note_exec(own);
        assert!(!who.can_read_cmdlines() && !who.read_cmdline(id));
        assert!(!who.read_cmdlines_ahead());
        assert_eq!(who.cmdline(id), CmdlineRef::default());
    }
}

#[test]
fn of_many_execs_the_latest_are_looked_after() {
    let mut who = who(Rung::Tracepoint);
    for pid in 0..3 * EXECS_KEPT as u32 + 5 {
        who.cmdlines.note_exec(pid);
    }
    let mut kept: Vec<_> = who.cmdlines.execs.iter().copied().collect();
    kept.sort_unstable();
    assert_eq!(kept, (2 * EXECS_KEPT as u32 + 5..3 * EXECS_KEPT as u32 + 5).collect::<Vec<_>>());
    assert!(!who.read_cmdlines_ahead(), "nobody is there");
    assert!(who.cmdlines.execs.is_empty());
}
