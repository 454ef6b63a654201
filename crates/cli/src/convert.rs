//! `fsmon convert`: hands over to `fsmon-convert`, which brings what the monitor does without.

use crate::args::ConvertArgs;
use fsmon_engine::Error;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

const NAME: &str = "fsmon-convert";

/// Becomes that program: the one beside this one, else the one on the PATH.
///
/// # Errors
/// There is none.
pub(crate) fn run(args: &ConvertArgs) -> Result<(), Error> {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(NAME));
    let program = beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from(NAME));
    // Its messages and usage are those of `fsmon convert`.
    let error =
        Command::new(&program).arg0("fsmon convert").args::<_, &OsString>(&args.args).exec();
    Err(match error.kind() {
        ErrorKind::NotFound => Error::new(
            fsmon_engine::ErrorKind::NotFound,
            "fsmon convert runs a program of its own, fsmon-convert, which is not installed: install it \
             from the sources with cargo install --path crates/convert, or put it beside fsmon",
        ),
        _ => Error::os(format!("cannot run {}", fsmon_present::message::shown(&program)), error),
    })
}
