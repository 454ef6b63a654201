//! Every record of short-lived processes is right, whatever goes on beside them: the bench's
//! `who`, briefly.

use fsmon_harness::{bench, is_root_with, program, skip};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// One at a time: a small pid space is everybody's.
static ALONE: Mutex<()> = Mutex::new(());

fn who(args: &[&str]) {
    if !is_root_with(&["unshare"]) {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(bench());
    command.args(["who", "--runs", "1", "--processes", "400", "--fsmon"]).arg(program());
    let output = command.args(args).output().expect("started");
    let (said, errors) = (output.stdout, output.stderr);
    let said = [said, errors].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}

#[test]
fn one_chain() {
    who(&["--chains", "1", "--beside", "quiet"]);
}

#[test]
fn four_chains() {
    who(&["--chains", "4", "--beside", "quiet"]);
}

#[test]
fn four_chains_by_poll() {
    who(&["--chains", "4", "--beside", "quiet", "--backend", "poll"]);
}

#[test]
fn sixteen_chains() {
    who(&["--chains", "16", "--beside", "quiet"]);
}

#[test]
fn all_cpus_busy() {
    who(&["--chains", "4", "--beside", "busy"]);
}

#[test]
fn nobody_reads() {
    who(&["--chains", "4", "--beside", "stalled"]);
}

#[test]
fn a_pid_used_again_at_once() {
    who(&["--chains", "4", "--beside", "reused"]);
}

#[test]
fn a_small_pid_space() {
    who(&["--chains", "4", "--beside", "quiet", "--pid-max", "1000"]);
}

/// All is one batch, and each pid is several processes' in it.
#[test]
fn a_small_pid_space_and_nobody_reads() {
    who(&["--chains", "4", "--beside", "stalled", "--pid-max", "1000"]);
}

/// There the kernel does not tell of changes of users, and of nothing with certainty.
#[test]
fn a_small_pid_namespace() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("readable");
    let mut numbers = release.split('.').map_while(|n| n.parse().ok());
    if numbers.next().zip(numbers.next()) < Some((6u32, 14u32)) {
        return skip("before Linux 6.14 all pid namespaces have one pid_max");
    }
    let small = ["--namespace", "--pid-max", "400", "--flagged", "anywhere"];
    who(&[&["--chains", "4", "--beside", "quiet"][..], &small].concat());
}
