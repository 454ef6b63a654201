//! `fsmon-bench who`: a series of runs of short-lived processes, where every single record is held
//! against what the processes know of themselves.
//!
//! ```text
//! cargo run --release -p fsmon-bench -- who [--runs N] [--flagged WHERE] [--beside WHAT]…
//! cargo run --release -p fsmon-bench -- who --rungs      what each source gets right
//! cargo run --release -p fsmon-bench -- who --namespace  all of it in a pid namespace of its own
//! ```

pub(crate) mod args;
mod beside;
mod one;
mod rungs;
pub(crate) mod spin;

use crate::area::Area;
use crate::pids;
use args::WhoArgs;
use one::{Outcome, Run};
use std::path::Path;

/// Runs it and says whether all was right.
pub(crate) fn main(args: &WhoArgs) -> Result<bool, String> {
    if args.namespace && args.pid_max.is_some() && !pids::is_pid_max_own() {
        return Err("before Linux 6.14 kernel.pid_max is that of all namespaces".into());
    }
    if args.namespace && !pids::is_in_own_namespace() {
        return pids::run_in_own_namespace();
    }
    let program = args.program.find()?;
    let area = Area::new().map_err(|e| format!("mounting a tmpfs: {e}; it must be run as root"))?;
    let _small = args.pid_max.map(pids::SmallSpace::new).transpose()?;
    if args.rungs { rungs::table(args, &program, &area) } else { series(args, &program, &area) }
}

fn series(args: &WhoArgs, program: &Path, area: &Area) -> Result<bool, String> {
    let (mut total, mut runs, mut right) = (Outcome::default(), 0, 0);
    for beside in args.beside() {
        for &chains in &args.chains {
            for number in 1..=args.runs {
                let outcome = Run { program, area, args, chains, beside, who: &args.who }.go()?;
                let (name, of, line) = (beside.name(), args.runs, outcome.line(args.flagged));
                println!("{chains:>2} chains, {name:<7} {number:>3} of {of}: {line}");
                outcome.details().iter().for_each(|line| println!("{line}"));
                runs += 1;
                right += u32::from(outcome.is_right(args.flagged));
                total.merge(&outcome);
            }
        }
    }
    println!("{right} of {runs} runs right: {}", total.line(args.flagged));
    Ok(right == runs)
}
