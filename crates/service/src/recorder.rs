//! The recorder: the one consumer of the engine's ring, and the one who makes the history's blocks.
//!
//! ```text
//!  ring ─► world ─► watches: who wants it? ─► stream: blocks ─ handover ─► writer's thread: segments
//!    └─ answers of the engine: a request is carried out when its answer comes, so in order with the events
//! ```
//!
//! When the disk is full, slow or gone, the handover is full, too. The recorder then waits: what it has stays in memory,
//! the ring fills, and the kernel's queue grows. Beyond `queue.max_bytes` it takes records again, and drops the events
//! (`shed.rs`). It goes on by itself, with a GAP record, and a LOSS record that counts what was dropped.

use crate::flush::Wanted;
use crate::handover::{Handover, Piece, Waiting};
use crate::limits::{
    BLOCK_WAITS, GATHER, HOLD_LOOK, IDLE, SHED_SAID_EVERY, STORM_SLOTS, WRITER_LOOK,
};
use crate::shared::Shared;
use crate::shed::{Limit, Shed};
use crate::stream::Stream;
use crate::watches::{Sizes, Watched, Watches};
use crate::writer::Writer;
use fsmon_engine::privileges::{self, Task};
use fsmon_engine::{Next, Receiver};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::record::{Answer, Body, Build, Loss, Outcome, Reason, Record, Records, What};
use fsmon_present::message;
use fsmon_present::world::{Change, World};
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// What the recorder is asked to do when the engine's answer with the same token comes.
pub(crate) struct Request {
    pub(crate) token: u64,
    pub(crate) ask: Ask,
    pub(crate) reply: flume::Sender<Result<Reply, Error>>,
}

pub(crate) enum Ask {
    /// Write what was recorded so far into the file.
    Flush,
    /// The same, and make it durable.
    Sync,
    /// Begin another segment.
    Rotate,
    /// Record for one more watch. Asked for before the engine watches it.
    Watch(Box<Watched>),
    /// Record no longer for a watch.
    Unwatch(u32, Box<Said>),
    /// Write down what a watch became: the engine's answer says so, unless `Said` does.
    Note(Box<Said>),
    /// Nothing: the answer shows that engine and recorder make progress.
    Nothing,
    /// The engine refused the command with this token: no answer comes.
    Forget,
}

/// The content of a NOTE record.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// `None`: as the engine's answer says.
    pub(crate) what: Option<What>,
    pub(crate) path: Vec<u8>,
    pub(crate) text: String,
    pub(crate) types: u32,
    pub(crate) is_recursive: bool,
}

/// What a request came to.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Everything before it is in the file.
    pub(crate) cursor: String,
    /// Directories that are known below a root that was added.
    pub(crate) directories: u32,
    pub(crate) outcome: Outcome,
    /// The error number of Linux if it failed.
    pub(crate) errno: u32,
}

/// The parts of a recorder.
pub(crate) struct Recorder {
    pub(crate) receiver: Receiver,
    pub(crate) writer: Writer,
    pub(crate) core: Core,
}

/// All but the ring and the files.
pub(crate) struct Core {
    pub(crate) world: World,
    pub(crate) watches: Watches,
    pub(crate) stream: Stream,
    pub(crate) handover: Arc<Handover>,
    pub(crate) limit: Limit,
    /// Set while events are dropped.
    pub(crate) shed: Option<Shed>,
    pub(crate) build: Box<Build>,
    /// When a message said last that events are dropped.
    pub(crate) said: Option<Instant>,
    pub(crate) requests: flume::Receiver<Request>,
    pub(crate) waiting: HashMap<u64, Request>,
    pub(crate) shared: Arc<Shared>,
}

impl Recorder {
    /// Starts the thread, and the writer's, which keeps the capabilities for `tasks`. `at_end` is called when it ends, which
    /// it does when the engine has ended.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub(crate) fn spawn(
        self,
        tasks: Vec<Task>,
        at_end: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<()>, Error> {
        let Recorder { receiver, writer, core } = self;
        let writer = writer.spawn(tasks)?;
        let builder = thread::Builder::new().name("fsmon-record".into());
        let run = move || {
            // It names control groups by their handles. With more than it needs it works as well.
            let _ = privileges::keep(&[Task::Read]);
            core.run(receiver, writer);
            at_end();
        };
        builder.spawn(run).map_err(|error| Error::os("cannot start the recorder's thread", error))
    }
}

impl Core {
    fn run(mut self, mut receiver: Receiver, writer: JoinHandle<()>) {
        // Since when a block waits for more records, and whether what is ready is to be handed over.
        let (mut waits, mut is_late) = (None::<Instant>, false);
        loop {
            let is_busy = self.hear();
            let is_over = waits.is_some_and(|since| since.elapsed() >= BLOCK_WAITS);
            if self.shed.is_none() && (is_over || is_late || self.stream.is_old()) {
                self.stream.end_block();
                self.write();
                is_late = self.stream.has_piece();
            }
            waits = match self.stream.holds_back() {
                true => waits.filter(|_| !is_over).or_else(|| Some(Instant::now())),
                false => None,
            };
            let left = match waits {
                _ if self.shed.is_some() => HOLD_LOOK,
                _ if is_busy || is_late => WRITER_LOOK,
                Some(since) => BLOCK_WAITS.saturating_sub(since.elapsed()),
                None => IDLE,
            };
            let is_storm = match receiver.next(left) {
                Next::Batch(slots) => {
                    // What was written before this batch is told before it.
                    self.hear();
                    self.world.tick(Instant::now());
                    Records(slots).for_each(|record| self.take(&record));
                    slots.len() >= STORM_SLOTS
                }
                Next::Idle => false,
                Next::Ended => break,
            };
            if self.shed.is_some() {
                self.look_at_shed();
            } else if is_storm {
                thread::sleep(GATHER);
            }
        }
        self.finish(writer);
    }

    /// Hears what the writer has to say. Returns whether it is busy.
    fn hear(&mut self) -> bool {
        let news = self.handover.news();
        if news.must_rotate {
            self.stream.end_segment();
        }
        if let Some(since_ns) = news.paused_since_ns {
            match &mut self.shed {
                Some(shed) => shed.note_pause(since_ns),
                None => self.stream.gap_of_disk(&self.world, since_ns),
            }
        }
        if news.is_busy
            && let Some(why) = self.shared.paused()
        {
            self.handover.refuse(&why);
        }
        news.is_busy
    }

    fn take(&mut self, record: &Record<'_>) {
        match record.body() {
            Body::Event(event) => {
                // Nobody waits for the disk to say how large a file is that is dropped.
                let sizes = if self.shed.is_some() { Sizes::Ignored } else { Sizes::Asked };
                let wanted = self.watches.wanted(&self.world, &event, sizes);
                if wanted.types == 0 {
                    return;
                }
                if let Some(shed) = &mut self.shed {
                    return shed.note_event(event.head);
                }
                if self.world.look_again(event.head.proc.get()) {
                    self.side_changes();
                }
                self.stream.event(&self.world, &event, wanted, record);
                self.shared.count_event(&event, wanted.types);
            }
            Body::Loss(loss) => match &mut self.shed {
                Some(shed) => shed.note_loss(loss),
                None => self.loss(loss, record),
            },
            Body::Answer(answer) => self.answer(answer),
            Body::Malformed => self.shared.count_malformed(),
            Body::Skip => {}
            body => self.define(&body, record),
        }
        if self.stream.is_full() && self.shed.is_none() {
            self.write();
        }
    }

    fn loss(&mut self, loss: &Loss, record: &Record<'_>) {
        self.stream.loss(&self.world, loss, record);
        self.shared.count_loss(loss);
    }

    fn define(&mut self, body: &Body<'_>, record: &Record<'_>) {
        match self.world.take(body) {
            Change::Nothing => {}
            change => {
                if let Change::Proc(_) = change {
                    self.side_changes();
                }
                self.changed(change);
            }
        }
        match (body, &mut self.shed) {
            (Body::Stats(stats), Some(shed)) => {
                shed.clocks = Some((stats.time_ns.get(), stats.realtime_ns.get()));
            }
            (Body::Clock(clock), Some(shed)) => {
                shed.clocks = Some((clock.time_ns.get(), clock.realtime_ns.get()));
            }
            (Body::Stats(_) | Body::Clock(_), None) => self.stream.other(&self.world, record),
            (Body::End(_), _) => {
                // Nothing comes after it.
                self.tell_shed();
                self.stream.other(&self.world, record);
            }
            _ => {}
        }
    }

    fn changed(&mut self, change: Change) {
        if let (Change::Dir(id), Some(shed)) = (change, &mut self.shed) {
            shed.forget_dir(id);
        }
        self.watches.changed(&self.world, change);
        self.stream.changed(&self.world, change);
    }

    #[cold]
    fn side_changes(&mut self) {
        for change in self.world.side_changes() {
            self.watches.changed(&self.world, *change);
            self.stream.changed(&self.world, *change);
        }
    }

    /// Carries out the request that the engine has answered.
    #[cold]
    fn answer(&mut self, answer: &Answer) {
        self.take_requests();
        let Some(request) = self.waiting.remove(&answer.token.get()) else { return };
        // The client has waited too long, and was told that it is not done.
        let is_in_vain = request.reply.is_disconnected();
        if is_in_vain && !matches!(request.ask, Ask::Unwatch(..)) {
            return;
        }
        let outcome = Outcome::from_code(answer.outcome.get());
        let directories = answer.dirs.get();
        let errno = answer.errno.get();
        let reply = |cursor| Reply { cursor, directories, outcome, errno };
        let wanted = match request.ask {
            Ask::Flush | Ask::Rotate => Wanted::Readable,
            Ask::Sync => Wanted::Durable,
            ask => {
                self.carry_out(ask, outcome);
                // Nobody waits for it any more if that took too long.
                let _ = request.reply.send(Ok(reply(self.stream.cursor())));
                return;
            }
        };
        if let Ask::Rotate = request.ask {
            self.stream.make_old();
        }
        self.stream.end_block();
        if let Err(error) = self.await_room() {
            let _ = request.reply.send(Err(error));
            return;
        }
        let mut piece = self.next_piece();
        let answer = reply(self.stream.cursor());
        piece.waiting = Some(Waiting { wanted, answer, reply: request.reply });
        self.handover.put(piece);
        self.write();
    }

    fn take_requests(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            match request.ask {
                Ask::Forget => _ = self.waiting.remove(&request.token),
                _ => _ = self.waiting.insert(request.token, request),
            }
        }
    }

    fn carry_out(&mut self, ask: Ask, outcome: Outcome) {
        match ask {
            Ask::Watch(watched) => self.watches.add(*watched),
            Ask::Unwatch(number, said) => {
                self.watches.remove(number);
                self.note(&said, outcome);
            }
            Ask::Note(said) => self.note(&said, outcome),
            Ask::Flush | Ask::Sync | Ask::Rotate | Ask::Nothing | Ask::Forget => {}
        }
    }

    fn note(&mut self, said: &Said, outcome: Outcome) {
        let what = said.what.unwrap_or(match outcome {
            Outcome::Active | Outcome::Done => What::WatchBegan,
            Outcome::Pending => What::WatchPending,
            _ => What::WatchFailed,
        });
        self.stream.note(&self.world, what, said);
    }

    /// Hands over what is ready. Where there is no room, it waits only if much is ready, and may begin to drop events.
    fn write(&mut self) {
        while self.stream.has_piece() {
            if self.is_given_up() {
                return;
            }
            if self.handover.has_room(self.stream.len()) {
                let piece = self.next_piece();
                self.handover.put(piece);
                self.shared.set_recorder_cpu();
                continue;
            }
            if !self.stream.is_full() {
                break;
            }
            if self.limit.is_beyond() {
                self.begin_shed();
                break;
            }
            self.hold();
        }
        self.shared.set_held(false);
    }

    fn next_piece(&mut self) -> Piece {
        let spare = self.handover.spare();
        self.stream.piece(&self.world, spare)
    }

    /// Waits until a piece can be handed over, for a client.
    ///
    /// # Errors
    /// Recording is paused.
    fn await_room(&mut self) -> Result<(), Error> {
        let has_room = loop {
            let is_over = self.shed.is_some() || self.is_given_up();
            if is_over || self.shared.paused().is_some() {
                break false;
            }
            if self.handover.has_room(self.stream.len()) {
                break true;
            }
            if self.limit.is_beyond() {
                self.begin_shed();
            }
            self.hold();
        };
        self.shared.set_held(false);
        let why = || self.shared.paused().unwrap_or_else(|| "the daemon ends".to_owned());
        if has_room { Ok(()) } else { Err(paused(why())) }
    }

    /// Whether the daemon ends without waiting for the disk: then nothing more is recorded.
    fn is_given_up(&mut self) -> bool {
        let is_over = self.shared.is_given_up() || self.stream.is_broken_off();
        if is_over {
            self.stream.break_off();
            self.shed = None;
        }
        is_over
    }

    /// Waits a moment for room, without taking anything from the ring. While recording is paused those who ask for
    /// something are told, but for those who end a watch: these wait.
    #[cold]
    fn hold(&mut self) {
        self.shared.set_held(true);
        self.take_requests();
        if let Some(why) = self.shared.paused() {
            let is_refused = |request: &Request| !matches!(request.ask, Ask::Unwatch(..));
            for (_, request) in self.waiting.extract_if(|_, request| is_refused(request)) {
                let _ = request.reply.send(Err(paused(&why)));
            }
            self.handover.refuse(&why);
        }
        self.handover.wait_for_room(self.stream.len(), HOLD_LOOK);
    }

    /// Drops events from now on.
    #[cold]
    fn begin_shed(&mut self) {
        // So that nothing is defined again while nothing is recorded.
        self.stream.end_block();
        self.shed = Some(Shed::new(self.stream.last_wall_ns(&self.world)));
        self.shared.set_dropped(Some(0));
        if self.said.is_none_or(|said| said.elapsed() >= SHED_SAID_EVERY) {
            self.said = Some(Instant::now());
            if !self.limit.is_known() {
                message::print(
                    "how long the kernel's queue is cannot be known, as /proc/meminfo cannot be read: it counts as \
                     too long",
                );
            }
            message::print(
                "the disk does not keep up, and the kernel's queue is at queue.max_bytes: events are dropped, and \
                 counted as a loss",
            );
        }
    }

    /// Goes on recording if there is room. If not, and the queue is empty, it waits without dropping more, until the queue
    /// is too long again.
    #[cold]
    fn look_at_shed(&mut self) {
        self.shared.set_dropped(self.shed.as_ref().map(|shed| shed.dropped));
        let mut is_waiting = false;
        while !self.is_given_up() {
            if self.handover.has_room(self.stream.len()) {
                let piece = self.next_piece();
                self.handover.put(piece);
                self.hear();
                self.tell_shed();
                break;
            }
            is_waiting |= self.limit.is_empty();
            if !is_waiting || self.limit.is_beyond() {
                break;
            }
            self.hold();
        }
        self.shared.set_held(false);
    }

    /// Tells what was dropped, if anything was, and drops no more.
    #[cold]
    fn tell_shed(&mut self) {
        let Some(shed) = self.shed.take() else { return };
        let gap_since_ns = shed.gap_since_ns();
        if let Some((time_ns, realtime_ns)) = shed.clocks {
            let slots = self.build.clock(time_ns, realtime_ns).to_vec();
            if let Some((record, _)) = Record::split_first(&slots) {
                self.stream.other(&self.world, &record);
            }
        }
        for loss in shed.losses(self.shared.lost_by(Reason::Disk)) {
            let slots = self.build.loss(loss).to_vec();
            if let Some((record, _)) = Record::split_first(&slots) {
                self.loss(&loss, &record);
            }
        }
        if let Some(since_ns) = gap_since_ns {
            self.stream.gap_of_disk(&self.world, since_ns);
        }
        self.shared.set_dropped(None);
    }

    /// The engine has ended: writes the end of the stream.
    fn finish(mut self, writer: JoinHandle<()>) {
        self.shared.give_up();
        self.take_requests();
        self.tell_shed();
        while !self.is_given_up() && !self.handover.has_room(self.stream.len()) {
            self.handover.wait_for_room(self.stream.len(), HOLD_LOOK);
        }
        // A pause that just ended.
        self.hear();
        match self.stream.end(&self.world) {
            Some(piece) => {
                self.handover.put(piece);
                self.handover.close();
            }
            None => {
                self.shared.set_unwritten(
                    self.shared.paused().unwrap_or_else(|| "recording was paused".to_owned()),
                );
                self.handover.break_off();
            }
        }
        for (_, request) in self.waiting.drain() {
            let _ = request.reply.send(Err(paused("the daemon ends")));
        }
        loop {
            if self.handover.wait_for_end(HOLD_LOOK) {
                return writer.join().unwrap_or_else(|panic| resume_unwind(panic));
            }
            // It is left behind in a call that does not return.
            if self.shared.is_given_up() && self.shared.is_stalled() {
                let why = self.shared.paused().unwrap_or_default();
                return self.shared.set_unwritten(why);
            }
        }
    }
}

/// The error for who asks while recording is paused.
pub(crate) fn paused(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Busy, format!("recording is paused: {why}"))
}

#[cfg(test)]
#[path = "recorder_test.rs"]
mod tests;
