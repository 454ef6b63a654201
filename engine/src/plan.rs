//! What a host supports, what the engine will use for the given roots, and what is lost. `fsmon doctor` prints
//! this; [`crate::start`] follows it.

use crate::cold::below::{Below, Kind, Span, below};
use crate::cold::overlay::{self, Upper};
use crate::cold::roots::OpenRoot;
use crate::cold::{host, marks, mounts, roots, who};
use crate::config::{Backend, Who};
use crate::degradation::NO_PROGRAMS;
pub use crate::degradation::{CommandLines, Degradation, Note};
use crate::sys::limit::raise_descriptors;
use crate::{Error, ErrorKind};
use fsmon_format::named;
use std::path::PathBuf;

/// A probe: what was tried, and the result.
#[derive(Clone, Debug)]
pub struct Probe {
    /// A short stable name, such as `io_uring` or `perf_tracepoint`.
    pub name: &'static str,
    /// What it gives, or why it does not work and what to do; one line.
    pub detail: String,
    /// The kind of failure; `None` if it works.
    pub failure: Option<ErrorKind>,
}

impl Probe {
    /// Whether it works.
    #[must_use]
    pub fn works(&self) -> bool {
        self.failure.is_none()
    }
}

/// How the directories of a root are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MarkKind {
    /// One mark on the filesystem: new directories are covered from their first moment.
    Filesystem,
    /// A mark on every directory.
    Inode,
    /// For an overlay: a mark on every directory with a lower layer, and one on the filesystem of the upper layer,
    /// by which all others are heard from their first moment.
    Upper,
}

impl MarkKind {
    /// Whether directories have marks of their own.
    #[must_use]
    pub fn is_of_directories(self) -> bool {
        self != MarkKind::Filesystem
    }
}

/// A root and how it will be watched.
#[derive(Clone, Debug)]
pub struct RootPlan {
    /// Its absolute path.
    pub path: PathBuf,
    /// The filesystem's type, such as `ext4`.
    pub fs_type: String,
    /// How it is marked, or why it cannot be watched.
    pub mark: Result<MarkKind, Error>,
    /// The reason for that choice; empty if the root cannot be watched.
    pub why: String,
}

/// The plan.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Plan {
    /// The kernel's release, such as `6.18.1`.
    pub kernel: String,
    /// `io_uring` or `poll`.
    pub backend: &'static str,
    /// The source of process names in use.
    pub who: Who,
    /// CPU of the reader, if pinned.
    pub cpu: Option<usize>,
    /// All probes.
    pub probes: Vec<Probe>,
    /// The roots.
    pub roots: Vec<RootPlan>,
    /// What is lost on this host.
    pub losses: Vec<Degradation>,
    /// Notes that are no loss.
    pub notes: Vec<Note>,
}

named!(MarkKind { Filesystem = "filesystem", Inode = "inode", Upper = "upper" });

impl Plan {
    /// Whether every root can be watched.
    #[must_use]
    pub fn can_watch(&self) -> bool {
        !self.roots.is_empty() && self.roots.iter().all(|root| root.mark.is_ok())
    }

    pub(crate) fn note_root(&mut self, root: &OpenRoot, mark: MarkKind, why: String) {
        let shared = root.mount.as_ref().filter(|mount| mount.is_shared());
        if let Some(mount) = shared {
            self.losses.push(Degradation::SharedFilesystem {
                path: root.path.clone(),
                fs_type: mount.fs_type.clone(),
            });
        }
        let (path, fs_type) = (root.named.clone(), root.fs_type.clone());
        self.roots.push(RootPlan { path, fs_type, mark: Ok(mark), why });
    }

    /// Sets how a root on an overlay is watched: the upper layer is heard, or why it is not. `how` is how it was
    /// marked.
    pub(crate) fn note_upper(
        &mut self,
        root: &OpenRoot,
        (mark, why): (MarkKind, String),
        upper: Option<&Result<Upper, String>>,
    ) -> MarkKind {
        match upper {
            None => {
                self.note_root(root, mark, why);
                mark
            }
            Some(Ok(upper)) => {
                let (layer, fs_type) = (upper.path.display(), &upper.fs_type);
                let why = format!(
                    "{why}; directories that are new on it are heard by its upper layer, {layer} on {fs_type}"
                );
                self.note_root(root, MarkKind::Upper, why);
                self.notes.push(Note::UpperLayer {
                    path: root.named.clone(),
                    layer: upper.path.clone(),
                    fs_type: upper.fs_type.clone(),
                });
                MarkKind::Upper
            }
            Some(Err(error)) => {
                self.losses
                    .push(Degradation::UpperLayer { path: root.named.clone(), why: error.clone() });
                self.note_root(root, mark, why);
                mark
            }
        }
    }

    /// Records mounts below the roots that are not watched, and directories from outside that are mounted below
    /// them.
    pub(crate) fn note_mounts(&mut self, roots: &[Span], below: &[Below]) {
        for root in roots {
            let is_here = |mount: &&Below| mount.root == root.path;
            let named = |is_meant: &dyn Fn(&Kind) -> bool| {
                let points = below.iter().filter(is_here).filter(|mount| is_meant(&mount.kind));
                points.map(|mount| mount.point.clone()).collect::<Vec<_>>()
            };
            let (other, outside) =
                (named(&|kind| *kind == Kind::Other), named(&|kind| *kind == Kind::Outside));
            if !other.is_empty() {
                let path = root.path.clone();
                self.losses.push(Degradation::MountsBelow { path, points: other });
            }
            if !outside.is_empty() {
                let path = root.path.clone();
                self.losses.push(Degradation::DirectoriesBelow { path, points: outside });
            }
        }
        for mount in below {
            if let Kind::Inside(path) = &mount.kind
                && *path != mount.point
            {
                let (point, path) = (mount.point.clone(), path.clone());
                self.notes.push(Note::MountedAgain { point, path });
            }
        }
    }

    /// Sets the backend in use, from the requested one and the probe of io_uring.
    pub(crate) fn note_backend(&mut self, backend: Backend, asked: Backend, probe: Probe) {
        self.backend = if backend == Backend::Poll { "poll" } else { "io_uring" };
        // If poll was requested nothing is lost.
        if !probe.works() && asked != Backend::Poll {
            self.losses.push(Degradation::Uring(probe.detail.clone()));
        }
        self.probes.push(probe);
    }

    /// Records that the ring of the reader could not be set up, although the probe could.
    pub(crate) fn note_fallback(&mut self, why: &str) {
        self.backend = "poll";
        self.losses.push(Degradation::Uring(why.to_owned()));
    }

    pub(crate) fn note_who(&mut self, found: who::Probed, programs: Option<usize>) {
        self.who = found.who;
        self.losses.extend(found.losses);
        self.probes.extend(found.probes);
        let Some(programs) = programs else { return };
        let works = programs > 0;
        let detail = if works {
            format!("execs are placed between file events, on {programs} filesystems")
        } else {
            NO_PROGRAMS.to_owned()
        };
        if !works && self.who != Who::Bpf {
            self.losses.push(Degradation::Programs);
        }
        let failure = (!works).then_some(ErrorKind::Unsupported);
        self.probes.push(Probe { name: "open_exec", detail, failure });
    }
}

/// Tries everything on this host, and these roots; changes nothing.
#[must_use]
pub fn probe(paths: &[PathBuf]) -> Plan {
    let mut plan = Plan { kernel: host::kernel(), ..Plan::default() };
    plan.cpu = host::choose_cpu(crate::config::Cpu::Auto, 0).ok().flatten();
    raise_descriptors(host::descriptors_needed(paths.len()));
    let group = marks::group(false);
    // In the order of a start, and while the same descriptors are open.
    let (mut found, sources) = who::probe(Who::Auto);
    let uring = host::probe_uring();
    drop(sources);
    if found.who == Who::Bpf {
        // What a start without BPF would use.
        found.probes.extend(who::probe(Who::Tracepoint).0.probes);
    }
    let backend = if uring.works() { Backend::Uring } else { Backend::Poll };
    plan.note_backend(backend, Backend::Auto, uring);
    let fanotify = match &group {
        Ok(_) => (None, "renames with both names, handles of directories and objects".to_owned()),
        Err(error) => (Some(error.kind()), error.to_string()),
    };
    plan.probes.push(Probe { name: "fanotify", detail: fanotify.1, failure: fanotify.0 });
    let mounts = mounts::reachable();
    let points = mounts::Points::of(&mounts);
    let mut opened: Vec<_> =
        paths.iter().map(|path| (path, roots::open_on(path, &points))).collect();
    let there = opened.iter().filter_map(|(_, root)| root.as_ref().ok());
    let mark = |group| marks::mark_programs(group, there).0;
    let programs = group.as_ref().map_or(0, mark);
    plan.note_who(found, Some(programs));
    let mask = marks::mask_for(fsmon_format::kind::DEFAULT);
    let there = opened.iter().filter_map(|(_, root)| root.as_ref().ok());
    let spans: Vec<_> = there.filter_map(|root| Span::new(&points, &root.path)).collect();
    plan.note_mounts(&spans, &below(&mounts, &spans, &[], &mut None));
    for (path, root) in &mut opened {
        let refused = match (root, &group) {
            (Err(error), _) => ((*path).clone(), "unknown".to_owned(), error.clone()),
            (Ok(root), Err(refused)) => {
                let error = Error::new(refused.kind(), refused.to_string());
                (root.path.clone(), root.fs_type.clone(), error)
            }
            (Ok(root), Ok(group)) => match marks::mark(group, root, mask) {
                Ok((mark, why)) => {
                    let may_be = mark == MarkKind::Inode;
                    let mask = marks::inode_mask(mask);
                    let upper = may_be.then(|| overlay::hear(group, root, &mounts, mask)).flatten();
                    plan.note_upper(root, (mark, why), upper.as_ref());
                    continue;
                }
                Err(error) => (root.path.clone(), root.fs_type.clone(), error),
            },
        };
        let (path, fs_type, error) = refused;
        let loss = Degradation::Root(error.clone());
        if !plan.losses.contains(&loss) {
            plan.losses.push(loss);
        }
        plan.roots.push(RootPlan { path, fs_type, mark: Err(error), why: String::new() });
    }
    plan
}
