//! Processes that only compute.

use crate::monitor::ending;
use crate::sys;
use std::io;
use std::process::{Child, Command, ExitCode, Stdio};

/// One for each CPU. Dropping it ends them.
pub(super) struct Spinners(Vec<Child>);

impl Spinners {
    pub(super) fn start() -> io::Result<Self> {
        let (own, cpus) = (std::env::current_exe()?, std::thread::available_parallelism()?.get());
        let mut spinners = Spinners(Vec::new());
        for _ in 0..cpus {
            let mut command = Command::new(&own);
            command.arg("@spin").stdin(Stdio::null());
            spinners.0.push(sys::for_this_run(&mut command).spawn()?);
        }
        Ok(spinners)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(ending::abandon);
    }
}

/// `@spin`: computes until it is ended.
pub(crate) fn main() -> ExitCode {
    let mut x = 1u64;
    while std::hint::black_box(x) != 0 {
        x = x.wrapping_mul(6_364_136_223_846_793_005) | 1;
    }
    ExitCode::SUCCESS
}
