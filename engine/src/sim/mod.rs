//! The simulator runs generated histories through the real reader, on a model of a filesystem and of fanotify.
//!
//! ```text
//! seed ─► history ─► world (files + queue) ─► bytes ─► Reader, Resolver, Watch ─► records ─► judge
//!                       ▲                                    │ Disk
//!                       └────────── looks and marks ─────────┘
//! ```
//!
//! There is one thread, and all randomness comes from the seed. So a history that fails once fails again, and `shrink`
//! can remove steps from it. While the reader looks at the disk, the model's processes go on: one operation at each
//! look. So a history includes races between a walk and what happens meanwhile. `conform` compares the model with the
//! real kernel.
//!
//! | variable | meaning |
//! |---|---|
//! | `FSMON_SIM_HISTORIES` | number of histories of each mix |
//! | `FSMON_SIM_SEED` | the first seed |
//! | `FSMON_SIM_MIX` | run only this mix |
//! | `FSMON_SIM_ALL` | also show the faults that are known ([`KNOWN`]) |
//! | `FSMON_SIM_STEPS` | in every mix, a walk reads one directory in a step |

mod conform;
mod files;
mod history;
mod judge;
mod merges;
mod queue;
mod rng;
mod run;
mod shrink;
mod world;

use history::{History, Mix, Step, make};
use judge::Fault;
use run::{Bench, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Instant;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

fn show(history: &History, outcome: &Outcome) -> String {
    let mut text = String::new();
    for step in &history.steps {
        let _ = match step {
            Step::Act(act) => writeln!(text, "  {} {:?}", act.pid & 0xff, act.op),
            turn => writeln!(text, "  {turn:?}"),
        };
    }
    for (at, line) in outcome.reported.iter().enumerate() {
        let _ = writeln!(text, "    line {at}: {line}");
    }
    let _ = writeln!(text, "    {:?}, {} losses", outcome.faults, outcome.losses);
    text
}

/// Number of histories of each mix, unless `FSMON_SIM_HISTORIES` is set. All mixes together take a minute of CPU. The
/// seeds are always the same.
const HISTORIES: u64 = 5000;

/// Faults that are known and not corrected yet: the mix, the class, and the most histories of [`HISTORIES`] that may
/// have such a fault.
///
/// - Links: one process makes a hard link, and another renames it. More rarely: `touch a; mv a b; ln b a`, where the
///   kernel merges the second CREATE of `a` into the first.
/// - Exchanges, Inodes and Walks: the kernel merges a second exchange of the same names into the first. Or two processes
///   rename a directory before the reader reads it, and lines of it name the wrong process.
/// - Reuse: the filesystem uses a handle again at once, so an event does not show which of the two objects it is of.
/// - Twins: two directories have the same handle at the same time, and no event shows which of them it is of.
const KNOWN: &[(Mix, &str, u64)] = &[
    (Mix::Links, "who", 2),
    (Mix::Exchanges, "missing", 1),
    (Mix::Exchanges, "where", 1),
    (Mix::Inodes, "who", 3),
    (Mix::Reuse, "extra", 6),
    (Mix::Reuse, "missing", 4),
    (Mix::Reuse, "senseless", 3),
    (Mix::Reuse, "where", 3),
    (Mix::Twins, "extra", 30),
    (Mix::Twins, "missing", 145),
    (Mix::Twins, "senseless", 105),
    (Mix::Twins, "where", 60),
    (Mix::Twins, "who", 30),
    (Mix::Walks, "who", 1),
];

/// Runs the histories of a mix. For each class of faults that is not in [`KNOWN`], or is more frequent than there,
/// returns the first history that has it, made smaller.
fn run_mix(mix: Mix) -> String {
    let bench = Bench::new();
    let first = number("FSMON_SIM_SEED").unwrap_or(0);
    let count = number("FSMON_SIM_HISTORIES").unwrap_or(HISTORIES);
    let begun = Instant::now();
    let (mut lines, mut flagged) = (0, 0);
    let mut classes = BTreeMap::<&str, (u64, u64)>::new();
    for seed in first..first + count {
        let outcome = bench.run(&make(mix, seed));
        for class in classes_of(&outcome) {
            classes.entry(class).or_insert((0, seed)).0 += 1;
        }
        lines += outcome.reported.len();
        flagged += outcome.flagged;
    }
    let share = flagged as f64 * 100.0 / lines.max(1) as f64;
    let time = begun.elapsed();
    println!("{mix:?}: {count} histories in {time:.1?}, {lines} lines, {share:.2} % flagged");
    let all = std::env::var_os("FSMON_SIM_ALL").is_some();
    let mut wrong = String::new();
    for (class, (times, seed)) in classes {
        println!("    {class}: {times}");
        let known = KNOWN.iter().find(|known| (known.0, known.1) == (mix, class));
        let most = known.map_or(0, |known| known.2 * count.div_ceil(HISTORIES));
        if !all && times <= most {
            continue;
        }
        let is_so = |one: &History| classes_of(&bench.run(one)).contains(class);
        let smallest = shrink::shrink(&make(mix, seed), is_so);
        let shown = show(&smallest, &bench.run(&smallest));
        let _ = writeln!(wrong, "{mix:?}: {class} in {times}, first with seed {seed}:\n{shown}");
    }
    wrong
}

/// The classes of its faults.
fn classes_of(outcome: &Outcome) -> BTreeSet<&'static str> {
    let class = |fault: &Fault| match fault {
        Fault::Senseless(..) => "senseless",
        Fault::Missing(_) => "missing",
        Fault::Extra(_) => "extra",
        Fault::Who(_) => "who",
        Fault::Where(_) => "where",
        Fault::Endless => "endless",
    };
    outcome.faults.iter().map(class).collect()
}

/// Whether the lines report what happened. Each mix has a test of its own, so that mixes run in parallel.
mod lines {
    use super::*;

    fn report_what_happened(mix: Mix) {
        let only = std::env::var("FSMON_SIM_MIX").ok();
        if only.is_none_or(|only| only == format!("{mix:?}")) {
            let wrong = run_mix(mix);
            assert!(wrong.is_empty(), "{wrong}");
        }
    }

    macro_rules! tests {
        ($($test:ident: $mix:ident,)*) => {
            $(#[test] fn $test() { report_what_happened(Mix::$mix); })*

            /// Does not compile if a mix has no test.
            #[allow(dead_code)]
            fn all_have_a_test(mix: Mix) {
                match mix { $(Mix::$mix => {})* }
            }
        };
    }

    tests! {
        plain: Plain,
        links: Links,
        exchanges: Exchanges,
        inodes: Inodes,
        muted: Muted,
        overflow: Overflow,
        roots: Roots,
        nameless: Nameless,
        reuse: Reuse,
        twins: Twins,
        snapshots: Snapshots,
        walks: Walks,
    }
}
