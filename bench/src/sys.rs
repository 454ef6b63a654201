//! Every system call that the standard library does not offer, each behind a safe function.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The class and the mask that fsmon uses by default.
const FANOTIFY_FLAGS: u32 = libc::FAN_CLASS_NOTIF
    | libc::FAN_CLOEXEC
    | libc::FAN_NONBLOCK
    | libc::FAN_UNLIMITED_QUEUE
    | libc::FAN_UNLIMITED_MARKS
    | libc::FAN_REPORT_FID
    | libc::FAN_REPORT_DIR_FID
    | libc::FAN_REPORT_NAME
    | libc::FAN_REPORT_TARGET_FID;
const FANOTIFY_MASK: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_RENAME
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_ATTRIB
    | libc::FAN_ONDIR;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

fn pid_t(pid: u32) -> libc::pid_t {
    pid.cast_signed()
}

/// A fanotify descriptor that reports the whole filesystem of `path`, as fsmon would ask for it.
pub(crate) fn fanotify(path: &Path, modify: bool) -> io::Result<File> {
    let mask = FANOTIFY_MASK | if modify { libc::FAN_MODIFY } else { 0 };
    let flags = libc::O_RDONLY | libc::O_LARGEFILE | libc::O_CLOEXEC;
    // SAFETY: takes no pointer. A descriptor that is returned is new and owned by no one else.
    let file = unsafe {
        let fd = check(libc::fanotify_init(FANOTIFY_FLAGS, flags.cast_unsigned()))?;
        File::from_raw_fd(fd)
    };
    let path = c_path(path)?;
    let mark = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    // SAFETY: the descriptor is open, the path NUL-terminated and alive during the call.
    check(unsafe { libc::fanotify_mark(fd, mark, mask, libc::AT_FDCWD, path.as_ptr()) })?;
    Ok(file)
}

/// CPU time that a process has used, its ended threads included, ns.
pub(crate) fn process_cpu_ns(pid: u32) -> io::Result<u64> {
    let mut clock = 0;
    // SAFETY: `clock` is written before the call returns 0.
    match unsafe { libc::clock_getcpuclockid(pid_t(pid), &raw mut clock) } {
        0 => clock_ns(clock),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// CPU time that this process has used, ns.
pub(crate) fn own_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID).expect("Linux has had this clock since 2.6.12")
}

/// CPU time that this process and the children that it waited for have used, ns.
pub(crate) fn family_cpu_ns() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is to room for the struct, which is filled when 0 is returned.
    let children = unsafe {
        check(libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()))
            .expect("the arguments are right");
        usage.assume_init()
    };
    let ns = |time: libc::timeval| (time.tv_sec * 1_000_000 + time.tv_usec).cast_unsigned() * 1000;
    own_cpu_ns() + ns(children.ru_utime) + ns(children.ru_stime)
}

fn clock_ns(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the kernel fills `time` when it returns 0, and only then it is read.
    let time = unsafe {
        check(libc::clock_gettime(clock, time.as_mut_ptr()))?;
        time.assume_init()
    };
    Ok(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
}

/// Waits for a child and gives its exit code; `None` when a signal ended it.
pub(crate) fn wait(pid: u32) -> io::Result<Option<i32>> {
    wait_for(pid_t(pid))
}

/// Waits for whichever child ends first.
pub(crate) fn wait_any() -> io::Result<Option<i32>> {
    wait_for(-1)
}

fn wait_for(pid: libc::pid_t) -> io::Result<Option<i32>> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a live int.
        match check(unsafe { libc::waitpid(pid, &raw mut status, 0) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))),
        }
    }
}

/// Sends a signal to a child that was not waited for yet, so its pid cannot be another's.
pub(crate) fn kill(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::kill(pid_t(pid), signal) }).map(drop)
}

/// Which side of a fork this is.
pub(crate) enum Fork {
    /// The new process.
    Child,
    /// The old one, with the new one's pid.
    Parent(u32),
}

/// Forks. For the workload's processes only, whose other threads, if any, hold no lock.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: no other thread does anything in the processes that call this, so the child may go
    // on as if nothing had happened.
    Ok(match check(unsafe { libc::fork() })? {
        0 => Fork::Child,
        pid => Fork::Parent(pid.cast_unsigned()),
    })
}

/// Forks children with one and the same pid, each after the one before was waited for: the pid is
/// the one that the kernel gave to the first. For processes of one thread.
#[derive(Default)]
pub(crate) struct SamePid(Option<u32>);

impl SamePid {
    /// Forks. Needs CAP_CHECKPOINT_RESTORE, as root has (clone3(2), `set_tid`).
    pub(crate) fn fork(&mut self) -> io::Result<Fork> {
        match self.0.map(fork_as) {
            // Somebody else's by now: another one, from then on.
            Some(Err(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Some(done) => return done,
            None => {}
        }
        let fork = fork()?;
        if let Fork::Parent(pid) = fork {
            self.0 = Some(pid);
        }
        Ok(fork)
    }
}

fn fork_as(pid: u32) -> io::Result<Fork> {
    let pid = pid_t(pid);
    let size = std::mem::size_of::<libc::clone_args>();
    // SAFETY: zero is a valid value of every field: no flags, no stack of its own.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = libc::SIGCHLD as u64;
    args.set_tid = std::ptr::from_ref(&pid) as u64;
    args.set_tid_size = 1;
    // SAFETY: the arguments are alive during the call, and `size` is their size. Without CLONE_VM the
    // child has a copy of all memory, as after fork; what the C library does not learn by this way
    // is the child's thread id, which nothing here asks it for.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(u32::try_from(pid).expect("a process id"))),
    }
}

/// Makes this process the parent of descendants whose parent dies.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }).map(drop)
}

/// Ends the calling thread alone, be it the first.
pub(crate) fn end_thread() -> ! {
    // SAFETY: takes no pointer and does not return. Nothing on this thread's stack is lent to
    // another thread.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("exit(2) does not return");
}

/// Opens a file again under this descriptor number, which stays open over exec.
pub(crate) fn open_as(fd: i32, file: &File) -> io::Result<()> {
    // SAFETY: takes no pointer; in the processes that call this nothing else has the number.
    check(unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(file), fd) }).map(drop)
}

/// Leaves at once, without flushing anything twice: for a forked child.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: always sound; it ends the process.
    unsafe { libc::_exit(code) }
}

/// Sets real, effective and saved group and user id of all threads.
pub(crate) fn set_user(id: u32) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::setresgid(id, id, id) })?;
    // SAFETY: takes no pointer.
    check(unsafe { libc::setresuid(id, id, id) }).map(drop)
}

/// The effective user id.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: always sound.
    unsafe { libc::geteuid() }
}

/// The effective group id.
pub(crate) fn effective_gid() -> u32 {
    // SAFETY: always sound.
    unsafe { libc::getegid() }
}

/// The kernel's name of the calling thread.
pub(crate) fn comm() -> String {
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes 16 bytes at most, a NUL among them.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let name = CStr::from_bytes_until_nul(&name).expect("the kernel ends it with NUL");
    name.to_string_lossy().into_owned()
}

/// Renames the calling thread, and with it the process if it is the first thread.
pub(crate) fn set_comm(name: &CStr) {
    // SAFETY: the name is NUL-terminated and alive during the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Makes the command end when this process does, so that nothing is left behind; and lets SIGINT
/// end it even where a shell that started this one in the background has that ignored.
pub(crate) fn for_this_run(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec it makes two system calls, without a lock or an allocation.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)).map(drop)
        })
    }
}

/// From now on no signal ends this process but SIGKILL.
pub(crate) fn ignore_stops() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGQUIT] {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Waits for a lock on a file, which is held until the file is closed.
pub(crate) fn lock(file: &File) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::flock(std::os::fd::AsRawFd::as_raw_fd(file), libc::LOCK_EX) }).map(drop)
}

/// Gives this process mounts of its own, which vanish with it.
pub(crate) fn own_mounts() -> io::Result<()> {
    // SAFETY: takes no pointer; this is called before any thread is started.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: source, type and data may be null for a change of propagation.
    let result = unsafe {
        libc::mount(std::ptr::null(), c"/".as_ptr(), std::ptr::null(), flags, std::ptr::null())
    };
    check(result).map(drop)
}

/// Mounts a new tmpfs.
pub(crate) fn mount_tmpfs(at: &Path) -> io::Result<()> {
    let (kind, at) = (c"tmpfs".as_ptr(), c_path(at)?);
    // SAFETY: all strings are NUL-terminated and alive during the call; data may be null.
    check(unsafe { libc::mount(kind, at.as_ptr(), kind, 0, std::ptr::null()) }).map(drop)
}

/// Takes a mount away, even if it is still in use.
pub(crate) fn unmount(at: &Path) -> io::Result<()> {
    let at = c_path(at)?;
    // SAFETY: the path is NUL-terminated and alive during the call.
    check(unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// The CPUs that this process may use, in order.
pub(crate) fn cpus() -> io::Result<Vec<usize>> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the kernel writes no more than the size given; an all-zero set is valid, and `cpu` stays
    // within it.
    unsafe {
        check(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()))?;
        let set = set.assume_init();
        Ok((0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect())
    }
}

/// From now on the calling thread, and what it starts, runs on these alone.
pub(crate) fn run_on(cpus: &[usize]) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: an all-zero set is valid; the CPUs come from `cpus`, so they lie within it.
    unsafe {
        cpus.iter().for_each(|cpu| libc::CPU_SET(*cpu, &mut *set.as_mut_ptr()));
        check(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set.as_ptr())).map(drop)
    }
}

/// The signals that stop a monitor; blocked, to wait for them.
pub(crate) struct StopSignal(libc::sigset_t);

impl StopSignal {
    /// Blocks SIGINT and SIGTERM.
    pub(crate) fn block() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set, and only then it is used.
        unsafe {
            check(libc::sigemptyset(set.as_mut_ptr()))?;
            check(libc::sigaddset(set.as_mut_ptr(), libc::SIGINT))?;
            check(libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM))?;
            check(libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()))?;
            Ok(StopSignal(set.assume_init()))
        }
    }

    /// Sleeps for `time` (less than a second); says whether a signal came.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
        // SAFETY: the set was initialised; no information about the signal is asked for.
        unsafe { libc::sigtimedwait(&raw const self.0, std::ptr::null_mut(), &raw const time) > 0 }
    }
}
