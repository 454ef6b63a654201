//! Facts that decide whether the kernel refuses a call of set-up: privileges, limits, sysctls. fsmon reads them after a
//! call was refused, so that the error names the cause on this host.

use super::procfs;
use crate::sys::fd::eventfd;
use crate::sys::limit::{Resource, UNLIMITED};
use std::fs;
use std::path::{Path, PathBuf};

/// A capability. The value is its number in linux/capability.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cap {
    DacOverride = 1,
    DacReadSearch = 2,
    NetAdmin = 12,
    IpcLock = 14,
    SysAdmin = 21,
    SysResource = 24,
    Perfmon = 38,
    Bpf = 39,
}

impl Cap {
    /// Its name in capabilities(7).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Cap::DacOverride => "CAP_DAC_OVERRIDE",
            Cap::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Cap::NetAdmin => "CAP_NET_ADMIN",
            Cap::IpcLock => "CAP_IPC_LOCK",
            Cap::SysAdmin => "CAP_SYS_ADMIN",
            Cap::SysResource => "CAP_SYS_RESOURCE",
            Cap::Perfmon => "CAP_PERFMON",
            Cap::Bpf => "CAP_BPF",
        }
    }
}

/// The mode of kernel_lockdown(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lockdown {
    None,
    Integrity,
    Confidentiality,
}

/// The facts. `None`: not known, as /proc or /sys does not show it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The effective capabilities, one bit each.
    pub(crate) caps: Option<u64>,
    /// Whether this process has a seccomp filter.
    pub(crate) seccomp: bool,
    /// Whether this process is in the initial user namespace. Capabilities of other user namespaces do not count for
    /// calls that affect the whole host.
    pub(crate) initial_user_namespace: Option<bool>,
    /// Whether this process is in the initial pid namespace.
    pub(crate) initial_pid_namespace: Option<bool>,
    pub(crate) lockdown: Option<Lockdown>,
    /// Active security modules with rules that can refuse calls, such as `apparmor`.
    pub(crate) modules: Vec<String>,
    /// `RLIMIT_NOFILE`.
    pub(crate) descriptors_max: Option<u64>,
    /// Whether this process cannot open another file descriptor (EMFILE).
    pub(crate) descriptors_used_up: bool,
    /// `RLIMIT_MEMLOCK` in bytes; `None` if unlimited.
    pub(crate) locked_max: Option<u64>,
    /// `RLIMIT_NPROC`; `None` if unlimited.
    pub(crate) processes_max: Option<u64>,
    /// The control group that has reached its limit of processes and threads, and the limit (`pids.max`).
    pub(crate) full_group: Option<(PathBuf, u64)>,
    /// `kernel.perf_event_paranoid`.
    pub(crate) perf_paranoid: Option<i64>,
    /// `kernel.io_uring_disabled` (Linux 6.6).
    pub(crate) uring_disabled: Option<i64>,
    /// `fs.fanotify.max_user_groups`.
    pub(crate) groups_max: Option<i64>,
    /// `fs.fanotify.max_user_marks`.
    pub(crate) marks_max: Option<i64>,
    /// `fs.file-max`.
    pub(crate) files_max: Option<i64>,
    /// Whether tracefs is mounted at one of the usual places. `None` if this process lacks the permission to look
    /// there.
    pub(crate) tracefs_mounted: Option<bool>,
    /// Major and minor number of the kernel.
    pub(crate) kernel: Option<(u32, u32)>,
}

impl Facts {
    /// Reads the facts. Allocates, and opens one file at a time. A fact that cannot be read is `None`.
    pub(crate) fn read() -> Self {
        // This comes first, as the rest needs a descriptor, too.
        let made = eventfd().err().and_then(|error| error.raw_os_error());
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let soft = |resource: Resource| resource.get().ok().map(|limit| limit.soft);
        let limited = |resource| soft(resource).filter(|&soft| soft != UNLIMITED);
        Facts {
            caps: field(&status, "CapEff:").and_then(|text| u64::from_str_radix(text, 16).ok()),
            seccomp: field(&status, "Seccomp:").is_some_and(|mode| mode != "0"),
            initial_user_namespace: procfs::in_initial_user_namespace(),
            initial_pid_namespace: procfs::in_initial_pid_namespace(),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
                .ok()
                .and_then(|text| lockdown(&text)),
            modules: modules(&fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default()),
            descriptors_max: soft(Resource::Descriptors),
            descriptors_used_up: made == Some(libc::EMFILE),
            locked_max: limited(Resource::LockedMemory),
            processes_max: limited(Resource::Processes),
            full_group: full_group(),
            perf_paranoid: sysctl("kernel/perf_event_paranoid"),
            uring_disabled: sysctl("kernel/io_uring_disabled"),
            groups_max: sysctl("fs/fanotify/max_user_groups"),
            marks_max: sysctl("fs/fanotify/max_user_marks"),
            files_max: sysctl("fs/file-max"),
            tracefs_mounted: any_exists(&[
                "/sys/kernel/tracing/events",
                "/sys/kernel/debug/tracing/events",
            ]),
            kernel: version(&super::host::kernel()),
        }
    }

    /// Whether this process is known to lack the capability.
    pub(crate) fn lacks(&self, cap: Cap) -> bool {
        self.caps.is_some_and(|caps| caps & (1 << cap as u8) == 0)
    }
}

/// The value of the line of /proc/PID/status that begins with `name`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Whether one of the paths exists. `None` if none is known to exist, and for one of them it cannot be found out.
fn any_exists(paths: &[&str]) -> Option<bool> {
    let found: Vec<_> = paths.iter().map(|path| Path::new(path).try_exists().ok()).collect();
    match found.contains(&Some(true)) {
        true => Some(true),
        false => (!found.contains(&None)).then_some(false),
    }
}

/// The mode in brackets, for example of `none [integrity] confidentiality`.
fn lockdown(text: &str) -> Option<Lockdown> {
    match text.split(['[', ']']).nth(1)? {
        "none" => Some(Lockdown::None),
        "integrity" => Some(Lockdown::Integrity),
        "confidentiality" => Some(Lockdown::Confidentiality),
        _ => None,
    }
}

/// The security modules of a list such as `lockdown,capability,yama,apparmor` that have rules which can refuse calls.
fn modules(list: &str) -> Vec<String> {
    let with_rules = ["apparmor", "selinux", "smack", "tomoyo", "bpf", "landlock"];
    list.trim().split(',').filter(|name| with_rules.contains(name)).map(str::to_owned).collect()
}

fn sysctl(name: &str) -> Option<i64> {
    fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().parse().ok()
}

/// The control group at or above ours that has reached its limit of processes and threads (`pids.max` of the version 2
/// hierarchy), and the limit.
fn full_group() -> Option<(PathBuf, u64)> {
    let mount = super::mounts::cgroup2()?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let number = |dir: &Path, file: &str| -> Option<u64> {
        fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
    };
    let dir = mount.join(own);
    let groups = dir.ancestors().take_while(|dir| dir.starts_with(&mount));
    groups.into_iter().find_map(|dir| {
        let max = number(dir, "pids.max")?;
        (number(dir, "pids.current")? >= max).then(|| (dir.to_owned(), max))
    })
}

/// `(6, 18)` of `6.18.1-rc1`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok);
    next().zip(next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_parsed() {
        assert_eq!(lockdown("none [integrity] confidentiality\n"), Some(Lockdown::Integrity));
        assert_eq!(lockdown("[none] integrity confidentiality\n"), Some(Lockdown::None));
        assert_eq!(lockdown(""), None);
        assert_eq!(modules("lockdown,capability,yama,apparmor\n"), ["apparmor"]);
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(field("Name:\tx\nCapEff:\t000001ff\n", "CapEff:"), Some("000001ff"));
    }

    #[test]
    fn a_path_that_gives_another_error_than_enoent_is_not_known() {
        // ENAMETOOLONG.
        let unseen = format!("/{}", "x".repeat(300));
        assert_eq!(any_exists(&["/no/such", "/"]), Some(true));
        assert_eq!(any_exists(&["/no/such"]), Some(false));
        assert_eq!(any_exists(&["/no/such", &unseen]), None);
        assert_eq!(any_exists(&[&unseen, "/"]), Some(true));
    }

    #[test]
    fn the_facts_of_this_process_are_known() {
        let facts = Facts::read();
        assert!(facts.caps.is_some() && facts.kernel >= Some((5, 17)));
        assert!(!facts.descriptors_used_up);
    }
}
