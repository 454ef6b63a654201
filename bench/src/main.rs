//! fsmon measured beside the floor and its peers, on this machine.
//!
//! ```text
//! cargo run --release -p fsmon-bench -- [--quick] [--workload NAME]… [--monitor NAME]…
//! cargo run --release -p fsmon-bench -- who [--runs N]     whether every record is right
//! cargo run --release -p fsmon-bench -- forks [--runs N]   what knowing who costs
//! cargo run --release -p fsmon-bench -- start [--runs N]   a small tree: time to ready
//! cargo run --release -p fsmon-bench -- tree [--dirs N]    a large tree: time to ready, memory
//! cargo run --release -p fsmon-bench -- cores [--runs N]   more cores than there are, simulated
//! cargo run --release -p fsmon-bench -- soak [--minutes N] long churn: is anything lost, does it grow
//! cargo run --release -p fsmon-bench -- streams [--runs N] binary streams: their size, and reading them
//! cargo run --release -p fsmon-bench -- codecs FILE…       what each codec makes of recorded streams
//! cargo run --release -p fsmon-bench -- report [--check] the tables of PERF.md and docs/perf
//! ```
//!
//! Every workload runs beside every monitor in turn, several times; the tables have medians and spreads. Everything runs
//! on a separate tmpfs.

mod area;
mod args;
mod codecs;
mod comparison;
mod cores;
mod correctness;
mod floor;
mod forks;
mod latency;
mod lines;
mod machine;
mod monitor;
mod pids;
mod report;
mod results;
mod run;
mod series;
mod soak;
mod start;
mod streams;
mod sys;
mod table;
mod tree;
mod workload;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let role = args.first().and_then(|arg| arg.to_str()).unwrap_or_default();
    let rest = args.get(1..).unwrap_or_default();
    // Workers of the workloads come first: short-lived processes are what some of them measure.
    match role {
        "@child" => workload::spawn::child::main(rest),
        "@script" => workload::spawn::child::interpret(rest),
        "@chain" => workload::spawn::main(rest),
        "@churn" => workload::churn::main(rest),
        "@floor" => floor::main(rest),
        "@forks" => forks::worker(rest),
        "@spin" => series::spin::main(),
        "@pid-max" => pids::keep(),
        _ => run::main(),
    }
}
