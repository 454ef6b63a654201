//! File events of made-up histories, with openings merged as the kernel merges them and read in
//! batches of any size: what is said to be exact must be right.

use super::super::message::{self, Kind, Message, Source};
use super::super::table::Table;
use super::super::{Interval, OpenExec, Rung};
use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, VecDeque};

const PID: u32 = 0x3fff_0000;
/// Programs that are where they are said to be, one reached over a link, and one that we cannot
/// find.
const EXES: [&str; 4] = ["/bin/cat", "/bin/true", "/bin/sh", "./conftest"];

fn opened_as(exe: &str) -> String {
    let end = std::fs::canonicalize(exe).unwrap_or_else(|_| exe.into());
    end.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[derive(Clone, Debug, PartialEq)]
struct State {
    comm: String,
    ppid: u32,
    uid: u32,
    generation: u32,
}

/// An event in the queue: who, which opening if it is one, and the truth.
struct Queued {
    pid: u32,
    opening: Option<String>,
    truth: State,
}

struct World {
    table: Table,
    time: u64,
    live: HashMap<u32, State>,
    queue: VecDeque<Queued>,
    waiting: Vec<Message>,
    after_ns: u64,
    generation: u32,
}

impl World {
    fn new() -> World {
        let mut table = Table::new(1 << 10, Rung::Tracepoint, true, OpenExec::All);
        let first = Message::new(Kind::Fork, Source::Perf, 1, PID);
        table.apply(&first);
        let image = table.pids.get(PID).expect("forked").image;
        let image = table.images.get_mut(image);
        image.comm = message::comm(b"init");
        image.flags = fsmon_format::record::proc_flag::COMM | fsmon_format::record::proc_flag::CRED;
        table.set_since(PID);
        let init = State { comm: "init".into(), ppid: 0, uid: 0, generation: 0 };
        World {
            table,
            time: 100,
            live: HashMap::from([(0, init)]),
            queue: VecDeque::new(),
            waiting: Vec::new(),
            after_ns: 10,
            generation: 0,
        }
    }

    fn send(&mut self, kind: Kind, pid: u32, fill: impl FnOnce(&mut Message)) {
        self.time += 10;
        let mut message = Message::new(kind, Source::Perf, self.time, PID + pid);
        fill(&mut message);
        self.waiting.push(message);
    }

    fn open(&mut self, pid: u32, name: &str) {
        let Some(truth) = self.live.get(&pid).cloned() else { return };
        let same = |queued: &Queued| {
            queued.opening.as_deref() == Some(name)
                && (queued.pid, queued.truth.generation) == (pid, truth.generation)
        };
        if !self.queue.iter().any(same) {
            self.queue.push_back(Queued { pid, opening: Some(name.to_owned()), truth });
        }
    }

    fn exec(&mut self, pid: u32, exe: &str, uid: Option<u32>) {
        self.open(pid, &opened_as(exe));
        self.open(pid, "ld-linux-x86-64.so.2");
        let comm = last_part(exe.as_bytes()).to_vec();
        self.send(Kind::CommExec, pid, |begin| begin.comm = message::comm(&comm));
        if let Some(uid) = uid {
            self.send(Kind::Uid, pid, |message| message.value = uid);
        }
        let exec = self.table.strings.intern(exe.as_bytes());
        self.send(Kind::Exec, pid, |done| done.exec = exec);
        if let Some(state) = self.live.get_mut(&pid) {
            state.comm = String::from_utf8_lossy(&comm).into_owned();
            state.uid = uid.unwrap_or(state.uid);
        }
    }

    /// Does one thing; `pid` and `other` are small numbers.
    fn step(&mut self, op: u8, pid: u32, other: u32, value: u32) {
        let Some(state) = self.live.get(&pid).cloned() else { return };
        let exe = EXES[value as usize % EXES.len()];
        match op {
            0 | 1 if !self.live.contains_key(&other) => {
                self.send(Kind::Fork, other, |fork| fork.parent = PID + pid);
                self.generation += 1;
                let generation = self.generation;
                self.live.insert(other, State { ppid: pid, generation, ..state });
            }
            2 | 3 => self.exec(pid, exe, None),
            4 => self.exec(pid, exe, Some(value)),
            5 => {
                self.send(Kind::Uid, pid, |message| message.value = value);
                self.live.insert(pid, State { uid: value, ..state });
            }
            6 => {
                self.send(Kind::Comm, pid, |message| message.comm = message::comm(b"renamed"));
                self.live.insert(pid, State { comm: "renamed".into(), ..state });
            }
            7 if pid != 0 => {
                self.send(Kind::Exit, pid, |_| ());
                self.live.remove(&pid);
            }
            8 => self.open(pid, "bad.elf"),
            _ => self.queue.push_back(Queued { pid, opening: None, truth: state }),
        }
    }

    /// Reads up to `count` events and checks what is said of them. Returns how many were exact.
    fn read(&mut self, count: usize) -> Result<usize, TestCaseError> {
        self.time += 10;
        let batch: Vec<_> = self.queue.drain(..count.min(self.queue.len())).collect();
        let interval = Interval { after_ns: self.after_ns, until_ns: self.time, index: 0 };
        for message in std::mem::take(&mut self.waiting) {
            self.table.apply(&message);
        }
        let mut exact = 0;
        for Queued { pid, opening, truth } in batch {
            let answer = match &opening {
                Some(name) => self.table.open_exec(PID + pid, interval, name.as_bytes()),
                None => self.table.resolve(PID + pid, interval),
            };
            let (id, sure) = (answer.image, answer.attribution);
            let image = self.table.images.get(id);
            prop_assert!(sure == Attribution::Exact || sure == Attribution::Ambiguous);
            // The kernel merges openings into earlier events, so they show where events are, but are not checked
            // themselves.
            if sure == Attribution::Exact && opening.is_none() {
                exact += 1;
                let comm = String::from_utf8_lossy(&image.comm);
                let said = (comm.trim_end_matches('\0'), image.uid, image.ppid.wrapping_sub(PID));
                let ppid = if pid == 0 { said.2 } else { truth.ppid };
                prop_assert_eq!(said, (truth.comm.as_str(), truth.uid, ppid), "of {}", pid);
            }
        }
        if self.queue.is_empty() {
            self.time += 1;
            self.after_ns = self.time;
            self.table.retire(self.after_ns);
        }
        Ok(exact)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn exact_is_right(
        steps in prop::collection::vec((0u8..14, 0u32..4, 1u32..5, 0u32..4, 0usize..12), 1..80),
    ) {
        let mut world = World::new();
        for (op, pid, other, value, read) in steps {
            world.step(op, pid, other, value);
            if read == 0 {
                world.read(value as usize + 1)?;
            } else if read == 1 {
                world.read(usize::MAX)?;
            }
        }
        world.read(usize::MAX)?;
    }
}
