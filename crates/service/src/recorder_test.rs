//! The recorder without an engine and without files: records go in, pieces come out where a test takes them.

use super::*;
use crate::limits::HANDOVER_PIECES;
use crate::stream::Rotate;
use fsmon_format::kind;
use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::record::{self, Cause};
use fsmon_format::stream::{BLOCK_CAPACITY, Codec, Header, Item, Reader};
use fsmon_present::binary::Binary;
use fsmon_present::filter::{Criteria, Filter, Source};
use fsmon_present::names::{self, Names};
use fsmon_present::wall::Wall;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::FromZeros;

const CAPACITY: Capacity = Capacity { dirs: 16, processes: 16, strings: 16, text: 1 << 14 };
const LIMIT: u64 = 1000;

struct Rig {
    core: Core,
    build: Build,
    queue: Arc<AtomicU64>,
    requests: flume::Sender<Request>,
    time_ns: u64,
    /// What was taken out of the handover.
    written: Vec<u8>,
}

/// Shows each record of a stream, with what is defined. Returns whether the stream has its end.
fn each(stream: &[u8], mut show: impl FnMut(&Mirror, &Body<'_>)) -> bool {
    let mut reader = Reader::new(stream);
    let mut mirror = Mirror::new(BLOCK_CAPACITY);
    loop {
        match reader.next() {
            Ok(Some(Item::Block(block))) => {
                mirror.clear();
                for record in block.records() {
                    mirror.define(&record.body());
                    show(&mirror, &record.body());
                }
            }
            Ok(Some(_)) => {}
            end => return end.is_ok(),
        }
    }
}

/// What a whole stream tells: paths of events with the command, losses and gaps.
fn told(stream: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let is_whole = each(stream, |mirror, body| match body {
        Body::Event(event) => {
            let mut path = Vec::new();
            mirror.append_dir_path(event.head.dir.get(), &mut path);
            let process = mirror.proc(event.head.proc.get()).expect("defined");
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            let (path, name) = (text(&path[..]), text(event.name));
            lines.push(format!("{path}/{name} {}", text(&process.comm[..2])));
        }
        Body::Loss(loss) => {
            let reason = Reason::from_code(loss.reason.get()).name();
            lines.push(format!("LOSS {reason} {}", loss.count));
        }
        Body::Gap(gap) => {
            assert_eq!(Cause::from_code(gap.cause.get()), Cause::Disk);
            lines.push("GAP".into());
        }
        _ => {}
    });
    assert!(is_whole);
    lines
}

impl Rig {
    /// `/srv` is directory 1, and process 1 is `p1`.
    fn new() -> Self {
        let names = Names::from_lookups(16, Box::new(|_| None), Box::new(|_| None));
        let world = World::live(names::room(CAPACITY), Wall::default(), names);
        let capacity = names::room(CAPACITY);
        let header = Header { time_ns: 1, realtime_ns: 1, ..Header::default() };
        let binary = Binary::new(header, Codec::None, capacity).expect("memory");
        let queue = Arc::new(AtomicU64::new(0));
        let length = queue.clone();
        let (requests, requested) = flume::unbounded();
        let criteria = Criteria { types: vec!["CREATE".into()], ..Criteria::default() };
        let filter = Filter::new(&criteria, 0, Source::Live, CAPACITY);
        let filter = filter.and_then(|filter| filter.below(Path::new("/srv"))).expect("valid");
        let mut watches = Watches::new(capacity);
        watches.add(Watched {
            number: 1,
            path: b"/srv".to_vec(),
            levels: None,
            cmdline: false,
            filter,
        });
        let core = Core {
            world,
            watches,
            stream: Stream::begin([7; 16], binary, Rotate::default()),
            handover: Arc::default(),
            limit: Limit {
                bytes: Box::new(move || length.load(Ordering::Relaxed)),
                max_bytes: LIMIT,
            },
            shed: None,
            build: Box::default(),
            said: None,
            requests: requested,
            waiting: HashMap::new(),
            shared: Arc::default(),
        };
        let (build, written) = (Build::default(), Vec::new());
        let mut rig = Rig { core, build, queue, requests, time_ns: 10, written };
        rig.clock(0);
        rig.dir(1, 0, "/srv", 0);
        rig.process(1);
        rig
    }

    fn take(&mut self, slots: &[fsmon_format::record::Slot]) {
        let (record, _) = Record::split_first(slots).expect("a record");
        self.core.take(&record);
    }

    fn clock(&mut self, ahead_ns: u64) {
        let slots = self.build.clock(self.time_ns, self.time_ns + ahead_ns).to_vec();
        self.take(&slots);
    }

    fn dir(&mut self, id: u32, parent: u32, name: &str, generation: u32) {
        let mut head = record::Dir::new_zeroed();
        (head.id, head.parent) = (id.into(), parent.into());
        (head.object, head.generation) = (u64::from(id).into(), generation.into());
        let slots = self.build.dir(head, name.as_bytes()).to_vec();
        self.take(&slots);
    }

    fn process(&mut self, id: u32) {
        let mut image = record::Proc::new_zeroed();
        (image.id, image.pid) = (id.into(), (100 + id).into());
        image.flags = record::proc_flag::COMM.into();
        image.comm[..2].copy_from_slice(format!("p{id}").as_bytes());
        let slots = self.build.proc(image).to_vec();
        self.take(&slots);
    }

    fn create(&mut self, dir: u32, process: u32, name: &str) {
        self.time_ns += 1;
        let mut head = record::Event::new_zeroed();
        (head.dir, head.proc) = (dir.into(), process.into());
        (head.mask, head.time_ns) = (kind::CREATE.into(), self.time_ns.into());
        let slots = self.build.event(head, name.as_bytes(), b"").to_vec();
        self.take(&slots);
    }

    /// Creates files until events are dropped. Returns how many were not.
    fn fill(&mut self) -> usize {
        let mut count = 0;
        while self.core.shed.is_none() {
            self.create(1, 1, &format!("{}{count}", "x".repeat(200)));
            count += 1;
            assert!(count < 100_000, "it is bounded");
        }
        count
    }

    fn answer(&mut self, token: u64, ask: Ask) -> flume::Receiver<Result<Reply, Error>> {
        let (reply, answered) = flume::bounded(1);
        self.requests.send(Request { token, ask, reply }).expect("it takes requests");
        let mut head = Answer::new_zeroed();
        head.token = token.into();
        let slots = self.build.answer(head).to_vec();
        self.take(&slots);
        answered
    }

    /// Does what the writer's thread does, until nothing waits.
    fn write(&mut self) {
        while self.core.handover.news().is_busy {
            let piece = self.core.handover.next().expect("open");
            self.written.extend_from_slice(&piece.blocks);
            self.core.handover.done(piece.blocks, Ok(()));
        }
    }

    /// Ends the stream, and tells what is in it.
    fn told(mut self) -> Vec<String> {
        self.write();
        let piece = self.core.stream.end(&self.core.world).expect("whole");
        self.written.extend_from_slice(&piece.blocks);
        told(&self.written)
    }
}

#[test]
fn what_is_beyond_the_limit_is_counted_and_all_after_it_has_its_names() {
    let mut rig = Rig::new();
    rig.create(1, 1, "first");
    rig.queue.store(LIMIT + 1, Ordering::Relaxed);
    let kept = rig.fill();
    assert!(kept > 100);
    let why = rig.core.shared.paused().expect("paused");
    assert_eq!(why, "the disk does not keep up");
    // While nothing is recorded: directories come, are renamed, and one takes the id of another; so do processes.
    rig.dir(2, 1, "old", 0);
    rig.create(2, 1, "dropped");
    rig.dir(2, 1, "new", 1);
    rig.dir(3, 2, "in", 0);
    rig.process(2);
    rig.create(3, 2, "dropped too");
    let mut loss = Loss::new_zeroed();
    (loss.reason, loss.count) = (Reason::Walk.code().into(), 5.into());
    let slots = rig.build.loss(loss).to_vec();
    rig.take(&slots);
    rig.core.look_at_shed();
    assert_eq!(rig.core.shared.dropped(), Some(2));
    assert!(rig.core.shared.losses().0.is_empty(), "not in the stream yet");
    // There is room again.
    rig.write();
    rig.core.look_at_shed();
    assert!(rig.core.shed.is_none() && rig.core.shared.paused().is_none());
    rig.create(3, 2, "late");
    let lost: Vec<_> = rig.core.shared.losses().0;
    let count = |reason, records, lost| (reason, crate::shared::Losses { records, lost });
    assert_eq!(lost, [count(Reason::Walk, 1, 5), count(Reason::Disk, 1, 2)]);
    assert_eq!(rig.core.shared.events(), kept as u64 + 2);
    let told = rig.told();
    assert_eq!(told.len(), kept + 5);
    assert_eq!(told[0], "/srv/first p1");
    assert!(told[kept].starts_with("/srv/xxx"), "{}", told[kept]);
    assert_eq!(told[kept + 1..], ["LOSS walk 5", "LOSS disk 2", "GAP", "/srv/new/in/late p2"]);
}

#[test]
fn all_is_dropped_until_the_queue_is_empty_and_kept_from_then_on() {
    let mut rig = Rig::new();
    rig.queue.store(LIMIT + 1, Ordering::Relaxed);
    rig.fill();
    // It is not empty: the next batch is taken.
    rig.queue.store(1, Ordering::Relaxed);
    rig.core.look_at_shed();
    assert!(rig.core.shed.is_some());
    // Empty: it waits until there is room, or the queue is too long.
    rig.queue.store(0, Ordering::Relaxed);
    let (queue, handover) = (rig.queue.clone(), rig.core.handover.clone());
    let shared = rig.core.shared.clone();
    let waited = thread::spawn(move || {
        while shared.held().is_none() {
            thread::yield_now();
        }
        queue.store(LIMIT, Ordering::Relaxed);
        thread::sleep(3 * HOLD_LOOK);
        let was_held = shared.held().is_some();
        drop(handover.next());
        was_held
    });
    rig.core.look_at_shed();
    assert!(waited.join().expect("no panic"), "at the limit it waits on");
    assert!(rig.core.shed.is_none(), "there was room");
    assert_eq!(rig.core.shared.held(), None);
}

#[test]
fn what_was_dropped_is_told_before_the_end_and_a_pause_that_ends_later_is_not() {
    let mut rig = Rig::new();
    rig.queue.store(LIMIT + 1, Ordering::Relaxed);
    rig.fill();
    rig.create(1, 1, "dropped");
    let slots = rig.build.end(record::End::new_zeroed()).to_vec();
    rig.take(&slots);
    rig.core.handover.note_pause(1);
    rig.core.hear();
    let told = rig.told();
    assert_eq!(told[told.len() - 2..], ["LOSS disk 1", "GAP"]);
}

#[test]
fn a_flush_that_waits_for_room_lets_the_queue_grow_to_its_limit_only() {
    let mut rig = Rig::new();
    for number in 0..HANDOVER_PIECES {
        rig.create(1, 1, &number.to_string());
        rig.core.stream.end_block();
        rig.core.write();
    }
    rig.create(1, 1, "one more");
    rig.queue.store(LIMIT + 1, Ordering::Relaxed);
    let refused = rig.answer(1, Ask::Flush).recv().expect("answered").expect_err("refused");
    assert_eq!(refused.to_string(), "recording is paused: the disk does not keep up");
    assert!(rig.core.shed.is_some());
}

#[test]
fn a_flush_is_refused_while_events_are_dropped_and_a_watch_can_end() {
    let mut rig = Rig::new();
    rig.queue.store(LIMIT + 1, Ordering::Relaxed);
    rig.fill();
    let refused = rig.answer(1, Ask::Sync).recv().expect("answered").expect_err("refused");
    assert_eq!(refused.to_string(), "recording is paused: the disk does not keep up");
    let said = Said {
        what: Some(What::WatchEnded),
        path: b"/srv".to_vec(),
        text: String::new(),
        types: 0,
        is_recursive: true,
    };
    assert!(rig.answer(2, Ask::Unwatch(1, Box::new(said))).recv().expect("answered").is_ok());
    rig.create(1, 1, "nobody wants it");
    assert_eq!(rig.core.shed.as_ref().expect("it goes on").dropped, 0);
    rig.write();
    rig.core.look_at_shed();
    assert!(!rig.told().iter().any(|line| line.starts_with("LOSS")));
}

#[test]
fn a_flush_waits_for_the_writer_and_the_clock_that_was_set_meanwhile_is_in_force() {
    let mut rig = Rig::new();
    rig.create(1, 1, "one");
    let flushed = rig.answer(1, Ask::Flush);
    assert!(flushed.is_empty(), "it is not written");
    rig.write();
    let reply = flushed.recv().expect("answered").expect("written");
    assert!(reply.cursor.starts_with("1-07070707"), "{}", reply.cursor);
    let mut events = 0;
    each(&rig.written, |_, body| events += usize::from(matches!(body, Body::Event(_))));
    assert_eq!(events, 1);
    rig.queue.store(LIMIT + 1, Ordering::Relaxed);
    rig.fill();
    rig.clock(1_000_000_000);
    rig.create(1, 1, "dropped");
    rig.write();
    rig.core.look_at_shed();
    rig.create(1, 1, "late");
    rig.write();
    rig.core.stream.end_block();
    rig.core.write();
    rig.write();
    let mut ahead_ns = 0;
    each(&rig.written, |_, body| {
        if let Body::Clock(clock) = body {
            ahead_ns = clock.realtime_ns.get() - clock.time_ns.get();
        }
    });
    assert_eq!(ahead_ns, 1_000_000_000);
}
