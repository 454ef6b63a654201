//! The recorder: the one consumer of the engine's ring, and the one writer of the history.
//!
//! ```text
//!  ring ─► world ─► watches: who wants it? ─► stream: blocks ─► segment
//!    └─ answers of the engine: a request is carried out when its answer comes, so in order with the events
//! ```
//!
//! When the disk is full, slow or gone, it pauses: what it has stays in memory, the ring fills, and the kernel's queue
//! grows. It goes on by itself, with a GAP record.

use crate::limits::{BLOCK_WAITS, FIRST_RETRY, GATHER, IDLE, RETRY_MAX, STORM_SLOTS};
use crate::shared::Shared;
use crate::stream::Stream;
use crate::watches::{Watched, Watches};
use fsmon_engine::privileges::{self, Task};
use fsmon_engine::{Next, Receiver};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::record::{Answer, Body, Outcome, Record, Records, What};
use fsmon_present::message;
use fsmon_present::world::{Change, World};
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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
    pub(crate) core: Core,
}

/// All but the ring.
pub(crate) struct Core {
    pub(crate) world: World,
    pub(crate) watches: Watches,
    pub(crate) stream: Stream,
    pub(crate) requests: flume::Receiver<Request>,
    pub(crate) waiting: HashMap<u64, Request>,
    pub(crate) shared: Arc<Shared>,
}

impl Recorder {
    /// Starts the thread, which keeps the capabilities for `tasks`. `at_end` is called when it ends, which it does when the engine has ended.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub(crate) fn spawn(
        self,
        tasks: Vec<Task>,
        at_end: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<()>, Error> {
        let builder = thread::Builder::new().name("fsmon-record".into());
        let run = move || {
            // With more than it needs it works as well.
            let _ = privileges::keep(&tasks);
            self.run();
            at_end();
        };
        builder.spawn(run).map_err(|error| Error::os("cannot start the recorder's thread", error))
    }

    fn run(mut self) {
        self.core.publish();
        // Since when a block waits for more records.
        let mut waits: Option<Instant> = None;
        loop {
            let left = waits.map_or(IDLE, |since| BLOCK_WAITS.saturating_sub(since.elapsed()));
            let mut is_storm = false;
            match self.receiver.next(left) {
                Next::Batch(slots) => {
                    is_storm = slots.len() >= STORM_SLOTS;
                    self.core.world.tick(Instant::now());
                    for record in Records(slots) {
                        self.core.take(&record);
                    }
                }
                Next::Idle => {}
                Next::Ended => break,
            }
            let is_over = waits.is_some_and(|since| since.elapsed() >= BLOCK_WAITS);
            if is_over || self.core.stream.is_old() {
                self.core.stream.end_block();
                self.core.write();
            }
            waits = match self.core.stream.holds_back() {
                true => waits.filter(|_| !is_over).or_else(|| Some(Instant::now())),
                false => None,
            };
            if is_storm {
                thread::sleep(GATHER);
            }
        }
        self.core.finish();
    }
}

impl Core {
    fn take(&mut self, record: &Record<'_>) {
        match record.body() {
            Body::Event(event) => {
                let wanted = self.watches.wanted(&self.world, &event);
                if wanted != 0 {
                    if self.world.look_again(event.head.proc.get()) {
                        self.side_changes();
                    }
                    self.stream.event(&self.world, &event, wanted, record);
                    self.shared.count_event(&event, wanted);
                }
            }
            Body::Loss(loss) => {
                self.stream.loss(&self.world, loss, record);
                self.shared.count_loss(loss);
            }
            Body::Answer(answer) => self.answer(answer),
            Body::Malformed => self.shared.count_malformed(),
            Body::Skip => {}
            body => self.define(&body, record),
        }
        if self.stream.is_full() {
            self.write();
        }
    }

    fn define(&mut self, body: &Body<'_>, record: &Record<'_>) {
        match self.world.take(body) {
            Change::Nothing => {}
            change => {
                if let Change::Proc(_) = change {
                    self.side_changes();
                }
                self.watches.changed(&self.world, change);
                self.stream.changed(&self.world, change);
            }
        }
        if matches!(body, Body::Stats(_) | Body::End(_) | Body::Clock(_)) {
            self.stream.other(&self.world, record);
        }
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
        let result = self.carry_out(request.ask, outcome);
        let reply = result.map(|()| Reply {
            cursor: self.stream.cursor(),
            directories: answer.dirs.get(),
            outcome,
            errno: answer.errno.get(),
        });
        // Nobody waits for it any more if that took too long.
        let _ = request.reply.send(reply);
    }

    fn take_requests(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            self.note_request(request);
        }
    }

    fn note_request(&mut self, request: Request) {
        match request.ask {
            Ask::Forget => _ = self.waiting.remove(&request.token),
            _ => _ = self.waiting.insert(request.token, request),
        }
    }

    fn carry_out(&mut self, ask: Ask, outcome: Outcome) -> Result<(), Error> {
        match ask {
            Ask::Flush => self.flush(),
            Ask::Sync => {
                self.flush()?;
                self.sync()
            }
            Ask::Rotate => {
                self.flush()?;
                self.stream.make_old();
                self.write();
                self.is_recording()
            }
            Ask::Watch(watched) => {
                self.watches.add(*watched);
                Ok(())
            }
            Ask::Unwatch(number, said) => {
                self.watches.remove(number);
                self.note(&said, outcome);
                Ok(())
            }
            Ask::Note(said) => {
                self.note(&said, outcome);
                Ok(())
            }
            Ask::Nothing | Ask::Forget => Ok(()),
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

    fn flush(&mut self) -> Result<(), Error> {
        self.stream.end_block();
        self.write();
        self.is_recording()
    }

    /// # Errors
    /// It is paused, and was told to end.
    fn is_recording(&self) -> Result<(), Error> {
        match self.shared.is_given_up() {
            false => Ok(()),
            true => Err(paused("the daemon ends")),
        }
    }

    /// Writes what is ready, and turns to the next segment if it is due. Waits while that is not possible.
    fn write(&mut self) {
        if self.shared.is_given_up() {
            return self.stream.break_off();
        }
        if !self.stream.is_written()
            && let Some(why) = self.shared.no_room()
        {
            self.pause(Error::new(ErrorKind::Busy, why));
        }
        if let Err(error) = self.try_to_write() {
            self.pause(error);
        }
    }

    /// Others see how long it takes.
    fn try_to_write(&mut self) -> Result<(), Error> {
        self.shared.set_writing(true);
        let has_more = !self.stream.is_written() || self.stream.is_old();
        let written = self.stream.write();
        self.shared.set_writing(false);
        if has_more {
            self.publish();
        }
        written
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.shared.set_writing(true);
        let synced = self.stream.sync();
        self.shared.set_writing(false);
        synced
    }

    /// Waits until it is possible to write, or the daemon ends. Those who ask for something meanwhile are told.
    #[cold]
    fn pause(&mut self, error: Error) {
        let from_ns = self.stream.last_wall_ns(&self.world);
        message::print(format_args!(
            "recording is paused: {error}; it goes on by itself once it can"
        ));
        self.shared.set_paused(Some(error.to_string()));
        let mut retry = FIRST_RETRY;
        let mut why = error;
        loop {
            self.refuse_for(retry, &why);
            match self.shared.no_room() {
                Some(no_room) if !self.shared.is_given_up() => {
                    why = Error::new(ErrorKind::Busy, no_room);
                }
                _ => match self.try_to_write() {
                    Ok(()) => break,
                    Err(error) => why = error,
                },
            }
            if self.shared.is_given_up() {
                self.shared.set_unwritten(why.to_string());
                return self.stream.break_off();
            }
            retry = (2 * retry).min(RETRY_MAX);
        }
        self.shared.set_paused(None);
        self.stream.gap_of_disk(&self.world, from_ns);
        message::print("recording goes on");
    }

    /// Refuses requests for `time`, but for those that end a watch: these wait.
    fn refuse_for(&mut self, time: Duration, why: &Error) {
        let deadline = Instant::now() + time;
        self.take_requests();
        loop {
            let is_refused = |request: &Request| !matches!(request.ask, Ask::Unwatch(..));
            for (_, request) in self.waiting.extract_if(|_, request| is_refused(request)) {
                let _ = request.reply.send(Err(paused(why)));
            }
            match self.requests.recv_deadline(deadline) {
                Ok(request) => self.note_request(request),
                Err(_) => {
                    thread::sleep(deadline.saturating_duration_since(Instant::now()));
                    return;
                }
            }
        }
    }

    fn publish(&mut self) {
        self.shared.set_written(self.stream.written());
    }

    /// The engine has ended: writes the end of the stream.
    fn finish(mut self) {
        self.take_requests();
        if let Err(error) = self.stream.finish(&self.world) {
            self.shared.set_unwritten(error.to_string());
        }
        self.publish();
        for (_, request) in self.waiting.drain() {
            let _ = request.reply.send(Err(paused("the daemon ends")));
        }
    }
}

fn paused(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Busy, format!("recording is paused: {why}"))
}
