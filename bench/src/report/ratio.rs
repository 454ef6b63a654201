//! Ratios between the costs of two monitors.

use crate::comparison::{Row, Sample};
use crate::table::Spread;

/// What is divided.
#[derive(Clone, Copy)]
pub(super) enum Quantity {
    /// CPU of the monitor.
    Cpu,
    /// Time that the workload takes.
    Time,
}

/// The ratio between the costs of two monitors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    pub(super) of_medians: f64,
    /// Of the runs of the same round, so that what changes on the machine is in both.
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Ratio {
    pub(super) fn of(one: &Row, other: &Row, quantity: Quantity) -> Option<Self> {
        let figure = |sample: &Sample| quantity.of(sample);
        let median = |row: &Row| Some(row.figures(|sample| Some(figure(sample)))?.median);
        let pairs = one.runs.iter().zip(&other.runs);
        let rounds = Spread::of(pairs.map(|(one, other)| figure(one) / figure(other)))?;
        let of_medians = median(one)? / median(other)?;
        Some(Ratio { of_medians, least: rounds.min, most: rounds.max })
    }
}

impl Quantity {
    fn of(self, sample: &Sample) -> f64 {
        match self {
            Quantity::Cpu => sample.cpu_ns as f64,
            Quantity::Time => sample.elapsed_ns as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_compared_with_themselves() {
        let row = |monitor: &str, cpu: [u64; 3]| {
            let runs: Vec<_> = cpu
                .map(|cpu_ns| {
                    serde_json::json!({
                        "elapsed_ns": 1, "workload_cpu_ns": 1, "operations": 1, "cpu_ns": cpu_ns,
                        "rss_kib": 1, "kernel_events": 1, "lost": 0, "stats": null,
                    })
                })
                .into();
            let row = serde_json::json!({ "monitor": monitor, "error": null, "runs": runs });
            serde_json::from_value::<Row>(row).expect("a row")
        };
        let (one, other) = (row("one", [20, 60, 30]), row("other", [10, 20, 20]));
        let expected = Ratio { of_medians: 1.5, least: 1.5, most: 3.0 };
        assert_eq!(Ratio::of(&one, &other, Quantity::Cpu), Some(expected));
    }
}
