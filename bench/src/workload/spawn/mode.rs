//! The ways to start processes, and the truth for each of their files.

/// How a process comes about and what it does. Unless said otherwise a file is made and closed by
/// the program that was started, whose name, parent and user are the truth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// fork and exec.
    Exec,
    /// The same, with a name that is longer than a comm: the truth is its first 15 bytes.
    Long,
    /// vfork (`posix_spawn`) and exec.
    Vfork,
    /// fork alone: the truth is the parent's name.
    Fork,
    /// A script with an interpreter line: the truth is the script's name.
    Script,
    /// A shell script.
    Shell,
    /// A script that `env` finds the interpreter of, by another exec: the truth is that one's name.
    Env,
    /// exec through a symbolic link: the truth is the link's name.
    Symlink,
    /// exec of `/proc/self/fd/9`: the truth is the digit.
    Descriptor,
    /// An exec that fails after the file was opened, a file, exec, a file: the first by the parent's
    /// name.
    Failed,
    /// A file before an exec in the same process: by the parent's name; and one after.
    Redirect,
    /// The same, and what is exec'd is setuid.
    SuidRedirect,
    /// `cmd >file`: the file is made before the exec, by the parent's name, and closed after it; a
    /// file by the program between.
    Held,
    /// Files before, between and after two execs.
    Twice,
    /// A file and exec of itself under another name, five times.
    Loop,
    /// Changes its user and group after exec: the truth is the new ones.
    SetUid,
    /// A file by the old user, the change, a file by the new one.
    SetUidBetween,
    /// A file by the old user, and the change.
    SetUidAfter,
    /// A setuid and setgid executable: the truth is its owner and group.
    SuidExe,
    /// Renames itself with prctl: the truth is the new name.
    Rename,
    /// A file under the old name, the new name, a file under it.
    RenameBetween,
    /// A file under the old name, and the new name.
    RenameAfter,
    /// Renames itself, changes its user and forks: the child makes a file by the new name and user.
    ChangedFork,
    /// A thread with a name of its own makes the file: the truth is the first thread's name.
    Thread,
    /// A thread with a name of its own forks; the child's name is that of the thread.
    ThreadFork,
    /// A file; a thread with a name of its own execs, and takes the pid; a file.
    ThreadExec,
    /// The first thread ends; another makes the file: the truth is the first thread's name.
    LeaderGone,
    /// A child whose parent has died makes a file, execs and makes another: the truth is the parent
    /// at the fork.
    Daemon,
}

/// What a chain does in turn. A quarter changes its user after exec.
pub(super) const ROUND: [Mode; 32] = [
    Mode::Exec,
    Mode::SetUid,
    Mode::Script,
    Mode::Twice,
    Mode::Vfork,
    Mode::SetUidAfter,
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
    Mode::Symlink,
    Mode::SetUid,
    Mode::Held,
    Mode::Loop,
    Mode::Descriptor,
    Mode::SetUidAfter,
    Mode::ThreadFork,
    Mode::Failed,
    Mode::ChangedFork,
    Mode::RenameAfter,
    Mode::Env,
    Mode::Daemon,
    Mode::SetUidBetween,
    Mode::ThreadExec,
    Mode::SuidRedirect,
    Mode::LeaderGone,
];

impl Mode {
    /// The name in file names and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Exec => "exec",
            Mode::Long => "long",
            Mode::Vfork => "vfork",
            Mode::Fork => "fork",
            Mode::Script => "script",
            Mode::Shell => "shell",
            Mode::Env => "env",
            Mode::Symlink => "symlink",
            Mode::Descriptor => "descriptor",
            Mode::Failed => "failed",
            Mode::Redirect => "redirect",
            Mode::SuidRedirect => "suid-redirect",
            Mode::Held => "held",
            Mode::Twice => "twice",
            Mode::Loop => "loop",
            Mode::SetUid => "setuid",
            Mode::SetUidBetween => "setuid-between",
            Mode::SetUidAfter => "setuid-after",
            Mode::SuidExe => "suid-exe",
            Mode::Rename => "rename",
            Mode::RenameBetween => "rename-between",
            Mode::RenameAfter => "rename-after",
            Mode::ChangedFork => "changed-fork",
            Mode::Thread => "thread",
            Mode::ThreadFork => "thread-fork",
            Mode::ThreadExec => "thread-exec",
            Mode::LeaderGone => "leader-gone",
            Mode::Daemon => "daemon",
        }
    }

    /// The mode of that name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        ROUND.into_iter().find(|mode| mode.name() == name)
    }

    /// How many files one such process makes.
    pub(super) fn files(self) -> u64 {
        match self {
            Mode::Loop => super::LOOP.len() as u64,
            Mode::Twice => 3,
            Mode::Failed
            | Mode::Redirect
            | Mode::SuidRedirect
            | Mode::Held
            | Mode::SetUidBetween
            | Mode::RenameBetween
            | Mode::ThreadExec
            | Mode::Daemon => 2,
            _ => 1,
        }
    }

    /// Whether a record may be flagged as one of two images: where the user or
    /// the name changed between two file events of one process, since fanotify gives no order of the
    /// two.
    pub(crate) fn changes_between_files(self) -> bool {
        matches!(self, Mode::SetUidBetween | Mode::RenameBetween)
    }

    /// Whether the user or the name changes at all in the life of the program. Without a source
    /// that has the order, a change before the first file of a batch or after the last is as
    /// unclear as one between two.
    pub(crate) fn changes(self) -> bool {
        self.changes_between_files()
            || matches!(self, Mode::SetUid | Mode::SetUidAfter | Mode::Rename | Mode::RenameAfter)
    }

    /// The program that it runs, or runs first.
    pub(super) fn program(self) -> &'static str {
        match self {
            Mode::Long => super::LONG,
            Mode::SuidExe | Mode::SuidRedirect => super::SUID,
            Mode::Script => super::SCRIPT,
            Mode::Shell => super::SHELL,
            Mode::Env => super::ENV,
            Mode::Symlink => super::LINK,
            Mode::Redirect | Mode::Held => super::SECOND,
            Mode::Loop => super::LOOP[0],
            _ => super::COMPILE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_changes_its_user() {
        let change = [Mode::SetUid, Mode::SetUidBetween, Mode::SetUidAfter, Mode::ChangedFork];
        assert_eq!(ROUND.iter().filter(|mode| change.contains(mode)).count() * 4, ROUND.len());
    }
}
