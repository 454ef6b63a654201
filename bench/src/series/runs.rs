//! Many runs in a row: every record of each must be right.

use super::args::WhoArgs;
use super::one::{Outcome, Run};
use crate::area::Area;
use crate::correctness::Correctness;
use crate::results::{Figures, Measured, Verdict};
use crate::table::{self, Table};
use fsmon_format::number::to_ns;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// All runs.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Runs {
    runs: Vec<Kept>,
}

/// What is kept of a run.
#[derive(Serialize, Deserialize)]
struct Kept {
    beside: String,
    chains: u64,
    #[serde(flatten)]
    records: Correctness,
    /// Flagged where `--flagged` does not allow it.
    flagged_wrongly: u64,
    missing: u64,
    doubled: u64,
    reported_lost: u64,
    ring_peak: u64,
    elapsed_ns: u64,
}

/// Makes the runs, and prints each as it is done.
pub(super) fn measure(args: &WhoArgs, program: &Path, area: &Area) -> Result<Measured, String> {
    let (mut all, mut total, mut right) = (Runs::default(), Outcome::default(), 0);
    for beside in args.beside() {
        for &chains in &args.chains {
            for number in 1..=args.runs {
                let outcome = Run { program, area, args, chains, beside, who: &args.who }.go()?;
                let (name, of, line) = (beside.name(), args.runs, outcome.line(args.flagged));
                println!("{chains:>2} chains, {name:<7} {number:>3} of {of}: {line}");
                outcome.details().iter().for_each(|line| println!("{line}"));
                right += usize::from(outcome.is_right(args.flagged));
                all.runs.push(Kept::new(name, chains, &outcome, args));
                total.merge(&outcome);
            }
        }
    }
    let runs = all.runs.len();
    println!("{right} of {runs} runs right: {}", total.line(args.flagged));
    let figures = Figures { who: Some(all), ..Figures::default() };
    table::print(&figures.tables());
    Ok(Measured { figures, verdict: Verdict::of(right == runs) })
}

impl Kept {
    fn new(beside: &str, chains: u64, outcome: &Outcome, args: &WhoArgs) -> Self {
        Kept {
            beside: beside.into(),
            chains,
            records: Correctness::from(&outcome.tally),
            flagged_wrongly: outcome.flagged_wrongly(args.flagged),
            missing: outcome.missing,
            doubled: outcome.doubled,
            reported_lost: outcome.reported_lost,
            ring_peak: outcome.ring_peak,
            elapsed_ns: to_ns(outcome.elapsed),
        }
    }
}

impl Runs {
    /// A row for what went on beside the runs, in the order in which they were made.
    pub(crate) fn table(&self) -> Table {
        let head =
            ["beside", "runs", "records", "wrong", "flagged", "lost or double", "reported lost"];
        let mut table = Table::new("who", &head);
        for of_one in self.runs.chunk_by(|a, b| a.beside == b.beside) {
            let sum = |figure: fn(&Kept) -> u64| of_one.iter().map(figure).sum::<u64>().to_string();
            table.push(vec![
                of_one[0].beside.clone(),
                of_one.len().to_string(),
                sum(|run| run.records.records),
                sum(|run| run.records.wrong),
                sum(|run| run.records.flagged()),
                sum(|run| run.missing + run.doubled),
                sum(|run| run.reported_lost),
            ]);
        }
        table
    }
}
