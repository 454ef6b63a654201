//! The short-lived processes themselves.

use super::Mode;
use super::oracle::Truth;
use crate::sys;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Whom a process becomes: `nobody` nearly everywhere.
const NOBODY: u32 = 65534;

/// Makes a file whose name says who made it.
pub(crate) fn make_file(dir: &Path, tag: &str, mode: Mode, cmd: &str) -> io::Result<()> {
    let truth = Truth {
        mode,
        cmd: cmd.into(),
        pid: std::process::id(),
        ppid: std::os::unix::process::parent_id(),
        uid: sys::effective_uid(),
    };
    File::create(dir.join(truth.file_name(tag))).map(drop)
}

/// `@script FILE @child …`: this binary as the interpreter of a script.
pub(crate) fn interpret(args: &[OsString]) -> ExitCode {
    args.get(2..).map_or(ExitCode::from(2), main)
}

/// `@child MODE DIR TAG UID`; the uid is for the shell script alone.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    let [mode, dir, tag, ..] = args else { return ExitCode::from(2) };
    let (Some(mode), Some(tag)) = (mode.to_str().and_then(Mode::by_name), tag.to_str()) else {
        return ExitCode::from(2);
    };
    match act(mode, Path::new(dir), tag) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", mode.name());
            ExitCode::FAILURE
        }
    }
}

fn act(mode: Mode, dir: &Path, tag: &str) -> io::Result<()> {
    let make = |tag: &str| make_file(dir, tag, mode, &sys::comm());
    let second = format!("{tag}b");
    match mode {
        Mode::SetUid => {
            sys::set_uid(NOBODY)?;
            make(tag)
        }
        Mode::SetUidBetween => {
            make(tag)?;
            sys::set_uid(NOBODY)?;
            make(&second)
        }
        Mode::Rename => {
            sys::set_comm(c"new-name");
            make(tag)
        }
        Mode::RenameBetween => {
            make(tag)?;
            sys::set_comm(c"new-name");
            make(&second)
        }
        Mode::Thread => {
            // Threads are their process: the truth has the name of the first thread.
            let cmd = sys::comm();
            let (dir, tag) = (dir.to_path_buf(), tag.to_owned());
            let thread = std::thread::Builder::new().name("inner-thread".into());
            let work = move || make_file(&dir, &tag, mode, &cmd);
            thread.spawn(work)?.join().map_err(|_| io::Error::other("the thread panicked"))?
        }
        // The second image makes its file as a plain process would, under the same mode's name.
        Mode::Twice if is_first_image() => {
            make(tag)?;
            let program = std::env::current_exe()?.with_file_name(super::SECOND);
            let args = ["@child", mode.name()];
            Err(Command::new(program).args(args).arg(dir).arg(&second).exec())
        }
        Mode::Redirect => make(&second),
        _ => make(tag),
    }
}

fn is_first_image() -> bool {
    sys::comm() != super::SECOND
}
