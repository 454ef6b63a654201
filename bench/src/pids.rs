//! Pid spaces: a small one, and a new namespace.

use crate::monitor::ending;
use crate::sys;
use std::fs::{self, File};
use std::io::{self, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

const PID_MAX: &str = "/proc/sys/kernel/pid_max";
/// Says that this process is the one in the namespace.
const INSIDE: &str = "FSMON_BENCH_NAMESPACE";

/// A lower `kernel.pid_max` (since Linux 6.14 that of this pid namespace alone). A process of its
/// own writes the old value back as soon as this one is gone, however it goes.
pub(crate) struct SmallSpace(Child);

impl SmallSpace {
    /// Lowers it.
    pub(crate) fn new(pid_max: u32) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{PID_MAX}: {error}");
        let own = std::env::current_exe().map_err(failed)?;
        let mut keeper = Command::new(own);
        keeper.arg("@pid-max").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().map_err(failed)?;
        // It says so when it has the old value and no signal can end it any more.
        let mut ready = [0];
        keeper.stdout.take().expect("asked for").read_exact(&mut ready).map_err(failed)?;
        let small = SmallSpace(keeper);
        fs::write(PID_MAX, pid_max.to_string()).map_err(failed)?;
        Ok(small)
    }
}

impl Drop for SmallSpace {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let ended = ending::wait(&mut self.0, Duration::from_secs(5));
        if !matches!(ended, Ok(Some(status)) if status.success()) {
            eprintln!("{PID_MAX} may not be what it was");
        }
    }
}

/// `@pid-max`: waits until whoever started it is gone, then writes the old value back.
pub(crate) fn keep() -> ExitCode {
    sys::ignore_stops();
    let keep = || {
        // Another one's value is not the old one.
        let file = File::open(PID_MAX)?;
        sys::lock(&file)?;
        let old = fs::read_to_string(PID_MAX)?;
        println!("ready");
        io::copy(&mut io::stdin(), &mut io::sink())?;
        fs::write(PID_MAX, old.trim())
    };
    match keep() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{PID_MAX}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a pid namespace has a `kernel.pid_max` of its own: since Linux 6.14.
pub(crate) fn is_pid_max_own() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    numbers.next().zip(numbers.next()) >= Some((6u32, 14u32))
}

/// Whether [`run_in_own_namespace`] started this process.
pub(crate) fn is_in_own_namespace() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this command line again in a new pid namespace with its own /proc. Returns whether it succeeded.
pub(crate) fn run_in_own_namespace() -> Result<bool, String> {
    let failed = |error: io::Error| format!("unshare: {error}");
    let own = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]).arg(own);
    command.args(std::env::args_os().skip(1)).env(INSIDE, "1");
    Ok(sys::for_this_run(&mut command).status().map_err(failed)?.success())
}
