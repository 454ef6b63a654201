//! The reader thread. In a loop it takes a batch of file events, takes in process messages, resolves the events,
//! and publishes records.
//!
//! The order makes attribution exact: the fork, exec and credential messages of a process are in their rings before
//! the process can change a file. So they are taken in *after* the file events were read and *before* these are
//! resolved.

pub(crate) mod flushes;
pub(crate) mod intake;
pub(crate) mod pace;
pub(crate) mod placement;
pub(crate) mod queue;
pub(crate) mod root_commands;

use crate::Error;
use crate::counters::{Counters, Shared};
use crate::hot::event::Events;
use crate::hot::output::{Inputs, Output};
use crate::hot::reader::flushes::{Flushed, Progress};
use crate::hot::reader::intake::Intake;
use crate::hot::reader::pace::{Pace, Reach};
use crate::hot::reader::placement::Placement;
use crate::hot::reader::queue::QueueGauge;
use crate::hot::reader::root_commands::Obeyed;
use crate::hot::r#where::disk::{Disk, Kernel};
use crate::hot::r#where::mounts::{Change, Followed};
use crate::hot::r#where::resolve::{Batch, Resolver};
use crate::hot::who::{Interval, Processes, Rung};
use crate::limits::reader::{
    LAST_LOOKS, SLEEP_IN_WALK, SLEEP_IN_WALK_BEHIND, SLEEP_MAX, SLEEP_NOT_IDLE, STATS_EVERY_NS,
};
use crate::ring::Producer;
use crate::sys::buffers::Buffers;
use crate::sys::clock;
use fsmon_format::record::{self, Outcome, Reason};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use zerocopy::FromZeros;

/// What other threads ask of the reader.
pub(crate) enum Control {
    /// A filesystem was mounted on a watched path, or unmounted.
    Mount(Change),
    /// Watch a mount from now on, as a root of its own.
    Follow(Box<Followed>),
    /// That mount is gone: remove the root with this number.
    Unfollow(usize),
    /// All mount points of filesystems that may not answer: the reader does not look at them.
    Slow(Box<[Box<[u8]>]>),
    /// Deliver what happened until now, then end.
    Stop,
}

/// What the thread gets from the set-up.
pub(crate) struct Parts {
    pub(crate) resolver: Resolver,
    pub(crate) who: Processes,
    pub(crate) queue: QueueGauge,
    pub(crate) producer: Producer,
    pub(crate) shared: Arc<Shared>,
    /// The counts of the walk at the start.
    pub(crate) counters: Counters,
    pub(crate) control: flume::Receiver<Control>,
    pub(crate) wake: Arc<OwnedFd>,
    pub(crate) window: Duration,
    /// Nothing that happened before this is reported.
    pub(crate) start_ns: u64,
    /// Set if the thread may choose its CPU.
    pub(crate) placement: Option<Placement>,
}

/// Runs until `control` asks it to stop, or the consumer is gone. Sends to `ready` once it has followed everything
/// that happened before it began.
///
/// # Errors
/// A read that failed for good.
pub(crate) fn run(
    parts: Parts,
    intake: Intake,
    files: &Buffers,
    ready: flume::Sender<()>,
) -> Result<Counters, Error> {
    let mut ready = Some(ready);
    let output = Output::new(parts.producer, parts.counters);
    let sources = Inputs { who: parts.who, intake, files, queue: parts.queue, failed: None };
    let mut reader = Reader::new(parts.resolver, output, sources, &parts.shared, parts.start_ns);
    reader.placement = parts.placement;
    reader.output.clock(&mut reader.sources);
    reader.report_walk(parts.start_ns);
    let (mut stop_ns, mut looks) = (None, 0);
    let result = loop {
        if ready.is_some() {
            reader.end_quiet();
        }
        if reader.index >= reader.resolver.quiet
            && let Some(ready) = ready.take()
        {
            // The receiver is gone if the start was given up.
            let _ = ready.send(());
        }
        let timeout = match stop_ns {
            _ if reader.resolver.walks.any() => reader.between_steps(),
            Some(_) => Duration::from_millis(1),
            None if reader.is_idle() && !reader.resolver.flushes.any() => SLEEP_MAX,
            None => SLEEP_NOT_IDLE,
        };
        if let Err(error) = reader.turn(parts.window, timeout) {
            break Err(error);
        }
        if reader.sources.intake.take_wake() && reader.must_stop(&parts.control) {
            // The queue may fill faster than it is read, and would never be empty: remove the marks, so that no
            // more events come. If that fails, the end waits until few events come.
            if stop_ns.is_none() {
                let _ = reader.resolver.watch.disk.remove_marks();
            }
            stop_ns = stop_ns.or(Some(clock::monotonic_ns()));
        }
        if stop_ns.is_some_and(|stop| reader.after_ns >= stop) {
            looks += u32::from(!reader.resolver.walks.any());
            if reader.is_idle() || looks > LAST_LOOKS {
                break Ok(());
            }
        }
        if reader.output.abandoned() {
            break Ok(());
        }
    };
    reader.finish(result.is_err());
    result.map(|()| reader.output.counters)
}

/// The reader, between its turns.
pub(crate) struct Reader<'a, D: Disk = Kernel> {
    pub(crate) resolver: Resolver<D>,
    pub(crate) output: Output,
    pub(crate) sources: Inputs<'a>,
    shared: &'a Shared,
    /// Every event that is still to come happened after this.
    after_ns: u64,
    /// Events resolved since the group was made.
    index: u64,
    tick_ns: u64,
    placement: Option<Placement>,
    pace: Pace,
    /// Kernel events at the last STATS record.
    events_at_last_stats: u64,
    /// Evicted process images that were reported.
    evicted: u64,
    /// Entries in directories without a mark that were reported.
    unmarked: u64,
    /// Changes of long names that were reported.
    too_long: u64,
}

impl Reader<'_> {
    /// Does what the control channel asks for. Returns true if that is to stop, or if the other end is gone.
    #[cold]
    fn must_stop(&mut self, control: &flume::Receiver<Control>) -> bool {
        loop {
            match control.try_recv() {
                Ok(Control::Mount(change)) => {
                    self.at_once(|resolver, batch| resolver.mount_changed(&change, batch));
                }
                Ok(Control::Follow(followed)) => {
                    self.at_once(|resolver, batch| resolver.follow_mount(*followed, batch));
                }
                Ok(Control::Unfollow(at)) => {
                    self.at_once(|resolver, batch| resolver.unfollow_mount(at, batch));
                }
                Ok(Control::Slow(points)) => self.resolver.above.slow = points,
                Ok(Control::Stop) | Err(flume::TryRecvError::Disconnected) => return true,
                Err(flume::TryRecvError::Empty) => return false,
            }
        }
    }

    /// One batch.
    fn turn(&mut self, window: Duration, timeout: Duration) -> Result<(), Error> {
        // A step of a walk takes long enough for events to gather.
        let is_walking = self.resolver.walks.any();
        let window = if is_walking { Duration::ZERO } else { self.pace.gather_for(window) };
        let sources = &mut self.sources;
        let failed = |error| Error::os("reading file events failed", error);
        sources.intake.wait(sources.files, window, timeout, &mut sources.who).map_err(failed)?;
        let until_ns = clock::monotonic_ns();
        self.output.note_step(&mut self.sources, until_ns);
        let (index, reported) = (self.index, self.output.counters.events);
        let heard = self.sources.who.messages();
        self.work(until_ns)?;
        if let Some(placement) = self.placement.as_mut().filter(|_| self.index != index) {
            placement.note_batch(until_ns);
        }
        let messages = self.sources.who.messages() - heard;
        self.note_pace(self.index - index, self.output.counters.events - reported, messages);
        let queue = self.resolver.watch.disk.group.as_fd();
        let empty_ns = self.sources.intake.seen_empty_ns(queue);
        self.rest(until_ns, empty_ns);
        Ok(())
    }
}

impl<'a, D: Disk> Reader<'a, D> {
    /// A reader that has resolved nothing yet. Nothing that happened before `start_ns` is still to come.
    pub(crate) fn new(
        resolver: Resolver<D>,
        output: Output,
        sources: Inputs<'a>,
        shared: &'a Shared,
        start_ns: u64,
    ) -> Self {
        Reader {
            resolver,
            output,
            sources,
            shared,
            after_ns: start_ns,
            index: 0,
            tick_ns: 0,
            placement: None,
            pace: Pace::default(),
            events_at_last_stats: 0,
            evicted: 0,
            unmarked: 0,
            too_long: 0,
        }
    }

    /// Runs `act` between two batches.
    fn at_once(&mut self, act: impl FnOnce(&mut Resolver<D>, &mut Batch<'_, '_>)) {
        let until_ns = clock::monotonic_ns();
        let interval = Interval { after_ns: self.after_ns, until_ns, index: self.index };
        let mut batch = Batch::new(interval, &mut self.sources, &mut self.output);
        act(&mut self.resolver, &mut batch);
        self.output.publish();
    }

    /// Adapts the batch window after a batch of `events` events, of which `reported` were reported, with `messages`
    /// process messages. It does not get longer if attribution is approximate (no BPF), if command lines must be
    /// read from /proc, or if each directory needs its own mark, which it gets when its event is read.
    fn note_pace(&mut self, events: u64, reported: u64, messages: u64) {
        let who = &self.sources.who;
        let is_exact = who.rung() == Rung::Bpf && !who.must_read_cmdlines();
        let reach = match is_exact && !self.resolver.watch.any_inode_marks() {
            false => Reach::Window,
            true if messages > 0 => Reach::Batch,
            true => Reach::Windows,
        };
        self.pace.note(events, reported, reach);
    }

    /// Turns what was taken in until `until_ns` into records.
    pub(crate) fn work(&mut self, until_ns: u64) -> Result<(), Error> {
        let sources = &mut self.sources;
        let failed = |error| Error::os("reading file events failed", error);
        let count = sources.intake.waiting();
        // BPF messages are in memory and need no call.
        if sources.who.rung() != Rung::Bpf {
            sources.intake.flush(sources.files, &mut sources.who).map_err(failed)?;
        }
        sources.who.drain(until_ns);
        sources.read_cmdlines();
        self.report_lost_messages();
        let interval = Interval { after_ns: self.after_ns, until_ns, index: self.index };
        self.index = self.resolve(count, interval);
        if self.output.counters.entries_unmarked != self.unmarked {
            self.report_unmarked(interval);
        }
        if self.resolver.watch.names_refused() != self.output.counters.files_refused {
            self.report_files_refused(interval);
        }
        self.report_forgotten(interval.until_ns);
        self.sources.who.note_resolved(self.index);
        if let Some(error) = self.sources.failed.take() {
            return Err(failed(error));
        }
        self.output.publish();
        Ok(())
    }

    /// What follows a batch. `empty_ns`: when the queue was seen empty, if it was.
    pub(crate) fn rest(&mut self, until_ns: u64, empty_ns: Option<u64>) {
        let Inputs { queue, who, .. } = &mut self.sources;
        match empty_ns {
            Some(_) => queue.note_empty(),
            None => queue.note_batch(until_ns, who),
        }
        if let Some(empty_ns) = empty_ns {
            self.after_ns = self.after_ns.max(empty_ns);
            self.sources.who.retire(self.after_ns);
            if self.sources.intake.waiting() == 0 {
                self.report_left(until_ns);
            }
            self.resolver.on_queue_empty(self.after_ns);
            if !self.is_idle() {
                self.look_when_empty(until_ns);
            }
            self.report_forgotten(until_ns);
        }
        if self.resolver.walks.any() && !self.output.is_behind() {
            self.walk_on();
        }
        if self.resolver.flushes.any() {
            self.answer_flushes();
            self.answer_commands();
        }
        if until_ns >= self.tick_ns {
            self.sources.queue.tick(until_ns, &self.sources.who, empty_ns.is_some());
            self.tick(until_ns);
        }
    }

    /// Answers the commands that are done: a root that was added when it is read.
    #[cold]
    fn answer_commands(&mut self) {
        let mut at = 0;
        while let Some(&Obeyed { flushed, outcome, errno, root }) = self.resolver.obeyed.get(at) {
            let root = root.filter(|_| outcome == Outcome::Active);
            if root.is_some() && self.resolver.walks.any() {
                at += 1;
                continue;
            }
            let dirs = root.map_or(0, |root| self.resolver.dirs_of_root(root));
            self.answer(flushed, outcome, (dirs, errno));
            self.resolver.obeyed.remove(at);
        }
    }

    /// Pushes an answer and publishes it, and ends the flush.
    fn answer(&mut self, flushed: Flushed, outcome: Outcome, (dirs, errno): (u32, i32)) {
        let mut head = record::Answer::new_zeroed();
        head.outcome = outcome.code().into();
        (head.token, head.time_ns) = (flushed.token.into(), flushed.asked_ns.into());
        (head.dirs, head.errno) = (dirs.into(), errno.unsigned_abs().into());
        self.output.answer(&mut self.sources, head);
        self.output.publish();
        self.resolver.flushes.end(flushed);
    }

    /// Answers the flushes before which everything is in the ring.
    #[cold]
    fn answer_flushes(&mut self) {
        let now_ns = self.resolver.watch.disk.now_ns();
        let progress = Progress { after_ns: self.after_ns, now_ns, is_idle: self.is_idle() };
        while let Some(flushed) = self.resolver.flushes.next(progress) {
            match self.resolver.flushes.carries(flushed) {
                true => self.at_once(|resolver, batch| resolver.obey(flushed, batch)),
                false => self.answer(flushed, Outcome::Done, (0, 0)),
            }
        }
    }

    /// The longest sleep between two steps of a walk.
    fn between_steps(&self) -> Duration {
        if self.output.is_behind() { SLEEP_IN_WALK_BEHIND } else { SLEEP_IN_WALK }
    }

    /// One step of the walks in progress.
    #[cold]
    fn walk_on(&mut self) {
        let until_ns = self.resolver.watch.disk.now_ns();
        let interval = Interval { after_ns: self.after_ns, until_ns, index: self.index };
        let mut batch = Batch::new(interval, &mut self.sources, &mut self.output);
        self.resolver.walk_on(&mut batch);
        self.output.publish();
    }

    /// Ends the quiet phase, in which events are applied but not reported, if the queue is empty: all events that
    /// were queued when the walk ended are resolved then. Without that, the phase ends after as many events as
    /// FIONREAD counted; a kernel that counts differently must not keep an idle host from being ready.
    fn end_quiet(&mut self) {
        if self.sources.intake.waiting() == 0 && self.resolver.watch.disk.is_queue_empty() {
            self.resolver.quiet = self.resolver.quiet.min(self.index);
        }
    }

    /// Whether no work waits for an empty queue.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        let Resolver { deferred, doubts, above, tree, walks, .. } = &self.resolver;
        let waits = deferred.any() || doubts.any() || above.is_look_due();
        !waits && !tree.any_unread() && !walks.any()
    }

    /// Reports directories and files that left the watched paths: every rename that was queued before has been
    /// resolved.
    #[inline]
    fn report_left(&mut self, until_ns: u64) {
        if self.resolver.doubts.any_left() {
            let interval = Interval { after_ns: self.after_ns, until_ns, index: self.index };
            let mut batch = Batch::new(interval, &mut self.sources, &mut self.output);
            self.resolver.tell_left(&mut batch);
            self.output.publish();
        }
    }

    /// Does the work that had to wait for an empty queue.
    #[cold]
    fn look_when_empty(&mut self, until_ns: u64) {
        let interval = Interval { after_ns: self.after_ns, until_ns, index: self.index };
        // The filesystem agrees with what the queue reported only while no event is left.
        let is_empty =
            self.sources.intake.waiting() == 0 && self.resolver.watch.disk.is_queue_empty();
        let (sources, output) = (&mut self.sources, &mut self.output);
        let mut batch = Batch::new(interval, sources, output);
        if self.resolver.deferred.is_due(self.after_ns) {
            self.resolver.tell_gone(&mut batch);
        }
        if is_empty {
            self.resolver.look_at_doubts(&mut batch);
            let Resolver { tree, doubts, walks, .. } = &self.resolver;
            if tree.any_unread() && !doubts.any() && !walks.any() {
                self.resolver.read_unread(&mut batch);
            }
            self.resolver.look_for_roots(&mut batch);
        }
        self.output.publish();
    }

    /// Resolves `count` buffers. Returns the number of events resolved since the group was made.
    fn resolve(&mut self, count: usize, mut interval: Interval) -> u64 {
        let files = self.sources.files;
        self.resolver.orphans.begin_batch();
        let mut next = if count > 0 { self.sources.intake.take() } else { None };
        for left in (0..count).rev() {
            let Some(taken) = next.take() else { break };
            next = if left > 0 { self.sources.intake.take() } else { None };
            let after = Events(next.as_ref().map_or(&[], |next| files.bytes(next)));
            let mut events = Events(files.bytes(&taken));
            let mut batch = Batch::new(interval, &mut self.sources, &mut self.output);
            while let Some(event) = events.next() {
                batch.begin([events, after]);
                self.resolver.event(&event, &mut batch);
                batch.window.index += 1;
            }
            let events = batch.window.index - interval.index;
            interval.index = batch.window.index;
            self.sources.queue.note_read(files.bytes(&taken).len(), events);
            self.sources.intake.give_back(taken);
        }
        interval.index
    }

    /// Loss records for what the walk at the start could not read or keep.
    fn report_walk(&mut self, start_ns: u64) {
        let counters = self.output.counters;
        let losses = [
            (Reason::DirsMax, counters.dirs_refused),
            (Reason::Walk, counters.dirs_unreadable),
            (Reason::FilesMax, counters.files_refused),
        ];
        for (reason, count) in losses.into_iter().filter(|(_, count)| *count > 0) {
            let span = (start_ns, clock::monotonic_ns());
            self.output.loss(&mut self.sources, reason, span, Some(count), count);
        }
    }

    /// Loss records for changes of names that are too long, and for entries that full tables forgot: one of each
    /// for a batch.
    #[inline]
    fn report_forgotten(&mut self, until_ns: u64) {
        let total = self.output.counters.names_too_long;
        if total != self.too_long {
            let (count, span) = (total - self.too_long, (self.after_ns, until_ns));
            self.too_long = total;
            self.output.loss(&mut self.sources, Reason::NameTooLong, span, Some(count), total);
        }
        let total = self.resolver.forgotten() + self.sources.who.names_refused();
        if total != self.output.counters.tables_full {
            let count = total - std::mem::replace(&mut self.output.counters.tables_full, total);
            let span = (self.after_ns, until_ns);
            self.output.loss(&mut self.sources, Reason::TablesFull, span, Some(count), total);
            self.output.publish();
        }
    }

    /// A loss record for names of files that there was no room for: one for a batch.
    #[cold]
    fn report_files_refused(&mut self, interval: Interval) {
        let total = self.resolver.watch.names_refused();
        let count = total - std::mem::replace(&mut self.output.counters.files_refused, total);
        self.output.loss(&mut self.sources, Reason::FilesMax, interval.span(), Some(count), total);
    }

    /// A loss record for what was made in directories before they had their marks: one for a batch.
    #[cold]
    fn report_unmarked(&mut self, interval: Interval) {
        let total = self.output.counters.entries_unmarked;
        let count = total - self.unmarked;
        self.unmarked = total;
        self.output.loss(&mut self.sources, Reason::Unmarked, interval.span(), Some(count), total);
    }

    /// A loss record for process images that were evicted.
    fn report_evicted(&mut self, now_ns: u64) {
        let total = self.output.counters.processes_evicted;
        let count = total - self.evicted;
        if count > 0 {
            self.evicted = total;
            let span = (self.after_ns, now_ns);
            self.output.loss(&mut self.sources, Reason::ProcessesMax, span, Some(count), total);
        }
    }

    /// A loss record for process messages that the kernel dropped.
    fn report_lost_messages(&mut self) {
        let Some(loss) = self.sources.who.take_loss() else { return };
        let total = self.sources.who.counters().lost;
        self.output.counters.lost_process_messages = total;
        let span = (loss.first_ns, loss.last_ns);
        self.output.loss(&mut self.sources, Reason::ProcessMessages, span, loss.count, total);
    }

    #[cold]
    fn tick(&mut self, now_ns: u64) {
        self.tick_ns = now_ns + STATS_EVERY_NS;
        self.sources.who.look_for_misses();
        self.resolver.end_round();
        self.count();
        self.report_evicted(now_ns);
        if self.output.counters.kernel_events != self.events_at_last_stats {
            self.events_at_last_stats = self.output.counters.kernel_events;
            self.output.stats(&mut self.sources);
            self.output.publish();
        }
    }

    fn count(&mut self) {
        let counters = &mut self.output.counters;
        counters.reads = self.sources.intake.reads();
        counters.dirs = self.resolver.tree.len() as u64;
        let who = self.sources.who.counters();
        counters.processes = who.images as u64;
        counters.processes_evicted = who.evicted;
        counters.queue_bytes = self.sources.queue.bytes();
        counters.reader_cpu_ns = clock::thread_cpu_ns();
        self.shared.store(counters);
    }

    fn finish(&mut self, failed: bool) {
        while let Some(flushed) = self.resolver.flushes.last() {
            // Without the reader no command is done.
            match failed || self.resolver.flushes.carries(flushed) {
                true => self.answer(flushed, Outcome::Failed, (0, libc::ECANCELED)),
                false => self.answer(flushed, Outcome::Done, (0, 0)),
            }
        }
        self.count();
        self.report_evicted(clock::monotonic_ns());
        self.output.stats(&mut self.sources);
        self.output.end(&mut self.sources, failed);
        self.count();
    }
}
