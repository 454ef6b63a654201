//! Short-lived processes in chains, each of which writes into the name of the file that it makes
//! what it knows of itself: the truth that a monitor's records are held against.

pub(crate) mod child;
pub(crate) mod oracle;

use crate::sys::{self, Fork};
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The name of the program that starts the others.
pub(crate) const CHAIN: &str = "chain-runner";
const COMPILE: &str = "compile";
/// Longer than a comm can be: the kernel keeps 15 bytes.
const LONG: &str = "a-very-long-program-name";
const SECOND: &str = "second-image";
const SUID: &str = "suid-tool";
const INTERPRETER: &str = "interpreter";
const SCRIPT: &str = "step.script";
const SHELL: &str = "shell-step";
/// Whose the setuid program is; `daemon` nearly everywhere.
const SUID_OWNER: u32 = 1;

/// How a process comes about and what it does before it makes its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// fork and exec.
    Exec,
    /// The same, with a name that is longer than a comm.
    Long,
    /// vfork (`posix_spawn`) and exec.
    Vfork,
    /// fork alone.
    Fork,
    /// A file before an exec in the same process, as a shell does for a redirect.
    Redirect,
    /// A file, another exec, a file.
    Twice,
    /// Changes its uid after exec.
    SetUid,
    /// A file, a change of uid, a file.
    SetUidBetween,
    /// A setuid executable.
    SuidExe,
    /// A script with an interpreter line.
    Script,
    /// A shell script.
    Shell,
    /// A thread with a name of its own makes the file.
    Thread,
    /// Renames itself with prctl.
    Rename,
    /// A file, a new name, a file.
    RenameBetween,
}

/// What a chain does in turn. A quarter changes its uid after exec.
const ROUND: [Mode; 16] = [
    Mode::Exec,
    Mode::SetUid,
    Mode::Script,
    Mode::Twice,
    Mode::Vfork,
    Mode::SetUid,
    Mode::Shell,
    Mode::Thread,
    Mode::SetUid,
    Mode::Long,
    Mode::SuidExe,
    Mode::Fork,
    Mode::SetUidBetween,
    Mode::Rename,
    Mode::Redirect,
    Mode::RenameBetween,
];

impl Mode {
    /// The name in file names and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Exec => "exec",
            Mode::Long => "long",
            Mode::Vfork => "vfork",
            Mode::Fork => "fork",
            Mode::Redirect => "redirect",
            Mode::Twice => "twice",
            Mode::SetUid => "setuid",
            Mode::SetUidBetween => "setuid-between",
            Mode::SuidExe => "suid-exe",
            Mode::Script => "script",
            Mode::Shell => "shell",
            Mode::Thread => "thread",
            Mode::Rename => "rename",
            Mode::RenameBetween => "rename-between",
        }
    }

    /// The mode of that name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        ROUND.into_iter().find(|mode| mode.name() == name)
    }

    fn files(self) -> u64 {
        match self {
            Mode::Redirect | Mode::Twice | Mode::SetUidBetween | Mode::RenameBetween => 2,
            _ => 1,
        }
    }

    /// Whether a record may say that it cannot tell which of two images it was. The kernel gives
    /// no order of a file event and a change of uid or name by the same process within one batch,
    /// not even where the only file was made after the change.
    pub(crate) fn may_be_ambiguous(self) -> bool {
        matches!(self, Mode::SetUid | Mode::SetUidBetween | Mode::Rename | Mode::RenameBetween)
    }

    fn program(self) -> &'static str {
        match self {
            Mode::Long => LONG,
            Mode::SuidExe => SUID,
            Mode::Script => SCRIPT,
            Mode::Shell => SHELL,
            Mode::Redirect => SECOND,
            _ => COMPILE,
        }
    }
}

/// Files that one chain of `processes` steps makes.
pub(crate) fn files(processes: u64) -> u64 {
    ROUND.iter().cycle().take(processes as usize).map(|mode| mode.files()).sum()
}

/// Lets everyone write to the watched directory and puts the programs where they are run from.
pub(crate) fn prepare(watched: &Path, programs: &Path) -> io::Result<()> {
    fs::set_permissions(watched, Permissions::from_mode(0o777))?;
    let shell = "#!/bin/sh\nread -r comm </proc/$$/comm\n: >\"$3/$4,$2,$comm,$$,$PPID,$5\"\n";
    let script = format!("#!{} @script\n", programs.join(INTERPRETER).display());
    let own = std::env::current_exe()?;
    for name in [CHAIN, COMPILE, LONG, SECOND, SUID, INTERPRETER] {
        let path = programs.join(name);
        if !path.exists() {
            fs::copy(&own, &path)?;
        }
    }
    chown(programs.join(SUID), Some(SUID_OWNER), None)?;
    fs::set_permissions(programs.join(SUID), Permissions::from_mode(0o4755))?;
    for (name, text) in [(SCRIPT, &script[..]), (SHELL, shell)] {
        fs::write(programs.join(name), text)?;
        fs::set_permissions(programs.join(name), Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// `@chain DIR PROGRAMS INDEX COUNT`: one chain.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    super::worker(|| {
        let [dir, programs, index, count] = args else {
            return Err(io::Error::other("four arguments"));
        };
        let (index, count) = (super::number(index)?, super::number(count)?);
        let chain = Chain { dir: dir.into(), programs: programs.into(), index };
        Ok(move || (0..count).try_for_each(|i| chain.step(i)))
    })
}

struct Chain {
    dir: PathBuf,
    programs: PathBuf,
    index: u64,
}

impl Chain {
    fn step(&self, i: u64) -> io::Result<()> {
        let mode = ROUND[i as usize % ROUND.len()];
        let tag = format!("{}-{i}", self.index);
        let mut command = Command::new(self.programs.join(mode.program()));
        command.args(["@child", mode.name()]).arg(&self.dir).arg(&tag);
        command.arg(sys::effective_uid().to_string());
        if mode == Mode::Vfork {
            return ended_well(command.status()?.code(), mode);
        }
        match sys::fork()? {
            Fork::Parent(pid) => ended_well(sys::wait(pid)?.code, mode),
            Fork::Child => {
                let ok = self.after_fork(mode, &tag, command);
                sys::exit_now(i32::from(ok.is_err()))
            }
        }
    }

    /// What the forked child does; returns only where it does not exec.
    fn after_fork(&self, mode: Mode, tag: &str, mut command: Command) -> io::Result<()> {
        if matches!(mode, Mode::Fork | Mode::Redirect) {
            child::make_file(&self.dir, tag, mode, &sys::comm())?;
        }
        if mode == Mode::Fork { Ok(()) } else { Err(command.exec()) }
    }
}

fn ended_well(code: Option<i32>, mode: Mode) -> io::Result<()> {
    if code == Some(0) {
        return Ok(());
    }
    Err(io::Error::other(format!("a process of mode {} failed", mode.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_mode() {
        assert_eq!(files(16), 16 + 4);
        assert_eq!(files(4), 5);
        assert_eq!(files(17), 21);
    }

    #[test]
    fn a_quarter_changes_its_uid() {
        let change = [Mode::SetUid, Mode::SetUidBetween];
        assert_eq!(ROUND.iter().filter(|mode| change.contains(mode)).count() * 4, ROUND.len());
    }
}
