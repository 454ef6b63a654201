//! The reader's output: records into the ring, definitions before their first use.

use crate::counters::Counters;
use crate::hot::reader::intake::Intake;
use crate::hot::reader::queue::QueueGauge;
use crate::hot::r#where::tree::{Tree, flag};
use crate::hot::who::{CmdlineRef, Processes};
use crate::limits::reader::{BEHIND_SLOTS, CLOCK_MOVED_NS, STALL_SLEEP};
use crate::ring::Producer;
use crate::sys::buffers::Buffers;
use crate::sys::clock::{self, Clocks};
use fsmon_format::record::{
    self, Build, COUNT_UNKNOWN, NAME_MAX, Reason, Slot, dir_flag, end_flag, event_slots, lay_event,
};
use std::io;
use zerocopy::FromZeros;

/// The inputs of the reader, which it must serve even while the ring is full.
pub(crate) struct Inputs<'a> {
    pub(crate) who: Processes,
    pub(crate) intake: Intake,
    /// The buffers of file events; the reader reads in those that the intake has given it.
    pub(crate) files: &'a Buffers,
    /// The length of the queue, which grows while the ring is full.
    pub(crate) queue: QueueGauge,
    /// An error while the ring was full; returned after the batch.
    pub(crate) failed: Option<io::Error>,
}

impl Inputs<'_> {
    /// Takes in the process messages sent until now.
    pub(crate) fn catch_up(&mut self) {
        let horizon_ns = clock::monotonic_ns();
        if let Err(error) = self.intake.flush(self.files, &mut self.who) {
            self.failed = Some(error);
        }
        self.who.drain(horizon_ns);
    }

    /// Reads the command lines of processes that have called exec, if they were requested.
    #[inline]
    pub(crate) fn read_cmdlines(&mut self) {
        if self.who.read_cmdlines_ahead() {
            self.catch_up();
            self.who.confirm_cmdlines();
        }
    }
}

/// The ring, and the counters.
pub(crate) struct Output {
    producer: Producer,
    build: Build,
    /// Wall clock minus monotonic clock in the last CLOCK or STATS record, ns, modulo 2⁶⁴.
    ahead_ns: u64,
    pub(crate) counters: Counters,
}

impl Output {
    /// `counters` has the counts of the set-up.
    pub(crate) fn new(producer: Producer, counters: Counters) -> Self {
        Output { producer, build: Build::default(), ahead_ns: 0, counters }
    }

    /// Whether the consumer is gone.
    pub(crate) fn abandoned(&self) -> bool {
        self.producer.abandoned()
    }

    /// Whether the consumer is far behind: it will see what is pushed now late.
    pub(crate) fn is_behind(&self) -> bool {
        self.producer.backlog() > BEHIND_SLOTS
    }

    /// Makes what was pushed visible to the consumer.
    pub(crate) fn publish(&mut self) {
        self.producer.publish();
        self.counters.ring_peak = self.producer.peak();
    }

    /// Pushes an event, after the definitions that it needs.
    pub(crate) fn event(
        &mut self,
        tree: &mut Tree,
        sources: &mut Inputs<'_>,
        head: record::Event,
        name: &[u8],
        name2: &[u8],
    ) {
        if name.len().max(name2.len()) > NAME_MAX {
            // Possible if a walk found a directory with a longer name, and it is renamed or removed.
            self.counters.names_too_long += 1;
            return;
        }
        for dir in [head.dir2.get(), head.dir.get()] {
            if dir != 0 && tree.node(dir).flags & flag::DEFINED == 0 {
                self.define_dir(tree, sources, dir);
            }
        }
        let image = head.proc.get();
        if !sources.who.is_defined(image) {
            self.define_proc(sources, image);
        }
        let count = event_slots(name, name2);
        if !self.producer.push_with(count, |room| lay_event(room, head, name, name2)) {
            stall(&mut self.producer, sources, self.build.event(head, name, name2));
        }
        self.counters.events += 1;
    }

    /// Sends a directory that has moved again, if the consumer knows it.
    pub(crate) fn redefine_dir(&mut self, tree: &mut Tree, sources: &mut Inputs<'_>, dir: u32) {
        if tree.node(dir).flags & flag::DEFINED != 0 {
            tree.clear(dir, flag::DEFINED);
            self.define_dir(tree, sources, dir);
        }
    }

    /// Defines a directory that is not watched, by its whole path.
    pub(crate) fn define_outside(
        &mut self,
        sources: &mut Inputs<'_>,
        (id, object): (u32, u64),
        path: &[u8],
    ) {
        let mut head = record::Dir::new_zeroed();
        head.flags = dir_flag::WHOLE_PATH.into();
        head.id = id.into();
        head.object = object.into();
        let record = self.build.dir(head, path);
        push(&mut self.producer, sources, record);
    }

    /// Defines a directory, its ancestors first: a defined directory has only defined ancestors.
    #[cold]
    fn define_dir(&mut self, tree: &mut Tree, sources: &mut Inputs<'_>, dir: u32) {
        while tree.node(dir).flags & flag::DEFINED == 0 {
            let mut at = dir;
            loop {
                let parent = tree.node(at).parent;
                if parent == 0 || tree.node(parent).flags & flag::DEFINED != 0 {
                    break;
                }
                at = parent;
            }
            let node = tree.node(at);
            let mut head = record::Dir::new_zeroed();
            head.id = at.into();
            head.parent = node.parent.into();
            head.fs = u32::from(node.fs).into();
            head.generation = node.generation.into();
            head.object = tree.object(at, node.hash()).into();
            let record = self.build.dir(head, tree.name(at));
            push(&mut self.producer, sources, record);
            tree.set(at, flag::DEFINED);
        }
    }

    /// Defines an image: its ancestors first, and the name of the executable and the command line before the image
    /// that refers to them.
    #[cold]
    fn define_proc(&mut self, sources: &mut Inputs<'_>, image: u32) {
        // Pushing may wait for room, and processes come and go meanwhile.
        sources.who.hold(image);
        while !sources.who.is_defined(image) {
            let mut at = image;
            while !sources.who.is_defined(sources.who.parent(at)) {
                at = sources.who.parent(at);
            }
            read_exe(sources, at);
            let cmdline = self.define_cmdline(sources, at);
            if !sources.who.is_defined(sources.who.parent(at)) {
                // A message that came meanwhile gave it another parent.
                continue;
            }
            let mut head = sources.who.describe(at);
            head.cmdline = cmdline.string.into();
            head.flags |= cmdline.flags;
            for text in [head.exe.get(), head.exec.get()] {
                if !sources.who.is_exe_defined(text) {
                    let record = self.build.str(text, sources.who.exe(text));
                    push(&mut self.producer, sources, record);
                    sources.who.set_exe_defined(text);
                }
            }
            if !sources.who.is_defined(head.prev.get()) {
                head.prev = 0.into();
            }
            sources.who.set_defined(at);
            push(&mut self.producer, sources, self.build.proc(head));
        }
        sources.who.release(image);
    }

    /// The command line of an image, if it is known; its text is sent before its first use.
    #[inline]
    fn define_cmdline(&mut self, sources: &mut Inputs<'_>, image: u32) -> CmdlineRef {
        if sources.who.read_cmdline(image) {
            // The messages sent until now show whether the text belongs to this image.
            sources.who.hold(image);
            sources.catch_up();
            sources.who.confirm_cmdlines();
            sources.who.release(image);
        }
        let line = sources.who.cmdline(image);
        if line.text_of != 0 {
            let record = self.build.str(line.string, sources.who.cmdline_text(line.text_of));
            push(&mut self.producer, sources, record);
        }
        line
    }

    /// Reports a loss in `span`; `count` if it is known, and the `total` for this reason.
    #[cold]
    pub(crate) fn loss(
        &mut self,
        sources: &mut Inputs<'_>,
        reason: Reason,
        span: (u64, u64),
        count: Option<u64>,
        total: u64,
    ) {
        self.push_loss(sources, (reason, 0), span, (count, total));
    }

    /// The same, about the directory `dir`; 0 is none.
    #[cold]
    pub(crate) fn loss_at(
        &mut self,
        tree: &mut Tree,
        sources: &mut Inputs<'_>,
        (reason, dir): (Reason, u32),
        span: (u64, u64),
        numbers: (Option<u64>, u64),
    ) {
        if dir != 0 {
            self.define_dir(tree, sources, dir);
        }
        self.push_loss(sources, (reason, dir), span, numbers);
    }

    fn push_loss(
        &mut self,
        sources: &mut Inputs<'_>,
        (reason, dir): (Reason, u32),
        (first_ns, last_ns): (u64, u64),
        (count, total): (Option<u64>, u64),
    ) {
        let mut head = record::Loss::new_zeroed();
        head.reason = reason.code().into();
        head.first_ns = first_ns.into();
        head.last_ns = last_ns.into();
        head.count = count.unwrap_or(COUNT_UNKNOWN).into();
        head.total = total.into();
        head.dir = dir.into();
        push(&mut self.producer, sources, self.build.loss(head));
        self.counters.losses += 1;
    }

    /// The first record, which says what the times of the others mean.
    pub(crate) fn clock(&mut self, sources: &mut Inputs<'_>) {
        self.push_clock(sources, clock::both());
    }

    /// Sends both clocks again if the wall clock was set, or stood still in suspend, since they were last sent.
    /// `now_ns` is the monotonic clock of a moment ago. Reads the wall clock once, about 30 ns.
    #[inline]
    pub(crate) fn note_step(&mut self, sources: &mut Inputs<'_>, now_ns: u64) {
        let ahead_ns = clock::realtime_ns().wrapping_sub(now_ns);
        if is_step(self.ahead_ns, ahead_ns) {
            self.check_step(sources);
        }
    }

    /// Compares the clocks again: the thread may have been interrupted between the two readings.
    #[cold]
    fn check_step(&mut self, sources: &mut Inputs<'_>) {
        let clocks = clock::both();
        if is_step(self.ahead_ns, clocks.ahead_ns()) {
            self.push_clock(sources, clocks);
        }
    }

    fn push_clock(&mut self, sources: &mut Inputs<'_>, clocks: Clocks) {
        self.ahead_ns = clocks.ahead_ns();
        let record = self.build.clock(clocks.monotonic_ns, clocks.realtime_ns);
        push(&mut self.producer, sources, record);
    }

    /// Sends both clocks and the counters.
    pub(crate) fn stats(&mut self, sources: &mut Inputs<'_>) {
        let clocks = clock::both();
        self.ahead_ns = clocks.ahead_ns();
        let mut head = record::Stats::new_zeroed();
        head.time_ns = clocks.monotonic_ns.into();
        head.realtime_ns = clocks.realtime_ns.into();
        head.kernel_events = self.counters.kernel_events.into();
        head.events = self.counters.events.into();
        head.losses = self.counters.losses.into();
        head.ring_peak = u32::try_from(self.producer.peak()).unwrap_or(u32::MAX).into();
        head.dirs = u32::try_from(self.counters.dirs).unwrap_or(u32::MAX).into();
        head.processes = u32::try_from(self.counters.processes).unwrap_or(u32::MAX).into();
        push(&mut self.producer, sources, self.build.stats(head));
    }

    /// The answer to a command.
    #[cold]
    pub(crate) fn answer(&mut self, sources: &mut Inputs<'_>, head: record::Answer) {
        push(&mut self.producer, sources, self.build.answer(head));
    }

    /// The last record.
    pub(crate) fn end(&mut self, sources: &mut Inputs<'_>, failed: bool) {
        let mut head = record::End::new_zeroed();
        head.reason = u32::from(failed).into();
        if failed || !self.counters.is_complete() {
            head.flags = end_flag::INCOMPLETE.into();
        }
        head.time_ns = clock::monotonic_ns().into();
        head.events = self.counters.events.into();
        head.losses = self.counters.losses.into();
        push(&mut self.producer, sources, self.build.end(head));
        self.producer.publish();
    }
}

fn is_step(one_ns: u64, other_ns: u64) -> bool {
    one_ns.wrapping_sub(other_ns).cast_signed().unsigned_abs() >= CLOCK_MOVED_NS
}

/// Reads which file an image runs from /proc, if no source reported it.
#[inline]
fn read_exe(sources: &mut Inputs<'_>, image: u32) {
    if sources.who.read_exe(image) {
        sources.who.hold(image);
        sources.catch_up();
        sources.who.confirm_exe(image);
        sources.who.release(image);
    }
}

/// Pushes into the ring. If it is full, waits for room and takes in process messages meanwhile.
#[inline]
fn push(producer: &mut Producer, sources: &mut Inputs<'_>, record: &[Slot]) {
    if !producer.push(record) {
        stall(producer, sources, record);
    }
}

#[cold]
fn stall(producer: &mut Producer, sources: &mut Inputs<'_>, record: &[Slot]) {
    producer.publish();
    while !producer.push(record) {
        if producer.abandoned() {
            return;
        }
        crate::sys::thread::sleep(STALL_SLEEP);
        sources.catch_up();
        sources.queue.note_stall(clock::monotonic_ns(), &sources.who);
    }
}
