//! The short-lived processes themselves.

use super::oracle::Truth;
use super::{LOOP, Mode, SECOND};
use crate::sys::{self, Fork};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::{Builder, sleep};
use std::time::Duration;

/// Whom a process becomes: `nobody` and `nogroup` nearly everywhere.
const NOBODY: u32 = 65534;
/// Longer than a batch of any monitor that is meant to keep up: what a thread did before is over.
const A_WHILE: Duration = Duration::from_millis(5);

/// What a process does and where.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) mode: Mode,
    pub(super) dir: PathBuf,
    /// Names begin so.
    pub(super) tag: String,
    /// The parent at the fork.
    pub(super) ppid: u32,
}

impl Task {
    /// Makes a file whose name says who made it.
    pub(super) fn make(&self, suffix: &str) -> io::Result<()> {
        self.create(suffix, &sys::comm(), None).map(drop)
    }

    /// Makes a file by a process of that name, to be closed by one that is called `closer`.
    pub(super) fn create(&self, suffix: &str, cmd: &str, closer: Option<&str>) -> io::Result<File> {
        let truth = Truth {
            mode: self.mode,
            cmd: cmd.into(),
            pid: std::process::id(),
            ppid: self.ppid,
            uid: sys::effective_uid(),
            gid: sys::effective_gid(),
            closer: closer.map(str::to_owned),
        };
        File::create(self.dir.join(truth.file_name(&format!("{}{suffix}", self.tag))))
    }

    /// The same task for another program; user and group are for the shell scripts alone.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(["@child", self.mode.name()]).arg(&self.dir).arg(&self.tag);
        command.args([sys::effective_uid().to_string(), sys::effective_gid().to_string()]);
        command
    }
}

/// `@script FILE @child …`: this binary as the interpreter of a script.
pub(crate) fn interpret(args: &[OsString]) -> ExitCode {
    args.get(2..).map_or(ExitCode::from(2), main)
}

/// `@child MODE DIR TAG UID GID [PPID]`: PPID is given if that parent has died meanwhile.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    let [mode, dir, tag, _, _, ppid @ ..] = args else { return ExitCode::from(2) };
    let (Some(mode), Some(tag)) = (mode.to_str().and_then(Mode::by_name), tag.to_str()) else {
        return ExitCode::from(2);
    };
    let ppid = ppid.first().and_then(|ppid| ppid.to_str()?.parse().ok());
    let (dir, tag, ppid) = (dir.into(), tag.to_owned(), ppid.unwrap_or_else(parent_id));
    match act(&Task { mode, dir, tag, ppid }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", mode.name());
            ExitCode::FAILURE
        }
    }
}

/// What the program does. A last file is made where nothing else is said.
fn act(task: &Task) -> io::Result<()> {
    let comm = sys::comm();
    match task.mode {
        Mode::SetUid => sys::set_user(NOBODY)?,
        Mode::SetUidBetween => {
            task.make("a")?;
            sys::set_user(NOBODY)?;
        }
        Mode::SetUidAfter => {
            task.make("")?;
            return sys::set_user(NOBODY);
        }
        Mode::Rename => sys::set_comm(c"new-name"),
        Mode::RenameBetween => {
            task.make("a")?;
            sys::set_comm(c"new-name");
        }
        Mode::RenameAfter => {
            task.make("")?;
            sys::set_comm(c"new-name");
            return Ok(());
        }
        Mode::ChangedFork => {
            sys::set_comm(c"new-name");
            sys::set_user(NOBODY)?;
            return fork_and_make(task);
        }
        Mode::Thread => return in_thread(task, move |task| task.create("", &comm, None).map(drop)),
        Mode::ThreadFork => return in_thread(task, fork_and_make),
        Mode::ThreadExec if comm != SECOND => {
            task.make("a")?;
            return in_thread(task, |task| exec(task, SECOND));
        }
        Mode::LeaderGone => leave_it_to_a_thread(task, comm)?,
        Mode::Twice if comm != SECOND => {
            task.make("b")?;
            return exec(task, SECOND);
        }
        Mode::Loop => {
            let at = LOOP.iter().position(|name| *name == comm).unwrap_or(LOOP.len());
            task.make(&at.to_string())?;
            return LOOP.get(at + 1).map_or(Ok(()), |next| exec(task, next));
        }
        _ => {}
    }
    task.make("z")
}

/// Goes on as another program; returns only where that fails.
fn exec(task: &Task, program: &str) -> io::Result<()> {
    let program = std::env::current_exe()?.with_file_name(program);
    Err(task.command(&program).exec())
}

/// Does it in a thread with a name of its own, and waits for it.
fn in_thread(
    task: &Task,
    work: impl FnOnce(&Task) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let task = task.clone();
    let thread = Builder::new().name("inner-thread".into()).spawn(move || work(&task))?;
    thread.join().map_err(|_| io::Error::other("the thread panicked"))?
}

/// Leaves the file to a child. Another thread, if there is one, waits meanwhile and holds no lock.
fn fork_and_make(task: &Task) -> io::Result<()> {
    let ppid = std::process::id();
    match sys::fork()? {
        Fork::Parent(pid) => super::ended_well(sys::wait(pid)?, task.mode),
        Fork::Child => {
            let task = Task { ppid, ..task.clone() };
            sys::exit_now(i32::from(task.make("").is_err()))
        }
    }
}

/// Ends the first thread, and with it nothing else.
fn leave_it_to_a_thread(task: &Task, comm: String) -> io::Result<()> {
    let task = task.clone();
    Builder::new().name("inner-thread".into()).spawn(move || {
        sleep(A_WHILE);
        sys::exit_now(i32::from(task.create("", &comm, None).is_err()))
    })?;
    sys::end_thread()
}
