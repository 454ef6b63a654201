//! Finds the cause of a refused call, from the call, the errno and the [`Facts`] of this process and host.
//!
//! The errno alone is not enough. EMFILE of fanotify_init(2) means that the user has too many groups, or that the
//! process has too many descriptors. EPERM can come from a missing capability, a sysctl, a seccomp filter, a kernel
//! that is locked down, a namespace or a security module.

use super::facts::{Cap, Facts, Lockdown};
use super::remedy::{Call, Cause};
use std::io;

impl Cause {
    /// The cause of `error`, which `call` returned.
    pub(crate) fn of(call: Call, error: &io::Error, facts: &Facts) -> Cause {
        match (error.raw_os_error(), error.kind()) {
            (Some(libc::EMFILE), _) => match call {
                Call::FanotifyInit if !facts.descriptors_used_up => Cause::Groups(facts.groups_max),
                _ => Cause::Descriptors(facts.descriptors_max),
            },
            (Some(libc::ENFILE), _) => Cause::Files(facts.files_max),
            (Some(libc::ENOSPC), _) if call == Call::FanotifyMark => Cause::Marks(facts.marks_max),
            (Some(libc::ENOMEM), _) => memory(call, facts).unwrap_or(Cause::Memory),
            (Some(libc::EAGAIN), _) if call == Call::Thread => threads(facts),
            (Some(libc::EXDEV), _) if call == Call::Directory => hidden(facts),
            (Some(libc::ENOSYS), _) => not_built(call, facts),
            (Some(libc::EINVAL), _) => too_old(call, facts),
            (Some(libc::E2BIG), _) if call == Call::Bpf => {
                Cause::TooOld("this kernel does not know what is asked of it; run a newer one")
            }
            (Some(libc::EPROTONOSUPPORT), _) if call == Call::Connector => {
                Cause::NotBuilt("CONFIG_PROC_EVENTS", false)
            }
            // The kernel's end of the socket is only in the initial network namespace (`cn_init()` in
            // drivers/connector/connector.c).
            (Some(libc::ECONNREFUSED), _) if call == Call::Connector => Cause::NetNamespace,
            (Some(libc::ENODEV), _) if call == Call::Tracefs => not_built(call, facts),
            (_, io::ErrorKind::NotFound) => not_found(call, error.raw_os_error(), facts),
            // Outside of the initial namespaces the connector accepts the request and does nothing (see
            // `open_connector`).
            (None, io::ErrorKind::Unsupported) if call == Call::Connector => not_heard(facts),
            (None, io::ErrorKind::Unsupported) if facts.initial_pid_namespace == Some(false) => {
                Cause::PidNamespace
            }
            // The error has the words of the verifier.
            (None, _) if call == Call::Bpf => locked_down(call, facts).unwrap_or(Cause::Other),
            (_, io::ErrorKind::PermissionDenied) => forbidden(call, error.raw_os_error(), facts),
            _ => Cause::Other,
        }
    }
}

/// A mount hides a directory from a walk, which the kernel did not let clone the mount that it is on (open_tree(2)).
fn hidden(facts: &Facts) -> Cause {
    Cause::Hidden(match (facts.lacks(Cap::SysAdmin), facts.seccomp) {
        (true, _) => "run fsmon as root (sudo fsmon ...), or give it CAP_SYS_ADMIN",
        (false, true) => "allow open_tree and mount_setattr in its seccomp filter",
        (false, false) => "make the mount around it private, so that it can be cloned (mount(8))",
    })
}

/// Whether `RLIMIT_MEMLOCK` can be the cause of a lack of memory. If it is reached, io_uring returns ENOMEM
/// (`io_account_mem()`), and perf returns EPERM (`perf_mmap()` in kernel/events/core.c).
fn memory(call: Call, facts: &Facts) -> Option<Cause> {
    let max = facts.locked_max.filter(|_| matches!(call, Call::Uring | Call::PerfRing))?;
    facts.lacks(Cap::IpcLock).then_some(Cause::LockedMemory(max))
}

/// The limit that prevents another thread. pthread_create(3) returns EAGAIN for each of these limits.
fn threads(facts: &Facts) -> Cause {
    if let Some((dir, max)) = &facts.full_group {
        return Cause::Group(dir.clone(), *max);
    }
    // `RLIMIT_NPROC` does not apply to root and to processes with one of these capabilities (`copy_process()` in
    // kernel/fork.c).
    let bound = facts.lacks(Cap::SysAdmin) && facts.lacks(Cap::SysResource);
    facts.processes_max.filter(|_| bound).map_or(Cause::Threads, Cause::Processes)
}

/// ENOSYS or ENODEV: the option of the kernel's configuration that the call needs.
fn not_built(call: Call, facts: &Facts) -> Cause {
    let option = match call {
        Call::FanotifyInit | Call::FanotifyMark => "CONFIG_FANOTIFY",
        Call::Uring => "CONFIG_IO_URING",
        Call::PerfOpen => "CONFIG_PERF_EVENTS",
        Call::Bpf => "CONFIG_BPF_SYSCALL",
        Call::Tracefs => "CONFIG_FTRACE",
        Call::Handle => "CONFIG_FHANDLE",
        // Every kernel has the other calls.
        _ => return if facts.seccomp { Cause::Seccomp } else { Cause::Other },
    };
    Cause::NotBuilt(option, facts.seccomp)
}

/// EINVAL: the kernel does not know a flag, because it is too old.
fn too_old(call: Call, facts: &Facts) -> Cause {
    match call {
        Call::FanotifyInit => Cause::TooOld(
            "this kernel's fanotify does not report renames with names; fsmon needs Linux 5.17 or \
             newer",
        ),
        Call::FanotifyMark => {
            Cause::TooOld("the kernel refuses these event types; fsmon needs Linux 5.17 or newer")
        }
        Call::Uring => Cause::TooOld("needs Linux 6.1"),
        // If the kernel is locked down, the verifier refuses programs that read its memory.
        Call::Bpf => locked_down(call, facts).unwrap_or(Cause::Other),
        _ => Cause::Other,
    }
}

/// EPERM or EACCES.
fn forbidden(call: Call, error: Option<i32>, facts: &Facts) -> Cause {
    if call == Call::PerfRing
        && let Some(cause) = memory(call, facts)
    {
        return cause;
    }
    if call == Call::Uring
        && let Some(value @ 1..) = facts.uring_disabled
        && (value > 1 || facts.lacks(Cap::SysAdmin))
    {
        return Cause::Sysctl("kernel.io_uring_disabled", value);
    }
    let missing = missing(call, facts);
    if !missing.is_empty() {
        let names = missing.into_iter().map(Cap::name).collect();
        let paranoid = facts.perf_paranoid.map(|value| ("kernel.perf_event_paranoid", value));
        return Cause::Capabilities(names, paranoid.filter(|_| call == Call::PerfOpen));
    }
    if call == Call::Directory && error == Some(libc::EACCES) {
        // Root gets EACCES from FUSE without `allow_root`, and from NFS with `root_squash`.
        let bound = facts.lacks(Cap::DacReadSearch) && facts.lacks(Cap::DacOverride);
        return if bound { Cause::Unreadable } else { Cause::Other };
    }
    let whole_host = matches!(
        call,
        Call::FanotifyInit
            | Call::FanotifyMark
            | Call::PerfOpen
            | Call::Bpf
            | Call::Connector
            | Call::Tracefs
    );
    if whole_host && facts.initial_user_namespace == Some(false) {
        return Cause::UserNamespace;
    }
    if let Some(cause) = locked_down(call, facts) {
        return cause;
    }
    if call == Call::Tracefs && facts.tracefs_mounted == Some(false) {
        return NO_TRACEFS;
    }
    if facts.seccomp {
        return Cause::Seccomp;
    }
    match facts.modules.is_empty() {
        true => Cause::Forbidden,
        false => Cause::Module(facts.modules.clone()),
    }
}

const NO_TRACEFS: Cause = Cause::NotMounted(
    "tracefs is not mounted; mount it: mount -t tracefs tracefs /sys/kernel/tracing",
);

/// The capabilities that the call needs and this process lacks.
fn missing(call: Call, facts: &Facts) -> Vec<Cap> {
    let lacks = |cap| facts.lacks(cap);
    // `CAP_SYS_ADMIN` includes the capabilities that were split from it (`perfmon_capable()`, `bpf_capable()`).
    let lacks_both = |cap: &Cap| lacks(*cap) && lacks(Cap::SysAdmin);
    let needed: &[Cap] = match call {
        Call::FanotifyInit | Call::FanotifyMark => &[Cap::SysAdmin],
        Call::PerfOpen => &[Cap::Perfmon],
        Call::Bpf => &[Cap::Bpf, Cap::Perfmon],
        // Since Linux 6.6 listening needs no capability (`cn_bind()` in drivers/connector/connector.c).
        Call::Connector if facts.kernel < Some((6, 6)) => {
            return [Cap::NetAdmin].into_iter().filter(|cap| lacks(*cap)).collect();
        }
        Call::Tracefs if facts.tracefs_mounted != Some(false) => {
            let unreadable = lacks(Cap::DacReadSearch) && lacks(Cap::DacOverride);
            return if unreadable { vec![Cap::DacReadSearch] } else { Vec::new() };
        }
        _ => &[],
    };
    needed.iter().copied().filter(lacks_both).collect()
}

/// Whether kernel_lockdown(7) forbids the call. `LOCKDOWN_BPF_READ_KERNEL` and `LOCKDOWN_TRACEFS` of linux/security.h
/// are refused in the mode confidentiality only.
fn locked_down(call: Call, facts: &Facts) -> Option<Cause> {
    let concerns = matches!(call, Call::Bpf | Call::Tracefs);
    (concerns && facts.lockdown == Some(Lockdown::Confidentiality))
        .then_some(Cause::Lockdown("confidentiality"))
}

/// ENOENT.
fn not_found(call: Call, error: Option<i32>, facts: &Facts) -> Cause {
    match call {
        // A kernel that is locked down makes no files in tracefs (`tracefs_create_file()`).
        Call::Tracefs => {
            locked_down(call, facts).unwrap_or(Cause::NotBuilt("CONFIG_FTRACE", false))
        }
        // With an errno the BTF file is missing. Without, a type or member is missing in it.
        Call::Bpf if error.is_some() => Cause::NotBuilt("CONFIG_DEBUG_INFO_BTF", false),
        Call::Bpf => {
            Cause::TooOld("the kernel lacks something that is asked of it; run a newer one")
        }
        Call::Proc => Cause::NotMounted("it is not mounted; mount it: mount -t proc proc /proc"),
        Call::Cpus => Cause::NotMounted("it is not mounted; mount it: mount -t sysfs sysfs /sys"),
        _ => Cause::Other,
    }
}

/// The connector accepted the request without an acknowledgement, or refused it.
fn not_heard(facts: &Facts) -> Cause {
    let names: Vec<_> = missing(Call::Connector, facts).into_iter().map(Cap::name).collect();
    match (facts.initial_pid_namespace, facts.initial_user_namespace) {
        (Some(false), _) => Cause::PidNamespace,
        (_, Some(false)) => Cause::UserNamespace,
        _ if !names.is_empty() => Cause::Capabilities(names, None),
        _ => Cause::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The facts of root on a host without restrictions.
    fn root() -> Facts {
        Facts {
            caps: Some(u64::MAX),
            descriptors_max: Some(1024),
            groups_max: Some(128),
            perf_paranoid: Some(2),
            tracefs_mounted: Some(true),
            kernel: Some((6, 12)),
            ..Facts::default()
        }
    }

    fn without(caps: &[Cap]) -> Facts {
        let bits: u64 = caps.iter().map(|cap| 1u64 << *cap as u8).sum();
        Facts { caps: Some(!bits), ..root() }
    }

    #[track_caller]
    fn says(call: Call, errno: i32, facts: &Facts, words: &[&str], never: &[&str]) {
        let text = Cause::of(call, &io::Error::from_raw_os_error(errno), facts).to_string();
        for word in words {
            assert!(text.contains(word), "{word} is not in: {text}");
        }
        for word in never {
            assert!(!text.contains(word), "{word} is in: {text}");
        }
    }

    #[test]
    fn emfile_names_descriptors_or_groups_whichever_is_used_up() {
        let used_up = Facts { descriptors_used_up: true, ..root() };
        let (groups, files) = (["max_user_groups is 128"], ["RLIMIT_NOFILE is 1024", "ulimit -n"]);
        says(Call::FanotifyInit, libc::EMFILE, &root(), &groups, &["RLIMIT"]);
        says(Call::FanotifyInit, libc::EMFILE, &used_up, &files, &["groups"]);
        says(Call::Proc, libc::EMFILE, &root(), &files, &["mount"]);
        says(Call::PerfOpen, libc::EMFILE, &root(), &files, &["CAP_", "groups"]);
        says(Call::Proc, libc::ENOENT, &root(), &["mount -t proc"], &["RLIMIT"]);
    }

    #[test]
    fn locked_memory_is_named_only_if_it_is_limited() {
        let locked = Some(1 << 20);
        let bound = Facts { locked_max: locked, ..without(&[Cap::IpcLock]) };
        let free = Facts { locked_max: locked, ..root() };
        let limit = ["RLIMIT_MEMLOCK is 1024 KiB", "ulimit -l"];
        says(Call::Uring, libc::ENOMEM, &bound, &limit, &["memory.max"]);
        says(Call::Uring, libc::ENOMEM, &free, &["memory.max"], &["RLIMIT"]);
        says(Call::PerfRing, libc::EPERM, &bound, &limit, &["PERFMON"]);
        says(Call::FanotifyMark, libc::ENOMEM, &bound, &["memory.max"], &["RLIMIT"]);
    }

    #[test]
    fn only_missing_capabilities_are_named() {
        let all = [Cap::SysAdmin, Cap::Bpf, Cap::Perfmon, Cap::NetAdmin];
        let none = without(&all);
        says(Call::FanotifyInit, libc::EPERM, &none, &["CAP_SYS_ADMIN"], &["BPF"]);
        says(Call::Bpf, libc::EPERM, &none, &["CAP_BPF and CAP_PERFMON"], &["SYS_ADMIN"]);
        let perfmon = without(&[Cap::SysAdmin, Cap::Bpf]);
        says(Call::Bpf, libc::EPERM, &perfmon, &["capability CAP_BPF;"], &["PERFMON"]);
        let paranoid = ["CAP_PERFMON", "perf_event_paranoid is 2"];
        says(Call::PerfOpen, libc::EACCES, &none, &paranoid, &["CAP_BPF"]);
        let debian = Facts { kernel: Some((6, 1)), ..without(&[Cap::NetAdmin]) };
        says(Call::Connector, libc::EPERM, &debian, &["CAP_NET_ADMIN"], &["BPF", "PERFMON"]);
        says(Call::Bpf, libc::EPERM, &debian, &["confines"], &["CAP_"]);
    }

    #[test]
    fn the_restriction_that_applies_to_root_is_named() {
        let seccomp = Facts { seccomp: true, ..root() };
        says(Call::FanotifyInit, libc::EPERM, &seccomp, &["seccomp"], &["CAP_"]);
        says(Call::FanotifyInit, libc::ENOSYS, &seccomp, &["CONFIG_FANOTIFY", "seccomp"], &[]);
        says(Call::FanotifyInit, libc::ENOSYS, &root(), &["CONFIG_FANOTIFY"], &["seccomp"]);
        let module = Facts { modules: vec!["apparmor".into()], ..root() };
        says(Call::Bpf, libc::EACCES, &module, &["apparmor"], &["CAP_"]);
        let inner = Facts { initial_user_namespace: Some(false), ..root() };
        says(Call::FanotifyInit, libc::EPERM, &inner, &["user namespace"], &["CAP_"]);
        let sysctl = Facts { uring_disabled: Some(2), ..seccomp };
        says(Call::Uring, libc::EPERM, &sysctl, &["kernel.io_uring_disabled is 2"], &["seccomp"]);
    }

    #[test]
    fn what_a_mount_hides_names_what_forbids_to_look_below() {
        let seccomp = Facts { seccomp: true, ..root() };
        let all = ["something is mounted on it"];
        says(Call::Directory, libc::EXDEV, &root(), &[all[0], "private"], &["CAP_"]);
        says(Call::Directory, libc::EXDEV, &seccomp, &[all[0], "open_tree"], &["CAP_"]);
        let bound = without(&[Cap::SysAdmin]);
        says(Call::Directory, libc::EXDEV, &bound, &[all[0], "CAP_SYS_ADMIN"], &["seccomp"]);
        says(Call::FanotifyMark, libc::EXDEV, &root(), &[], &all);
    }

    #[test]
    fn econnrefused_of_the_connector_names_the_network_namespace() {
        let (words, never) = (["network namespace"], ["CONFIG_"]);
        says(Call::Connector, libc::ECONNREFUSED, &root(), &words, &never);
        let (words, never) = (["CONFIG_PROC_EVENTS"], ["namespace"]);
        says(Call::Connector, libc::EPROTONOSUPPORT, &root(), &words, &never);
    }

    #[test]
    fn lockdown_is_named_if_it_forbids_the_call() {
        let locked = Facts { lockdown: Some(Lockdown::Confidentiality), ..root() };
        let words = ["lockdown=confidentiality"];
        says(Call::Tracefs, libc::ENOENT, &locked, &words, &["CONFIG_FTRACE"]);
        says(Call::Tracefs, libc::ENOENT, &root(), &["CONFIG_FTRACE"], &["lockdown"]);
        says(Call::Bpf, libc::EPERM, &locked, &words, &["CAP_"]);
        says(Call::Bpf, libc::EINVAL, &locked, &words, &[]);
        let integrity = Facts { lockdown: Some(Lockdown::Integrity), ..root() };
        says(Call::Bpf, libc::EPERM, &integrity, &["confines"], &["lockdown"]);
    }

    #[test]
    fn for_threads_the_limit_that_was_reached_is_named() {
        let facts = Facts { processes_max: Some(7), ..root() };
        says(Call::Thread, libc::EAGAIN, &facts, &["threads-max"], &["RLIMIT"]);
        let bound = without(&[Cap::SysAdmin, Cap::SysResource]);
        let bound = Facts { processes_max: Some(7), ..bound };
        says(Call::Thread, libc::EAGAIN, &bound, &["RLIMIT_NPROC is 7"], &["threads-max"]);
        let full = Facts { full_group: Some(("/sys/fs/cgroup/a".into(), 9)), ..bound };
        says(
            Call::Thread,
            libc::EAGAIN,
            &full,
            &["/sys/fs/cgroup/a", "pids.max is 9"],
            &["RLIMIT"],
        );
    }

    /// Every errno of every call gives one line, and no line names a capability that root has.
    #[test]
    fn every_call_and_errno_gives_one_line() {
        use Call::*;
        let calls = [
            FanotifyInit,
            FanotifyMark,
            Uring,
            PerfOpen,
            PerfRing,
            Bpf,
            Tracefs,
            Connector,
            Proc,
            Cpus,
            Directory,
            Handle,
            Thread,
            Plain,
        ];
        let facts = root();
        for call in calls {
            for errno in 1..134 {
                let error = io::Error::from_raw_os_error(errno);
                let cause = Cause::of(call, &error, &facts);
                let text = cause.to_string();
                assert!(!text.is_empty() && !text.contains('\n'), "{text}");
                assert!(!text.contains("CAP_"), "root has all capabilities: {text}");
            }
        }
    }
}
