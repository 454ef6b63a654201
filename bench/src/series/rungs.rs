//! What each source of process names gets right, each forced in turn.

use super::args::WhoArgs;
use super::beside::Beside;
use super::one::{Outcome, Run};
use crate::area::Area;
use crate::monitor::RUNGS;
use crate::report::lay_out;
use std::path::Path;

/// Runs every rung as often as asked, in turn, and prints a table for each number of chains.
pub(super) fn table(args: &WhoArgs, program: &Path, area: &Area) -> Result<bool, String> {
    let beside = Beside::Quiet;
    for &chains in &args.chains {
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
        let head = [
            "source",
            "records",
            "cmd",
            "pid",
            "ppid",
            "uid",
            "gid",
            "flagged",
            "wrong, unflagged",
        ];
        let cells = rows.iter().map(|(rung, row)| cells(rung, row, head.len()));
        let rows: Vec<_> = std::iter::once(head.map(str::to_owned).into()).chain(cells).collect();
        println!("### {chains} chains\n\n{}", lay_out(&rows));
    }
    Ok(true)
}

fn cells(rung: &str, row: &Result<Outcome, String>, columns: usize) -> Vec<String> {
    let mut cells = vec![rung.to_owned()];
    match row {
        Err(error) => cells.push(format!("not run: {}", error.replace('|', "/"))),
        Ok(Outcome { tally, .. }) => {
            cells.push(tally.records.to_string());
            for field in ["cmd", "pid", "ppid", "uid", "gid"] {
                let wrong = tally.fields.get(field).copied().unwrap_or(0);
                cells.push(share(tally.records - wrong, tally.records));
            }
            let flagged = tally.flagged.values().map(|flagged| flagged.records).sum();
            cells.push(share(flagged, tally.records));
            cells.push(share(tally.wrong, tally.records));
        }
    }
    cells.resize(columns, String::new());
    cells
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
