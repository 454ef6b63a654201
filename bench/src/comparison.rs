//! A workload beside all monitors: all figures, and their table.

use crate::correctness::Output;
use crate::table::{Spread, Table, not_run, show, show_median, show_sum};
use crate::workload;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One workload beside all monitors.
#[derive(Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) workload: String,
    pub(crate) operation: String,
    pub(crate) monitors: Vec<Row>,
}

/// All runs beside one monitor.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) monitor: String,
    /// Why it could not be run.
    pub(crate) error: Option<String>,
    pub(crate) runs: Vec<Sample>,
}

/// One run of a workload beside a monitor.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Time of the workload, ns.
    pub(crate) elapsed_ns: u64,
    /// CPU time of the workload, if known, ns.
    pub(crate) workload_cpu_ns: Option<u64>,
    /// The number of operations, for figures per operation.
    pub(crate) operations: u64,
    /// CPU time of the monitor, ns.
    pub(crate) cpu_ns: u64,
    /// Peak resident memory of the monitor, KiB.
    pub(crate) rss_kib: u64,
    /// Events that the monitor read from the kernel, if it reports them.
    pub(crate) kernel_events: Option<u64>,
    /// Changes that the monitor did not report; `None` if it reports nothing.
    pub(crate) lost: Option<u64>,
    /// fsmon's own counters.
    pub(crate) stats: Value,
    /// The monitor's output; `None` if it has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) seen: Option<Output>,
}

const HEAD: [&str; 10] = [
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

/// Time and CPU time of a workload beside nothing, ns.
struct Alone {
    elapsed_ns: Option<f64>,
    cpu_ns: Option<f64>,
}

/// Microseconds, or milliseconds from a thousand on.
fn show_us(us: Option<Spread>) -> String {
    match us {
        Some(Spread { median, min, max }) if median >= 1000.0 => {
            let ms = Spread { median: median / 1e3, min: min / 1e3, max: max / 1e3 };
            show(Some(ms), 0, " ms")
        }
        us => show(us, 2, " µs"),
    }
}

impl Comparison {
    /// Whether every monitor could be run.
    pub(crate) fn is_whole(&self) -> bool {
        self.monitors.iter().all(|row| row.error.is_none())
    }

    /// The runs beside this monitor.
    pub(crate) fn row(&self, monitor: &str) -> Option<&Row> {
        self.monitors.iter().find(|row| row.monitor == monitor)
    }

    /// The table of it.
    pub(crate) fn table(&self) -> Table {
        let (alone, is_known) = (self.alone(), workload::is_known(&self.workload));
        let mut table = Table::new(&self.workload, &HEAD);
        for row in &self.monitors {
            let monitor = row.monitor.trim_end();
            table.push(match &row.error {
                Some(error) => not_run(monitor, error),
                None => [vec![monitor.to_owned()], row.cells(&alone, is_known)].concat(),
            });
        }
        let sample = self.monitors.iter().find_map(|row| row.runs.first());
        table.note = alone.elapsed_ns.zip(sample).map(|(elapsed_ns, sample)| {
            let (n, seconds) = (sample.operations, elapsed_ns / 1e9);
            format!("{n} operations ({}) in {seconds:.2} s alone.", self.operation)
        });
        table
    }

    fn alone(&self) -> Alone {
        let median = |figure: fn(&Sample) -> Option<u64>| {
            let spread = self.row("none")?.figures(|s| Some(figure(s)? as f64));
            spread.map(|spread| spread.median)
        };
        Alone { elapsed_ns: median(|s| Some(s.elapsed_ns)), cpu_ns: median(|s| s.workload_cpu_ns) }
    }
}

impl Row {
    pub(crate) fn new(monitor: String) -> Self {
        Row { monitor, runs: vec![], error: None }
    }

    /// A figure of all runs.
    pub(crate) fn figures(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(figure))
    }

    fn cells(&self, alone: &Alone, is_known: bool) -> Vec<String> {
        let watches = self.monitor != "none";
        let per_operation = self.figures(|s| watches.then(|| s.cpu_us_per_operation()));
        let memory = self.figures(|s| watches.then_some(s.rss_kib as f64 / 1024.0));
        vec![
            show(self.figures(|s| Some(s.elapsed_ns as f64 / alone.elapsed_ns?)), 2, "x"),
            show(self.figures(|s| Some(s.workload_cpu_ns? as f64 / alone.cpu_ns?)), 2, "x"),
            show_us(per_operation),
            show(self.figures(|s| s.per_event(s.cpu_ns)), 0, " ns"),
            show_median(self.figures(|s| s.per_event(s.counter("reader_cpu_ns")?)), 0, " ns"),
            show_median(self.figures(|s| s.per_event(s.counter("formatter_cpu_ns")?)), 0, " ns"),
            show_sum(self.runs.iter().map(|s| s.lost.filter(|_| is_known))),
            Output::wrong(self.runs.iter().filter_map(|s| s.seen.as_ref())),
            show_median(memory, 1, " MiB"),
        ]
    }
}

impl Sample {
    fn counter(&self, key: &str) -> Option<u64> {
        self.stats[key].as_u64()
    }

    fn per_event(&self, ns: u64) -> Option<f64> {
        let events = self.kernel_events.filter(|events| *events > 0)?;
        Some(ns as f64 / events as f64)
    }

    fn cpu_us_per_operation(&self) -> f64 {
        self.cpu_ns as f64 / 1000.0 / self.operations.max(1) as f64
    }
}
