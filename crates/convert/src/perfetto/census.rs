//! All process images of the streams: their processes, their facts, and their times as far as they are known.

use super::streams::{Moments, Streams};
use crate::error::Result;
use crate::feed::Output;
use crate::words;
use crate::world::{Content, World, cgroup, comm, exe_root, ids};
use fsmon_format::kind;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{EventRef, Proc, proc_flag};
use fsmon_format::stream::{Block, Gap, Header, StreamIds};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// A text that many images share.
pub(super) type Shared = Rc<str>;

/// What is known about an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) cmd: Option<Shared>,
    pub(super) exe: Option<Shared>,
    pub(super) exec: Option<Shared>,
    pub(super) exe_root: Option<Shared>,
    /// The flags of [`proc_flag`] about `exe`.
    pub(super) exe_flags: u16,
    pub(super) cmdline: Option<Shared>,
    pub(super) cmdline_cut: bool,
    pub(super) ids: Option<(u32, u32)>,
    pub(super) user: Option<Shared>,
    pub(super) cgroup: Option<Shared>,
}

/// A process between two changes of its identity.
pub(super) struct Image {
    pub(super) process: usize,
    pub(super) facts: Facts,
    /// Its first and last change of a file.
    changes: Span,
    /// Its first and last fork. Forks have the kernel's times, changes the time when they were read, which is
    /// slightly later.
    forks: Span,
}

/// A first and a last moment.
#[derive(Clone, Copy, Default)]
struct Span(Option<(u64, u64)>);

impl Span {
    fn note(&mut self, ns: u64) {
        let span = self.0.get_or_insert((ns, ns));
        *span = (span.0.min(ns), span.1.max(ns));
    }
}

/// A process.
pub(super) struct Process {
    pub(super) stream: usize,
    pub(super) pid: u32,
    pub(super) ppid: u32,
    /// Index of its parent.
    pub(super) parent: Option<usize>,
    /// When it was forked, by its own clock; 0 unknown.
    start: u64,
    /// Indices of its images, in order.
    pub(super) images: Vec<usize>,
}

/// The result of the first reading of the streams.
pub(super) struct Census {
    world: World,
    pub(super) streams: Streams,
    pub(super) images: Vec<Image>,
    pub(super) processes: Vec<Process>,
    /// By scope and stream id.
    by_id: HashMap<(u32, u32), usize>,
    /// By stream, pid and time of the fork.
    by_start: HashMap<(usize, u32, u64), usize>,
    texts: HashSet<Shared>,
    /// By process: the same moments as in the second reading.
    moments: Moments,
}

impl Census {
    pub(super) fn new() -> Self {
        Census {
            world: World::new(),
            streams: Streams::default(),
            images: Vec::new(),
            processes: Vec::new(),
            by_id: HashMap::new(),
            by_start: HashMap::new(),
            texts: HashSet::new(),
            moments: Moments::default(),
        }
    }

    /// The process of an image by its id in a stream.
    pub(super) fn process(&self, scope: u32, id: u32) -> Option<usize> {
        self.by_id.get(&(scope, id)).map(|image| self.images[*image].process)
    }

    /// The images of a process that changed a file or forked, in order, each with its first and last known moment
    /// (inclusive). Their times do not overlap.
    pub(super) fn history(&self, process: &Process) -> Vec<(u64, u64, &Facts)> {
        let mut all: Vec<(u64, u64, &Facts)> = Vec::new();
        // A change by one image must not lie within the next.
        let mut changed = 0;
        for image in process.images.iter().map(|index| &self.images[*index]) {
            let (changes, forks) = (image.changes.0, image.forks.0);
            let Some((first, _)) = changes.or(forks) else { continue };
            let from = match (all.last_mut(), process.start) {
                (Some(before), _) => {
                    let from = first.max(changed);
                    before.1 = before.1.min(from);
                    from
                }
                (None, 0) => first,
                (None, start) => first.min(self.streams.shifted(process.stream, start)),
            };
            changed = changed.max(changes.map_or(0, |(_, last)| last + 1));
            let forked = forks.map_or(0, |(_, last)| last + 1);
            all.push((from, changed.max(forked).max(from), &image.facts));
        }
        all
    }

    fn image(&mut self, image: &Proc, ids: StreamIds) {
        let scope = self.streams.scope();
        if self.by_id.contains_key(&(scope, ids.id)) {
            return;
        }
        let process = self.process_of(image, ids);
        self.adopt(process, image, ids);
        let facts = self.facts(image);
        // An image is defined again when more is known about it, and sometimes without a change.
        let last = self.processes[process].images.last();
        let same = last.copied().filter(|last| self.images[*last].facts == facts);
        let index = same.unwrap_or_else(|| {
            self.images.push(Image { process, facts, changes: Span(None), forks: Span(None) });
            self.processes[process].images.push(self.images.len() - 1);
            self.images.len() - 1
        });
        self.by_id.insert((scope, ids.id), index);
    }

    /// The process of an image, by pid and time of the fork, which are unique. For a process that is older than the
    /// watch, by its previous image.
    fn process_of(&mut self, image: &Proc, ids: StreamIds) -> usize {
        let (scope, stream) = (self.streams.scope(), self.streams.current());
        let (pid, start) = (image.pid.get(), image.start_ns.get());
        let by_start = self.by_start.get(&(stream, pid, start)).copied();
        let known = if start != 0 {
            by_start
        } else if ids.prev != 0 {
            let prev = self.process(scope, ids.prev);
            prev.filter(|prev| self.processes[*prev].pid == pid).or(by_start)
        } else {
            None
        };
        known.unwrap_or_else(|| {
            let ppid = image.ppid.get();
            self.processes.push(Process { stream, pid, ppid, parent: None, start, images: vec![] });
            self.by_start.insert((stream, pid, start), self.processes.len() - 1);
            self.processes.len() - 1
        })
    }

    /// Notes the parent of a process, and that the parent existed when it forked.
    fn adopt(&mut self, child: usize, image: &Proc, ids: StreamIds) {
        let scope = self.streams.scope();
        let parent = self.by_id.get(&(scope, ids.parent)).copied();
        let Some(parent) = parent.filter(|parent| self.pid(*parent) == image.ppid.get()) else {
            return;
        };
        if image.start_ns.get() != 0 {
            let forked = self.streams.time(image.start_ns.get());
            self.images[parent].forks.note(forked);
        }
        let above = self.images[parent].process;
        if self.processes[child].parent.is_none() && !self.is_below(above, child) {
            self.processes[child].parent = Some(above);
        }
    }

    fn pid(&self, image: usize) -> u32 {
        self.processes[self.images[image].process].pid
    }

    /// Whether a process is `top` or one of its descendants. Terminates, as `adopt` makes no cycles.
    fn is_below(&self, process: usize, top: usize) -> bool {
        let mut line = std::iter::successors(Some(process), |at| self.processes[*at].parent);
        line.any(|at| at == top)
    }

    fn event(&mut self, event: &EventRef<'_>, ids: StreamIds) {
        let Some(image) = self.by_id.get(&(self.streams.scope(), ids.id)).copied() else { return };
        let ns = self.streams.time(event.head.time_ns.get());
        for _ in kind::in_causal_order(event.head.mask.get()) {
            let moment = self.moments.next(self.images[image].process, ns);
            self.images[image].changes.note(moment);
        }
    }

    fn facts(&mut self, image: &Proc) -> Facts {
        let Census { world, texts, .. } = self;
        let mirror: &Mirror = &world.mirror;
        let mut share = |text: &[u8]| shared(texts, &String::from_utf8_lossy(text));
        let string = |id: u32| mirror.string(id);
        let exe = string(image.exe.get());
        Facts {
            cmd: comm(image).map(&mut share),
            exe: exe.map(&mut share),
            exec: string(image.exec.get()).map(&mut share),
            exe_root: exe.and(exe_root(image)).map(|root| share(root.as_bytes())),
            exe_flags: if exe.is_some() { image.flags.get() & proc_flag::EXE_ALL } else { 0 },
            user: string(image.user.get()).map(&mut share),
            cgroup: cgroup(mirror, image).as_deref().map(&mut share),
            cmdline: string(image.cmdline.get()).map(|text| share(words::joined(text).as_bytes())),
            cmdline_cut: image.flags.get() & proc_flag::CMDLINE_CUT != 0,
            ids: ids(image),
        }
    }
}

fn shared(texts: &mut HashSet<Shared>, text: &str) -> Shared {
    if let Some(known) = texts.get(text) {
        return Rc::clone(known);
    }
    let new = Shared::from(text);
    texts.insert(Rc::clone(&new));
    new
}

impl Output for Census {
    fn header(&mut self, header: &Header) -> Result<()> {
        self.world.header(header);
        self.streams.header(header);
        Ok(())
    }

    fn block(&mut self, block: &Block<'_>) -> Result<()> {
        self.world.begin(block);
        self.streams.block(block);
        for record in block.records() {
            match self.world.take(&record) {
                Content::Image(image) => {
                    if let Some(ids) = block.stream_ids(image.id.get()) {
                        self.image(image, ids);
                    }
                }
                Content::Event(event, _) => {
                    if let Some(ids) = block.stream_ids(event.head.proc.get()) {
                        self.event(&event, ids);
                    }
                }
                Content::Loss(_) | Content::Gap(_) | Content::Nothing => {}
            }
        }
        Ok(())
    }

    fn gap(&mut self, _: &Gap) -> Result<()> {
        Ok(())
    }
}
