//! A single run, and what came of it.

use super::args::{MayFlag, WhoArgs};
use super::beside::Beside;
use super::spin::Spinners;
use crate::area::Area;
use crate::lines::{self, Dialect};
use crate::monitor::{self, command};
use crate::workload::spawn::oracle::{Flagged, Tally};
use crate::workload::{self, spawn};
use serde_json::Value;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the rest of the output may take when fsmon is gone.
const LAST_LINES: Duration = Duration::from_secs(30);

/// Files that are made first where nobody reads: more than fsmon's ring to its formatter has slots
/// (64 Ki), so that its reader is stalled too, and all that follows waits in the kernel's queue.
const RING_FILLERS: u64 = 70_000;

/// A run to be made.
pub(super) struct Run<'a> {
    pub(super) program: &'a Path,
    pub(super) area: &'a Area,
    pub(super) args: &'a WhoArgs,
    pub(super) chains: u64,
    pub(super) beside: Beside,
    pub(super) who: &'a str,
}

/// What came of one run or of many.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    /// Files made, and closed, without a record.
    pub(super) missing: u64,
    /// Records too many.
    pub(super) doubled: u64,
    /// What fsmon reports as lost, forgotten or not resolved; LOSS lines.
    pub(super) reported_lost: u64,
    /// Slots of the ring to the formatter that were in use at one time.
    pub(super) ring_peak: u64,
    pub(super) elapsed: Duration,
}

impl Run<'_> {
    /// Makes it.
    pub(super) fn go(&self) -> Result<Outcome, String> {
        let failed = |error: io::Error| format!("the workload: {error}");
        self.area.renew().map_err(failed)?;
        spawn::prepare(&self.area.watched, &self.area.programs).map_err(failed)?;
        let plan = command::fsmon_lines(self.program, self.who, &self.args.backend, self.area);
        let plan = plan.map_err(|error| error.to_string())?;
        let output = self.area.fresh("fsmon.out").map_err(failed)?;
        let (running, lines) = monitor::launch_live(plan)?;
        let (gate, opened) = channel();
        let copied = copy(lines, File::create(&output).map_err(failed)?, opened);
        let stall = self.beside.stall().map(|stall| (gate, Instant::now() + stall));
        let busy = (self.beside == Beside::Busy).then(Spinners::start);
        let busy = busy.transpose().map_err(failed)?;
        if stall.is_some() {
            workload::fill(&self.area.watched, RING_FILLERS).map_err(failed)?;
        }
        let pids = self.beside.pids();
        let done = workload::run_spawn(self.area, self.chains, self.args.processes, pids);
        let done = done.map_err(failed)?;
        drop(busy);
        if let Some((gate, until)) = stall {
            sleep(until.saturating_duration_since(Instant::now()));
            drop(gate);
        }
        let stats = running.stop()?.stats;
        let copied = copied.recv_timeout(LAST_LINES).map_err(|_| "fsmon's output does not end")?;
        copied.map_err(|error| format!("fsmon's output: {error}"))?;
        let seen = lines::read(Dialect::Json, &output).map_err(|error| error.to_string())?;
        let made = done.expected.creates;
        let closes = seen.tally.closes;
        let creates = seen.tally.records - closes;
        Ok(Outcome {
            missing: made.saturating_sub(creates) + made.saturating_sub(closes),
            doubled: creates.saturating_sub(made) + closes.saturating_sub(made),
            reported_lost: seen.losses + seen.unreadable + reported_lost(&stats),
            ring_peak: stats["ring_peak"].as_u64().unwrap_or(0),
            elapsed: Duration::from_nanos(done.elapsed_ns),
            tally: seen.tally,
        })
    }
}

/// What the counters say went wrong.
fn reported_lost(stats: &Value) -> u64 {
    let keys = ["lost_queue_overflows", "lost_process_messages", "unresolved_paths"];
    keys.iter().map(|key| stats[key].as_u64().unwrap_or(1)).sum()
}

/// Copies the lines, but none before the other end of `opened` was dropped.
fn copy(mut lines: ChildStdout, mut to: File, opened: Receiver<()>) -> Receiver<io::Result<u64>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let _ = opened.recv();
        sender.send(io::copy(&mut lines, &mut to))
    });
    receiver
}

impl Outcome {
    /// Whether every record was there once, and right or flagged where it may be.
    pub(super) fn is_right(&self, may: MayFlag) -> bool {
        let wrong = self.tally.wrong + self.flagged_wrongly(may);
        wrong + self.missing + self.doubled + self.reported_lost == 0 && self.tally.records > 0
    }

    pub(super) fn flagged_wrongly(&self, may: MayFlag) -> u64 {
        match may {
            MayFlag::Anywhere => 0,
            _ => self.tally.flagged_wrongly(|mode| may.allows(mode)),
        }
    }

    /// The counts in a line.
    pub(super) fn line(&self, may: MayFlag) -> String {
        let Outcome { tally, missing, doubled, reported_lost, ring_peak, elapsed } = self;
        let flagged: u64 = tally.flagged.values().map(|flagged| flagged.records).sum();
        let (records, wrong, wrongly) = (tally.records, tally.wrong, self.flagged_wrongly(may));
        format!(
            "{records} records, {wrong} wrong, {flagged} flagged ({wrongly} where they may not be), \
             {missing} lost, {doubled} doubled, {reported_lost} reported lost; ring {ring_peak}, {:.1} s",
            elapsed.as_secs_f64()
        )
    }

    /// What was wrong and what was flagged, by mode, and the first wrong record of each mode.
    pub(super) fn details(&self) -> Vec<String> {
        let tally = &self.tally;
        let wrong = tally.wrong_in.iter().map(|((mode, field), n)| format!("{mode} {field} {n}"));
        let flagged = tally.flagged.iter().map(|((mode, flag), of)| {
            let Flagged { records, wrong } = of;
            let wrong = if *wrong > 0 { format!(" ({wrong} wrong)") } else { String::new() };
            format!("{mode} {flag} {records}{wrong}")
        });
        let list = |what: &str, items: Vec<String>| {
            (!items.is_empty()).then(|| format!("    {what}: {}", items.join(", ")))
        };
        let lists = [list("wrong", wrong.collect()), list("flagged", flagged.collect())];
        let examples = tally.examples.values().map(|example| format!("    {example}"));
        lists.into_iter().flatten().chain(examples).collect()
    }

    /// Adds another run's.
    pub(super) fn merge(&mut self, other: &Outcome) {
        self.tally.merge(&other.tally);
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.reported_lost += other.reported_lost;
        self.ring_peak = self.ring_peak.max(other.ring_peak);
        self.elapsed += other.elapsed;
    }
}
