//! `fsmon convert`: runs the program `fsmon-convert`, which has dependencies that the monitor does not need.

use crate::args::ConvertArgs;
use fsmon_engine::Error;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

const NAME: &str = "fsmon-convert";

/// Replaces this process by `fsmon-convert`: the one beside this program, or else the one on the PATH.
///
/// # Errors
/// It does not exist or cannot be run.
pub(crate) fn run(args: &ConvertArgs) -> Result<(), Error> {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(NAME));
    let program = beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from(NAME));
    // Its messages and usage use the name `fsmon convert`.
    let error =
        Command::new(&program).arg0("fsmon convert").args::<_, &OsString>(&args.args).exec();
    Err(match error.kind() {
        ErrorKind::NotFound => Error::new(
            fsmon_engine::ErrorKind::NotFound,
            "fsmon convert needs the program fsmon-convert, which is not installed; install it from the \
             sources with cargo install --path crates/convert, or put it beside fsmon",
        ),
        _ => Error::os(format!("cannot run {}", fsmon_present::message::shown(&program)), error),
    })
}
