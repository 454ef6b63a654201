//! Real builds, as people run them.

use super::{Counts, Done};
use fsmon_format::number::to_ns;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Build {
    /// A Debian source package, configured, with `make -j`.
    Make,
    /// This workspace's program and all that it uses, with cargo, as it is released.
    Cargo,
}

/// The package: some 100 files of C, some 40 s of CPU.
const PACKAGE: &str = "bash";

/// Fetches a Debian source package with apt, whose own state stays untouched, and configures it:
/// the package and an empty directory.
const FETCH: &str = include_str!("fetch.sh");

/// Makes what is built: a configured tree in a directory of its own beside the watched one.
pub(crate) fn fetch(out: &Path) -> io::Result<PathBuf> {
    let dir = out.join("source");
    let tree = dir.join("configured");
    if !tree.join("ready").exists() {
        fs::create_dir_all(&dir)?;
        succeed(Command::new("sh").args(["-euc", FETCH, "fetch", PACKAGE]).arg(&dir))?;
    }
    Ok(tree)
}

impl Build {
    pub(crate) fn prepare(self, watched: &Path, out: &Path) -> io::Result<()> {
        match self {
            Build::Make => {
                let tree = fetch(out)?;
                succeed(Command::new("cp").arg("-a").arg(tree).arg(watched.join("tree")))
            }
            Build::Cargo => Ok(()),
        }
    }

    /// Builds; the changes are not known beforehand.
    pub(crate) fn run(self, watched: &Path) -> io::Result<Done> {
        let mut command = match self {
            Build::Make => {
                let jobs = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
                let mut make = Command::new("make");
                make.arg(format!("-j{jobs}")).current_dir(watched.join("tree"));
                make
            }
            Build::Cargo => {
                let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
                let mut cargo = Command::new("cargo");
                cargo.args(["build", "--offline", "--release", "--package", "fsmon-cli"]);
                cargo.arg("--target-dir").arg(watched.join("target")).current_dir(workspace);
                cargo
            }
        };
        let (start, cpu_ns) = (Instant::now(), crate::sys::family_cpu_ns());
        succeed(&mut command)?;
        let elapsed_ns = to_ns(start.elapsed());
        let cpu_ns = Some(crate::sys::family_cpu_ns() - cpu_ns);
        Ok(Done { elapsed_ns, cpu_ns, operations: 1, expected: Counts::default() })
    }
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    Err(io::Error::other(format!("{}: {}: {last}", command.get_program().display(), output.status)))
}
