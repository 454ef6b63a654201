//! From a configuration to a running reader.
//!
//! The order leaves no gap: first subscribe to process messages, then mark files, then walk the directories, then
//! read events.

use super::command::Commander;
use super::mount_watch::{Ask, BelowRoots, Ears, Follower, MountWatch, Named};
use super::remedy::{Call, Refused, refused};
use super::{host, kernel_memory, marks, mounts, overlay, roots, who};
use crate::config::{Backend, Config, Cpu};
use crate::counters::{Counters, Shared};
use crate::hot::event::{Key, METADATA_LEN};
use crate::hot::reader::intake::{self, Intake};
use crate::hot::reader::placement::Placement;
use crate::hot::reader::queue::QueueGauge;
use crate::hot::reader::{self, Parts};
use crate::hot::r#where::above::Above;
use crate::hot::r#where::disk::{Disk, Kernel};
use crate::hot::r#where::resolve::Resolver;
use crate::hot::r#where::tables::file_names::FileNames;
use crate::hot::r#where::tree::Tree;
use crate::hot::r#where::watch::{Met, Root, Visit, Watch};
use crate::hot::who::{Processes, Rung};
use crate::limits::start::{PROGRESS_DIRS, TAKE_IN_DIRS};
use crate::limits::walks::{FILESYSTEMS_MAX, ROOTS_MAX};
use crate::limits::{self, DIRS_DEAD_MAX, OUTSIDE_MAX};
use crate::plan::{Degradation, MarkKind, Note, Plan};
use crate::privileges::{self, Task};
use crate::ring::{Consumer, ring};
use crate::sys::admin::{self, Desk};
use crate::sys::buffers::Buffers;
use crate::sys::clock;
use crate::sys::fd::{eventfd, pending_bytes};
use crate::sys::limit::raise_descriptors;
use crate::sys::poll::{Descriptors, Poll};
use crate::sys::thread::{self, allowed_cpus};
use crate::sys::uring::Uring;
use crate::{Error, ErrorKind, Message, Setting};
use fsmon_format::kind;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The result of the reader thread.
type ReaderThread = JoinHandle<Result<Counters, Error>>;

/// A running reader.
pub(crate) struct Started {
    pub(crate) plan: Plan,
    pub(crate) shared: Arc<Shared>,
    pub(crate) commander: Commander,
    /// Follows mounts; `None` if mountinfo cannot be read.
    pub(crate) mounts: Option<Follower>,
    pub(crate) thread: ReaderThread,
    pub(crate) consumer: Consumer,
}

/// Starts the reader. When this returns, every change from then on will be seen.
///
/// # Errors
/// Any reason why it cannot do what was configured; nothing stays behind.
pub(crate) fn start(mut config: Config) -> Result<Started, Error> {
    check(&config)?;
    raise_descriptors(host::descriptors_needed(config.roots.len()));
    let mut opened = roots::open_all(&config.roots, config.recursive, config.skip_dir.as_mut())?;
    let elsewhere = elsewhere(&config);
    let mut plan = Plan { kernel: host::kernel(), ..Plan::default() };
    if config.follow_mounts && config.recursive {
        let left = roots::open_mounts(&mut opened, &elsewhere, &mut config.skip_mount);
        if left > 0 {
            plan.losses.push(Degradation::Filesystems { room: FILESYSTEMS_MAX, left });
        }
    }
    plan.cpu = host::choose_cpu(config.cpu, config.reader)?;
    let group = marks::group(config.bounded_queue)?;
    let (mut who, found) =
        who::open(config.who, config.processes_max, group.as_fd(), config.cmdline)?;
    // After the perf rings got their memory: both are charged to `RLIMIT_MEMLOCK`.
    let probe = host::probe_uring();
    let backend = host::choose_backend(config.backend, &probe)?;
    plan.note_backend(backend, config.backend, probe);
    // With BPF openings of executables are not needed.
    let programs = (who.rung() != Rung::Bpf).then(|| {
        let (programs, openings) = marks::mark_programs(&group, opened.iter());
        who.set_openings(openings);
        programs
    });
    plan.note_who(found, programs);
    if config.cmdline {
        plan.losses.extend(who::read_cmdlines(&mut who));
    }

    let start_ns = clock::monotonic_ns();
    let mask = marks::mask_for(config.types);
    let mut watch = Watch::new(
        Kernel::new(group),
        marks::inode_mask(mask),
        config.recursive,
        config.skip_dir.take(),
    );
    watch.file_names = config.hard_links.then(FileNames::new);
    let mut kinds = Vec::new();
    let mut marked = Vec::new();
    let mut uppers = Vec::new();
    for mut root in opened {
        match marks::mark(&watch.disk.group, &mut root, mask) {
            Ok(mark) => {
                let upper = match mark.0 {
                    MarkKind::Inode => hear_upper(&watch, &root),
                    _ => None,
                };
                let how = plan.note_upper(&root, mark, upper.as_ref());
                uppers.extend(upper.and_then(Result::ok).map(|upper| (marked.len(), upper)));
                if how == MarkKind::Upper && config.types & (kind::MODIFY | kind::ACCESS) != 0 {
                    plan.losses.push(Degradation::SplicedWrites(root.path.clone()));
                }
                if config.hard_links && how.is_of_directories() {
                    plan.losses.push(Degradation::HardLinks(root.path.clone()));
                }
                kinds.push(how);
                marked.push(root);
            }
            // It counts as a mount that is not watched.
            Err(error) if root.is_followed => {
                plan.losses.push(Degradation::Root(error));
            }
            Err(error) => return Err(error),
        }
    }
    let opened = marked;
    if !uppers.is_empty() {
        watch.layers.reserve(config.dirs_max + DIRS_DEAD_MAX + OUTSIDE_MAX + 1);
        for (root, overlay::Upper { layer, base, .. }) in uppers {
            watch.layers.add(layer, root, base.as_os_str().as_bytes());
        }
    }
    let mounts = follow_mounts(&opened, elsewhere, &mut config, &mut plan);
    let (room, fsids) = ((config.dirs_max, DIRS_DEAD_MAX), filesystems(&opened)?);
    let mut tree = match &config.object_key {
        Some(key) => Tree::keyed(room, fsids, key),
        None => Tree::new(room.0, fsids),
    };
    // Only after all roots have their marks: these marks may be refused together with them.
    let covered = opened.iter().zip(&kinds).filter(|(_, kind)| **kind == MarkKind::Filesystem);
    let mut above = Above::new(covered.map(|(root, _)| root.fsid).collect());
    for (root, mark) in opened.into_iter().zip(kinds) {
        add_root(&mut watch, &mut tree, &mut above, root, mark, &mut plan)?;
    }
    if let Some(mounts) = &mounts {
        let asker = mounts.asker();
        let moved = move |at, path: &[u8]| asker.ask(Ask::Follow(at, path.into()));
        above.moved = Some(Box::new(moved));
    }
    // Further roots may come, and nothing is to be allocated then.
    let more = ROOTS_MAX.saturating_sub(watch.roots.len());
    watch.roots.reserve(more);
    above.reserve(more);
    let counters = fill((&mut watch, &mut tree), &mut who, config.progress.as_mut(), &mut plan);

    let (producer, consumer) = ring(config.ring_slots);
    let shared = Arc::new(Shared::default());
    shared.store(&counters);
    let (control, commands) = flume::unbounded();
    let no_eventfd = |error| refused("cannot make an eventfd", Call::Plain, error);
    let wake = Arc::new(eventfd().map_err(no_eventfd)?);
    // FIONREAD counts the heads of events alone (fanotify_ioctl() in fanotify_user.c).
    let quiet = (pending_bytes(watch.disk.group.as_fd()) / METADATA_LEN) as u64;
    let no_clone = |error| refused("cannot duplicate a descriptor", Call::Plain, error);
    let group = watch.disk.group.try_clone().map_err(no_clone)?;
    let (admin, desk) = admin::admin(&group).map_err(no_clone)?;
    start_admin(desk)?;
    watch.disk.admin = Some(admin);
    let resolver = Resolver::new(tree, watch, above, config.types, std::process::id(), quiet);
    let flushes = Arc::clone(&resolver.flushes);
    let memory = if who.measures_queue() { None } else { kernel_memory::open() };
    let parts = Parts {
        resolver,
        queue: QueueGauge::new(Arc::clone(&shared), memory),
        who,
        producer,
        shared: Arc::clone(&shared),
        counters,
        control: commands,
        wake: Arc::clone(&wake),
        window: config.batch_window,
        start_ns,
        placement: plan
            .cpu
            .filter(|_| config.cpu == Cpu::Auto)
            .and_then(|_| Placement::new(&allowed_cpus(), config.elsewhere.is_empty())),
    };
    let fall_back = if config.backend == Backend::Auto { FallBack::Poll } else { FallBack::None };
    let (thread, fallen) = spawn(parts, (backend, fall_back), plan.cpu)?;
    if let Some(why) = fallen {
        plan.note_fallback(&why);
    }
    let ears =
        Ears { reader: control.clone(), wake: Arc::clone(&wake), notice: config.notice.take() };
    let no_thread =
        |error| refused("cannot start the thread that follows mounts", Call::Thread, error);
    let mounts = mounts.map(|mounts| mounts.start(ears)).transpose().map_err(no_thread)?;
    let types = config.types.into();
    let commander = Commander { group, flushes, control, wake, types };
    Ok(Started { plan, shared, commander, mounts, thread, consumer })
}

/// Hears the upper layer of the overlay that a root is on, if it is on one.
fn hear_upper(watch: &Watch, root: &roots::OpenRoot) -> Option<Result<overlay::Upper, String>> {
    overlay::hear(&watch.disk.group, root, &mounts::reachable(), watch.mask)
}

/// Finds out what is mounted below the roots, and says what of it is not watched.
fn follow_mounts(
    opened: &[roots::OpenRoot],
    elsewhere: Vec<PathBuf>,
    config: &mut Config,
    plan: &mut Plan,
) -> Option<MountWatch> {
    let named = |root: &roots::OpenRoot| Named {
        path: root.path.clone(),
        named: root.named.clone(),
        is_missing: root.nearest.is_some(),
        fsid: root.fsid,
        is_followed: root.is_followed,
    };
    let named: Vec<_> = opened.iter().map(named).collect();
    let handling = match (config.recursive, config.follow_mounts) {
        (false, _) => BelowRoots::Ignore,
        (true, false) => BelowRoots::Report,
        (true, true) => follow_later(opened, plan),
    };
    match MountWatch::new(&named, elsewhere, config.skip_mount.take(), handling) {
        Ok(mounts) => {
            let (spans, below) = mounts.found();
            plan.note_mounts(&spans, below);
            Some(mounts)
        }
        Err(error) => {
            let refused = Refused::new(Call::Proc, error);
            plan.losses.push(Degradation::Mounts(refused.to_string()));
            None
        }
    }
}

/// How mounts that come later are handled; they are reported if they cannot be followed.
fn follow_later(opened: &[roots::OpenRoot], plan: &mut Plan) -> BelowRoots {
    // No other filesystem can be watched beside such a root.
    if opened.iter().any(marks::stands_alone) {
        return BelowRoots::Report;
    }
    match marks::trial() {
        Ok(trial) => BelowRoots::Follow(trial),
        Err(refused) => {
            plan.losses.push(Degradation::LaterMounts(refused.to_string()));
            BelowRoots::Report
        }
    }
}

/// The roots of other readers, without symbolic links.
fn elsewhere(config: &Config) -> Vec<PathBuf> {
    config.elsewhere.iter().filter_map(|path| path.canonicalize().ok()).collect()
}

/// The filesystems of the roots, each once.
fn filesystems(roots: &[roots::OpenRoot]) -> Result<Vec<u64>, Error> {
    let mut fsids: Vec<u64> = roots.iter().map(|root| root.fsid).collect();
    fsids.sort_unstable();
    fsids.dedup();
    if fsids.len() > FILESYSTEMS_MAX {
        return Err(Error::invalid(format!(
            "more than {FILESYSTEMS_MAX} filesystems to watch; start a second fsmon for some"
        )));
    }
    Ok(fsids)
}

fn check(config: &Config) -> Result<(), Error> {
    let over = |what: &str, is: usize, max: usize| {
        let message = format!("{what} {is} is out of range; choose 1 to {max}");
        if (1..=max).contains(&is) { Ok(()) } else { Err(Error::invalid(message)) }
    };
    over("max-dirs", config.dirs_max, limits::DIRS_MAX)?;
    over("max-processes", config.processes_max, limits::PROCESSES_MAX)?;
    if config.batch_window > Duration::from_millis(limits::BATCH_WINDOW_MAX_MS) {
        return Err(Error::invalid(format!(
            "a batch window of {:?} is too long; at most {} ms",
            config.batch_window,
            limits::BATCH_WINDOW_MAX_MS
        )));
    }
    Ok(())
}

fn add_root(
    watch: &mut Watch,
    tree: &mut Tree,
    above: &mut Above,
    root: roots::OpenRoot,
    mark: MarkKind,
    plan: &mut Plan,
) -> Result<(), Error> {
    let path = root.named.clone();
    let bytes = path.as_os_str().as_bytes();
    let bad_path = |_| Error::invalid(format!("{} has a NUL in it", path.display()));
    watch.roots.push(Root {
        path: CString::new(bytes).map_err(bad_path)?,
        node: 0,
        fd: None,
        mount_id: root.mount_id,
        handles: root.handles,
        inode_marks: mark.is_of_directories(),
    });
    above.add(bytes);
    let at = watch.roots.len() - 1;
    // Where it is by now: from here on the queue reports. If fsmon may not read a directory on the way, the
    // directory that was opened counts.
    let is_gone = root.nearest.is_some() || !root.path.exists();
    let reached = above.go_down(at, &watch.disk, tree).ok();
    if root.is_within {
        return Ok(());
    }
    if let Some(reached) = reached.or_else(|| {
        (!is_gone).then(|| root.reached()).map(|found| found.without_mounts(&watch.disk))
    }) {
        let key = Key { fsid: reached.fsid, handle: reached.handle.key() };
        let full = |_| {
            let line = Message::from("more roots than directories that can be known; raise ");
            Error::invalid(line.and(Setting::DirsMax)).about(Setting::DirsMax)
        };
        tree.identify(reached.fsid, watch.disk.identity(&reached.fd, reached.fsid));
        let node = tree.insert_root(bytes, key).map_err(full)?;
        watch.roots[at].set(node, reached, mark.is_of_directories());
    } else {
        plan.notes.push(Note::NotThereYet(path.to_owned()));
    }
    Ok(())
}

/// Walks every root into the tree. Returns the counters of the walk.
fn fill(
    (watch, tree): (&mut Watch, &mut Tree),
    who: &mut Processes,
    mut progress: Option<&mut Box<dyn FnMut(usize)>>,
    plan: &mut Plan,
) -> Counters {
    let (mut refused, mut unreadable, mut read, mut next) = (0u64, 0u64, 0u64, PROGRESS_DIRS);
    let mut why = None;
    for at in 0..watch.roots.len() {
        let root = watch.roots[at].node;
        if root == 0 {
            continue;
        }
        watch.walk(tree, root, &mut |_, tree, found| {
            match found {
                Met::Full => refused += 1,
                Met::Unreadable(error) => {
                    unreadable += 1;
                    why.get_or_insert_with(|| Refused::new(Call::Directory, error));
                }
                Met::Read(_) => {
                    read += 1;
                    if read.is_multiple_of(TAKE_IN_DIRS) {
                        who.drain(clock::monotonic_ns());
                    }
                }
                Met::Added(_) | Met::Moved(_) | Met::Elsewhere { .. } | Met::Unheard => {}
                Met::Entry { .. } => {
                    if tree.len() >= next {
                        next = tree.len() + PROGRESS_DIRS;
                        if let Some(progress) = &mut progress {
                            progress(tree.len());
                        }
                    }
                }
            }
            Visit::Take
        });
    }
    if refused > 0 {
        plan.losses.push(Degradation::DirsMax(refused));
    }
    let files_refused = watch.names_refused();
    if files_refused > 0 {
        plan.losses.push(Degradation::FilesMax(files_refused));
    }
    if let Some(why) = why {
        plan.losses.push(Degradation::Unreadable { count: unreadable, first: why.to_string() });
    }
    Counters {
        dirs: tree.len() as u64,
        dirs_refused: refused,
        dirs_unreadable: unreadable,
        files_refused,
        ..Counters::default()
    }
}

/// Starts the thread that does for the reader what takes `CAP_SYS_ADMIN`.
fn start_admin(desk: Desk) -> Result<(), Error> {
    let run = || {
        // With more than it needs it works as well. The kernel looks directories up, which may be those of others.
        let _ = privileges::keep(&[Task::Mark, Task::Read]);
        desk.serve();
    };
    let builder = std::thread::Builder::new().name("fsmon-admin".into());
    let no_thread = |error| refused("cannot start the thread that sets marks", Call::Thread, error);
    builder.spawn(run).map(drop).map_err(no_thread)
}

/// What to do if the reader's own io_uring cannot be set up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FallBack {
    Poll,
    /// Fail: it was requested by name.
    None,
}

/// Starts the thread and waits until it has its backend, as the ring of io_uring belongs to the thread that makes
/// it, and has followed what happened while the tree was read. Returns why it uses poll, if that is not `backend`.
fn spawn(
    mut parts: Parts,
    (backend, fall_back): (Backend, FallBack),
    cpu: Option<usize>,
) -> Result<(ReaderThread, Option<String>), Error> {
    let (ready, is_ready) = flume::bounded(1);
    let (fallen, has_fallen) = flume::bounded(1);
    let body = move || {
        // If it were interrupted during a read, messages of processes could not get their position (cold/bpf). It
        // sleeps most of the time, and the kernel limits real-time threads.
        thread::hurry();
        if let Some(cpu) = cpu {
            // The set of CPUs may have shrunk meanwhile: then the reader runs where it may.
            let _ = thread::run_on([cpu]);
        }
        let (files, connector) = host::buffers()
            .map_err(|error| refused("cannot map the buffers", Call::Plain, error))?;
        let open = |backend| open_backend(&parts, backend, &files, &connector);
        let (backend, why) = open_or_fall_back(backend, fall_back, open)?;
        if let Some(why) = why {
            // There is room for one, and the receiver is waiting.
            let _ = fallen.send(why);
        }
        if let intake::IoBackend::Uring(_) = &backend {
            parts.who.set_fed();
        }
        let intake = Intake::new(backend, connector);
        privileges::keep(match parts.who.reads_files_of_processes() {
            true => &[Task::Read, Task::ReadProcesses],
            false => &[Task::Read],
        })?;
        reader::run(parts, intake, &files, ready)
    };
    let builder = std::thread::Builder::new().name("fsmon-reader".into());
    let no_thread = |error| refused("cannot start the reader", Call::Thread, error);
    let thread = builder.spawn(body).map_err(no_thread)?;
    match is_ready.recv() {
        Ok(()) => Ok((thread, has_fallen.try_recv().ok())),
        Err(_) => match thread.join() {
            Ok(Err(error)) => Err(error),
            _ => Err(Error::new(ErrorKind::Internal, "the reader ended before it began")),
        },
    }
}

/// Opens `backend` by `open`, or else poll, and says why.
///
/// # Errors
/// If there is nothing to fall back to.
fn open_or_fall_back<T>(
    backend: Backend,
    fall_back: FallBack,
    open: impl Fn(Backend) -> std::io::Result<T>,
) -> Result<(T, Option<String>), Refused> {
    match open(backend).map_err(Refused::by(Call::Uring)) {
        Err(why) if fall_back == FallBack::Poll => {
            let poll = open(Backend::Poll).map_err(Refused::by(Call::Plain))?;
            Ok((poll, Some(why.to_string())))
        }
        opened => opened.map(|opened| (opened, None)),
    }
}

fn open_backend(
    parts: &Parts,
    backend: Backend,
    files: &Buffers,
    connector: &Buffers,
) -> std::io::Result<intake::IoBackend> {
    let sources = Descriptors {
        files: parts.resolver.watch.disk.group.as_fd(),
        connector: parts.who.connector(),
        wake: parts.wake.as_fd(),
        messages: parts.who.ring_fds().collect(),
    };
    Ok(match backend {
        Backend::Poll => intake::IoBackend::Poll(Poll::new(&sources, files, parts.who.gauge())),
        _ => {
            let gauge = parts.who.gauge();
            let mut uring = Uring::new(&sources, files, connector, gauge)?;
            // Standing requests are submitted now: if the kernel refuses one, there is still another backend.
            uring.flush()?;
            intake::IoBackend::Uring(uring)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn without_io_uring_poll_is_used_unless_it_was_asked_for() {
        let open = |backend| match backend {
            Backend::Poll => Ok("poll"),
            _ => Err(io::Error::from_raw_os_error(libc::ENOMEM)),
        };
        let fallen = open_or_fall_back(Backend::Uring, FallBack::Poll, open);
        let (opened, why) = fallen.unwrap_or_else(|refused| panic!("{refused}"));
        assert_eq!(opened, "poll");
        assert!(why.is_some_and(|why| why.contains("io_uring")));
        assert!(open_or_fall_back(Backend::Uring, FallBack::None, open).is_err());
        let asked = open_or_fall_back(Backend::Poll, FallBack::None, open);
        assert!(asked.is_ok_and(|(opened, why)| opened == "poll" && why.is_none()));
    }
}
