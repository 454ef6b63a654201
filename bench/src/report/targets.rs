//! The targets for fsmon beside other monitors, and the measured ratios: a table of PERF.md.

use super::kept::Kept;
use super::ratio::{Quantity, Ratio};
use crate::comparison::Comparison;
use crate::table::Spread;

/// A target for a ratio.
struct Target {
    asked: &'static str,
    limit: Limit,
    quantity: Quantity,
    /// The monitor measured, and the one that it is divided by.
    of: [&'static str; 2],
    from: From,
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// Where figures come from.
#[derive(Clone, Copy)]
struct From {
    /// Names of results.
    results: &'static [&'static str],
    workloads: &'static [&'static str],
    /// How they were made, and the page that has all of it.
    command: &'static str,
    page: &'static str,
}

const FLOOR: &str = "floor";
const BINARY: &str = "fsmon-binary-uring";
const JSON: &str = "fsmon-json-uring";
const CSV: &str = "fsmon-csv-uring";

/// The same types as the daemon, which always records MODIFY.
const MODIFY_FLOOR: &str = "modify-floor";
const LZ4: &str = "fsmon-daemon-lz4";
const ZSTD: &str = "fsmon-daemon-zstd";

const CHURN: &[&str] = &["churn-1", "churn-2"];
const PLACED: From = From {
    results: &["apart", "together"],
    workloads: CHURN,
    command: "`--workload churn --place apart`, `together`",
    page: "churn.md#churn",
};
const SCHEDULED: From = From {
    results: &["churn"],
    workloads: CHURN,
    command: "`--workload churn`, as the scheduler will have it",
    page: "churn.md#churn-beside-everything-as-the-scheduler-will-have-it",
};
const DAEMON: From = From {
    results: &["daemon"],
    workloads: CHURN,
    command: "`--workload churn`, with the daemon",
    page: "churn.md#churn-with-a-history",
};
const ALL_CHURN: From = From {
    results: &["apart", "together", "churn"],
    workloads: CHURN,
    command: "`--workload churn`, placed and not",
    page: "churn.md#churn",
};
const fn others(workloads: &'static [&'static str], command: &'static str) -> From {
    From { results: &["workloads"], workloads, command, page: "workloads.md#other-workloads" }
}
const SHAPES: From = others(&["deep", "wide", "untar"], "`--workload deep`, `wide`, `untar`");
const BESIDE: From = others(&["outside", "excluded"], "`--workload outside`, `excluded`");
const BESIDE_PLAIN: From =
    others(&["outside-plain", "excluded-plain"], "`--workload outside-plain`, `excluded-plain`");
const MAKE: From = From {
    results: &["make"],
    workloads: &["build-make"],
    command: "`--workload build-make`",
    page: "workloads.md#real-builds",
};

const fn cpu(asked: &'static str, limit: Limit, of: [&'static str; 2], from: From) -> Target {
    Target { asked, limit, quantity: Quantity::Cpu, of, from }
}

const fn time(asked: &'static str, limit: Limit, of: [&'static str; 2], from: From) -> Target {
    Target { asked, limit, quantity: Quantity::Time, of, from }
}

use Limit::{AtLeast, AtMost};

const TARGETS: [Target; 21] = [
    cpu("churn: CPU of fsmon with binary, to the floor's", AtMost(1.25), [BINARY, FLOOR], PLACED),
    cpu("the same", AtMost(1.25), [BINARY, FLOOR], SCHEDULED),
    cpu("with JSON", AtMost(1.5), [JSON, FLOOR], PLACED),
    cpu("the same", AtMost(1.5), [JSON, FLOOR], SCHEDULED),
    cpu("with CSV", AtMost(1.5), [CSV, FLOOR], PLACED),
    cpu("the same", AtMost(1.5), [CSV, FLOOR], SCHEDULED),
    cpu("deep and wide trees, `tar`: with binary", AtMost(1.25), [BINARY, FLOOR], SHAPES),
    cpu("with JSON", AtMost(1.5), [JSON, FLOOR], SHAPES),
    time("time of the churn, to that beside the floor: JSON", AtMost(1.05), [JSON, FLOOR], PLACED),
    time("the same", AtMost(1.05), [JSON, FLOOR], SCHEDULED),
    time("with binary", AtMost(1.05), [BINARY, FLOOR], PLACED),
    cpu(
        "the daemon with lz4: CPU to that of the floor with MODIFY",
        AtMost(1.3),
        [LZ4, MODIFY_FLOOR],
        DAEMON,
    ),
    cpu("with zstd", AtMost(1.5), [ZSTD, MODIFY_FLOOR], DAEMON),
    time(
        "time of the churn, to that beside this floor: with lz4",
        AtMost(1.05),
        [LZ4, MODIFY_FLOOR],
        DAEMON,
    ),
    cpu("CPU of fsmon 0.2.6, to that of JSON", AtLeast(15.0), ["fsmon-0.2.6", JSON], ALL_CHURN),
    cpu("CPU of fatrace, to that of JSON", AtLeast(3.0), ["fatrace", JSON], ALL_CHURN),
    cpu("CPU of inotifywait, to that of JSON", AtLeast(3.0), ["inotifywait", JSON], ALL_CHURN),
    cpu("churn beside the watched paths: CPU to the floor's", AtMost(0.4), [BINARY, FLOOR], BESIDE),
    cpu("the same without renames", AtMost(0.4), [BINARY, FLOOR], BESIDE_PLAIN),
    time("time of a build with `make`, to that beside nothing", AtMost(1.01), [JSON, "none"], MAKE),
    time("the same beside the floor", AtMost(1.01), [FLOOR, "none"], MAKE),
];

/// The table. A figure that misses its limit is bold.
pub(super) fn markdown(kept: &Kept) -> Result<String, String> {
    let mut text = "| asked | limit | figure | spread | measured by `fsmon-bench …` | on |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for target in &TARGETS {
        text += &target.row(kept)?;
    }
    Ok(text)
}

impl Target {
    fn row(&self, kept: &Kept) -> Result<String, String> {
        let Target { asked, limit, from, .. } = self;
        let found = self.ratios(kept)?;
        let ratios: Vec<Ratio> = found.iter().map(|(_, ratio)| *ratio).collect();
        let figures = Spread::of(ratios.iter().map(|ratio| ratio.of_medians));
        let rounds = Spread::of(ratios.iter().flat_map(|ratio| [ratio.least, ratio.most]));
        let (figures, rounds) = figures.zip(rounds).ok_or("a target without figures")?;
        let mut dates: Vec<&str> = found.iter().map(|(date, _)| *date).collect();
        dates.sort_unstable();
        dates.dedup();
        let From { command, page, .. } = from;
        Ok(format!(
            "| {asked} | {} | {} | {:.2}–{:.2} | [{command}](docs/perf/{page}) | {} |\n",
            limit.words(),
            limit.range(figures),
            rounds.min,
            rounds.max,
            dates.join(", "),
        ))
    }

    /// The ratio on each workload of each of the results, with its day.
    fn ratios<'a>(&self, kept: &'a Kept) -> Result<Vec<(&'a str, Ratio)>, String> {
        let mut all = Vec::new();
        for name in self.from.results {
            let (file, results) = kept.newest(name).ok_or_else(|| format!("no results {name}"))?;
            let day = results.date().split('T').next().unwrap_or_default();
            for workload in self.from.workloads {
                let comparison = results.figures.workload(workload);
                let ratio = comparison.and_then(|comparison| self.ratio(comparison));
                let [one, other] = self.of;
                let lacks = || format!("{file} has no {one} beside {other} on {workload}");
                all.push((day, ratio.ok_or_else(lacks)?));
            }
        }
        Ok(all)
    }

    fn ratio(&self, comparison: &Comparison) -> Option<Ratio> {
        let [one, other] = self.of;
        Ratio::of(comparison.row(one)?, comparison.row(other)?, self.quantity)
    }
}

impl Limit {
    fn words(self) -> String {
        match self {
            AtMost(limit) => format!("at most {limit}"),
            AtLeast(limit) => format!("at least {limit}"),
        }
    }

    /// From the lowest to the highest.
    fn range(self, figures: Spread) -> String {
        let (lowest, highest) = (self.shown(figures.min), self.shown(figures.max));
        if lowest == highest { lowest } else { format!("{lowest} to {highest}") }
    }

    /// The rounded figure decides whether the target is met.
    fn shown(self, figure: f64) -> String {
        let text = format!("{figure:.2}");
        let rounded: f64 = text.parse().unwrap_or(figure);
        let is_kept = match self {
            AtMost(limit) => rounded <= limit,
            AtLeast(limit) => rounded >= limit,
        };
        if is_kept { text } else { format!("**{text}**") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_misses_its_limit_is_bold() {
        assert_eq!(AtMost(1.25).shown(1.254), "1.25");
        assert_eq!(AtMost(1.25).shown(1.256), "**1.26**");
        assert_eq!(AtLeast(3.0).shown(2.99), "**2.99**");
        assert_eq!(AtLeast(3.0).words(), "at least 3");
    }
}
