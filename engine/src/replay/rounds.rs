//! Changes a recording so that it can be played again, as if its command ran again: at later times, after more reads,
//! and with new files and directories, because a filesystem does not use handles again. Names and pids stay the same.

use super::recording::{RecordedRoot, Recording};
use crate::hot::who::bpf_record::{CALLER, KIND, PARENT, PID};
use crate::hot::who::bpf_record::{READS, READS_AFTER, TIME, TURN, TURN_AFTER, kind};
use crate::sys::clock;

/// Where the data of the BPF program begins in a perf sample.
const RAW: usize = 12;
/// Bytes of an event before its info records, and of an info record up to the end of the fsid.
const EVENT_HEAD: usize = 24;
const INFO_HEAD: usize = 12;

/// Where the pid is in an event.
const EVENT_PID: usize = 20;
/// The limit of pids (`PID_MAX_LIMIT` of linux/threads.h). Recorded pids are raised by this, so that no process of this
/// host has them: the table asks the kernel whether processes that ended still exist.
const PIDS: u32 = 1 << 22;
/// A day, in ns: longer than any benchmark takes.
const AHEAD_NS: u64 = 86_400_000_000_000;

/// How much later a round is than the one before.
#[derive(Clone, Copy)]
struct Step {
    ns: u64,
    reads: u32,
    turns: u32,
}

impl Recording {
    /// Prepares the recording for this host, on which other processes run. Recorded processes get pids that no process
    /// of this host has. All recorded times are moved beyond the time of the benchmark, so that everything that fsmon
    /// compares with the clock was earlier.
    pub fn transpose(&mut self) {
        let ns = (clock::monotonic_ns() + AHEAD_NS).wrapping_sub(self.start_ns);
        self.put_off(Step { ns, reads: 0, turns: 0 });
        for turn in &mut self.turns {
            for read in &mut turn.reads {
                let mut rest = &mut read.bytes[..];
                while rest.len() >= EVENT_HEAD {
                    let (event, after) = rest.split_at_mut(u32_at(rest, 0) as usize);
                    add(event, EVENT_PID, PIDS);
                    rest = after;
                }
            }
            for raw in turn.messages.iter_mut().filter_map(|message| raw(message)) {
                let has_caller = u32_at(raw, KIND) != kind::EXEC;
                let fields = [PID, PARENT].into_iter().chain(has_caller.then_some(CALLER));
                fields.for_each(|at| add(raw, at, PIDS));
            }
        }
    }

    /// Changes the recording into its next round.
    pub fn advance(&mut self) {
        let end_ns = self.turns.last().map_or(self.start_ns, |turn| turn.until_ns);
        let last_turn = self.reads().last().map_or(0, |read| read.turn);
        let first_turn = self.reads().next().map_or(0, |read| read.turn);
        let step = Step {
            ns: end_ns - self.start_ns,
            reads: u32::try_from(self.reads().count()).expect("a recording is short"),
            // Even, because `TURN` of `sys/gauge.rs` is odd only during a read.
            turns: (last_turn - first_turn + 2).next_multiple_of(2),
        };
        self.put_off(step);
        for read in self.turns.iter_mut().flat_map(|turn| &mut turn.reads) {
            renew_objects(&mut read.bytes, &self.root);
        }
    }

    fn put_off(&mut self, step: Step) {
        let later = |ns: u64| ns.wrapping_add(step.ns);
        self.start_ns = later(self.start_ns);
        for turn in &mut self.turns {
            turn.until_ns = later(turn.until_ns);
            turn.empty_ns = turn.empty_ns.map(later);
            for read in &mut turn.reads {
                read.number += step.reads;
                read.turn += step.turns;
            }
            for raw in turn.messages.iter_mut().filter_map(|message| raw(message)) {
                put_off(raw, step);
            }
        }
    }
}

/// The data of the BPF program in a sample.
fn raw(sample: &mut [u8]) -> Option<&mut [u8]> {
    sample.get_mut(RAW..).filter(|raw| raw.len() >= TURN_AFTER + 4)
}

fn add(bytes: &mut [u8], at: usize, number: u32) {
    let sum = u32_at(bytes, at).wrapping_add(number);
    bytes[at..at + 4].copy_from_slice(&sum.to_ne_bytes());
}

/// Makes a message later by `step`.
fn put_off(raw: &mut [u8], step: Step) {
    let time = u64_at(raw, TIME).wrapping_add(step.ns);
    raw[TIME..TIME + 8].copy_from_slice(&time.to_ne_bytes());
    [READS, READS_AFTER].into_iter().for_each(|at| add(raw, at, step.reads));
    [TURN, TURN_AFTER].into_iter().for_each(|at| add(raw, at, step.turns));
}

/// Makes every object except the root a new one, by raising the last number of its handle.
fn renew_objects(mut events: &mut [u8], root: &RecordedRoot) {
    while events.len() >= EVENT_HEAD {
        let (event, rest) = events.split_at_mut(u32_at(events, 0) as usize);
        let mut infos = &mut event[EVENT_HEAD..];
        while infos.len() >= INFO_HEAD + 8 {
            let len = usize::from(u16::from_ne_bytes([infos[2], infos[3]]));
            let (info, rest) = infos.split_at_mut(len);
            let handle_len = u32_at(info, INFO_HEAD) as usize;
            let handle = INFO_HEAD + 4..INFO_HEAD + 8 + handle_len;
            if handle_len >= 4
                && (u64_at(info, 4) != root.fsid || info[handle.clone()] != root.handle)
            {
                add(info, handle.end - 4, 1);
            }
            infos = rest;
        }
        events = rest;
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
