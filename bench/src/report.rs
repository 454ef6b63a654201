//! Medians and spreads, as a table for people and as JSON with every single figure.

use crate::latency::Latency;
use crate::monitor::Watched;
use crate::workload::spawn::Mode;
use crate::workload::spawn::oracle::Tally;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::Path;

/// One run of a workload beside a monitor.
pub(crate) struct Sample {
    /// Of the workload, ns.
    pub(crate) elapsed_ns: u64,
    /// CPU time of the workload, where it is known, ns.
    pub(crate) cpu_ns: Option<u64>,
    /// What figures per operation refer to.
    pub(crate) operations: u64,
    /// Changes that the monitor did not tell of; `None` where it tells nothing.
    pub(crate) lost: Option<u64>,
    pub(crate) watched: Watched,
}

/// All runs beside one monitor.
pub(crate) struct Row {
    pub(crate) monitor: String,
    pub(crate) samples: Vec<Sample>,
    /// Why it could not be run.
    pub(crate) error: Option<String>,
}

/// One workload beside all monitors.
pub(crate) struct Table {
    pub(crate) workload: String,
    pub(crate) operation: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// Everything.
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) machine: Value,
    pub(crate) tables: Vec<Table>,
    pub(crate) latencies: Vec<Latency>,
}

/// The time in UTC, to the second.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Row {
    pub(crate) fn new(monitor: String) -> Self {
        Row { monitor, samples: vec![], error: None }
    }

    fn figures(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.samples.iter().filter_map(figure).collect())
    }

    /// `alone`: time and CPU time of the workload beside nothing.
    fn cells(&self, (alone, alone_cpu): (Option<f64>, Option<f64>)) -> Vec<String> {
        let elapsed = |sample: &Sample| sample.elapsed_ns as f64;
        let per_event = |ns: u64, sample: &Sample| {
            let events = sample.watched.kernel_events.filter(|events| *events > 0)?;
            Some(ns as f64 / events as f64)
        };
        let thread = |sample: &Sample, pick: fn((u64, u64)) -> u64| {
            per_event(pick(sample.watched.reader_formatter_ns?), sample)
        };
        let watches = self.monitor != "none";
        vec![
            show(self.figures(|s| Some(elapsed(s) / alone?)), 2, "x"),
            show(self.figures(|s| Some(s.cpu_ns? as f64 / alone_cpu?)), 2, "x"),
            show(self.figures(|s| watches.then(|| cpu_us_per_operation(s))), 2, " µs"),
            show(self.figures(|s| per_event(s.watched.cpu_ns, s)), 0, " ns"),
            show_median(self.figures(|s| thread(s, |both| both.0)), 0, " ns"),
            show_median(self.figures(|s| thread(s, |both| both.1)), 0, " ns"),
            show_sum(self.samples.iter().map(|s| s.lost)),
            self.wrong(),
            show_median(
                self.figures(|s| watches.then_some(s.watched.rss_kib as f64 / 1024.0)),
                1,
                " MiB",
            ),
        ]
    }

    /// Records wrong, or flagged where they may not be, of how many; with how many were flagged
    /// where they may be.
    fn wrong(&self) -> String {
        let tallies = || self.samples.iter().filter_map(|s| Some(&s.watched.seen.as_ref()?.tally));
        let sum = |field: fn(&Tally) -> u64| tallies().map(field).sum::<u64>();
        let wrong = sum(|t| t.wrong + t.flagged_wrongly(Mode::changes));
        let (records, flagged) = (sum(|t| t.records), sum(|t| t.flagged(Mode::changes)));
        if records == 0 || !tallies().any(|tally| tally.names_processes) {
            return "–".into();
        }
        let flagged = if flagged > 0 { format!(", {flagged} flagged") } else { String::new() };
        format!("{wrong} of {records}{flagged}")
    }
}

fn cpu_us_per_operation(sample: &Sample) -> f64 {
    sample.watched.cpu_ns as f64 / 1000.0 / sample.operations.max(1) as f64
}

/// A median and how far the figures lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Of these figures; `None` without any.
    pub(crate) fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Spread { median: f64::midpoint(low, high), min, max })
    }
}

/// `3.0x (1.0–8.0)`: with so many digits and this unit.
pub(crate) fn show(spread: Option<Spread>, digits: usize, unit: &str) -> String {
    let Some(Spread { median, min, max }) = spread else { return "–".into() };
    if min.to_bits() == max.to_bits() {
        return format!("{median:.digits$}{unit}");
    }
    format!("{median:.digits$}{unit} ({min:.digits$}–{max:.digits$})")
}

fn show_median(spread: Option<Spread>, digits: usize, unit: &str) -> String {
    spread.map_or_else(|| "–".into(), |spread| format!("{:.digits$}{unit}", spread.median))
}

/// The sum over all runs: a single one that was lost must show.
fn show_sum(figures: impl Iterator<Item = Option<u64>>) -> String {
    let figures: Vec<u64> = figures.flatten().collect();
    if figures.is_empty() { "–".into() } else { figures.iter().sum::<u64>().to_string() }
}

impl Table {
    /// The median of a figure of the workload alone, ns.
    fn alone(&self, figure: impl Fn(&Sample) -> Option<u64>) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.monitor == "none")?;
        row.figures(|s| Some(figure(s)? as f64)).map(|spread| spread.median)
    }

    /// Whether every monitor could be run.
    pub(crate) fn is_whole(&self) -> bool {
        self.rows.iter().all(|row| row.error.is_none())
    }

    /// The table for people.
    pub(crate) fn markdown(&self) -> String {
        let head = [
            "monitor",
            "workload takes",
            "its CPU",
            "CPU per operation",
            "CPU per kernel event",
            "reader",
            "formatter",
            "lost",
            "records wrong",
            "peak memory",
        ];
        let alone = (self.alone(|s| Some(s.elapsed_ns)), self.alone(|s| s.cpu_ns));
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for row in &self.rows {
            let mut cells = vec![row.monitor.clone()];
            match &row.error {
                Some(error) => cells.push(format!("not run: {}", error.replace('|', "/"))),
                None => cells.extend(row.cells(alone)),
            }
            cells.resize(head.len(), String::new());
            rows.push(cells);
        }
        let mut text = format!("### {}\n\n", self.workload);
        let sample = self.rows.iter().find_map(|row| row.samples.first());
        if let (Some(alone), Some(sample)) = (alone.0, sample) {
            let (n, seconds) = (sample.operations, alone / 1e9);
            text += &format!("{n} operations ({}) in {seconds:.2} s alone.\n\n", self.operation);
        }
        text + &lay_out(&rows)
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({ "workload": self.workload, "operation": self.operation, "monitors": rows })
    }
}

/// Columns as wide as their widest cell.
pub(crate) fn lay_out(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2)));
    let rule = format!("|{}\n", rule.collect::<String>());
    let mut lines = rows.iter().map(|row| line(row));
    lines.next().unwrap_or_default() + &rule + &lines.collect::<String>()
}

impl Row {
    fn json(&self) -> Value {
        let runs: Vec<Value> = self.samples.iter().map(Sample::json).collect();
        json!({ "monitor": self.monitor, "error": self.error, "runs": runs })
    }
}

impl Sample {
    fn json(&self) -> Value {
        let watched = &self.watched;
        let mut value = json!({
            "elapsed_ns": self.elapsed_ns,
            "workload_cpu_ns": self.cpu_ns,
            "operations": self.operations,
            "cpu_ns": watched.cpu_ns,
            "rss_kib": watched.rss_kib,
            "kernel_events": watched.kernel_events,
            "lost": self.lost,
            "stats": watched.stats,
        });
        if let Some(seen) = &watched.seen {
            let (counts, tally) = (&seen.counts, &seen.tally);
            value["seen"] = json!({
                "creates": counts.creates, "renames": counts.renames, "deletes": counts.deletes,
                "losses": seen.losses, "unreadable": seen.unreadable,
                "records": tally.records, "wrong": tally.wrong, "wrong_fields": tally.fields,
                "wrong_in": wrong_json(tally), "flagged": flagged_json(tally),
            });
        }
        value
    }
}

fn wrong_json(tally: &Tally) -> Value {
    let each = tally.wrong_in.iter().map(
        |((mode, field), records)| json!({ "mode": mode, "field": field, "records": records }),
    );
    each.collect()
}

fn flagged_json(tally: &Tally) -> Value {
    let each = tally.flagged.iter().map(|((mode, flag), of)| {
        json!({ "mode": mode, "flag": flag, "records": of.records, "wrong": of.wrong })
    });
    each.collect()
}

impl Report {
    /// Writes everything to a file; its directory is made where it is missing.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let tables: Vec<Value> = self.tables.iter().map(Table::json).collect();
        let latencies: Vec<Value> = self.latencies.iter().map(Latency::json).collect();
        let all = json!({
            "date": self.date, "machine": self.machine, "workloads": tables, "latency": latencies,
        });
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(path, format!("{all}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        assert_eq!(Spread::of(vec![]), None);
        let spread = Spread::of(vec![3.0, 1.0, 8.0]);
        assert_eq!(spread, Some(Spread { median: 3.0, min: 1.0, max: 8.0 }));
        assert_eq!(Spread::of(vec![1.0, 2.0]).map(|spread| spread.median), Some(1.5));
        assert_eq!(show(spread, 1, "x"), "3.0x (1.0–8.0)");
        assert_eq!(show(None, 1, "x"), "–");
    }

    #[test]
    fn one_loss_in_many_runs_shows() {
        assert_eq!(show_sum([Some(0), Some(1), None].into_iter()), "1");
        assert_eq!(show_sum([None].into_iter()), "–");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "µs".into()], vec!["long".into(), String::new()]];
        assert_eq!(lay_out(&rows), "| a    | µs |\n|------|----|\n| long |    |\n");
    }
}
