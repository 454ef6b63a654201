//! The output of a monitor in numbers, and how much of it was correct, as results keep it.

use crate::lines::Seen;
use crate::workload::spawn::Mode;
use crate::workload::spawn::oracle::Tally;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A monitor's output in one run.
#[derive(Serialize, Deserialize)]
pub(crate) struct Output {
    creates: u64,
    renames: u64,
    deletes: u64,
    /// Lines that report a loss.
    losses: u64,
    /// Lines that could not be parsed.
    unreadable: u64,
    #[serde(flatten)]
    records: Correctness,
}

/// How many records named the right process.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Correctness {
    pub(crate) records: u64,
    /// Wrong records that were not flagged.
    pub(crate) wrong: u64,
    /// How often each field was wrong, in flagged records and in others.
    pub(crate) wrong_fields: BTreeMap<String, u64>,
    wrong_in: Vec<WrongIn>,
    flagged: Vec<Flagged>,
    /// Records flagged near a change of user or name, which is allowed.
    #[serde(default)]
    flagged_at_changes: u64,
    /// Whether the monitor names processes at all.
    #[serde(default)]
    names_processes: bool,
}

#[derive(Serialize, Deserialize)]
struct WrongIn {
    mode: String,
    field: String,
    records: u64,
}

#[derive(Serialize, Deserialize)]
struct Flagged {
    mode: String,
    flag: String,
    records: u64,
    wrong: u64,
}

impl From<&Tally> for Correctness {
    fn from(tally: &Tally) -> Self {
        let wrong_in = tally.wrong_in.iter().map(|((mode, field), records)| {
            let (mode, field) = ((*mode).to_owned(), (*field).to_owned());
            WrongIn { mode, field, records: *records }
        });
        let flagged = tally.flagged.iter().map(|((mode, flag), of)| {
            let (mode, flag) = ((*mode).to_owned(), flag.clone());
            Flagged { mode, flag, records: of.records, wrong: of.wrong }
        });
        let fields = tally.fields.iter().map(|(field, n)| ((*field).to_owned(), *n));
        Correctness {
            records: tally.records,
            wrong: tally.wrong,
            wrong_fields: fields.collect(),
            wrong_in: wrong_in.collect(),
            flagged: flagged.collect(),
            flagged_at_changes: tally.flagged(Mode::changes),
            names_processes: tally.names_processes,
        }
    }
}

impl From<&Seen> for Output {
    fn from(seen: &Seen) -> Self {
        Output {
            creates: seen.counts.creates,
            renames: seen.counts.renames,
            deletes: seen.counts.deletes,
            losses: seen.losses,
            unreadable: seen.unreadable,
            records: Correctness::from(&seen.tally),
        }
    }
}

impl Correctness {
    /// Flagged records.
    pub(crate) fn flagged(&self) -> u64 {
        self.flagged.iter().map(|flagged| flagged.records).sum()
    }
}

impl Output {
    /// For a table: wrong or wrongly flagged records of all runs, the number of records, and how many were flagged
    /// where that is allowed.
    pub(crate) fn wrong<'a>(runs: impl Iterator<Item = &'a Output>) -> String {
        let runs: Vec<&Correctness> = runs.map(|output| &output.records).collect();
        let sum = |figure: fn(&Correctness) -> u64| runs.iter().map(|run| figure(run)).sum::<u64>();
        let (records, flagged) = (sum(|run| run.records), sum(|run| run.flagged_at_changes));
        let wrong = sum(|run| run.wrong + run.flagged() - run.flagged_at_changes);
        if records == 0 || !runs.iter().any(|run| run.names_processes) {
            return "–".into();
        }
        let flagged = if flagged > 0 { format!(", {flagged} flagged") } else { String::new() };
        format!("{wrong} of {records}{flagged}")
    }
}
