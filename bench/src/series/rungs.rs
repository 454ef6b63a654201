//! What each source of process names gets right, each forced in turn.

use super::args::WhoArgs;
use super::beside::Beside;
use super::one::{Outcome, Run};
use crate::area::Area;
use crate::correctness::Correctness;
use crate::monitor::RUNGS;
use crate::results::{Figures, Measured, Verdict};
use crate::table::{self, Table, not_run};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is compared of each record.
const FIELDS: [&str; 5] = ["cmd", "pid", "ppid", "uid", "gid"];

/// All sources, with one number of chains.
#[derive(Serialize, Deserialize)]
pub(crate) struct Rungs {
    chains: u64,
    sources: Vec<Source>,
}

/// All runs with one source.
#[derive(Serialize, Deserialize)]
struct Source {
    name: String,
    /// Why it could not be run.
    error: Option<String>,
    #[serde(flatten)]
    records: Correctness,
}

/// Runs every rung as often as asked, in turn, and prints a table for each number of chains.
pub(super) fn measure(args: &WhoArgs, program: &Path, area: &Area) -> Result<Measured, String> {
    let mut figures = Figures::default();
    for &chains in &args.chains {
        let rungs = Rungs { chains, sources: sources(args, chains, program, area) };
        table::print(&[rungs.table()]);
        figures.rungs.push(rungs);
    }
    Ok(Measured { figures, verdict: Verdict::Right })
}

fn sources(args: &WhoArgs, chains: u64, program: &Path, area: &Area) -> Vec<Source> {
    let beside = Beside::Quiet;
    let mut rows: Vec<_> = RUNGS.map(|rung| (rung, Ok(Outcome::default()))).into();
    for number in 1..=args.runs {
        for (rung, row) in &mut rows {
            let Ok(outcome) = row else { continue };
            eprintln!("{rung}, {chains} chains, {number} of {}", args.runs);
            match (Run { program, area, args, chains, beside, who: rung }).go() {
                Ok(more) => outcome.merge(&more),
                Err(error) => *row = Err(error),
            }
        }
    }
    rows.into_iter().map(|(rung, row)| Source::new(rung, row)).collect()
}

impl Source {
    fn new(rung: &str, row: Result<Outcome, String>) -> Self {
        let name = rung.to_owned();
        match row {
            Ok(outcome) => Source { name, error: None, records: Correctness::from(&outcome.tally) },
            Err(error) => Source { name, error: Some(error), records: Correctness::default() },
        }
    }

    fn cells(&self) -> Vec<String> {
        if let Some(error) = &self.error {
            return not_run(&self.name, error);
        }
        let Correctness { records, wrong, wrong_fields, .. } = &self.records;
        let right = FIELDS.map(|field| {
            let wrong = wrong_fields.get(field).copied().unwrap_or(0);
            share(records - wrong, *records)
        });
        let others = [share(self.records.flagged(), *records), share(*wrong, *records)];
        [&[self.name.clone(), records.to_string()], &right[..], &others[..]].concat()
    }
}

impl Rungs {
    /// The table of it.
    pub(crate) fn table(&self) -> Table {
        let head = [&["source", "records"], &FIELDS[..], &["flagged", "wrong, unflagged"]].concat();
        let mut table = Table::new(&format!("chains-{}", self.chains), &head);
        self.sources.iter().for_each(|source| table.push(source.cells()));
        table
    }
}

/// In per cent; only what is all is 100, and only what is none is 0.
fn share(part: u64, whole: u64) -> String {
    if part == whole || part == 0 {
        return format!("{} %", if part == 0 { 0 } else { 100 });
    }
    format!("{:.2} %", (part as f64 / whole as f64 * 100.0).clamp(0.01, 99.99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_wrong_record_shows() {
        assert_eq!(share(7, 7), "100 %");
        assert_eq!(share(0, 7), "0 %");
        assert_eq!(share(999_999, 1_000_000), "99.99 %");
        assert_eq!(share(1, 1_000_000), "0.01 %");
    }
}
