//! Messages with positions, and the images of events between them.

use super::super::message::{Progress, Source, comm};
use super::super::{OpenExec, Rung};
use super::*;

const PID: u32 = 0x3fff_0000;

fn at(kind: Kind, time_ns: u64, name: &str) -> Message {
    let message = Message::new(kind, Source::Bpf, time_ns, PID);
    Message { comm: comm(name.as_bytes()), cgroup_id: 7, caller: PID, ..message }
}

/// A process called `a` in group 7, forked before anything was queued.
fn table() -> Table {
    let mut table = Table::new(1 << 8, Rung::Bpf, true, OpenExec::None);
    table.apply_by_position(&at(Kind::Fork, 10, "a"), (0, 0));
    table
}

/// Name, group and certainty of the event of that number.
fn find(table: &mut Table, index: u64) -> (u8, u64, Attribution) {
    let answer = table.resolve(PID, Interval { after_ns: 1, until_ns: 100, index });
    let image = table.images.get(answer.image);
    (image.comm[0], image.cgroup_id, answer.attribution)
}

#[test]
fn a_move_to_another_group_by_another_process_changes_nothing_but_the_group() {
    let mut table = table();
    table.apply_by_position(&at(Kind::Comm, 20, "b"), (5, 5));
    // The mover read the identity before the name changed, and sent its message later; the move began at event 2.
    let moved = Message { caller: PID + 1, cgroup_id: 8, ..at(Kind::Cgroup, 30, "a") };
    table.apply_by_position(&moved, (2, 4));
    assert_eq!(find(&mut table, 1), (b'a', 7, Attribution::Exact));
    for index in 2..5 {
        assert_eq!(find(&mut table, index).2, Attribution::Ambiguous, "{index}");
    }
    assert_eq!(find(&mut table, 5), (b'b', 8, Attribution::Exact));
}

#[test]
fn a_process_that_moves_itself_is_known_to_the_event() {
    let mut table = table();
    table.apply_by_position(&Message { cgroup_id: 8, ..at(Kind::Cgroup, 20, "a") }, (3, 3));
    assert_eq!(find(&mut table, 2), (b'a', 7, Attribution::Exact));
    assert_eq!(find(&mut table, 3), (b'a', 8, Attribution::Exact));
}

#[test]
fn an_exec_whose_message_comes_after_that_of_a_later_move_is_not_lost() {
    let mut table = table();
    let moved = Message { caller: PID + 1, cgroup_id: 8, ..at(Kind::Cgroup, 30, "a") };
    table.apply_by_position(&moved, (2, 4));
    let (exe, exec) = (table.strings.intern(b"/bin/b"), table.strings.intern(b"./b"));
    let message = Message {
        exe,
        exec,
        exe_root: 9,
        exe_flags: proc_flag::EXE_CUT,
        ..at(Kind::Exec, 29, "b")
    };
    table.apply_by_position(&message, (4, 4));
    assert_eq!(find(&mut table, 6), (b'b', 8, Attribution::Exact));
    let image = table.latest(PID);
    assert_eq!(table.strings.get(image.exe), b"/bin/b");
    assert_eq!((table.strings.get(image.exec), image.exe_root), (&b"./b"[..], 9));
    assert_ne!(image.flags & proc_flag::EXE_CUT, 0);
    // Nothing of that outlives the next exec.
    table.apply_by_position(&at(Kind::Exec, 40, "c"), (9, 9));
    let image = table.latest(PID);
    assert_eq!((image.exe, image.exec, image.exe_root), (0, 0, 0));
    assert_eq!(image.flags & proc_flag::EXE_ALL, 0);
}

#[test]
fn what_was_all_seen_at_the_first_change_stays_exact_however_many_follow() {
    let (mut table, mut witnesses) = (table(), Witnesses::default());
    for change in 0..20u64 {
        // The event is the oldest of the queue, and nothing was added to it after the first change.
        let seen = witnesses.keep([(change as u32, kind::CREATE | kind::MODIFY)].into_iter());
        let progress = Progress { length: 1 + change as u32, ..Progress::default() };
        let name = if change % 2 == 0 { "b" } else { "c" };
        let message = at(Kind::Comm, 20 + change, name);
        let message = Message { progress, witnesses: seen, ..message };
        table.apply_by_position(&message, (1 + change, 1 + change));
    }
    let interval = Interval { after_ns: 1, until_ns: 100, index: 0 };
    let parts = |table: &mut Table, types| {
        let parts = table.parts(PID, interval, types, &witnesses);
        let parts = parts.iter().filter(|(types, _)| *types != 0);
        parts.map(|&(types, answer)| (types, answer.attribution)).collect::<Vec<_>>()
    };
    let both = kind::CREATE | kind::MODIFY;
    assert_eq!(parts(&mut table, both), [(both, Attribution::Exact)]);
    let late = [(both, Attribution::Exact), (kind::CLOSE_WRITE, Attribution::Ambiguous)];
    assert_eq!(parts(&mut table, both | kind::CLOSE_WRITE), late);
}
