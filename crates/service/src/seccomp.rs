//! The system calls that each process of the daemon may still make once it is ready: seccomp(2), for all of its threads.
//!
//! Any other call fails with EPERM. It does not kill: a call that nobody thought of, made by a C library or for a name
//! service, is to cost a line and not the record. What is left out on purpose is what could give new rights or reach
//! other processes: executing a program, ptrace(2), mounting, loading programs into the kernel, changing users.

use fsmon_format::error::{Error, ErrorKind};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

/// A process of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    Front,
    Recorder,
}

/// What every thread of any program may need: memory, threads, time, signals, its own identity.
const OF_ALL: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_prlimit64,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_times,
    libc::SYS_uname,
];

/// Files, and sockets that are open already; and sockets of this host, by which the C library asks for users and groups.
const OF_FILES: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_sync_file_range,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_write,
    libc::SYS_writev,
];

/// The same by older numbers, which only this architecture has.
#[cfg(target_arch = "x86_64")]
const OF_X86: &[libc::c_long] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OF_X86: &[libc::c_long] = &[];

/// What the engine does all the time: its queue, handles, marks, mounts for walks, where it runs.
const OF_RECORDER: &[libc::c_long] = &[
    // For a trial whether a new mount can be marked.
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    // Attributes of overlays.
    libc::SYS_getxattr,
    // The indexer steps back behind all others.
    libc::SYS_ioprio_set,
    libc::SYS_io_uring_enter,
    // kill(PID, 0): whether a process is still there.
    libc::SYS_kill,
    libc::SYS_memfd_create,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_recvmmsg,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setscheduler,
];

/// Commands of bpf(2) on maps that are there (`enum bpf_cmd` in linux/bpf.h): none loads or attaches anything.
const OF_BPF_MAPS: [u64; 5] = [
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    4,  // BPF_MAP_GET_NEXT_KEY
    15, // BPF_OBJ_GET_INFO_BY_FD
];

/// Of prctl(2): the name of a thread, and capabilities that are given up (linux/prctl.h).
const OF_PRCTL: [u64; 5] = [
    15, // PR_SET_NAME
    16, // PR_GET_NAME
    23, // PR_CAPBSET_READ
    24, // PR_CAPBSET_DROP
    47, // PR_CAP_AMBIENT
];

/// Lets all threads of this process, and those that it starts, make no other system calls than these from now on.
///
/// # Errors
/// The kernel is built without seccomp filters, or refuses this one.
pub(crate) fn confine(process: Process) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Unsupported, format!("system calls cannot be restricted: {error}"))
    };
    let program = program(process).map_err(|error| failed(&error))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| failed(&error))
}

fn program(process: Process) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let own: &[&[libc::c_long]] = match process {
        Process::Front => &[],
        Process::Recorder => &[OF_RECORDER],
    };
    for call in [OF_ALL, OF_FILES, OF_X86].iter().chain(own).flat_map(|calls| calls.iter()) {
        // Without a condition.
        rules.insert(*call, Vec::new());
    }
    let is = |argument, value: u64| {
        let equal = SeccompCmpOp::Eq;
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, equal, value)?;
        SeccompRule::new(vec![condition])
    };
    rules.insert(libc::SYS_socket, vec![is(0, libc::AF_UNIX as u64)?]);
    let names = OF_PRCTL.iter().map(|name| is(0, *name));
    rules.insert(libc::SYS_prctl, names.collect::<Result<_, _>>()?);
    // Input that is pushed into a terminal would be executed by its shell.
    let is_not =
        |value: u64| SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value);
    let harmless = SeccompRule::new(vec![is_not(libc::TIOCSTI)?, is_not(libc::TIOCLINUX)?])?;
    rules.insert(libc::SYS_ioctl, vec![harmless]);
    if process == Process::Recorder {
        let commands = OF_BPF_MAPS.iter().map(|command| is(0, *command));
        rules.insert(libc::SYS_bpf, commands.collect::<Result<_, _>>()?);
    }
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let target = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, target)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use std::process::Command;
    use std::thread;

    /// What is done with a filter of `process` on one thread of these tests.
    fn confined<T: Send + 'static>(
        process: Process,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let run = move || {
            let program = program(process).expect("a program");
            seccompiler::apply_filter(&program).expect("applied");
            act()
        };
        thread::spawn(run).join().expect("it ended")
    }

    #[test]
    fn what_gives_rights_or_reaches_other_processes_is_refused() {
        for process in [Process::Front, Process::Recorder] {
            confined(process, move || {
                let refused = |result: std::io::Result<()>, what: &str| {
                    let errno = result.expect_err(what).raw_os_error();
                    assert_eq!(errno, Some(Errno::EPERM as i32), "{what}");
                };
                refused(Command::new("/bin/true").status().map(drop), "execve");
                let nix = |result: nix::Result<()>| result.map_err(std::io::Error::from);
                refused(nix(nix::unistd::chroot("/")), "chroot");
                let network = std::net::TcpStream::connect("127.0.0.1:9").map(drop);
                refused(network, "a socket of the network");
                // What is needed works.
                std::fs::read("/proc/self/stat").expect("read");
                thread::spawn(|| ()).join().expect("a thread");
            });
        }
    }
}
