//! The words for why the kernel refused a call of set-up, and for the remedy, in one line. `cold/diagnosis.rs` finds
//! the cause.

use super::facts::Facts;
use crate::{Error, ErrorKind};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A call, or a group of calls with the same causes of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// fanotify_init(2).
    FanotifyInit,
    /// fanotify_mark(2), with flags and types that every kernel accepts, except for one that is too old.
    FanotifyMark,
    /// io_uring_setup(2), io_uring_register(2), io_uring_enter(2).
    Uring,
    /// perf_event_open(2).
    PerfOpen,
    /// mmap(2) of a perf ring.
    PerfRing,
    /// bpf(2), and reading the kernel's type information (BTF) for it.
    Bpf,
    /// Reading the tracepoint of exec.
    Tracefs,
    /// The proc connector's socket.
    Connector,
    /// Reading /proc.
    Proc,
    /// Reading the list of CPUs.
    Cpus,
    /// Opening or reading a directory that fsmon is asked to watch.
    Directory,
    /// name_to_handle_at(2).
    Handle,
    /// Starting a thread.
    Thread,
    /// Any other call that opens a file descriptor or maps memory.
    Plain,
}

/// Why a call was refused. `Display` gives the cause and, after a semicolon, the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// EMFILE: `RLIMIT_NOFILE`.
    Descriptors(Option<u64>),
    /// EMFILE of fanotify_init(2): `fs.fanotify.max_user_groups`.
    Groups(Option<i64>),
    /// ENOSPC of fanotify_mark(2): `fs.fanotify.max_user_marks`.
    Marks(Option<i64>),
    /// ENFILE: `fs.file-max`.
    Files(Option<i64>),
    /// `RLIMIT_MEMLOCK`, in bytes.
    LockedMemory(u64),
    /// ENOMEM for another reason.
    Memory,
    /// EAGAIN of a new thread: `RLIMIT_NPROC`.
    Processes(u64),
    /// EAGAIN of a new thread: `pids.max` of this control group.
    Group(PathBuf, u64),
    /// EAGAIN of a new thread for another reason.
    Threads,
    /// Capabilities that this process lacks, and the sysctl that makes them necessary, with its value.
    Capabilities(Vec<&'static str>, Option<(&'static str, i64)>),
    /// A sysctl forbids it; the sysctl and its value.
    Sysctl(&'static str, i64),
    /// Capabilities count only in the initial user namespace.
    UserNamespace,
    /// The call works only in the initial pid namespace.
    PidNamespace,
    /// The proc connector works only in the initial network namespace.
    NetNamespace,
    /// kernel_lockdown(7), in this mode.
    Lockdown(&'static str),
    /// A seccomp filter.
    Seccomp,
    /// A security module, one of these.
    Module(Vec<String>),
    /// EPERM or EACCES for another reason.
    Forbidden,
    /// The file's permissions.
    Unreadable,
    /// Something is mounted on the directory, and fsmon may not look below; the remedy.
    Hidden(&'static str),
    /// The kernel is built without this option. `true`: a seccomp filter may have returned the error instead.
    NotBuilt(&'static str, bool),
    /// Linux is too old: cause and remedy.
    TooOld(&'static str),
    /// A pseudo filesystem is not mounted: cause and remedy.
    NotMounted(&'static str),
    /// No cause is known for this errno.
    Other,
}

/// A call that the kernel refused.
#[derive(Debug)]
pub(crate) struct Refused {
    call: Call,
    cause: Cause,
    error: io::Error,
}

impl Refused {
    /// Finds the cause. Call it at once, while limits and facts are the same as when the call failed.
    pub(crate) fn new(call: Call, error: io::Error) -> Self {
        let cause = Cause::of(call, &error, &Facts::read());
        Refused { call, cause, error }
    }

    /// [`Refused::new`] as an argument for `map_err`.
    pub(crate) fn by(call: Call) -> impl FnOnce(io::Error) -> Refused {
        move |error| Refused::new(call, error)
    }

    /// The call that was refused.
    pub(crate) fn call(&self) -> Call {
        self.call
    }

    pub(crate) fn raw_os_error(&self) -> Option<i32> {
        self.error.raw_os_error()
    }

    /// The kind of the failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        self.cause.kind(&self.error)
    }
}

/// Cause, remedy and the error of the kernel, in one line.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Other => write!(f, "{} ({})", self.call, self.error),
            _ => write!(f, "{}: {} ({})", self.call, self.cause, self.error),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        explained(refused.call, &refused.cause, refused.error)
    }
}

/// The error for a refused system call: `what` could not be done because the kernel refused `call`. It names the cause
/// and the remedy, if they can be found.
pub fn refused(what: impl fmt::Display, call: Call, source: io::Error) -> Error {
    let cause = Cause::of(call, &source, &Facts::read());
    explained(what, &cause, source)
}

fn explained(what: impl fmt::Display, cause: &Cause, source: io::Error) -> Error {
    let kind = cause.kind(&source);
    let message = match cause {
        Cause::Other => what.to_string(),
        cause => format!("{what}: {cause}"),
    };
    Error::os(message, source).with_kind(kind)
}

impl Cause {
    /// The kind of an error that has this cause.
    pub(crate) fn kind(&self, source: &io::Error) -> ErrorKind {
        match self {
            Cause::Descriptors(_)
            | Cause::Groups(_)
            | Cause::Marks(_)
            | Cause::Files(_)
            | Cause::LockedMemory(_)
            | Cause::Memory
            | Cause::Processes(_)
            | Cause::Group(..)
            | Cause::Threads => ErrorKind::Busy,
            Cause::Capabilities(..)
            | Cause::Sysctl(..)
            | Cause::Lockdown(_)
            | Cause::Seccomp
            | Cause::Module(_)
            | Cause::Forbidden
            | Cause::Unreadable
            | Cause::Hidden(_)
            | Cause::UserNamespace => ErrorKind::Permission,
            Cause::PidNamespace
            | Cause::NetNamespace
            | Cause::NotBuilt(..)
            | Cause::TooOld(_)
            | Cause::NotMounted(_) => ErrorKind::Unsupported,
            Cause::Other => source.into(),
        }
    }
}

/// The words for what failed.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Call::FanotifyInit => "cannot make a fanotify group",
            Call::FanotifyMark => "cannot set a fanotify mark",
            Call::Uring => "cannot set up io_uring",
            Call::PerfOpen => "cannot open perf events",
            Call::PerfRing => "cannot map perf rings",
            Call::Bpf => "cannot load BPF programs",
            Call::Tracefs => "cannot read the exec tracepoint",
            Call::Connector => "cannot listen to the proc connector",
            Call::Proc => "cannot read /proc, which lists the processes that run already",
            Call::Cpus => "cannot read which CPUs are online from /sys",
            Call::Directory => "cannot read a directory",
            Call::Handle => "cannot get a file handle",
            Call::Thread => "cannot start a thread",
            Call::Plain => "the kernel refused a call",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |name: &str, value: &Option<i64>| match value {
            Some(value) => format!("{name} is {value}"),
            None => name.to_owned(),
        };
        match self {
            Cause::Descriptors(max) => {
                let max = max.map_or_else(String::new, |max| format!(" is {max}"));
                write!(
                    f,
                    "no file descriptor is left (RLIMIT_NOFILE{max}); raise it with ulimit -n, or \
                     LimitNOFILE= in a systemd unit"
                )
            }
            Cause::Groups(max) => write!(
                f,
                "too many fanotify groups are open ({}); raise it, or stop other watchers",
                shown("fs.fanotify.max_user_groups", max)
            ),
            Cause::Marks(max) => write!(
                f,
                "too many fanotify marks are set ({}); raise it",
                shown("fs.fanotify.max_user_marks", max)
            ),
            Cause::Files(max) => {
                write!(f, "the host has too many open files ({}); raise it", shown("fs.file-max", max))
            }
            Cause::LockedMemory(max) => write!(
                f,
                "no more memory may be locked (RLIMIT_MEMLOCK is {} KiB); raise it with ulimit -l, \
                 or LimitMEMLOCK= in a systemd unit, or give CAP_IPC_LOCK",
                max >> 10
            ),
            Cause::Memory => f.write_str(
                "the kernel has no memory for it; free some, or raise memory.max of its control group",
            ),
            Cause::Processes(max) => write!(
                f,
                "this user has as many processes and threads as allowed (RLIMIT_NPROC is {max}); \
                 raise it with ulimit -u, or LimitNPROC= in a systemd unit"
            ),
            Cause::Group(dir, max) => write!(
                f,
                "the control group {} has as many processes and threads as allowed (pids.max is \
                 {max}); raise it, or TasksMax= in a systemd unit",
                dir.display()
            ),
            Cause::Threads => f.write_str(
                "the host has no room for one more thread; raise kernel.threads-max, or free memory",
            ),
            Cause::Capabilities(names, sysctl) => needs(f, names, sysctl),
            Cause::Sysctl(name, value) => {
                write!(f, "forbidden, as {name} is {value}; allow it with sysctl {name}=0")
            }
            Cause::UserNamespace => f.write_str(
                "capabilities of a user namespace do not count; run fsmon in the initial one",
            ),
            Cause::PidNamespace => {
                f.write_str("works in the initial pid namespace only; run fsmon there")
            }
            Cause::NetNamespace => f.write_str(
                "works in the initial network namespace only; run fsmon there, in a container with the \
                 network of the host",
            ),
            Cause::Lockdown(mode) => write!(
                f,
                "the kernel is locked down (lockdown={mode}), which forbids it to root as well; \
                 start it with less"
            ),
            Cause::Seccomp => {
                f.write_str("a seccomp filter forbids it; allow the call in the filter")
            }
            Cause::Module(names) => write!(
                f,
                "a security module ({}) forbids it; allow it in its policy",
                names.join(", ")
            ),
            Cause::Forbidden => f.write_str("the kernel, or what confines this process, forbids it"),
            Cause::Unreadable => f.write_str("its permissions forbid it; run fsmon as root"),
            Cause::Hidden(remedy) => {
                write!(f, "something is mounted on it, below which fsmon may not look; {remedy}")
            }
            Cause::NotBuilt(option, false) => {
                write!(f, "this kernel is built without {option}")
            }
            Cause::NotBuilt(option, true) => write!(
                f,
                "this kernel is built without {option}, or a seccomp filter hides the call; allow \
                 it in the filter"
            ),
            Cause::TooOld(what) => f.write_str(what),
            Cause::NotMounted(what) => f.write_str(what),
            Cause::Other => f.write_str("the kernel refuses"),
        }
    }
}

/// Writes which capabilities are needed, and which sysctl makes them necessary.
fn needs(
    f: &mut fmt::Formatter<'_>,
    names: &[&str],
    sysctl: &Option<(&'static str, i64)>,
) -> fmt::Result {
    let word = if names.len() == 1 { "capability" } else { "capabilities" };
    write!(f, "needs the {word} {}", names.join(" and "))?;
    if let Some((name, value)) = sysctl {
        write!(f, ", as {name} is {value}")?;
    }
    f.write_str("; run fsmon as root (sudo fsmon ...), or give it")
}
