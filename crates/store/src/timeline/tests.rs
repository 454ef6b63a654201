//! Timelines of directories that a test wrote.

use super::*;
use crate::tape::{STEP, Said as Happens, Tape};
use fsmon_format::kind::CREATE;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::Body;
use fsmon_format::stream::{BLOCK_CAPACITY, Codec};
use fsmon_present::moment::Range;
use std::path::Path;

const ALL: Range = Range { since: None, until: None };

/// What was given.
struct Collector {
    mirror: Mirror,
    /// Of each event its path, and the cursor behind it.
    events: Vec<(String, Cursor)>,
    lost: Vec<Lost>,
    damaged: usize,
    cut: usize,
    most: usize,
}

impl Collector {
    fn new() -> Self {
        let mirror = Mirror::new(BLOCK_CAPACITY);
        Collector {
            mirror,
            events: Vec::new(),
            lost: Vec::new(),
            damaged: 0,
            cut: 0,
            most: usize::MAX,
        }
    }

    fn paths(&self) -> Vec<&str> {
        self.events.iter().map(|(path, _)| &**path).collect()
    }
}

impl Consumer for Collector {
    fn header(&mut self, _: &Header) -> Result<(), Error> {
        Ok(())
    }

    fn forget(&mut self) {
        self.mirror.clear();
    }

    fn record(&mut self, record: &Record<'_>, at: &At<'_>) {
        let body = record.body();
        self.mirror.define(&body);
        if let Body::Event(event) = body {
            let mut path = Vec::new();
            assert!(self.mirror.append_dir_path(event.head.dir.get(), &mut path));
            path.push(b'/');
            path.extend_from_slice(event.name);
            let mut places = at.cursor().places().to_vec();
            places.last_mut().expect("its own").record += 1;
            let path = String::from_utf8(path).expect("UTF-8");
            self.events.push((path, Cursor::new(places)));
        }
    }

    fn said(&mut self, said: &Said<'_>) {
        match said {
            Said::Lost(lost) => self.lost.push(*lost),
            Said::Damaged(..) | Said::Unreadable(..) => self.damaged += 1,
            Said::CutOff(_) => self.cut += 1,
            Said::TooMany(_) => {}
        }
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.most
    }
}

fn read(dir: &Path, range: Range, after: Option<Cursor>) -> (Collector, Timeline) {
    let mut found = Collector::new();
    let mut timeline =
        Timeline::open(dir, range, Wanted::default(), after, &mut found).expect("listed");
    go_on(&mut timeline, &mut found);
    (found, timeline)
}

fn go_on(timeline: &mut Timeline, found: &mut Collector) {
    while timeline.turn(found).expect("read") == Progress::More {}
}

fn made(tape: &mut Tape, path: &str) {
    tape.event(&Happens { mask: CREATE, path, pid: 7, ..Happens::default() });
}

/// Numbers that a seed gives.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Some streams that are written at the same time, and one after a reboot; what happened, in order.
fn random_history(dir: &Path, seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let count = 1 + random.below(3);
    let codec = [Codec::None, Codec::Zstd][(seed % 2) as usize];
    let mut all = Vec::new();
    for (boot, count) in [(1u8, count), (2, 1)] {
        let mut now = 1_000_000;
        let mut tapes: Vec<Tape> = Vec::new();
        for index in 0..count {
            let id = boot * 16 + u8::try_from(index).expect("few");
            tapes.push(Tape::new(dir, id, boot, now + index, codec));
        }
        for number in 0..200 {
            let tape = &mut tapes[usize::try_from(random.below(count)).expect("few")];
            // Each event is later than all before it.
            tape.time_ns = tape.time_ns.max(now);
            let path = format!("/srv/d{}/{boot}-{number}", random.below(5));
            made(tape, &path);
            now = tape.time_ns;
            all.push(path);
            match random.below(30) {
                0 => drop(tape.rotate()),
                1 => tape.flush(),
                _ => {}
            }
        }
        tapes.iter_mut().for_each(|tape| drop(tape.save()));
    }
    all
}

#[test]
fn streams_are_merged_by_time_and_boots_follow_each_other() {
    for seed in 0..20 {
        let dir = tempfile::tempdir().expect("a directory");
        let all = random_history(dir.path(), seed);
        let (found, _) = read(dir.path(), ALL, None);
        assert_eq!(found.paths(), all, "seed {seed}");
        assert_eq!((found.damaged, found.lost.len()), (0, 0), "seed {seed}");
    }
}

#[test]
fn a_cursor_goes_on_with_exactly_what_is_next() {
    for seed in 0..6 {
        let dir = tempfile::tempdir().expect("a directory");
        let all = random_history(dir.path(), seed);
        let (found, _) = read(dir.path(), ALL, None);
        for (index, (_, cursor)) in found.events.iter().enumerate().step_by(3) {
            let text = cursor.to_string();
            let (rest, _) = read(dir.path(), ALL, Some(text.parse().expect("a cursor")));
            assert_eq!(rest.paths(), &all[index + 1..], "seed {seed}, {text}");
            assert_eq!(rest.lost.len(), 0, "seed {seed}, {text}");
        }
    }
}

#[test]
fn who_takes_no_more_goes_on_later() {
    let dir = tempfile::tempdir().expect("a directory");
    let all = random_history(dir.path(), 1);
    let (mut found, mut after) = (Vec::new(), None);
    while found.len() < all.len() {
        let mut some = Collector { most: 17, ..Collector::new() };
        let mut timeline =
            Timeline::open(dir.path(), ALL, Wanted::default(), after, &mut some).expect("listed");
        go_on_while_not_full(&mut timeline, &mut some);
        found.extend(some.paths().into_iter().map(str::to_owned));
        after = timeline.cursor();
    }
    assert_eq!(found, all);
}

fn go_on_while_not_full(timeline: &mut Timeline, found: &mut Collector) {
    while !found.is_full() && timeline.turn(found).expect("read") == Progress::More {}
}

#[test]
fn what_was_deleted_behind_a_cursor_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tape = Tape::new(dir.path(), 1, 1, 1_000, Codec::None);
    let mut files = Vec::new();
    for name in ["a", "b", "c", "d"] {
        made(&mut tape, &format!("/srv/{name}"));
        files.push(tape.rotate());
    }
    tape.save();
    let (found, timeline) = read(dir.path(), ALL, None);
    assert_eq!(found.paths(), ["/srv/a", "/srv/b", "/srv/c", "/srv/d"]);
    let at = |index: usize| Some(found.events[index].1.clone());
    let remove = |file: &str| std::fs::remove_file(dir.path().join(file)).expect("removed");

    // The cursor is behind all that there was.
    remove(&files[0]);
    let (rest, _) = read(dir.path(), ALL, timeline.cursor());
    assert_eq!((rest.paths().len(), rest.lost.len()), (0, 0));
    // Behind its only event, too; but that is not known.
    let (rest, _) = read(dir.path(), ALL, at(0));
    assert_eq!(rest.paths(), ["/srv/b", "/srv/c", "/srv/d"]);
    assert_eq!(rest.lost.len(), 1);
    let (rest, _) = read(dir.path(), ALL, at(1));
    assert_eq!((rest.paths(), rest.lost.len()), (vec!["/srv/c", "/srv/d"], 0));

    // A hole is said with its times.
    remove(&files[2]);
    let (rest, _) = read(dir.path(), ALL, None);
    assert_eq!(rest.paths(), ["/srv/b", "/srv/d"]);
    assert!(rest.lost[0].from_ns.is_some() && rest.lost[0].to_ns > rest.lost[0].from_ns);

    for file in [&files[1], &files[3], &tape.file()] {
        remove(file);
    }
    let (rest, _) = read(dir.path(), ALL, at(1));
    assert_eq!((rest.paths().len(), rest.lost.len()), (0, 1));
}

#[test]
fn what_comes_later_is_found_when_looked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tape = Tape::new(dir.path(), 1, 1, 1_000, Codec::None);
    made(&mut tape, "/srv/a");
    tape.save();
    let (mut found, mut timeline) = read(dir.path(), ALL, None);
    assert_eq!(found.cut, 1, "nobody holds its lock");
    let mut other = Tape::new(dir.path(), 2, 1, tape.time_ns + STEP, Codec::None);
    for name in ["b", "c"] {
        made(&mut other, &format!("/srv/{name}"));
        other.rotate();
    }
    made(&mut other, "/srv/d");
    other.save();
    assert!(timeline.look_again(&mut found).expect("listed"));
    go_on(&mut timeline, &mut found);
    assert!(!timeline.look_again(&mut found).expect("listed"));
    assert_eq!(found.paths(), ["/srv/a", "/srv/b", "/srv/c", "/srv/d"]);
}

#[test]
fn a_catalogue_that_lies_about_a_header_is_not_believed() {
    use crate::history::{Catalogue, Now};
    let dir = tempfile::tempdir().expect("a directory");
    let mut tape = Tape::new(dir.path(), 1, 1, 1_000, Codec::None);
    made(&mut tape, "/srv/a");
    let file = tape.rotate();
    tape.save();
    let now = Now { boot_id: [1; 16], ..Now::default() };
    let (mut catalogue, _) = Catalogue::rebuild(dir.path(), &now).expect("read");
    let (wall_ns, catalogue_file) = (tape.wall_ns(tape.time_ns), dir.path().join("catalogue"));
    let range = Range { since: Some(wall_ns), until: Some(wall_ns) };
    let mut found = |change: &dyn Fn(&mut crate::history::Entry)| {
        catalogue.entries.iter_mut().filter(|entry| entry.file == file).for_each(change);
        std::fs::write(&catalogue_file, catalogue.encode()).expect("written");
        read(dir.path(), range, None).0.events.len()
    };
    assert_eq!(found(&|_| {}), 1);
    // It is passed over by what the catalogue says of its times, and not opened.
    let far = 1 << 50;
    assert_eq!(found(&|entry| entry.wall_ns = (far, far)), 0);
    // Of another length it is another file.
    assert_eq!(found(&|entry| entry.bytes += 1), 1);
}
