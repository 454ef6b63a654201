//! The table against a plain model, and the traps one by one. Pids are beyond any that a kernel
//! gives out.

use super::super::message::{self, Kind, Message, Source};
use super::super::{Answer, Interval, OpenExec, Rung};
use super::*;
use fsmon_format::record::Attribution;
use proptest::prelude::*;
use std::collections::HashMap;

const PID: u32 = 0x3fff_0000;

fn table() -> Table {
    Table::new(1 << 12, Rung::Tracepoint, true, OpenExec::All)
}

fn at(kind: Kind, time_ns: u64, pid: u32) -> Message {
    let source = match kind {
        Kind::Uid | Kind::Gid => Source::Connector,
        _ => Source::Perf,
    };
    Message::new(kind, source, time_ns, PID + pid)
}

fn fork(time_ns: u64, parent: u32, pid: u32) -> Message {
    Message { parent: PID + parent, ..at(Kind::Fork, time_ns, pid) }
}

fn connector_fork(time_ns: u64, parent: u32, pid: u32) -> Message {
    Message { source: Source::Connector, ..fork(time_ns, parent, pid) }
}

fn named(kind: Kind, time_ns: u64, pid: u32, name: &str) -> Message {
    Message { comm: message::comm(name.as_bytes()), ..at(kind, time_ns, pid) }
}

fn id(kind: Kind, time_ns: u64, pid: u32, value: u32) -> Message {
    Message { value, ..at(kind, time_ns, pid) }
}

impl Table {
    fn all(&mut self, messages: &[Message]) {
        for message in messages {
            self.apply(message);
        }
    }

    /// Both signs of an exec.
    fn exec(&mut self, time_ns: u64, pid: u32, exe: &str) {
        self.exec_around(time_ns, pid, exe, &[]);
    }

    fn exec_around(&mut self, time_ns: u64, pid: u32, exe: &str, inside: &[Message]) {
        let comm = String::from_utf8_lossy(last_part(exe.as_bytes())).into_owned();
        self.apply(&named(Kind::CommExec, time_ns, pid, &comm));
        self.all(inside);
        let exec = self.strings.intern(exe.as_bytes());
        self.apply(&Message { exec, ..at(Kind::Exec, time_ns + 5, pid) });
    }

    /// A first process: user and group 0, and a name.
    fn first(&mut self, pid: u32) {
        self.apply(&fork(1, 0, pid));
        self.exec(2, pid, "/sbin/init");
        let image = self.pids.get(PID + pid).expect("forked").image;
        self.images.get_mut(image).flags |= proc_flag::CRED;
        self.set_since(PID + pid);
    }

    fn state(&self, pid: u32, time_ns: u64) -> (String, u32, u32, u32) {
        let image = self.images.get(self.image_at(PID + pid, time_ns));
        let comm = String::from_utf8_lossy(&image.comm).trim_end_matches('\0').to_owned();
        (comm, image.ppid.wrapping_sub(PID), image.uid, image.gid)
    }

    fn seen(&mut self, pid: u32, after_ns: u64, until_ns: u64) -> (String, Attribution) {
        let interval = Interval { after_ns, until_ns, index: 0 };
        let Answer { image, attribution: sure, .. } = self.resolve(PID + pid, interval);
        let comm = String::from_utf8_lossy(&self.images.get(image).comm);
        (comm.trim_end_matches('\0').to_owned(), sure)
    }

    fn opens(&mut self, pid: u32, after_ns: u64, until_ns: u64, names: &[&str]) {
        for name in names {
            let interval = Interval { after_ns, until_ns, index: 0 };
            self.open_exec(PID + pid, interval, name.as_bytes());
        }
    }
}

fn exact(name: &str) -> (String, Attribution) {
    (name.to_owned(), Attribution::Exact)
}

#[test]
fn a_fork_heard_of_after_the_exec_does_not_undo_it() {
    let mut table = table();
    table.first(1);
    table.exec(20, 2, "/bin/cc");
    table.apply(&fork(10, 1, 2));
    assert_eq!(table.state(2, 30), ("cc".into(), 1, 0, 0));
    assert!(table.latest(PID + 2).is_complete());
}

#[test]
fn nothing_older_overwrites_what_is_newer() {
    let mut table = table();
    table.first(1);
    table.all(&[fork(10, 1, 2), id(Kind::Uid, 40, 2, 1000), named(Kind::Comm, 50, 2, "new")]);
    table.all(&[named(Kind::Comm, 45, 2, "old"), id(Kind::Uid, 30, 2, 7), fork(9, 0, 2)]);
    assert_eq!(table.state(2, 60), ("new".into(), 1, 1000, 0));
}

#[test]
fn a_setuid_exec_is_one_change() {
    let mut table = table();
    table.first(1);
    table.apply(&fork(10, 1, 2));
    let before = table.images.len();
    table.exec_around(20, 2, "/bin/sudo", &[id(Kind::Uid, 21, 2, 5), id(Kind::Gid, 22, 2, 6)]);
    assert_eq!((table.images.len(), table.state(2, 30)), (before + 1, ("sudo".into(), 1, 5, 6)));
    table.apply(&id(Kind::Uid, 40, 2, 0));
    table.apply(&id(Kind::Uid, 41, 2, 0));
    assert_eq!(table.images.len(), before + 2, "only what differs is a change");
}

#[test]
fn with_clone_parent_a_child_inherits_from_the_caller_and_has_the_parent_of_the_message() {
    for caller_first in [true, false] {
        let mut table = table();
        table.first(1);
        table.apply(&fork(10, 1, 2));
        table.exec(11, 2, "/bin/runc");
        let mut both = [connector_fork(20, 1, 3), fork(21, 2, 3)];
        if caller_first {
            both.reverse();
        }
        table.all(&both);
        assert_eq!(table.state(3, 30), ("runc".into(), 1, 0, 0), "{caller_first}");
        let parent = table.latest(PID + 3).parent;
        assert_eq!(table.images.get(parent).pid, PID + 1);
    }
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut table = table();
    table.first(1);
    table.all(&[fork(10, 1, 2), named(Kind::Comm, 11, 2, "a"), at(Kind::Exit, 20, 2)]);
    table.all(&[fork(30, 1, 2), connector_fork(29, 1, 2), named(Kind::Comm, 31, 2, "b")]);
    assert_eq!((table.state(2, 15).0, table.state(2, 40).0), ("a".into(), "b".into()));
    // Both may have been meant where both were there.
    assert_eq!(table.seen(2, 5, 50), ("b".into(), Attribution::Ambiguous));
    assert_eq!(table.seen(2, 32, 50), exact("b"));
    // An end that was lost.
    table.apply(&fork(60, 1, 2));
    assert_eq!(table.state(2, 70).0, "init");
}

#[test]
fn the_openings_show_on_which_side_of_an_exec_an_event_lies() {
    let mut table = table();
    table.first(1);
    table.apply(&fork(110, 1, 2));
    // Both are there, so that where their names lead is known.
    table.exec(120, 2, "/bin/cat");
    table.exec(130, 2, "/bin/true");
    assert_eq!(table.seen(2, 100, 200), exact("init"));
    table.opens(2, 100, 200, &["cat", "ld-linux-x86-64.so.2"]);
    assert_eq!(table.seen(2, 100, 200), exact("cat"));
    table.opens(2, 100, 200, &["failed"]);
    assert_eq!(table.seen(2, 100, 200), exact("cat"));
    table.opens(2, 100, 200, &["true"]);
    assert_eq!(table.seen(2, 100, 200), exact("true"));
    assert_eq!(table.seen(2, 100, 200), exact("true"));
}

#[test]
fn an_exec_of_a_file_with_another_name_is_ambiguous_until_both_names_are_learnt() {
    let mut table = table();
    table.first(1);
    for (pid, sure) in [(2, Attribution::Ambiguous), (3, Attribution::Exact)] {
        let time = u64::from(pid) * 1000;
        table.apply(&fork(time + 10, 1, pid));
        table.exec(time + 20, pid, "/not/here/sh");
        table.opens(pid, time, time + 100, &["busybox"]);
        assert_eq!(table.seen(pid, time, time + 100), ("sh".into(), sure));
        // Seen again when the exec has passed for certain.
        table.opens(pid, time + 100, time + 110, &["busybox"]);
        assert_eq!(table.seen(pid, time + 100, time + 200), exact("sh"));
    }
}

#[test]
fn events_of_others_narrow_the_time() {
    let mut table = table();
    table.first(1);
    table.all(&[fork(110, 1, 2), id(Kind::Uid, 120, 2, 7), fork(130, 1, 3)]);
    assert_eq!(table.seen(2, 100, 200).1, Attribution::Ambiguous);
    assert_eq!(table.seen(3, 100, 200), exact("init"));
    assert_eq!(table.seen(2, 100, 200).1, Attribution::Exact, "3 was born after the change");
}

#[test]
fn an_opening_that_may_have_merged_is_no_evidence() {
    let mut table = table();
    table.first(1);
    table.apply(&fork(110, 1, 2));
    for (time, exe) in [(120, "/bin/a"), (130, "/bin/b"), (140, "/bin/a")] {
        table.exec(time, 2, exe);
    }
    table.opens(2, 100, 200, &["a", "b"]);
    // After b, or after the second a?
    assert_eq!(table.seen(2, 100, 200), ("a".into(), Attribution::Ambiguous));
    assert_eq!(table.seen(2, 150, 200), exact("a"));
}

#[test]
fn an_exec_that_is_not_done_has_no_events() {
    let mut table = table();
    table.first(1);
    table.apply(&fork(110, 1, 2));
    table.apply(&named(Kind::CommExec, 120, 2, "one"));
    assert_eq!(table.seen(2, 115, 125), exact("init"));
}

#[test]
fn an_openings_exec_may_come_in_the_next_batch() {
    let mut table = table();
    table.first(1);
    table.apply(&fork(110, 1, 2));
    table.opens(2, 100, 115, &["one", "ld-linux-x86-64.so.2"]);
    table.exec(120, 2, "/bin/one");
    assert_eq!(table.seen(2, 115, 200), exact("one"));
}

#[test]
fn what_can_still_be_asked_for_stays_and_the_rest_goes() {
    let mut table = table();
    table.first(1);
    table.all(&[fork(10, 1, 2), fork(15, 2, 3), at(Kind::Exit, 20, 2)]);
    table.retire(15);
    assert_eq!(table.images.len(), 4, "the fork's, two children; init's own fork image");
    table.retire(u64::MAX - 1);
    assert!(table.pids.get(PID + 2).is_some(), "found gone only now: its events may be queued");
    table.retire(u64::MAX - 1);
    assert!(table.pids.get(PID + 2).is_none());
    let parent = table.latest(PID + 3).parent;
    assert_eq!(table.images.get(parent).pid, PID + 2, "its child lives");
    table.apply(&at(Kind::Exit, 30, 3));
    table.retire(u64::MAX - 1);
    table.retire(u64::MAX - 1);
    assert_eq!(table.pids.len(), 1);
}

#[test]
fn where_room_runs_out_the_longest_gone_give_way() {
    let mut table = Table::new(64, Rung::Tracepoint, true, OpenExec::All);
    table.first(1);
    table.apply(&fork(5, 1, 2));
    for n in 0..1000 {
        let (time, pid) = (10 + n * 10, 3 + n as u32);
        table.all(&[fork(time, 1, pid), at(Kind::Exit, time + 5, pid)]);
        assert_eq!(table.state(pid, time + 5).0, "init");
    }
    assert!(table.counters.evicted > 900 && table.counters.refused == 0);
    assert_eq!(table.state(2, 20_000).0, "init");
}

/// What the model keeps of a process.
type State = (String, u32, u32, u32);

proptest! {
    /// For any history of a few processes, with messages in order, the table gives the same state as the model at
    /// any time, whichever images it released meanwhile.
    #[test]
    fn any_history_is_remembered(
        steps in prop::collection::vec((0u8..8, 1u32..7, 1u32..7, 0u32..3, any::<bool>()), 1..120),
    ) {
        let mut table = table();
        table.first(1);
        let mut live: HashMap<u32, State> = HashMap::from([(1, ("init".into(), 0, 0, 0))]);
        let mut history: Vec<(u64, u32, Option<State>)> = Vec::new();
        let mut kept_from = 0;
        for (step, (op, pid, other, value, both)) in steps.into_iter().enumerate() {
            let time = 100 + step as u64 * 10;
            let known = live.get(&pid).cloned();
            match (op, known) {
                (0 | 1, Some(state)) if !live.contains_key(&other) => {
                    live.insert(other, (state.0, pid, state.2, state.3));
                    if both {
                        table.apply(&connector_fork(time, pid, other));
                    }
                    table.apply(&fork(time + 1, pid, other));
                    history.push((time + 1, other, live.get(&other).cloned()));
                }
                (2 | 3, Some(state)) => {
                    let name = format!("p{value}");
                    let uid = if both { value } else { state.2 };
                    let inside = [id(Kind::Uid, time + 1, pid, uid)];
                    table.exec_around(time, pid, &format!("/bin/{name}"), &inside);
                    live.insert(pid, (name, state.1, uid, state.3));
                }
                (4, Some(state)) => {
                    table.apply(&id(Kind::Uid, time, pid, value));
                    live.insert(pid, (state.0, state.1, value, state.3));
                }
                (5, Some(state)) => {
                    table.apply(&id(Kind::Gid, time, pid, value));
                    live.insert(pid, (state.0, state.1, state.2, value));
                }
                (6, Some(state)) => {
                    table.apply(&named(Kind::Comm, time, pid, "renamed"));
                    live.insert(pid, ("renamed".into(), state.1, state.2, state.3));
                }
                (7, Some(_)) if pid != 1 => {
                    table.apply(&at(Kind::Exit, time, pid));
                    live.remove(&pid);
                    if both {
                        // Time here is not the clock's: nothing that was found gone goes yet.
                        kept_from = time - 50;
                        table.retire(kept_from);
                    }
                }
                _ => continue,
            }
            history.push((time, pid, live.get(&pid).cloned()));
        }
        for (index, (time, pid, state)) in history.iter().enumerate() {
            let ask = (*time).max(kept_from);
            let next = history[index + 1..].iter().find(|later| later.1 == *pid);
            let Some(state) = state.as_ref().filter(|_| *pid != 1) else { continue };
            if next.is_none_or(|later| later.0 > ask) {
                prop_assert_eq!(&table.state(*pid, ask), state, "pid {} at {}", pid, ask);
            }
        }
    }
}

/// perf COMM alone gives no exe, so that `sh` is not known to be the `dash` that was opened.
#[test]
fn an_opening_of_another_name_is_remembered_until_its_exec_has_passed() {
    let mut table = Table::new(1 << 12, Rung::Comm, true, OpenExec::All);
    table.first(1);
    table.apply(&fork(10, 1, 2));
    table.opens(2, 0, 15, &["setpriv", "ld-linux-x86-64.so.2"]);
    table.apply(&named(Kind::CommExec, 12, 2, "setpriv"));
    table.apply(&at(Kind::Exec, 13, 2));
    assert_eq!(table.seen(2, 14, 16), exact("setpriv"));
    table.opens(2, 14, 20, &["dash"]);
    table.apply(&named(Kind::CommExec, 30, 2, "sh"));
    table.apply(&at(Kind::Exec, 31, 2));
    // The queue was last seen empty after the opening and before the exec: events of two batches.
    for until_ns in [40, 50] {
        assert_eq!(table.seen(2, 25, until_ns), ("sh".into(), Attribution::Ambiguous));
    }
    assert_eq!(table.seen(2, 35, 60), exact("sh"));
}

/// A thread may have a name of its own, which its child gets.
#[test]
fn a_child_of_another_thread_is_not_sure_of_its_name_until_it_execs() {
    let mut table = table();
    table.first(1);
    table.apply(&Message { by_thread: true, ..fork(10, 1, 2) });
    assert_eq!(table.seen(2, 20, 30), ("init".into(), Attribution::Late));
    table.exec(40, 2, "/bin/cc");
    assert_eq!(table.seen(2, 50, 60), exact("cc"));
}
