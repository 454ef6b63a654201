//! Finds which sources of attribution work here, and opens them.

use super::remedy::{Call, Refused};
use super::{bpf, mounts, procfs};
use crate::config;
use crate::hot::who::perf_record::Layout;
use crate::hot::who::procfs::Cgroups;
use crate::hot::who::{MessageSources, OpenExec, Processes, RingWriter, Rung, Table, sources};
use crate::plan::{CommandLines, Degradation, Probe};
use crate::sys::connector::Socket;
use crate::sys::fanotify::Group;
use crate::sys::perf::{self, Event, Ring};
use crate::{Error, ErrorKind, Message, Setting, limits};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// The result of the probes, and what will be used.
pub struct Probed {
    /// The best rung at or below the requested one.
    pub who: config::Who,
    /// All probes.
    pub probes: Vec<Probe>,
    /// What is lost with it.
    pub losses: Vec<Degradation>,
}

/// Sources of process messages that were opened.
pub(crate) struct Opened {
    rung: Rung,
    pub(crate) rings: Vec<Ring>,
    pub(crate) writer: RingWriter,
    pub(crate) socket: Option<Socket>,
    probes: Vec<Probe>,
    /// What is smaller than it should be, and why.
    losses: Vec<Degradation>,
}

const NO_LAYOUT: Layout = Layout { filename: 0, cgroup: false };

/// Tries what a rung needs, and then the rungs below it until one works. The second value keeps the sources open,
/// so that later probes find as many descriptors and as much memory as there will be.
pub(crate) fn probe(requested: config::Who) -> (Probed, Opened) {
    let mut opened = open_sources(requested, None, false);
    (found(&mut opened), opened)
}

fn found(opened: &mut Opened) -> Probed {
    // Why a better rung is not in use; empty if it was not requested.
    let why = |names: &[&str]| {
        let failed = opened.probes.iter().filter(|probe| !probe.works());
        let failed = failed.filter(|probe| names.contains(&probe.name));
        failed.map(|probe| probe.detail.clone()).collect::<Vec<_>>()
    };
    let mut losses = Vec::new();
    if let Some(reasons) = better(opened.rung) {
        losses.push(Degradation::Names { who: named(opened.rung), why: why(reasons) });
    }
    if opened.socket.is_none() && matches!(opened.rung, Rung::Tracepoint | Rung::Comm) {
        losses.push(Degradation::Users(why(&["proc_connector"])));
    }
    losses.append(&mut opened.losses);
    Probed { who: named(opened.rung), probes: std::mem::take(&mut opened.probes), losses }
}

/// Opens the sources of the best rung at or below the requested one, and fills the table with the running
/// processes. From then on nothing is missed. `cmdline` requests command lines, if the rung has them.
///
/// # Errors
/// A rung was requested by name and does not work here, or /proc cannot be read.
pub fn open(
    requested: config::Who,
    images_max: usize,
    group: BorrowedFd<'_>,
    cmdline: bool,
) -> Result<(Processes, Probed), Error> {
    let mut opened = open_sources(requested, Some(group), cmdline);
    if requested != config::Who::Auto && opened.rung != wish(requested) {
        let reason = opened.probes.iter().find(|probe| !probe.works());
        let kind = reason.and_then(|probe| probe.failure).unwrap_or(ErrorKind::Unsupported);
        let reason = reason.map_or("not available", |probe| &probe.detail);
        let line = Message::from(format!(
            "the source of process names asked for cannot be used: {reason}; or leave "
        ));
        let line = line.and(Setting::Who).and(" at auto");
        return Err(Error::new(kind, line).about(Setting::Who));
    }
    let hears_credentials = opened.socket.is_some() || opened.rung == Rung::Bpf;
    let mut table = Table::new(images_max, opened.rung, hears_credentials, OpenExec::None);
    table.set_cgroups(cgroups());
    // The sources are open: they report what happens while /proc is read, and that is applied later.
    table.scan(true).map_err(Refused::by(Call::Proc))?;
    let found = found(&mut opened);
    let sources = MessageSources::new(opened.rings, opened.writer, opened.socket, opened.rung);
    Ok((Processes::new(table, sources), found))
}

/// Turns command lines on; returns what is lost if they are incomplete.
pub fn read_cmdlines(who: &mut Processes) -> Option<Degradation> {
    who.read_cmdlines();
    let lost = match (who.are_cmdlines_in_messages(), who.can_read_cmdlines()) {
        (true, true) => return None,
        (true, false) => CommandLines::Before,
        // It was already reported why BPF does not send them.
        (false, _) if who.rung() == Rung::Bpf => return None,
        (false, true) => CommandLines::ShortLived,
        (false, false) => CommandLines::All,
    };
    Some(Degradation::CommandLines(lost))
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

/// The probes that say why no better rung is in use; `None` for the best rung.
fn better(rung: Rung) -> Option<&'static [&'static str]> {
    match rung {
        Rung::Bpf => None,
        Rung::Tracepoint => Some(&["bpf"]),
        Rung::Comm => Some(&["perf_tracepoint"]),
        Rung::Connector => Some(&["perf_comm"]),
        Rung::Proc => Some(&["perf_comm", "proc_connector"]),
    }
}

/// `group` is the group to be watched; without one a scratch group is made.
fn open_sources(requested: config::Who, group: Option<BorrowedFd<'_>>, cmdline: bool) -> Opened {
    let wish = wish(requested);
    let mut opened = Opened {
        rung: Rung::Proc,
        rings: Vec::new(),
        writer: RingWriter::Perf(NO_LAYOUT),
        socket: None,
        probes: Vec::new(),
        losses: Vec::new(),
    };
    if wish == Rung::Bpf {
        let tried = open_bpf(group, cmdline);
        let detail = "everything, with its position among the changes of files";
        note(&mut opened.probes, "bpf", &tried, detail);
        if let Ok(found) = tried {
            return Opened { probes: opened.probes, ..found };
        }
    }
    if wish <= Rung::Tracepoint {
        let tried = open_tracepoint();
        let detail = "name given to exec, cgroup, fork and exit, as they happen";
        note(&mut opened.probes, "perf_tracepoint", &tried, detail);
        if let Ok((rings, layout)) = tried {
            opened.rings = rings.rings;
            opened.losses.extend(rings.cramped);
            opened.rung = Rung::Tracepoint;
            opened.writer = RingWriter::Perf(layout);
        }
    }
    if wish <= Rung::Comm && opened.rung > Rung::Comm {
        let tried = open_rings(Event::Comm);
        let detail = "name, fork and exit of processes, as they happen";
        note(&mut opened.probes, "perf_comm", &tried, detail);
        if let Ok(rings) = tried {
            opened.rings = rings.rings;
            opened.losses.extend(rings.cramped);
            opened.rung = Rung::Comm;
        }
    }
    if wish <= Rung::Connector {
        let rung = opened.rung.min(Rung::Connector);
        let tried = open_connector(rung);
        let detail = "parents, and changes of user and group, as they happen";
        note(&mut opened.probes, "proc_connector", &tried, detail);
        if let Ok(socket) = tried {
            (opened.socket, opened.rung) = (Some(socket), rung);
        }
    }
    opened
}

fn note<T>(probes: &mut Vec<Probe>, name: &'static str, tried: &Result<T, Refused>, gives: &str) {
    let detail = tried.as_ref().map_or_else(Refused::to_string, |_| gives.to_owned());
    let failure = tried.as_ref().err().map(Refused::kind);
    probes.push(Probe { name, detail, failure });
}

/// Opens what the best rung needs. Command lines are sent if requested.
///
/// # Errors
/// The reason why the programs cannot run.
pub(crate) fn open_bpf(group: Option<BorrowedFd<'_>>, cmdline: bool) -> Result<Opened, Refused> {
    match procfs::in_initial_pid_namespace() {
        Some(true) => {}
        // The programs know a process by its number in the initial namespace; file events have ours.
        Some(false) => {
            let error = io::Error::new(io::ErrorKind::Unsupported, "in a pid namespace");
            return Err(Refused::new(Call::Bpf, error));
        }
        None => return Err(Refused::new(Call::Proc, io::ErrorKind::NotFound.into())),
    }
    let scratch;
    let group = match group {
        Some(group) => group,
        None => {
            scratch = Group::new(true).map_err(Refused::by(Call::FanotifyInit))?;
            scratch.as_fd()
        }
    };
    let Rings { rings, cramped } = open_rings(Event::Bpf)?;
    let cpus = perf::online_cpus().map_err(Refused::by(Call::Cpus))?;
    let socket = open_connector(Rung::Bpf)?;
    // Better without paths or command lines than a worse source of everything else.
    let mut wishes = vec![(cmdline, true), (cmdline, false), (false, false)];
    wishes.dedup();
    let attach = |(cmdline, path)| {
        let wanted = bpf::WantedDetails { cmdline, path };
        let counted = bpf::attach(group, socket.as_fd(), &cpus, &rings, wanted);
        counted.map(|counted| (counted, wanted))
    };
    let ((counted, wanted), refused) =
        first_taken(wishes, attach).map_err(Refused::by(Call::Bpf))?;
    let smaller = refused
        .map(|error| smaller_loss(cmdline && !wanted.cmdline, &Refused::new(Call::Bpf, error)));
    Ok(Opened {
        rung: Rung::Bpf,
        rings,
        writer: RingWriter::Bpf(counted),
        socket: Some(socket),
        probes: Vec::new(),
        losses: cramped.into_iter().chain(smaller).collect(),
    })
}

/// Tries the wishes in order. Returns the result of the first that the kernel accepts, and why it refused the first
/// of all.
///
/// # Errors
/// None is accepted: why the kernel refused the first.
fn first_taken<W, T>(
    wishes: Vec<W>,
    mut attach: impl FnMut(W) -> io::Result<T>,
) -> io::Result<(T, Option<io::Error>)> {
    let mut first = None;
    for wish in wishes {
        match attach(wish) {
            Ok(taken) => return Ok((taken, first)),
            Err(error) => {
                let is_too_big = is_too_big(&error);
                first.get_or_insert(error);
                if !is_too_big {
                    break;
                }
            }
        }
    }
    Err(first.unwrap_or_else(|| io::Error::other("no program was tried")))
}

/// The verifier says why it refuses a program, and may accept a smaller one. For any other error a smaller one does
/// not help.
fn is_too_big(error: &io::Error) -> bool {
    error.raw_os_error().is_none_or(|errno| errno == libc::E2BIG)
}

/// What is lost if the kernel accepts only smaller programs.
fn smaller_loss(without_cmdlines: bool, why: &Refused) -> Degradation {
    Degradation::SmallPrograms { cmdline: without_cmdlines, why: why.to_string() }
}

fn open_tracepoint() -> Result<(Rings, Layout), Refused> {
    let (id, mut layout) = procfs::exec_tracepoint().map_err(Refused::by(Call::Tracefs))?;
    match open_rings(Event::Tracepoint { id, cgroup: true }) {
        // No CONFIG_CGROUP_PERF.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            layout.cgroup = false;
            Ok((open_rings(Event::Tracepoint { id, cgroup: false })?, layout))
        }
        rings => Ok((rings?, layout)),
    }
}

/// Rings of all CPUs.
struct Rings {
    rings: Vec<Ring>,
    /// What is lost if they are smaller than they should be, and why.
    cramped: Option<Degradation>,
}

/// A ring for each CPU, as large as possible.
fn open_rings(event: Event) -> Result<Rings, Refused> {
    let cpus = perf::online_cpus().map_err(Refused::by(Call::Cpus))?;
    let share = limits::PERF_RINGS_BYTES / cpus.len().max(1);
    let wanted = limits::PERF_RING_BYTES.min(share.next_power_of_two());
    let wanted = wanted.max(limits::PERF_RING_BYTES_MIN);
    let mut size = wanted;
    let mut cramped = None;
    loop {
        match cpus.iter().map(|&cpu| open_ring(event, cpu, size)).collect() {
            // There is not enough memory.
            Err(refused) if size > limits::PERF_RING_BYTES_MIN && lacks_memory(&refused) => {
                size /= 2;
                cramped = Some(refused);
            }
            Err(refused) => return Err(refused),
            Ok(rings) => {
                let cramped = cramped.map(|refused| Degradation::SmallRings {
                    bytes: size,
                    wanted,
                    why: refused.to_string(),
                });
                return Ok(Rings { rings, cramped });
            }
        }
    }
}

fn open_ring(event: Event, cpu: usize, size: usize) -> Result<Ring, Refused> {
    let fd = event.open(cpu, size).map_err(Refused::by(Call::PerfOpen))?;
    Ring::map(fd, size).map_err(Refused::by(Call::PerfRing))
}

/// Whether a smaller ring may be possible (perf_mmap() in kernel/events/core.c: EPERM beyond `RLIMIT_MEMLOCK`).
fn lacks_memory(refused: &Refused) -> bool {
    refused.call() == Call::PerfRing
        && matches!(refused.raw_os_error(), Some(libc::EPERM | libc::ENOMEM))
}

fn open_connector(rung: Rung) -> Result<Socket, Refused> {
    let listen = || {
        let socket = Socket::open(limits::CONNECTOR_BYTES)?;
        if socket.listen(sources::wanted(rung))? {
            Ok(socket)
        } else {
            Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel did not acknowledge"))
        }
    };
    listen().map_err(Refused::by(Call::Connector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_wish_is_tried_where_the_first_is_too_big() {
        let take = |errors: &[io::Error]| {
            let mut tried = 0;
            let taken = first_taken(vec![0, 1], |wish: usize| {
                tried += 1;
                match errors.get(wish) {
                    Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
                    None => Ok(wish),
                }
            });
            let words = |error: io::Error| error.to_string();
            (tried, taken.map(|(wish, why)| (wish, why.map(words))).map_err(words))
        };
        let [first, second] = ["too big", "also"].map(io::Error::other);
        assert_eq!(take(&[]), (1, Ok((0, None))));
        assert_eq!(take(std::slice::from_ref(&first)), (2, Ok((1, Some("too big".into())))));
        assert_eq!(take(&[first, second]), (2, Err("too big".into())));
        let forbidden = |_| Err::<(), _>(io::Error::from_raw_os_error(libc::EPERM));
        assert!(first_taken(vec![(), ()], forbidden).is_err());
    }

    #[test]
    fn the_message_about_smaller_programs_names_only_what_is_lost() {
        let why = Refused::new(Call::Bpf, io::Error::other("invalid access"));
        assert!(smaller_loss(true, &why).to_string().contains("command lines"));
        let paths = smaller_loss(false, &why).to_string();
        assert!(!paths.contains("command lines") && paths.contains("invalid access"), "{paths}");
    }
}
