//! Runs one history through the real reader, with its turns, its resolver and its walks. The model takes the place of
//! the kernel.

use super::history::{Act, History, Mix, PIDS, Step, WATCHED, first};
use super::judge::{Fault, Lines, ReportedLine, flagged, judge};
use super::queue::{FSID, lay};
use super::world::{Model, World};
use crate::counters::{Counters, Shared};
use crate::hot::event::Events;
use crate::hot::output::{Inputs, Output};
use crate::hot::reader::Reader;
use crate::hot::reader::intake::{Intake, IoBackend};
use crate::hot::reader::queue::QueueGauge;
use crate::hot::r#where::above::Above;
use crate::hot::r#where::resolve::Resolver;
use crate::hot::r#where::tree::Tree;
use crate::hot::r#where::watch::{Root, Visit, Watch};
use crate::hot::who::bpf_record;
use crate::replay::processes;
use crate::ring::{Consumer, ring};
use crate::sys::buffers::Buffers;
use crate::sys::fd::eventfd;
use crate::sys::gauge::Gauge;
use crate::sys::handle::Handles;
use crate::sys::poll::{self, Poll};
use fsmon_format::kind;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use std::time::Duration;

/// The pid of fsmon, whose own changes are not reported. No process of a history has it.
const OWN_PID: u32 = u32::MAX;
/// Duration of a turn.
const TURN_NS: u64 = 1_000_000;
/// How long the reader sleeps at most while it is not idle.
const NOT_IDLE_NS: u64 = crate::limits::reader::SLEEP_NOT_IDLE.as_millis() as u64 * 1_000_000;
/// After this time without an event the reader must be idle and report nothing more.
const QUIET_NS: u64 = 1_000_000_000;
/// The most buffers that a turn fills.
const BUFFERS: usize = 8;
/// Slots of the ring, directories of the tree and process images: enough for any history.
const SLOTS: usize = 1 << 12;
const DIRS: usize = 256;
const IMAGES: usize = 64;

/// The result of a history.
pub(super) struct Outcome {
    pub(super) reported: Vec<ReportedLine>,
    pub(super) faults: Vec<Fault>,
    pub(super) flagged: usize,
    pub(super) losses: usize,
}

/// What all histories of a thread share. The model's events go through a pair of sockets: `kernel` sends what `queue`
/// receives.
pub(super) struct Bench {
    files: Buffers,
    queue: UnixDatagram,
    kernel: UnixDatagram,
    wake: OwnedFd,
    shared: Shared,
}

impl Bench {
    pub(super) fn new() -> Self {
        let (queue, kernel) = UnixDatagram::pair().expect("sockets");
        queue.set_nonblocking(true).expect("set");
        kernel.set_nonblocking(true).expect("set");
        let files = Buffers::new(16, 64 << 10).expect("memory");
        Bench {
            files,
            queue,
            kernel,
            wake: eventfd().expect("an eventfd"),
            shared: Shared::default(),
        }
    }

    /// Runs a history to its end and judges it.
    pub(super) fn run(&self, history: &History) -> Outcome {
        let mut run = Run::new(self, history.mix);
        let mut steps = history.steps.iter().peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::Act(act) => {
                    run.world.borrow_mut().act(act);
                }
                Step::Turn { events, beside, is_split } => {
                    let mut acts = Vec::new();
                    while acts.len() < usize::from(*beside)
                        && let Some(Step::Act(act)) = steps.peek()
                    {
                        acts.push(act.clone());
                        steps.next();
                    }
                    run.turn(usize::from(*events), acts, *is_split);
                }
            }
        }
        run.end()
    }
}

struct Run<'a> {
    bench: &'a Bench,
    mix: Mix,
    world: Rc<RefCell<World>>,
    reader: Reader<'a, Model>,
    consumer: Consumer,
    lines: Lines,
    start: BTreeMap<String, bool>,
    reads: u32,
}

impl<'a> Run<'a> {
    fn new(bench: &'a Bench, mix: Mix) -> Self {
        let mut world = World::new(mix.reuse());
        for op in first(mix) {
            assert!(op.apply(&mut world.files).is_some(), "{op:?}");
        }
        world.queue.limit = mix.queue_limit();
        let mask = u64::from(kind::DEFAULT | kind::ONDIR);
        if !mix.marks_each() {
            world.queue.mark_filesystem(mask);
        }
        let start = world.files.listing(WATCHED);
        let world = Rc::new(RefCell::new(world));
        let resolver = resolver(Model(Rc::clone(&world)), mask, mix);
        let sources = poll::Descriptors {
            files: bench.queue.as_fd(),
            connector: None,
            wake: bench.wake.as_fd(),
            messages: Vec::new(),
        };
        let poll = Poll::new(&sources, &bench.files, Gauge::default());
        let intake = Intake::new(IoBackend::Poll(poll), Buffers::new(1, 4096).expect("memory"));
        let mut who = processes(IMAGES);
        PIDS.iter().for_each(|pid| who.feed_bpf(&fork(*pid)));
        let sources =
            Inputs { who, intake, files: &bench.files, queue: QueueGauge::default(), failed: None };
        let (producer, consumer) = ring(SLOTS);
        let output = Output::new(producer, Counters::default());
        let start_ns = world.borrow().now_ns;
        let reader = Reader::new(resolver, output, sources, &bench.shared, start_ns);
        Run { bench, mix, world, reader, consumer, lines: Lines::new(), start, reads: 0 }
    }

    /// A turn of the reader. It takes the events that wait, `events` in each buffer (0: all in one buffer). `acts`
    /// happen while it works.
    fn turn(&mut self, events: usize, acts: Vec<Act>, is_split: bool) {
        let (start_ns, taken, was_emptied) = {
            let mut world = self.world.borrow_mut();
            world.flush();
            let start_ns = world.now_ns;
            let taken = world.queue.take(if events == 0 { usize::MAX } else { events * BUFFERS });
            (world.is_split, world.now_ns) = (is_split, start_ns + TURN_NS);
            world.pending.extend(acts);
            (start_ns, taken, world.queue.is_empty())
        };
        let until_ns = start_ns + TURN_NS;
        for events in taken.chunks(if events == 0 { usize::MAX } else { events }) {
            let mut bytes = Vec::new();
            events.iter().for_each(|event| lay(event, &mut bytes));
            self.bench.kernel.send(&bytes).expect("sent");
            let len = Events(&bytes).len();
            self.reader.sources.who.note_read(self.reads, 2 * self.reads + 2, len);
            self.reads += 1;
        }
        if !taken.is_empty() {
            let Inputs { intake, who, files, .. } = &mut self.reader.sources;
            intake.wait(files, Duration::ZERO, Duration::ZERO, who).expect("read");
        }
        self.reader.work(until_ns).expect("worked");
        // The same rule as in `Intake::seen_empty_ns`.
        let empty_ns = match self.world.borrow().queue.is_empty() {
            true => Some(self.world.borrow().now_ns),
            false => was_emptied.then_some(start_ns),
        };
        self.reader.rest(until_ns, empty_ns);
        {
            let mut world = self.world.borrow_mut();
            world.catch_up();
            world.is_split = false;
        }
        self.read_ring();
    }

    fn read_ring(&mut self) {
        self.reader.output.publish();
        while self.consumer.has_more() {
            let batch = self.consumer.peek();
            self.lines.take(batch);
            let len = batch.len();
            self.consumer.release(len);
        }
    }

    /// Lets the reader take turns without new events, until it is idle. Then checks the lines.
    fn end(mut self) -> Outcome {
        while !self.world.borrow().queue.is_empty() {
            self.turn(0, Vec::new(), false);
        }
        let quiet_ns = self.world.borrow().now_ns + QUIET_NS;
        while self.world.borrow().now_ns < quiet_ns {
            let is_late = quiet_ns - self.world.borrow().now_ns < QUIET_NS / 4;
            let said = self.lines.said;
            self.turn(0, Vec::new(), false);
            if is_late && self.lines.said != said {
                break;
            }
            let is_idle = self.reader.is_idle();
            // fsmon remembers a walk for a while. After that it must be idle.
            self.world.borrow_mut().now_ns += if is_idle { QUIET_NS / 8 } else { NOT_IDLE_NS };
        }
        let is_endless = self.world.borrow().now_ns < quiet_ns || !self.reader.is_idle();
        let world = self.world.borrow();
        let end = world.files.listing(WATCHED);
        let Lines { reported, losses, .. } = self.lines;
        let mut faults = match self.mix.may_lose() && losses > 0 {
            true => Vec::new(),
            false => judge(&self.start, &end, &reported, &world.done),
        };
        if is_endless {
            faults.push(Fault::Endless);
        }
        let flagged = flagged(&reported);
        Outcome { flagged, reported, faults, losses }
    }
}

/// A resolver like that of `cold/start.rs`. Its first walk has read everything that exists at the start.
fn resolver(disk: Model, mask: u64, mix: Mix) -> Resolver<Model> {
    let covered = if mix.marks_each() { Vec::new() } else { vec![FSID] };
    let mut tree = Tree::with_dead(DIRS, 64, vec![FSID]);
    let mut watch = Watch::new(disk, mask, true, None);
    let mut above = Above::new(covered);
    watch.roots.push(Root {
        path: CString::new(WATCHED).expect("no NUL"),
        node: 0,
        fd: None,
        mount_id: 1,
        handles: Handles::modern(),
        inode_marks: mix.marks_each(),
    });
    above.add(WATCHED.as_bytes());
    let reached = above.go_down(0, &watch.disk, &tree);
    let reached = reached.unwrap_or_else(|why| panic!("there at the start: {why:?}"));
    let key = crate::hot::event::Key { fsid: FSID, handle: reached.handle.key() };
    let node = tree.insert_root(WATCHED.as_bytes(), key).expect("room");
    watch.roots[0].set(node, reached, mix.marks_each());
    watch.walk(&mut tree, node, &mut |_, _, _| Visit::Take);
    let mut resolver = Resolver::new(tree, watch, above, kind::DEFAULT, OWN_PID, 0);
    if mix.walks_in_steps() {
        resolver.walks.step_ns = 0;
    }
    resolver
}

/// A message of our BPF programs: the fork of a process, before any event.
fn fork(pid: u32) -> Vec<u8> {
    let mut raw = [0; bpf_record::LEN];
    let mut put = |at: usize, value: u32| raw[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    put(bpf_record::KIND, bpf_record::kind::FORK);
    put(bpf_record::PID, pid);
    put(bpf_record::TIME, 1);
    put(bpf_record::CALLER, pid);
    put(bpf_record::SETTLED, 1);
    put(bpf_record::COMM, u32::from_ne_bytes(*b"proc"));
    // PERF_RECORD_SAMPLE, perf_event_open(2): header, length, raw data.
    let head = [9u32, (12 + raw.len() as u32) << 16, raw.len() as u32];
    [&head.map(u32::to_ne_bytes).concat()[..], &raw].concat()
}
