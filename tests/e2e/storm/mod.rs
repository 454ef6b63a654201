//! Storms: random trees, and processes that change them at random as fast as they can. The lines
//! must make sense one after the other, lead from the listing at the start to that at the end, and
//! give each name in the directory that the name itself tells of.
//!
//! All follows from a seed, as far as one process is concerned. A seed that failed is printed with
//! the command that runs it again; what it left is kept. By hand:
//!
//! * `FSMON_SEEDS=5000 cargo test --test e2e storm::tmpfs` for many seeds, from FSMON_SEED on;
//! * `FSMON_SEED=7 FSMON_OPS=create,relink cargo test --test e2e storm::tmpfs` for some operations
//!   only, or `FSMON_OPS=-exchange,-link` for all but some; see `plan.rs` for what else there is.

mod ground;
mod names;
mod ops;
mod plan;
pub(crate) mod rng;
mod run;
mod worker;

use fsmon_harness::{backends, is_root_with};
use ground::{Ground, Sort};
use plan::Plan;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use worker::Worker;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

/// The seeds to run, where `usual` many are run as a rule.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let first = number("FSMON_SEED");
    let usual = if first.is_some() { 1 } else { fsmon_harness::repeats(usual as usize) as u64 };
    let first = first.unwrap_or(1);
    first..first + number("FSMON_SEEDS").unwrap_or(usual)
}

/// The way in for the processes of a storm.
#[test]
#[ignore = "a process of a storm, started by the others"]
fn worker() {
    let Ok(told) = std::env::var(run::WORKER) else { return };
    let (job, log) = run::told(&told);
    // It was told what to leave out.
    let plan = Plan::of(job.seed, backends(), "");
    let worker = Worker::new(&job, plan);
    std::io::stdin().read_to_end(&mut Vec::new()).expect("told to go");
    let (mut said, done) = worker.work();
    for (op, count) in done {
        let _ = writeln!(said, "DONE {} {count}", op.name());
    }
    fs::write(log, said).expect("written");
}

/// Runs the seeds; all failures are told at the end.
fn storm(sort: Sort, usual: u64) {
    if !is_root_with(&["mount", "unshare"]) {
        return;
    }
    let Some(mut ground) = Ground::new(sort) else { return };
    let (mut failed, mut report) = (Vec::new(), String::new());
    let (mut events, mut checked, mut done) = (0, 0, BTreeMap::new());
    for seed in seeds(usual) {
        let keep = kept(sort, seed);
        let plan = Plan::of(seed, backends(), sort.left_out());
        let Some(field) = ground.field(seed, &plan) else { return };
        let outcome = catch_unwind(AssertUnwindSafe(|| run::run(seed, &plan, &field, &keep)));
        ground.clear(&field);
        let problems = match outcome {
            Ok(outcome) => {
                events += outcome.events;
                checked += outcome.checked;
                outcome.problems
            }
            Err(panic) => vec![said(&*panic)],
        };
        count_done(&keep, &plan, &mut done);
        if problems.is_empty() {
            fs::remove_dir_all(&keep).expect("removed");
            continue;
        }
        failed.push(seed);
        let again = format!("FSMON_SEED={seed} cargo test --test e2e storm::{}", sort.name());
        let _ = writeln!(report, "\n{again}\n  {plan:?}\n  kept in {}", keep.display());
        for problem in problems {
            let _ = writeln!(report, "  {problem}");
        }
    }
    eprintln!("{}: {events} lines, {checked} of them with a path to check; {done:?}", sort.name());
    assert!(failed.is_empty(), "{} failed: {failed:?}{report}", sort.name());
}

/// Where the lines of fsmon and the logs of the processes stay if the seed fails.
fn kept(sort: Sort, seed: u64) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = path.join("storm").join(format!("{}-{seed}", sort.name()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a directory");
    path
}

/// Adds up how often what was done with success.
fn count_done(keep: &Path, plan: &Plan, done: &mut BTreeMap<String, usize>) {
    for line in run::logs(keep, plan).lines().filter_map(|line| line.strip_prefix("DONE ")) {
        let (op, count) = line.split_once(' ').expect("two words");
        *done.entry(op.into()).or_default() += count.parse::<usize>().expect("a number");
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

#[test]
fn tmpfs() {
    storm(Sort::Tmpfs, 12);
}

#[test]
fn ext4() {
    storm(Sort::Ext4, 3);
}

#[test]
fn xfs() {
    storm(Sort::Xfs, 3);
}

#[test]
fn btrfs() {
    storm(Sort::Btrfs, 3);
}

#[test]
fn btrfs_subvolume() {
    storm(Sort::Subvolume, 3);
}

#[test]
fn bind_mount() {
    storm(Sort::Bind, 3);
}

#[test]
fn overlay() {
    storm(Sort::Overlay { redirect: false }, 3);
}

#[test]
fn overlay_redirect() {
    storm(Sort::Overlay { redirect: true }, 3);
}
