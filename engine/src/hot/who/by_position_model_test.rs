//! The table by positions against a plain model: processes change, queue events and merge into them at
//! random, some messages are not settled, and every answer is right or says that it is not sure.

use super::super::message::{self, Kind, Message, Source};
use super::super::witnesses::Witnesses;
use super::super::{Interval, OpenExec, Rung, Table};
use super::*;
use proptest::prelude::*;

const PID: u32 = 0x3fff_0000;

/// An event in the queue: whose it is, and who did each type of it.
struct Queued {
    pid: u32,
    done: Vec<(u32, String)>,
}

struct World {
    table: Table,
    witnesses: Witnesses,
    queue: Vec<Queued>,
    /// Events taken from the queue before the first that is in it.
    taken: u64,
    names: [String; 3],
    time: u64,
}

impl World {
    fn new() -> Self {
        let mut world = World {
            table: Table::new(1 << 10, Rung::Bpf, true, OpenExec::None),
            witnesses: Witnesses::default(),
            queue: Vec::new(),
            taken: 0,
            names: Default::default(),
            time: 1,
        };
        for pid in 0..3 {
            world.send(Kind::Fork, pid, true, 0);
        }
        world
    }

    /// Sends a message of `pid` with its current identity. If it is not settled, its position is known only to within
    /// `slack` events.
    fn send(&mut self, kind: Kind, pid: u32, settled: bool, slack: u64) {
        self.time += 10;
        let mut message = Message::new(kind, Source::Bpf, self.time, PID + pid);
        message.comm = message::comm(self.names[pid as usize].as_bytes());
        message.caller = PID + pid;
        message.progress.length = self.queue.len() as u32;
        let end = self.taken + self.queue.len() as u64;
        let mine = self.queue.iter().rev().enumerate().filter(|(_, event)| event.pid == pid);
        if settled && kind != Kind::Fork {
            let seen = mine.map(|(back, event)| {
                (back as u32, event.done.iter().fold(0, |all, (types, _)| all | types))
            });
            message.witnesses = self.witnesses.keep(seen.take(8));
        }
        let position = if settled { (end, end) } else { (end.saturating_sub(slack), end + slack) };
        self.table.apply_by_position(&message, position);
    }

    /// `pid` does something: a new event, or merged into one of its own.
    fn act(&mut self, pid: u32, types: u32, merge: usize) {
        let name = self.names[pid as usize].clone();
        let mut mine: Vec<_> = self.queue.iter_mut().filter(|event| event.pid == pid).collect();
        match mine.get_mut(merge) {
            Some(event) if types != kind::CREATE => {
                if event.done.iter().all(|(known, _)| known & types == 0) {
                    event.done.push((types, name));
                }
            }
            _ => self.queue.push(Queued { pid, done: vec![(types, name)] }),
        }
    }

    /// Reads all, and checks what is said. How many answers were sure.
    fn read(&mut self) -> Result<usize, TestCaseError> {
        self.time += 10;
        let mut interval =
            Interval { after_ns: self.time - 1, until_ns: self.time, index: self.taken };
        let mut sure = 0;
        for Queued { pid, done } in std::mem::take(&mut self.queue) {
            let types = done.iter().fold(0, |all, (types, _)| all | types);
            let answer = self.table.resolve(PID + pid, interval);
            let parts: Parts = match answer.later {
                0 => [(types, answer)].into_iter().collect(),
                _ => self.table.parts(PID + pid, interval, types, &self.witnesses),
            };
            for (at, name) in &done {
                let said = parts.iter().find(|(types, _)| types & at != 0);
                let (_, said) = said.expect("every type is in a part");
                let image = self.table.images.get(said.image);
                let comm = String::from_utf8_lossy(&image.comm);
                if said.attribution == Attribution::Exact {
                    prop_assert_eq!(comm.trim_end_matches('\0'), name.as_str());
                    sure += 1;
                }
            }
            interval.index += 1;
        }
        self.taken = interval.index;
        self.table.retire(self.time);
        Ok(sure)
    }
}

proptest! {
    #[test]
    fn right_or_not_sure(
        steps in prop::collection::vec((0u8..9, 0u32..3, 0usize..4, 0u64..4), 1..80),
    ) {
        let mut world = World::new();
        for (number, (step, pid, merge, slack)) in steps.into_iter().enumerate() {
            let settled = slack != 3;
            match step {
                0 | 1 => {
                    world.names[pid as usize] = format!("name{number}");
                    let kind = if step == 0 { Kind::Exec } else { Kind::Comm };
                    world.send(kind, pid, settled, slack);
                }
                2 => {
                    // Another process with the same number; nothing of it is merged into the old.
                    world.read()?;
                    world.names[pid as usize] = format!("new{number}");
                    world.send(Kind::Fork, pid, settled, slack);
                }
                3 => drop(world.read()?),
                4 | 5 => world.act(pid, kind::CREATE, merge),
                6 => world.act(pid, kind::MODIFY, merge),
                7 => world.act(pid, kind::CLOSE_WRITE, merge),
                _ => world.act(pid, kind::ATTRIB, merge),
            }
        }
        world.read()?;
    }
}

/// A shell makes a file and execs; the program that it has become closes it; then it makes another.
#[test]
fn a_merged_event_is_taken_apart() {
    let mut world = World::new();
    world.names[0] = "sh".to_owned();
    world.send(Kind::Exec, 0, true, 0);
    world.act(0, kind::CREATE, 9);
    world.names[0] = "cc".to_owned();
    world.send(Kind::Exec, 0, true, 0);
    world.act(0, kind::CLOSE_WRITE, 0);
    world.act(0, kind::CREATE, 9);
    assert_eq!(world.read().expect("right"), 3);
}
