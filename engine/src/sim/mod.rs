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
//! `FSMON_SIM_SECONDS` (default 2, for each mix) and `FSMON_SIM_HISTORIES` say how much is run,
//! `FSMON_SIM_SEED` where to begin, `FSMON_SIM_MIX` which mix alone.

mod conform;
mod files;
mod history;
mod judge;
#[path = "../../../tests/harness/oracle.rs"]
mod oracle;
mod queue;
mod rng;
mod run;
mod shrink;
mod world;

use history::{History, MIXES, Mix, Step, make};
use judge::Fault;
use run::{Bench, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

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
    for (at, line) in outcome.told.iter().enumerate() {
        let _ = writeln!(text, "    line {at}: {line}");
    }
    let _ = writeln!(text, "    {:?}, {} losses", outcome.faults, outcome.losses);
    text
}

/// What is known to be wrong and not mended yet.
const KNOWN: &[(Mix, &str)] = &[
    (Mix::Plain, "where"),
    (Mix::Plain, "who"),
    (Mix::Links, "missing"),
    (Mix::Links, "senseless"),
    (Mix::Links, "where"),
    (Mix::Exchanges, "endless"),
    (Mix::Exchanges, "extra"),
    (Mix::Exchanges, "missing"),
    (Mix::Exchanges, "senseless"),
    (Mix::Exchanges, "where"),
    (Mix::Exchanges, "who"),
    (Mix::Inodes, "where"),
    (Mix::Inodes, "who"),
    (Mix::Muted, "where"),
    (Mix::Overflow, "where"),
    (Mix::Roots, "extra"),
    (Mix::Roots, "missing"),
    (Mix::Roots, "senseless"),
    (Mix::Roots, "where"),
    (Mix::Roots, "who"),
    (Mix::Nameless, "where"),
    (Mix::Reuse, "endless"),
    (Mix::Reuse, "extra"),
    (Mix::Reuse, "missing"),
    (Mix::Reuse, "senseless"),
    (Mix::Reuse, "where"),
    (Mix::Reuse, "who"),
    (Mix::Snapshots, "endless"),
    (Mix::Snapshots, "extra"),
    (Mix::Snapshots, "missing"),
    (Mix::Snapshots, "senseless"),
    (Mix::Snapshots, "where"),
    (Mix::Snapshots, "who"),
];

/// Runs histories of a mix: the smallest form of the first that is wrong, of each class that is not
/// known. `FSMON_SIM_ALL` shows the known ones as well.
fn run_mix(mix: Mix) -> String {
    let bench = Bench::new();
    let first = number("FSMON_SIM_SEED").unwrap_or(0);
    let most = number("FSMON_SIM_HISTORIES").unwrap_or(u64::MAX);
    let time = Duration::from_secs(number("FSMON_SIM_SECONDS").unwrap_or(2));
    let begun = Instant::now();
    let (mut count, mut lines, mut flagged) = (0, 0, 0);
    let mut classes = BTreeMap::<&str, (u64, u64)>::new();
    while count < most && (most != u64::MAX || begun.elapsed() < time) {
        let seed = first + count;
        let outcome = bench.run(&make(mix, seed));
        for class in classes_of(&outcome) {
            classes.entry(class).or_insert((0, seed)).0 += 1;
        }
        count += 1;
        lines += outcome.told.len();
        flagged += outcome.flagged;
    }
    let share = flagged as f64 * 100.0 / lines.max(1) as f64;
    let time = begun.elapsed();
    println!("{mix:?}: {count} histories in {time:.1?}, {lines} lines, {share:.2} % flagged");
    let mut wrong = String::new();
    let all = std::env::var_os("FSMON_SIM_ALL").is_some();
    classes.retain(|class, _| all || !KNOWN.contains(&(mix, class)));
    for (class, (times, seed)) in classes {
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

#[test]
fn lines_tell_what_happened() {
    let only = std::env::var("FSMON_SIM_MIX").ok();
    let is_meant = |mix: &Mix| only.as_ref().is_none_or(|only| *only == format!("{mix:?}"));
    let wrong: Vec<_> = MIXES.into_iter().filter(is_meant).map(run_mix).collect();
    assert!(wrong.iter().all(String::is_empty), "{}", wrong.concat());
}
