//! A history as a recorder, its successor and readers see it.

use super::fixture::{BOOT, DAY, HOUR, NEW_YEAR, SECOND, Stream, at};
use super::*;
use crate::recording::recordings;
use fsmon_format::number::to_usize;
use fsmon_format::stream::{Codec, Fault, Item, Reader};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tempfile::TempDir;

const PLENTY: Disk = Disk { free: 1 << 40, total: 1 << 41 };

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open(dir: &TempDir, now: &Now) -> History {
    History::open(dir.path(), Keep::default(), now).expect("a history")
}

/// Records a stream of one segment with `events` events, from `began_ns` on, one a second. Returns its entry.
fn record(history: &mut History, id: u8, began_ns: u64, events: u64) -> Entry {
    record_in(history, id, &at(began_ns), events)
}

fn record_in(history: &mut History, id: u8, began: &Now, events: u64) -> Entry {
    let began_ns = began.monotonic_ns;
    let mut stream = Stream::new(id, began, Codec::None);
    stream.process(1, 1000);
    let mut segment = history.begin_segment(&stream.take()).expect("begun");
    for number in 1..=events {
        stream.event(&mut segment, 1, began_ns + number * SECOND);
    }
    let ended_ns = began_ns + (events + 1) * SECOND;
    stream.end(&mut segment, ended_ns);
    segment.append(&stream.end_segment()).expect("room");
    let passed_ns = ended_ns - began_ns;
    let ended = Now {
        boottime_ns: began.boottime_ns + passed_ns,
        monotonic_ns: ended_ns,
        realtime_ns: began.realtime_ns + passed_ns,
        ..*began
    };
    history.close_segment(segment, &ended).expect("closed")
}

fn events_in(path: &Path) -> (u64, Option<Fault>) {
    let mut reader = Reader::new(File::open(path).expect("a segment"));
    let mut events = 0;
    loop {
        match reader.next() {
            Ok(Some(Item::Block(block))) => events += u64::from(block.events()),
            Ok(Some(_)) => {}
            Ok(None) => return (events, None),
            Err(error) => return (events, error.damage().map(|damage| damage.fault)),
        }
    }
}

#[test]
fn the_entry_of_a_recorder_is_that_of_who_reads_the_segment() {
    for codec in [Codec::None, Codec::Lz4] {
        let dir = directory();
        let mut history = open(&dir, &at(HOUR));
        let mut stream = Stream::new(7, &at(HOUR), codec);
        for id in 1..=6 {
            stream.process(id, 1000 + id);
        }
        let mut segment = history.begin_segment(&stream.take()).expect("begun");
        for number in 0..5000u32 {
            let time_ns = HOUR + u64::from(number) * 1_000_000;
            stream.event(&mut segment, 1 + (1 + number % 21).ilog2(), time_ns);
            if number == 2000 {
                stream.loss(&mut segment, time_ns);
                // The wall clock is set back by a year, later than which nothing is.
                stream.clock(&mut segment, time_ns, NEW_YEAR - 365 * DAY);
            }
            if number % 500 == 0 {
                segment.append(&stream.take()).expect("room");
            }
        }
        segment.append(&stream.end_segment()).expect("room");
        let first = history.close_segment(segment, &at(HOUR + 10 * SECOND)).expect("closed");
        assert_eq!((first.events, first.losses, first.ending), (5000, 1, Ending::Continued));
        assert_eq!(first.wall_ns.0, NEW_YEAR - 365 * DAY + 1_000_000);
        assert_eq!(first.wall_ns.1, NEW_YEAR + HOUR + 2 * SECOND);
        assert_eq!(first.monotonic_ns, (HOUR, HOUR + 4_999_000_000));
        assert_eq!(first.clock_ns + 5_001_000_000, history.catalogue().clock.expect("one").ns());
        let uids: Vec<_> = first.uids.iter().map(|top| top.who).collect();
        assert_eq!(uids, [1004, 1005, 1003, 1002]);
        assert_eq!(first.cgroups[0].who.path, b"/user.slice/user-1004.slice");

        let realtime_ns = NEW_YEAR - 365 * DAY + 18 * SECOND;
        let header = stream.next_segment(&Now { realtime_ns, ..at(HOUR + 20 * SECOND) });
        let mut segment = history.begin_segment(&header).expect("begun");
        stream.end(&mut segment, HOUR + 21 * SECOND);
        segment.append(&stream.end_segment()).expect("room");
        let second = history.close_segment(segment, &at(HOUR + 22 * SECOND)).expect("closed");
        assert_eq!((second.segment, second.first_event, second.events), (1, 5000, 0));
        assert_eq!((second.first_block, second.ending), (first.blocks, Ending::Ended));
        for live in [first, second] {
            let read = scan(dir.path(), &live.file).expect("a segment");
            let clock_ns = live.clock_ns;
            assert_eq!(Entry { clock_ns, ..read }, live);
        }
    }
}

#[test]
fn what_is_left_of_a_segment_that_could_not_begin_is_removed_and_no_other_file() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    let first = Stream::new(1, &at(HOUR), Codec::None).take();
    let segment = history.begin_segment(&first).expect("begun");
    let path = dir.path().join(segment.name());
    let whole = std::fs::read(&path).expect("there");
    assert_eq!(whole, first);
    let exists = |history: &mut History| {
        let error = history.begin_segment(&first).err().expect("another file has its name");
        assert_eq!(error.raw_os_error(), Some(nix::libc::EEXIST));
    };
    exists(&mut history);
    // Its writer is gone.
    drop(segment);
    for len in [0, 1, first.len()] {
        std::fs::write(&path, &first[..len]).expect("written");
        drop(history.begin_segment(&first).expect("begun"));
        assert_eq!(std::fs::read(&path).expect("there"), first);
    }
    let more = [&first[..], &[0]].concat();
    for other in [&b"other"[..], &more] {
        std::fs::write(&path, other).expect("written");
        exists(&mut history);
        assert_eq!(std::fs::read(&path).expect("there"), other);
    }
    std::fs::remove_file(&path).expect("there");
    std::os::unix::fs::symlink("/dev/zero", &path).expect("made");
    exists(&mut history);
}

#[test]
fn a_gap_is_found_by_every_time_that_it_is_about() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    let mut stream = Stream::new(1, &at(HOUR), Codec::None);
    let mut segment = history.begin_segment(&stream.take()).expect("begun");
    stream.gap(&mut segment, HOUR + 1, (NEW_YEAR - DAY, NEW_YEAR + HOUR));
    stream.note(&mut segment, HOUR + SECOND);
    segment.append(&stream.end_segment()).expect("room");
    let live = history.close_segment(segment, &at(HOUR + SECOND)).expect("closed");
    assert_eq!((live.gaps, live.events), (1, 0));
    assert_eq!(live.wall_ns, (NEW_YEAR - DAY, NEW_YEAR + HOUR + SECOND));
    assert_eq!(live.wall_end_ns, NEW_YEAR + HOUR + SECOND);
    let read = scan(dir.path(), &live.file).expect("a segment");
    assert_eq!(Entry { clock_ns: live.clock_ns, ..read }, live);
    let tail = scan::tail(&dir.path().join(&live.file)).expect("read").expect("a stream");
    assert_eq!((tail.wall_end_ns, tail.events, tail.has_end), (live.wall_end_ns, 0, false));
}

#[test]
fn a_control_group_is_shown_without_what_a_terminal_obeys() {
    let shown = |path: &[u8]| Cgroup { id: 7, path: path.to_vec() }.to_string();
    assert_eq!(shown(b"/user.slice"), "/user.slice");
    assert_eq!(shown(b""), "number 7");
    assert!(!shown(b"/a\x1b[2J").contains('\x1b'));
}

#[test]
fn what_is_not_the_recorders_count_is_read_from_the_file() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    let mut stream = Stream::new(7, &at(0), Codec::None);
    let mut segment = history.begin_segment(&stream.take()).expect("begun");
    stream.event(&mut segment, 0, SECOND);
    segment.append(&stream.take()).expect("room");
    // Noted, and never appended.
    stream.event(&mut segment, 0, 2 * SECOND);
    stream.loss(&mut segment, 3 * SECOND);
    let entry = history.close_segment(segment, &at(4 * SECOND)).expect("closed");
    assert_eq!((entry.events, entry.losses, entry.ending), (1, 0, Ending::Cut));
    assert_eq!(entry.wall_ns, (NEW_YEAR, NEW_YEAR + SECOND));
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    let dir = directory();
    let place = dir.path().join("a/history");
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    // Parents are made by whatever umask there is.
    std::fs::create_dir(dir.path().join("a")).expect("made");
    std::fs::set_permissions(dir.path().join("a"), PermissionsExt::from_mode(0o755)).expect("own");
    let mut history = History::open(&place, Keep::default(), &at(0)).expect("a history");
    record(&mut history, 7, 0, 1);
    nix::sys::stat::umask(before);
    let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o7777;
    assert_eq!(mode(&place), 0o750);
    let mut names = Vec::new();
    for entry in place.read_dir().expect("a directory") {
        let path = entry.expect("a file").path();
        assert_eq!(mode(&path), 0o640, "{}", path.display());
        names.push(path.file_name().expect("a name").to_owned());
    }
    names.sort();
    assert_eq!(names, ["20260101T000000Z-07070707-000000.fsmon", "catalogue", "key", "lock"]);
}

#[test]
fn two_recorders_never_share_a_directory() {
    let dir = directory();
    let first = open(&dir, &at(0));
    let error = History::open(dir.path(), Keep::default(), &at(0)).map(|_| ()).expect_err("busy");
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains(&format!("process {} ", std::process::id())), "{error}");
    drop(first);
    open(&dir, &at(1));
}

#[test]
fn the_key_stays_and_is_not_replaced_in_silence() {
    let dir = directory();
    let key = *open(&dir, &at(0)).key();
    assert_ne!(key, [0; KEY_BYTES]);
    assert_eq!(*open(&dir, &at(1)).key(), key);
    std::fs::write(dir.path().join(KEY), &key[1..]).expect("written");
    let error = History::open(dir.path(), Keep::default(), &at(2)).map(|_| ()).expect_err("short");
    assert_eq!(error.kind(), ErrorKind::Damaged);
}

#[test]
fn a_killed_recorder_leaves_what_the_next_one_finds() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    assert_eq!(history.last(), None);
    record(&mut history, 1, 0, 3);
    let mut stream = Stream::new(2, &at(HOUR), Codec::None);
    let mut segment = history.begin_segment(&stream.take()).expect("begun");
    for number in 1..=50_000 {
        stream.event(&mut segment, 0, HOUR + number * 1000);
    }
    segment.append(&stream.take()).expect("room");
    let (bytes, name) = (segment.bytes(), segment.name().to_owned());
    assert!(bytes > 2 << 20);
    // Killed while it wrote, and once more before it had written a header.
    drop((segment, history));
    let path = dir.path().join(&name);
    let mut torn = std::fs::read(&path).expect("a segment");
    torn.extend_from_within(4096..4096 + 1000);
    std::fs::write(&path, torn).expect("written");
    std::fs::write(dir.path().join("20260101T000000Z-09090909-000000.fsmon"), "").expect("made");

    let mut history = open(&dir, &at(2 * HOUR));
    let last = Last {
        stream_id: [2; 16],
        events: 50_000,
        last_wall_ns: NEW_YEAR + HOUR + 50_000_000,
        boot_id: BOOT,
        how: How::Open,
    };
    assert_eq!(history.last(), Some(last));
    assert_eq!(history.unlisted(), vec![name.clone()]);
    history.catch_up(&at(2 * HOUR)).expect("read");
    assert!(history.unlisted().is_empty());
    let entry = history.catalogue().entries().last().expect("two");
    assert_eq!((&entry.file, entry.events, entry.ending), (&name, 50_000, Ending::Cut));
    assert!(!entry.is_damaged);
    let now_ns = history.catalogue().clock.expect("one").ns();
    assert_eq!(entry.age_ns(now_ns), HOUR - 50_000_000);
    drop(history);
    let history = open(&dir, &at(3 * HOUR));
    assert_eq!((history.last(), history.unlisted()), (Some(last), vec![]));
    assert_eq!(history.catalogue().entries().len(), 2);
}

#[test]
fn a_lost_catalogue_is_made_again_from_the_segments() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    for id in 1..=5 {
        record(&mut history, id, u64::from(id) * HOUR, 10);
    }
    let now = at(10 * HOUR);
    history.maintain(&now, 0, PLENTY);
    let before = history.catalogue().clone();
    let ages = |catalogue: &Catalogue| -> Vec<u64> {
        let now_ns = catalogue.clock.expect("one").ns();
        catalogue.entries.iter().map(|entry| entry.age_ns(now_ns)).collect()
    };
    drop(history);
    let path = dir.path().join(CATALOGUE);
    let mut bytes = std::fs::read(&path).expect("a catalogue");
    bytes[200] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    assert_eq!(Catalogue::read(dir.path()).expect_err("damaged").kind(), ErrorKind::Damaged);

    let (rebuilt, unreadable) = Catalogue::rebuild(dir.path(), &now).expect("read");
    assert!(unreadable.is_empty());
    assert_eq!((ages(&rebuilt), rebuilt.entries.len()), (ages(&before), 5));
    let mut history = open(&dir, &now);
    assert_eq!(history.unlisted().len(), 5);
    // How old they are is not known yet: nothing goes.
    history.set_keep(Keep { size: Some(1), ..Keep::default() });
    assert!(history.maintain(&now, 0, PLENTY).deleted.is_empty());
    assert_eq!(history.is_paused_for_space(), None);
    history.catch_up(&now).expect("read");
    let undated = |catalogue: &Catalogue| -> Vec<Entry> {
        catalogue.entries.iter().map(|entry| Entry { clock_ns: 0, ..entry.clone() }).collect()
    };
    assert_eq!(undated(history.catalogue()), undated(&before));
    assert_eq!(ages(history.catalogue()), ages(&before));
}

#[test]
fn segments_of_many_boots_are_dated_by_what_passed_at_least() {
    let dir = directory();
    let moment = |boot: u8, up_ns: u64, wall_ns: u64| Now {
        boot_id: [boot; 16],
        boottime_ns: up_ns,
        monotonic_ns: up_ns,
        realtime_ns: NEW_YEAR + wall_ns,
        is_synchronised: true,
    };
    let mut history = open(&dir, &moment(1, HOUR, 0));
    let first = record_in(&mut history, 1, &moment(1, HOUR, 0), 9);
    let second = record_in(&mut history, 2, &moment(2, HOUR, 10 * DAY), 9);
    let third = record_in(&mut history, 3, &moment(3, 3 * DAY, 10 * DAY + HOUR), 9);
    drop(history);
    std::fs::remove_file(dir.path().join(CATALOGUE)).expect("removed");
    // Each was closed ten seconds after it began.
    let now = moment(4, HOUR, 11 * DAY);
    let (rebuilt, _) = Catalogue::rebuild(dir.path(), &now).expect("read");
    let now_ns = rebuilt.clock.expect("one").ns();
    let aged: Vec<_> =
        rebuilt.entries().iter().map(|entry| (&*entry.file, entry.age_ns(now_ns))).collect();
    // The last boot: by the wall clock. The one before had run for three days. Ten days may be a clock that was set.
    let newest_ns = DAY - HOUR - 10 * SECOND;
    let before_ns = newest_ns + 3 * DAY + 10 * SECOND;
    let oldest_ns = before_ns + DAY;
    let expected =
        [(&*first.file, oldest_ns), (&*second.file, before_ns), (&*third.file, newest_ns)];
    assert_eq!(aged, expected);
}

#[test]
fn readers_see_the_segments_alone() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    let file = record(&mut history, 1, 0, 3).file;
    std::fs::write(dir.path().join(index_name(&file)), "an index").expect("written");
    std::fs::write(dir.path().join("catalogue.new"), "half a cat").expect("written");
    assert_eq!(index_name(&file), "20260101T000000Z-01010101-000000.idx");
    let (found, _) = recordings(dir.path(), false, None).expect("a directory");
    let mut found: Vec<_> = found.into_iter().collect();
    let [one] = &mut found[..] else { panic!("{} streams", found.len()) };
    assert!(one.open_next().expect("opened").is_some());
    assert!(one.name().ends_with(&file), "{}", one.name());
    assert!(one.open_next().expect("opened").is_none());
}

/// A filesystem of 128 KiB, while it lives.
struct Tiny(TempDir);

impl Tiny {
    fn new() -> Option<Self> {
        let dir = directory();
        let options = "size=128k,mode=755";
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Tiny(dir))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn on_a_full_disk_a_segment_ends_with_a_whole_block_and_goes_on_later() {
    let Some(tiny) = Tiny::new() else {
        assert!(std::env::var_os("CI").is_none(), "cannot mount a tmpfs");
        eprintln!("SKIP: cannot mount a tmpfs; run this test as root");
        return;
    };
    let dir = &tiny.0;
    let mut history = open(dir, &at(0));
    let mut stream = Stream::new(1, &at(0), Codec::None);
    let mut segment = history.begin_segment(&stream.take()).expect("room for a header");
    let path = dir.path().join(segment.name());
    let filler = dir.path().join("filler");
    std::fs::write(&filler, vec![1; 40 << 10]).expect("room");
    let mut time_ns = 0;
    let mut blocks = || {
        for _ in 0..3 {
            for _ in 0..150 {
                time_ns += 1000;
                stream.event(&mut segment, 0, time_ns);
            }
            stream.writer.flush().expect("memory");
        }
        stream.take()
    };
    let (mut waiting, mut events) = (blocks(), 450);
    waiting.extend(blocks());
    waiting.extend(blocks());
    events += 900;
    let total = waiting.len();
    assert!(total > 80 << 10);
    let failure = segment.append(&waiting).expect_err("full");
    assert_eq!(failure.error.raw_os_error(), Some(28), "{failure}");
    assert_eq!(failure.error.kind(), ErrorKind::Busy);
    assert!(0 < failure.written && failure.written < total);
    waiting.drain(..failure.written);
    assert_eq!(path.metadata().expect("there").len(), segment.bytes());
    let (kept, fault) = events_in(&path);
    assert!(0 < kept && kept < events && kept.is_multiple_of(150), "{kept}");
    assert_eq!(fault, Some(Fault::NoEnd));
    assert_eq!(segment.events(), kept);
    // Not even a header has room.
    let stuffed = std::fs::write(dir.path().join("more"), vec![1; 128 << 10]);
    assert_eq!(stuffed.expect_err("full").raw_os_error(), Some(28));
    let header = Stream::new(2, &at(SECOND), Codec::None).take();
    let files = || dir.path().read_dir().expect("a directory").count();
    let before = files();
    assert!(history.begin_segment(&header).is_err());
    assert_eq!(files(), before);
    assert_eq!(segment.append(&waiting).expect_err("still full").written, 0);
    assert_eq!(events_in(&path), (kept, Some(Fault::NoEnd)));
    // Nor has another catalogue; the old one stays.
    let day = at(DAY);
    assert!(history.maintain(&day, 0, PLENTY).not_saved.is_some());
    assert_eq!(files(), before);
    assert!(Catalogue::read(dir.path()).expect("the old one").is_some());

    std::fs::remove_file(&filler).expect("removed");
    segment.append(&waiting).expect("room again");
    segment.append(&stream.end_segment()).expect("room");
    assert_eq!(events_in(&path), (events, None));
    let entry = history.close_segment(segment, &day).expect("closed");
    assert_eq!((entry.events, entry.ending), (events, Ending::Continued));
}

#[test]
fn after_a_sync_that_failed_none_of_the_segment_succeeds() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    let mut stream = Stream::new(1, &at(0), Codec::None);
    let mut segment = history.begin_segment(&stream.take()).expect("begun");
    stream.event(&mut segment, 0, SECOND);
    segment.append(&stream.take()).expect("room");
    segment.sync_data().expect("durable");
    segment.fail_sync();
    assert_eq!(segment.sync_data().expect_err("doubtful").kind(), ErrorKind::Io);
    assert!(history.close_segment(segment, &at(HOUR)).is_err());
    // It is listed all the same: what can be read of it counts.
    assert_eq!(history.catalogue().entries().len(), 1);
}

#[test]
fn what_is_no_whole_blocks_is_not_appended() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    let mut stream = Stream::new(1, &at(0), Codec::None);
    assert!(history.begin_segment(b"no header").is_err());
    let mut segment = history.begin_segment(&stream.take()).expect("begun");
    stream.event(&mut segment, 0, 1);
    let block = stream.take();
    for wrong in [&block[1..], &block[..block.len() - 64], &[0; 64]] {
        assert_eq!(segment.append(wrong).expect_err("no block").written, 0);
    }
    assert_eq!(segment.bytes(), 4096);
    segment.append(&block).expect("room");
    assert_eq!(segment.events(), 1);
}

fn keep(size: Option<u64>, free: Option<Free>, at_least_ns: u64) -> Keep {
    let at_least = std::time::Duration::from_nanos(at_least_ns);
    Keep { size, free, at_least, ..Keep::default() }
}

fn names(outcome: &Outcome) -> Vec<&str> {
    outcome.deleted.iter().map(|deletion| &*deletion.entry.file).collect()
}

#[test]
fn what_is_too_much_goes_and_what_a_reader_has_open_stays_readable() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    let entries: Vec<_> =
        (1..=4).map(|id| record(&mut history, id, u64::from(id) * HOUR, 100)).collect();
    let path = |entry: &Entry| dir.path().join(&entry.file);
    let index = dir.path().join(index_name(&entries[0].file));
    std::fs::write(&index, "an index").expect("written");
    let mut held = Reader::new(File::open(path(&entries[0])).expect("a segment"));
    let one = entries[0].bytes;
    history.set_keep(keep(Some(3 * one), None, 2 * HOUR));
    // The open segment counts.
    let now = at(6 * HOUR);
    let outcome = history.maintain(&now, one, PLENTY);
    assert_eq!(names(&outcome), [&*entries[0].file, &*entries[1].file]);
    let first = &outcome.deleted[0];
    assert_eq!((first.why, first.is_early), (Why::Size, true));
    assert_eq!((first.entry.uids[0].who, first.entry.uids[0].events), (1000, 100));
    assert!(!path(&entries[0]).exists() && !index.exists() && path(&entries[2]).exists());
    assert!(held.next().expect("sound").is_some());
    let saved = Catalogue::read(dir.path()).expect("sound").expect("there");
    assert_eq!(saved.entries(), history.catalogue().entries());
    assert_eq!(saved.entries().len(), 2);
    assert_eq!(history.is_paused_for_space(), None);
    // Two are left, and one is too young: recording pauses, until it is old enough.
    history.set_keep(keep(Some(one), None, 5 * HOUR));
    assert!(history.maintain(&now, one, PLENTY).deleted.is_empty());
    assert_eq!(history.is_paused_for_space(), Some(Why::Size));
    let outcome = history.maintain(&at(10 * HOUR), 0, PLENTY);
    assert_eq!(names(&outcome), [&*entries[2].file]);
    assert_eq!(history.is_paused_for_space(), None);
}

#[test]
fn a_disk_that_is_full_for_a_moment_costs_nothing() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    let old = record(&mut history, 1, 0, 10);
    record(&mut history, 2, 20 * HOUR, 10);
    history.set_keep(keep(None, Some(Free::Bytes(8000)), 2 * HOUR));
    let disk = |free| Disk { free, total: 100_000 };
    let start = 21 * HOUR;
    let mut tick = |seconds: u64, free| {
        let outcome = history.maintain(&at(start + seconds * SECOND), 0, disk(free));
        (outcome.deleted.len(), history.is_paused_for_space())
    };
    assert_eq!(tick(0, 0), (0, None));
    assert_eq!(tick(9, 0), (0, None));
    assert_eq!(tick(9, 8000), (0, None));
    assert_eq!(tick(15, 0), (0, None));
    assert_eq!(tick(24, 0), (0, None));
    // For ten seconds now: the old one goes, and with it there is room enough.
    assert_eq!(tick(25, 8000 - old.bytes), (1, None));
    assert_eq!(tick(26, 0), (0, Some(Why::Free)));
    // It goes on with an eighth more than is wanted.
    assert_eq!(tick(27, 8999), (0, Some(Why::Free)));
    assert_eq!(tick(28, 9000), (0, None));
    assert_eq!(tick(29, 8000), (0, None));
}

#[test]
fn what_cannot_be_deleted_is_reported_once_and_tried_again() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    let entry = record(&mut history, 1, 0, 10);
    let path = dir.path().join(&entry.file);
    std::fs::remove_file(&path).expect("removed");
    // A directory is in its place, which unlink refuses.
    std::fs::create_dir(&path).expect("made");
    history.set_keep(keep(Some(1), None, 0));
    let now = |seconds: u64| at(HOUR + seconds * SECOND);
    let outcome = history.maintain(&now(0), 0, PLENTY);
    assert_eq!((outcome.deleted.len(), outcome.failed.len()), (0, 1));
    assert_eq!(history.is_paused_for_space(), Some(Why::Size));
    for seconds in [1, 59, 60, 121] {
        let outcome = history.maintain(&now(seconds), 0, PLENTY);
        assert_eq!((outcome.deleted.len(), outcome.failed.len()), (0, 0), "{seconds}");
    }
    std::fs::remove_dir(&path).expect("removed");
    assert!(history.maintain(&now(122), 0, PLENTY).deleted.is_empty());
    // It is gone: an administrator may have removed it.
    assert_eq!(history.maintain(&now(182), 0, PLENTY).deleted.len(), 1);
    assert_eq!(history.is_paused_for_space(), None);
}

#[test]
fn limits_given_by_hand_are_planned_without_effect() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    let entry = record(&mut history, 1, 0, 10);
    record(&mut history, 2, 9 * DAY, 10);
    let age = Some(std::time::Duration::from_nanos(7 * DAY));
    let planned = history.plan(&Keep { age, ..Keep::default() }, &at(10 * DAY), 0, PLENTY);
    let [only] = &planned.deletions[..] else { panic!("{planned:?}") };
    assert_eq!((&only.entry, only.why, only.is_early), (&entry, Why::Age, false));
    assert!(dir.path().join(&entry.file).exists());
    assert_eq!(history.catalogue().entries().len(), 2);
    assert_eq!(history.delete(planned.deletions).deleted.len(), 1);
    assert!(!dir.path().join(&entry.file).exists());
}

#[test]
fn what_was_deleted_by_others_is_dropped_and_what_was_cut_is_read_again() {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    let gone = record(&mut history, 1, 0, 10);
    let cut = record(&mut history, 2, HOUR, 1000);
    drop(history);
    std::fs::remove_file(dir.path().join(&gone.file)).expect("removed");
    let path = dir.path().join(&cut.file);
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a segment");
    file.set_len(cut.bytes - 64).expect("cut");
    let catalogue = Catalogue::read(dir.path()).expect("sound").expect("there");
    let difference = catalogue.compare(dir.path()).expect("listed");
    assert_eq!(difference.missing, vec![gone.file]);
    assert_eq!(difference.not_listed, vec![(cut.file.clone(), cut.bytes - 64)]);
    let mut history = open(&dir, &at(2 * HOUR));
    assert_eq!(history.catalogue().entries(), []);
    assert_eq!(history.bytes(), cut.bytes - 64);
    history.catch_up(&at(2 * HOUR)).expect("read");
    let [entry] = history.catalogue().entries() else { panic!("one") };
    assert_eq!((&entry.file, entry.ending), (&cut.file, Ending::Cut));
    assert!(entry.events < 1000);
}

#[test]
fn a_file_that_is_no_stream_is_left_alone_and_counts() {
    let dir = directory();
    let name = "20260101T000000Z-09090909-000000.fsmon";
    std::fs::write(dir.path().join(name), "no stream").expect("written");
    let mut history = open(&dir, &at(0));
    assert_eq!(history.last(), None);
    let error = history.catch_up(&at(0)).expect_err("no stream");
    assert!(error.to_string().contains(name), "{error}");
    assert_eq!((history.unlisted(), history.bytes()), (vec![], 9));
    let entry = record(&mut history, 1, HOUR, 10);
    history.set_keep(keep(Some(entry.bytes + 8), None, 0));
    assert_eq!(names(&history.maintain(&at(DAY), 0, PLENTY)), [&*entry.file]);
    assert!(dir.path().join(name).exists());
}

/// A catalogue with everything in it.
fn catalogue() -> Catalogue {
    let dir = directory();
    let mut history = open(&dir, &at(0));
    record(&mut history, 1, 0, 10);
    record(&mut history, 2, HOUR, 3);
    let boot_id = [9; 16];
    let mut catalogue = history.catalogue().clone();
    catalogue.advance(&Now { boot_id, is_synchronised: false, ..at(30 * SECOND) });
    catalogue
}

#[test]
fn a_catalogue_is_read_as_it_was_written_and_refused_where_a_bit_is_wrong() {
    let catalogue = catalogue();
    let bytes = catalogue.encode();
    assert!(catalogue.clock.expect("one").before.is_some());
    assert_eq!(Catalogue::decode(&bytes), Ok(catalogue));
    assert_eq!(Catalogue::decode(&Catalogue::default().encode()), Ok(Catalogue::default()));
    for len in 0..bytes.len() {
        assert!(Catalogue::decode(&bytes[..len]).is_err(), "{len}");
    }
    for bit in 0..8 * bytes.len() {
        let mut wrong = bytes.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(Catalogue::decode(&wrong).is_err(), "bit {bit}");
    }
}

/// Makes both checksums right, and the length and the count of entries.
fn seal(bytes: &mut [u8]) {
    let (header, body) = bytes.split_at_mut(128);
    header[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
    header[24..28].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    let crc = crc32c::crc32c(&header[..124]);
    header[124..].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_catalogue_names_nothing_but_segments_of_its_directory() {
    let good = catalogue().encode();
    let name = b"20260101T000000Z-01010101-000000.fsmon";
    let at = good.windows(name.len()).position(|part| part == name).expect("named");
    let with = |text: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + text.len()].copy_from_slice(text);
        seal(&mut bytes);
        Catalogue::decode(&bytes)
    };
    assert!(with(name).is_ok());
    for wrong in [&b"../../../../etc/"[..], b"/", b"20260101T00000/Z", b"\xff"] {
        assert_eq!(with(wrong), Err("an entry has a name that no segment has"));
    }
    // The other one's.
    assert_eq!(with(b"20260101T010000Z-02020202-000000.fsmon"), Err("it has a segment twice"));
    let mut newer = good.clone();
    newer[8] = 2;
    seal(&mut newer);
    assert_eq!(Catalogue::decode(&newer), Err("a newer fsmon wrote it"));
}

#[test]
fn any_bytes_with_right_checksums_are_refused_or_read_and_written_alike() {
    let good = catalogue().encode();
    let (mut read, mut refused) = (0, 0);
    for seed in 0..20_000 {
        let mut rng = super::fixture::Rng::new(seed);
        let mut bytes = good.clone();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(bytes.len() as u64 - 12) + 12;
            bytes[fsmon_format::number::to_usize(at)] = rng.below(256).to_le_bytes()[0];
        }
        seal(&mut bytes);
        match Catalogue::decode(&bytes) {
            Ok(catalogue) => {
                read += 1;
                assert_eq!(Catalogue::decode(&catalogue.encode()), Ok(catalogue));
            }
            Err(_) => refused += 1,
        }
    }
    assert!(read > 1000 && refused > 1000, "{read} {refused}");
}

/// Made from docs/history.md by a program of its own.
#[test]
fn a_catalogue_is_as_it_is_specified() {
    let golden = include_bytes!("../../tests/golden/v1-catalogue");
    let catalogue = Catalogue::decode(golden).expect("a catalogue");
    assert_eq!(catalogue.encode(), golden);
    let clock = catalogue.clock.expect("one");
    let at = Now {
        boot_id: BOOT,
        boottime_ns: 7,
        monotonic_ns: 6,
        realtime_ns: 5,
        is_synchronised: true,
    };
    assert_eq!((clock.ns(), clock.at, clock.is_limited), (1_000_000_000_000_000_000, at, true));
    let before = clock.before.expect("a boot before");
    assert_eq!((before.boot_id, before.ns), (*b"boot before that", 100_000_000_000_000_000));
    assert_eq!((before.monotonic_ns, before.realtime_ns), (3, 2));
    let [first, second] = catalogue.entries() else { panic!("two") };
    let cgroup = Cgroup { id: 77, path: b"/user.slice".to_vec() };
    let expected = Entry {
        file: "20260101T000000Z-01010101-000000.fsmon".to_owned(),
        stream_id: [1; 16],
        boot_id: BOOT,
        segment: 0,
        header_crc: 0x1234,
        first_event: 10,
        events: 5,
        first_block: 2,
        blocks: 3,
        wall_ns: (1000, 3000),
        wall_end_ns: 3000,
        monotonic_ns: (10, 20),
        losses: 1,
        gaps: 6,
        bytes: 5184,
        clock_ns: 1_000_000_000_000_000_000,
        ending: Ending::Ended,
        is_incomplete: false,
        is_damaged: false,
        uids: vec![Top { who: 1000, events: 4 }, Top { who: 0, events: 1 }],
        cgroups: vec![Top { who: cgroup, events: 5 }],
    };
    assert_eq!(*first, expected);
    assert_eq!((second.segment, second.stream_id, second.uids.len()), (1, [2; 16], 0));
    assert_eq!(second.cgroups, vec![Top { who: Cgroup { id: 2, path: vec![] }, events: 1 }]);
}

/// However a recorder's write was cut, the segment reads to its end afterwards, with every whole block.
#[test]
fn a_segment_that_was_cut_anywhere_is_mended() {
    [Codec::None, Codec::ZstdWindow].into_iter().for_each(cut_anywhere);
}

fn cut_anywhere(codec: Codec) {
    let dir = directory();
    let mut history = open(&dir, &at(HOUR));
    let mut stream = Stream::new(1, &at(HOUR), codec);
    stream.process(1, 1000);
    let mut segment = history.begin_segment(&stream.take()).expect("begun");
    let mut ends = vec![to_usize(segment.bytes())];
    for second in 1..20 {
        stream.event(&mut segment, 1, HOUR + second * SECOND);
        segment.append(&stream.take()).expect("appended");
        ends.push(to_usize(segment.bytes()));
    }
    let whole = std::fs::read(dir.path().join(segment.name())).expect("there");
    drop(segment);
    let events = |bytes: &[u8]| {
        let mut reader = Reader::new(bytes);
        let mut events = 0;
        while let Some(item) = reader.next().expect("sound to its end") {
            if let Item::Block(block) = item {
                events += block.events();
            }
        }
        assert!(reader.closed());
        to_usize(events.into())
    };
    let path = dir.path().join("cut.fsmon");
    for cut in (0..=whole.len()).step_by(61).chain(ends.iter().copied()) {
        std::fs::write(&path, &whole[..cut]).expect("written");
        let mended = mend(dir.path(), "cut.fsmon").expect("mended");
        let Some(last) = ends.iter().rposition(|end| *end <= cut) else {
            assert_eq!((mended, path.exists()), (Mended::Deleted, false));
            continue;
        };
        assert_eq!(mended, Mended::Closed { cut: (cut - ends[last]) as u64 });
        assert_eq!(events(&std::fs::read(&path).expect("there")), last);
        assert_eq!(mend(dir.path(), "cut.fsmon").expect("mended"), Mended::Nothing);
    }
}

/// Blocks behind damage that nobody can read say how much is missing: a segment keeps them when it is mended.
#[test]
fn blocks_that_go_on_from_a_damaged_one_stay() {
    let dir = directory();
    let mut history = open(&dir, &at(HOUR));
    let mut stream = Stream::new(1, &at(HOUR), Codec::ZstdWindow);
    let mut segment = history.begin_segment(&stream.take()).expect("begun");
    let mut ends = vec![to_usize(segment.bytes())];
    for second in 1..10 {
        stream.event(&mut segment, 0, HOUR + second * SECOND);
        segment.append(&stream.take()).expect("appended");
        ends.push(to_usize(segment.bytes()));
    }
    let mut bytes = std::fs::read(dir.path().join(segment.name())).expect("there");
    bytes[ends[3] + 70] ^= 1;
    bytes.truncate(ends[8] + 80);
    std::fs::write(dir.path().join("cut.fsmon"), &bytes).expect("written");
    assert_eq!(mend(dir.path(), "cut.fsmon").expect("mended"), Mended::Closed { cut: 80 });
    let mended = std::fs::read(dir.path().join("cut.fsmon")).expect("there");
    let mut reader = Reader::new(&mended[..]).salvage(true);
    let (mut events, mut missing) = (0, Vec::new());
    while let Some(item) = reader.next().expect("salvaged") {
        match item {
            Item::Block(block) => events += block.events(),
            Item::Gap(gap) => missing.push(gap.events),
            _ => {}
        }
    }
    assert_eq!((events, missing, reader.closed()), (3, vec![Some(5)], true));
    assert_eq!(mend(dir.path(), "cut.fsmon").expect("mended"), Mended::Nothing);
}

/// The final block never crosses the grid.
#[test]
fn the_end_of_a_segment_may_be_right_before_the_grid() {
    use fsmon_format::record::Clock;
    use fsmon_format::stream::layout::GRID;
    use zerocopy::FromZeros;
    for (offset, len) in [(GRID - 128, 128), (GRID - 64, 192), (GRID, 128), (4096, 128)] {
        let bytes = fsmon_format::stream::closing(offset, (7, 3, [1; 4]), &Clock::new_zeroed());
        assert_eq!(bytes.len(), len, "{offset}");
    }
}
