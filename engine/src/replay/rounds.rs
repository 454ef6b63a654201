//! A recording played again and again, as if its command were run again: later, by more reads, and on
//! new files and directories, as handles are not used again. Names and process ids are the same.

use super::recording::{RecordedRoot, Recording};
use crate::hot::who::bpf_record::{CALLER, KIND, PARENT, PID};
use crate::hot::who::bpf_record::{READS, READS_AFTER, TIME, TURN, TURN_AFTER, kind};
use crate::sys::clock;

/// Where the program's own data begins in a perf sample.
const RAW: usize = 12;
/// Bytes of the heads of an event, and of an info record with its filesystem's id.
const EVENT_HEAD: usize = 24;
const INFO_HEAD: usize = 12;

/// Where an event has its process.
const EVENT_PID: usize = 20;
/// No process has a number from here on (`PID_MAX_LIMIT` of linux/threads.h): the table asks of those that
/// ended whether they are gone.
const PIDS: u32 = 1 << 22;
/// A day, in ns: longer than anybody measures.
const AHEAD_NS: u64 = 86_400_000_000_000;

/// By how much a round comes after the one before.
#[derive(Clone, Copy)]
struct Step {
    ns: u64,
    reads: u32,
    turns: u32,
}

impl Recording {
    /// Makes it fit to be played on this host, where other processes run: its own get numbers that none
    /// has, and all of it happens later than now, so that what is looked at by the clock was before.
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

    /// Makes the next round of it.
    pub fn advance(&mut self) {
        let end_ns = self.turns.last().map_or(self.start_ns, |turn| turn.until_ns);
        let last_turn = self.reads().last().map_or(0, |read| read.turn);
        let first_turn = self.reads().next().map_or(0, |read| read.turn);
        let step = Step {
            ns: end_ns - self.start_ns,
            reads: u32::try_from(self.reads().count()).expect("a recording is short"),
            // Even, as the odd ones are those amid a read.
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

/// What our program wrote into a sample.
fn raw(sample: &mut [u8]) -> Option<&mut [u8]> {
    sample.get_mut(RAW..).filter(|raw| raw.len() >= TURN_AFTER + 4)
}

fn add(bytes: &mut [u8], at: usize, number: u32) {
    let sum = u32_at(bytes, at).wrapping_add(number);
    bytes[at..at + 4].copy_from_slice(&sum.to_ne_bytes());
}

/// A message of that much later.
fn put_off(raw: &mut [u8], step: Step) {
    let time = u64_at(raw, TIME).wrapping_add(step.ns);
    raw[TIME..TIME + 8].copy_from_slice(&time.to_ne_bytes());
    [READS, READS_AFTER].into_iter().for_each(|at| add(raw, at, step.reads));
    [TURN, TURN_AFTER].into_iter().for_each(|at| add(raw, at, step.turns));
}

/// Every object but the root becomes another: the last number of its handle is raised.
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
