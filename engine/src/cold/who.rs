//! Which sources of attribution work here, and opening them.

use super::{bpf, mounts, procfs};
use crate::config;
use crate::hot::who::perf_record::Layout;
use crate::hot::who::procfs::Cgroups;
use crate::hot::who::{OpenExec, Rung, Sources, Table, Teller, Who, sources};
use crate::plan::Probe;
use crate::sys::connector::Socket;
use crate::sys::fanotify::Group;
use crate::sys::perf::{self, Event, Ring};
use crate::{Error, limits};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// What was found out, and what is to be used.
pub struct Found {
    /// The best rung at or below the one asked for.
    pub who: config::Who,
    /// Everything that was tried.
    pub probes: Vec<Probe>,
    /// What is lost by it, one line each, with the remedy.
    pub losses: Vec<String>,
}

/// Sources that were opened.
pub(crate) struct Opened {
    rung: Rung,
    pub(crate) rings: Vec<Ring>,
    pub(crate) teller: Teller,
    pub(crate) socket: Option<Socket>,
    probes: Vec<Probe>,
}

const NO_LAYOUT: Layout = Layout { filename: 0, cgroup: false };

/// Tries what a rung needs, and the rungs below it until one works. Nothing stays open.
#[must_use]
pub fn probe(requested: config::Who) -> Found {
    let mut found = found(&mut open_sources(requested, None, false));
    if found.who == config::Who::Bpf {
        // What there would be without it.
        found.probes.extend(open_sources(config::Who::Tracepoint, None, false).probes);
    }
    found
}

fn found(opened: &mut Opened) -> Found {
    let mut losses = vec![rung_loss(opened.rung).to_owned()];
    if opened.socket.is_none() && matches!(opened.rung, Rung::Tracepoint | Rung::Comm) {
        losses.push(
            "without the proc connector the user of a process is read after the fact: \
             run in the initial pid and user namespace"
                .to_owned(),
        );
    }
    losses.retain(|loss| !loss.is_empty());
    Found { who: named(opened.rung), probes: std::mem::take(&mut opened.probes), losses }
}

/// Opens the sources of the best rung at or below the one requested, and fills the table with the
/// processes that run. From then on nothing is missed. With `cmdline` command lines are told, where
/// the rung can.
///
/// # Errors
/// A rung was asked for by name and does not work here; /proc cannot be read.
pub fn open(
    requested: config::Who,
    images_max: usize,
    group: BorrowedFd<'_>,
    cmdline: bool,
) -> Result<(Who, Found), Error> {
    let mut opened = open_sources(requested, Some(group), cmdline);
    if requested != config::Who::Auto && opened.rung != wish(requested) {
        let reason = opened.probes.iter().find(|probe| !probe.works);
        let reason = reason.map_or("not available", |probe| &probe.detail);
        return Err(Error::new(format!("the source of process names asked for: {reason}")));
    }
    let told_of_users = opened.socket.is_some() || opened.rung == Rung::Bpf;
    let mut table = Table::new(images_max, opened.rung, told_of_users, OpenExec::None);
    table.set_cgroups(cgroups());
    // The sources are open: what happens while /proc is read is told by them, and applied later.
    table.scan(true).map_err(|error| {
        Error::os("cannot read /proc, which tells of processes that run already: mount it", error)
    })?;
    let found = found(&mut opened);
    let sources = Sources::new(opened.rings, opened.teller, opened.socket, opened.rung);
    Ok((Who::new(table, sources), found))
}

/// Has command lines told from now on; gives what is lost where that cannot be done as it should.
pub fn read_cmdlines(who: &mut Who) -> Option<String> {
    who.read_cmdlines();
    let lost = match (who.are_cmdlines_told(), who.can_read_cmdlines()) {
        (true, true) => return None,
        (true, false) => {
            "command lines of processes that ran before fsmon are left out: this kernel does not \
             tell when one begins another exec"
        }
        (false, true) => {
            "command lines are read from /proc after the fact: those of short-lived processes are \
             left out; give CAP_BPF and CAP_PERFMON"
        }
        (false, false) => {
            "command lines are left out: with this source of process names one could be that of a \
             later exec; give CAP_PERFMON"
        }
    };
    Some(lost.to_owned())
}

/// Where control groups of running processes are looked up.
fn cgroups() -> Cgroups {
    mounts::cgroup2().map_or_else(Cgroups::default, |at| Cgroups::at(at.as_os_str().as_bytes()))
}

fn wish(requested: config::Who) -> Rung {
    match requested {
        config::Who::Auto | config::Who::Bpf => Rung::Bpf,
        config::Who::Tracepoint => Rung::Tracepoint,
        config::Who::Comm => Rung::Comm,
        config::Who::Connector => Rung::Connector,
        config::Who::Proc => Rung::Proc,
    }
}

fn named(rung: Rung) -> config::Who {
    match rung {
        Rung::Bpf => config::Who::Bpf,
        Rung::Tracepoint => config::Who::Tracepoint,
        Rung::Comm => config::Who::Comm,
        Rung::Connector => config::Who::Connector,
        Rung::Proc => config::Who::Proc,
    }
}

fn rung_loss(rung: Rung) -> &'static str {
    match rung {
        Rung::Bpf => "",
        Rung::Tracepoint => {
            "without BPF a change of user or name among a process's changes of files is flagged \
             ambiguous; give CAP_BPF and CAP_PERFMON"
        }
        Rung::Comm => {
            "without the exec tracepoint an event has no exe, and its cgroup is that at the start"
        }
        Rung::Connector => {
            "without perf the name of a process is read after exec: of short-lived ones it is \
             missed or wrong; give CAP_PERFMON"
        }
        Rung::Proc => {
            "without perf and the proc connector processes are looked up after the event: \
             short-lived ones are unknown; give CAP_PERFMON and CAP_NET_ADMIN"
        }
    }
}

/// `group` is the one to be watched; a scratch one is made where there is none yet.
fn open_sources(requested: config::Who, group: Option<BorrowedFd<'_>>, cmdline: bool) -> Opened {
    let wish = wish(requested);
    let mut opened = Opened {
        rung: Rung::Proc,
        rings: Vec::new(),
        teller: Teller::Perf(NO_LAYOUT),
        socket: None,
        probes: Vec::new(),
    };
    if wish == Rung::Bpf {
        let tried = open_bpf(group, cmdline);
        let detail = "everything, with its place among the changes of files";
        note(&mut opened.probes, "bpf", &tried, detail, bpf_remedy);
        if let Ok(found) = tried {
            return Opened { probes: opened.probes, ..found };
        }
    }
    if wish <= Rung::Tracepoint {
        let tried = open_tracepoint();
        let detail = "name given to exec, cgroup, fork and exit, as they happen";
        note(&mut opened.probes, "perf_tracepoint", &tried, detail, tracepoint_remedy);
        if let Ok((rings, layout)) = tried {
            (opened.rings, opened.rung) = (rings, Rung::Tracepoint);
            opened.teller = Teller::Perf(layout);
        }
    }
    if wish <= Rung::Comm && opened.rung > Rung::Comm {
        let tried = open_rings(Event::Comm);
        let detail = "name, fork and exit of processes, as they happen";
        note(&mut opened.probes, "perf_comm", &tried, detail, perf_remedy);
        if let Ok(rings) = tried {
            (opened.rings, opened.rung) = (rings, Rung::Comm);
        }
    }
    if wish <= Rung::Connector {
        let rung = opened.rung.min(Rung::Connector);
        let tried = open_connector(rung);
        let detail = "parents, and changes of user and group, as they happen";
        note(&mut opened.probes, "proc_connector", &tried, detail, connector_remedy);
        if let Ok(socket) = tried {
            (opened.socket, opened.rung) = (Some(socket), rung);
        }
    }
    opened
}

fn note<T>(
    probes: &mut Vec<Probe>,
    name: &'static str,
    tried: &io::Result<T>,
    gives: &str,
    remedy: fn(&io::Error) -> String,
) {
    let detail = tried.as_ref().map_or_else(remedy, |_| gives.to_owned());
    probes.push(Probe { name, works: tried.is_ok(), detail });
}

fn bpf_remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "the kernel lacks CONFIG_DEBUG_INFO_BTF or something that is asked of it ({error})"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("needs CAP_BPF and CAP_PERFMON, and a kernel that is not locked down ({error})")
        }
        _ => format!("not on this kernel ({error})"),
    }
}

fn tracepoint_remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("no sched_process_exec in tracefs: the kernel lacks CONFIG_FTRACE ({error})")
        }
        _ => format!(
            "needs CAP_PERFMON and tracefs readable (CAP_DAC_READ_SEARCH), or \
             kernel.perf_event_paranoid <= -1 ({error})"
        ),
    }
}

fn perf_remedy(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => format!("the kernel lacks CONFIG_PERF_EVENTS ({error})"),
        Some(libc::EMFILE) => format!("too many open files: raise ulimit -n ({error})"),
        _ => format!("needs CAP_PERFMON, or kernel.perf_event_paranoid <= 0 ({error})"),
    }
}

fn connector_remedy(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPROTONOSUPPORT) => format!("the kernel lacks CONFIG_PROC_EVENTS ({error})"),
        // Linux 6.6 let everyone listen (seen on 6.18).
        _ => format!(
            "only in the initial pid and user namespace; before Linux 6.6 it needs CAP_NET_ADMIN \
             too ({error})"
        ),
    }
}

/// What the best rung needs. Command lines are told where they are asked for.
///
/// # Errors
/// What keeps the programs from being set to work.
pub(crate) fn open_bpf(group: Option<BorrowedFd<'_>>, cmdline: bool) -> io::Result<Opened> {
    if !procfs::in_initial_pid_namespace() {
        // The programs know a process by its number there; file events have ours.
        let text = "only in the initial pid namespace";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let scratch;
    let group = match group {
        Some(group) => group,
        None => {
            scratch = Group::new(true)?;
            scratch.as_fd()
        }
    };
    let rings = open_rings(Event::Bpf)?;
    let cpus = perf::online_cpus()?;
    let socket = open_connector(Rung::Bpf)?;
    let attach = |cmdline| bpf::attach(group, socket.as_fd(), &cpus, &rings, cmdline);
    // Better without command lines than a worse source of everything else.
    let counted =
        attach(cmdline).or_else(|error| if cmdline { attach(false) } else { Err(error) })?;
    Ok(Opened {
        rung: Rung::Bpf,
        rings,
        teller: Teller::Bpf(counted),
        socket: Some(socket),
        probes: Vec::new(),
    })
}

fn open_tracepoint() -> io::Result<(Vec<Ring>, Layout)> {
    let (id, mut layout) = procfs::exec_tracepoint()?;
    match open_rings(Event::Tracepoint { id, cgroup: true }) {
        // No CONFIG_CGROUP_PERF.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            layout.cgroup = false;
            Ok((open_rings(Event::Tracepoint { id, cgroup: false })?, layout))
        }
        rings => Ok((rings?, layout)),
    }
}

/// A ring for each CPU, as big as may be had.
fn open_rings(event: Event) -> io::Result<Vec<Ring>> {
    let cpus = perf::online_cpus()?;
    let share = limits::PERF_RINGS_BYTES / cpus.len().max(1);
    let mut size = limits::PERF_RING_BYTES.min(share.next_power_of_two());
    size = size.max(limits::PERF_RING_BYTES_MIN);
    loop {
        let rings: io::Result<Vec<_>> =
            cpus.iter().map(|&cpu| Ring::open(event, cpu, size)).collect();
        match rings {
            // More memory than may be locked without a capability (kernel.perf_event_mlock_kb).
            Err(error)
                if size > limits::PERF_RING_BYTES_MIN
                    && matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOMEM)) =>
            {
                size /= 2;
            }
            done => return done,
        }
    }
}

fn open_connector(rung: Rung) -> io::Result<Socket> {
    let socket = Socket::open(limits::CONNECTOR_BYTES)?;
    if socket.listen(sources::wanted(rung))? {
        Ok(socket)
    } else {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel did not acknowledge"))
    }
}
