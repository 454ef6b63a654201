//! Short-lived processes in chains. Each process makes a file whose name contains what the process knows about itself:
//! the truth that a monitor's records are compared with.

pub(crate) mod child;
mod mode;
pub(crate) mod oracle;

use crate::sys::{self, Fork};
use child::Task;
use fsmon_format::number::to_usize;
pub(crate) use mode::Mode;
use mode::ROUND;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

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
const ENV: &str = "env-step";
/// A script whose interpreter does not exist.
const BROKEN: &str = "broken.script";
/// A symbolic link.
const LINK: &str = "linked-name";
/// Hard links of one program.
const LOOP: [&str; 5] = ["loop-0", "loop-1", "loop-2", "loop-3", "loop-4"];
/// Owner and group of the setuid program; `daemon` nearly everywhere.
const SUID_OWNER: u32 = 1;
/// The descriptor of [`Mode::Descriptor`].
const DESCRIPTOR: i32 = 9;

/// Files that one chain of `processes` steps makes.
pub(crate) fn files(processes: u64) -> u64 {
    ROUND.iter().cycle().take(to_usize(processes)).map(|mode| mode.files()).sum()
}

/// Lets everyone write to the watched directory and puts the programs where they are run from.
pub(crate) fn prepare(watched: &Path, programs: &Path) -> io::Result<()> {
    fs::set_permissions(watched, Permissions::from_mode(0o777))?;
    if programs.join(LINK).exists() {
        return Ok(());
    }
    let own = std::env::current_exe()?;
    for name in [CHAIN, COMPILE, LONG, SECOND, SUID, INTERPRETER, LOOP[0]] {
        fs::copy(&own, programs.join(name))?;
    }
    for name in &LOOP[1..] {
        fs::hard_link(programs.join(LOOP[0]), programs.join(name))?;
    }
    chown(programs.join(SUID), Some(SUID_OWNER), Some(SUID_OWNER))?;
    fs::set_permissions(programs.join(SUID), Permissions::from_mode(0o6755))?;
    let steps = "read -r comm </proc/$$/comm\n: >\"$3/$4,$2,$comm,$$,$PPID,$5,$6\"\n";
    let (shell, env) = (format!("#!/bin/sh\n{steps}"), format!("#!/usr/bin/env sh\n{steps}"));
    let script = format!("#!{} @script\n", programs.join(INTERPRETER).display());
    for (name, text) in
        [(SCRIPT, &script[..]), (SHELL, &shell), (ENV, &env), (BROKEN, "#!/no/such/program\n")]
    {
        fs::write(programs.join(name), text)?;
        fs::set_permissions(programs.join(name), Permissions::from_mode(0o755))?;
    }
    symlink(COMPILE, programs.join(LINK))
}

/// `@chain DIR PROGRAMS INDEX COUNT [again]`: one chain; `again` gives all its processes the same
/// pid, one after the other.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    super::worker(|| {
        let [dir, programs, index, count, again @ ..] = args else {
            return Err(io::Error::other("four arguments"));
        };
        let (index, count) = (super::number(index)?, super::number(count)?);
        // Daemons become its children, to be waited for.
        sys::adopt_orphans()?;
        let pids = if again.is_empty() { None } else { Some(sys::SamePid::default()) };
        let mut chain = Chain { dir: dir.into(), programs: programs.into(), index, pids };
        Ok(move || (0..count).try_for_each(|i| chain.step(i)))
    })
}

struct Chain {
    dir: PathBuf,
    programs: PathBuf,
    index: u64,
    pids: Option<sys::SamePid>,
}

impl Chain {
    fn step(&mut self, i: u64) -> io::Result<()> {
        let mode = ROUND[to_usize(i) % ROUND.len()];
        let tag = format!("{}-{i}", self.index);
        let task = Task { mode, dir: self.dir.clone(), tag, ppid: std::process::id() };
        if mode == Mode::Vfork {
            let code = task.command(&self.programs.join(mode.program())).status()?.code();
            return ended_well(code, mode);
        }
        let fork = match &mut self.pids {
            Some(pids) => pids.fork()?,
            None => sys::fork()?,
        };
        match fork {
            Fork::Parent(pid) => ended_well(sys::wait(pid)?, mode)?,
            Fork::Child => {
                let ok = self.after_fork(&task);
                sys::exit_now(i32::from(ok.is_err()))
            }
        }
        if mode == Mode::Daemon { ended_well(sys::wait_any()?, mode) } else { Ok(()) }
    }

    /// What the forked child does; returns only where it does not exec.
    fn after_fork(&self, task: &Task) -> io::Result<()> {
        let mut command = task.command(&self.programs.join(task.mode.program()));
        match task.mode {
            Mode::Fork => return task.make(""),
            Mode::Redirect | Mode::SuidRedirect | Mode::Twice => task.make("a")?,
            Mode::Failed => {
                let _ = task.command(&self.programs.join(BROKEN)).exec();
                task.make("a")?;
            }
            Mode::Held => {
                let out = task.create("a", &sys::comm(), Some(SECOND))?;
                command.stdout(out);
            }
            Mode::Descriptor => {
                sys::open_as(DESCRIPTOR, &File::open(self.programs.join(COMPILE))?)?;
                command = task.command(Path::new(&format!("/proc/self/fd/{DESCRIPTOR}")));
            }
            Mode::Daemon => return self.daemon(task),
            _ => {}
        }
        Err(command.exec())
    }

    fn daemon(&self, task: &Task) -> io::Result<()> {
        let ppid = std::process::id();
        if let Fork::Parent(_) = sys::fork()? {
            return Ok(());
        }
        while parent_id() == ppid {
            sleep(Duration::from_micros(50));
        }
        Task { ppid, ..task.clone() }.make("a")?;
        let mut command = task.command(&self.programs.join(task.mode.program()));
        Err(command.arg(ppid.to_string()).exec())
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
        assert_eq!(files(4), 1 + 1 + 1 + 3);
        assert_eq!(files(32), 32 + 15);
        assert_eq!(files(33), files(32) + 1);
    }
}
