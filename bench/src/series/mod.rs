//! `fsmon-bench who`: a series of runs of short-lived processes. Compares every record with what the processes know
//! about themselves.
//!
//! ```text
//! cargo run --release -p fsmon-bench -- who [--runs N] [--flagged WHERE] [--beside WHAT]…
//! cargo run --release -p fsmon-bench -- who --rungs      what each source gets right
//! cargo run --release -p fsmon-bench -- who --namespace  all of it in a pid namespace of its own
//! ```

pub(crate) mod args;
mod beside;
mod one;
pub(crate) mod rungs;
pub(crate) mod runs;
pub(crate) mod spin;

use crate::area::Area;
use crate::pids;
use crate::results::Measured;
use crate::results::keep::Otherwise;
use args::WhoArgs;

/// Runs the series. Returns the verdict.
pub(crate) fn main(args: &WhoArgs) -> Result<bool, String> {
    if args.namespace && args.pid_max.is_some() && !pids::is_pid_max_own() {
        return Err("before Linux 6.14 kernel.pid_max is that of all namespaces".into());
    }
    if args.namespace && !pids::is_in_own_namespace() {
        return pids::run_in_own_namespace();
    }
    args.keep.run(Otherwise::Nowhere, || measure(args))
}

fn measure(args: &WhoArgs) -> Result<Measured, String> {
    let program = args.program.find()?;
    let area = Area::new().map_err(|e| format!("mounting a tmpfs: {e}; it must be run as root"))?;
    let _small = args.pid_max.map(pids::SmallSpace::new).transpose()?;
    if args.rungs {
        rungs::measure(args, &program, &area)
    } else {
        runs::measure(args, &program, &area)
    }
}
