//! The simulator: made-up histories on a model of filesystem and fanotify, through the real reader.
//!
//! ```text
//! seed ─► history ─► world (files + queue) ─► bytes ─► Reader, Resolver, Watch ─► records ─► judge
//!                       ▲                                    │ Disk
//!                       └────────── looks and marks ─────────┘
//! ```
//!
//! One thread and one seed: what fails once fails again, and is made smaller (`shrink`). While the reader
//! looks at the disk the model's processes go on, one step at each look, so the races between a walk and
//! what happens meanwhile are part of a history. `conform` holds the model to the real kernel.
//!
//! `FSMON_SIM_HISTORIES` says how many are run of each mix, `FSMON_SIM_SEED` where to begin, `FSMON_SIM_MIX` which mix
//! alone. `FSMON_SIM_ALL` shows what is known to be wrong ([`KNOWN`]) as well.

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

/// Histories of each mix, unless told otherwise: as many as take a minute of CPU in all. Always the same ones.
const HISTORIES: u64 = 5000;

/// What is known to be wrong and not mended yet: the class, and in how many of [`HISTORIES`] at the most.
///
/// - Links: a hard link of one process that another renames; `touch a; mv a b; ln b a`, whose second CREATE the kernel
///   merges into the first, is rarer.
/// - Exchanges, Inodes and Walks: a second exchange of the same names that the kernel merges into the first, and lines of
///   a directory that two processes moved before it was read.
/// - Reuse: a handle that is given out again at once says nothing of whose it was.
/// - Twins: two directories that are there at the same time have one handle, and no event says which is meant.
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

/// Runs histories of a mix: of each class of faults that is not known, or comes more often than is known, the
/// smallest form of the first.
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

/// The sorts of its faults.
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

/// That lines tell what happened. A test for each mix, so that they share the processors among them.
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

            /// Fails to compile where a mix has no test.
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
