//! What a monitor told, and how much of it was right, as results keep it.

use crate::lines::Seen;
use crate::workload::spawn::Mode;
use crate::workload::spawn::oracle::Tally;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a monitor told of a run.
#[derive(Serialize, Deserialize)]
pub(crate) struct Told {
    creates: u64,
    renames: u64,
    deletes: u64,
    /// Lines that tell of loss.
    losses: u64,
    /// Lines that could not be read.
    unreadable: u64,
    #[serde(flatten)]
    records: Records,
}

/// How the records of processes did.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Records {
    pub(crate) records: u64,
    /// Wrong without saying so.
    pub(crate) wrong: u64,
    /// How often each field was wrong, in records that say so and in others.
    pub(crate) wrong_fields: BTreeMap<String, u64>,
    wrong_in: Vec<WrongIn>,
    flagged: Vec<Flagged>,
    /// Those flagged where the user or the name changes, which may be.
    #[serde(default)]
    flagged_at_changes: u64,
    /// Whether the monitor says who at all.
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

impl From<&Tally> for Records {
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
        Records {
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

impl From<&Seen> for Told {
    fn from(seen: &Seen) -> Self {
        Told {
            creates: seen.counts.creates,
            renames: seen.counts.renames,
            deletes: seen.counts.deletes,
            losses: seen.losses,
            unreadable: seen.unreadable,
            records: Records::from(&seen.tally),
        }
    }
}

impl Records {
    /// Records that say that they are not exact.
    pub(crate) fn flagged(&self) -> u64 {
        self.flagged.iter().map(|flagged| flagged.records).sum()
    }
}

impl Told {
    /// Records of all runs that were wrong, or flagged where they may not be, of how many; with how
    /// many were flagged where they may be.
    pub(crate) fn wrong<'a>(runs: impl Iterator<Item = &'a Told>) -> String {
        let runs: Vec<&Records> = runs.map(|told| &told.records).collect();
        let sum = |figure: fn(&Records) -> u64| runs.iter().map(|run| figure(run)).sum::<u64>();
        let (records, flagged) = (sum(|run| run.records), sum(|run| run.flagged_at_changes));
        let wrong = sum(|run| run.wrong + run.flagged() - run.flagged_at_changes);
        if records == 0 || !runs.iter().any(|run| run.names_processes) {
            return "–".into();
        }
        let flagged = if flagged > 0 { format!(", {flagged} flagged") } else { String::new() };
        format!("{wrong} of {records}{flagged}")
    }
}
