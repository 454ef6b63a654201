//! How far back a history goes.

use super::fixture::{DAY, HOUR, NEW_YEAR, SECOND, Stream, at};
use super::*;
use fsmon_format::stream::Codec;
use std::time::Duration;
use tempfile::TempDir;

fn history(dir: &TempDir) -> History {
    History::open(dir.path(), Keep::default(), &at(0)).expect("a history")
}

/// A GAP record.
#[derive(Clone, Copy, Debug)]
enum Gap {
    /// At the start of a stream.
    Since,
    /// Of a disk that was full.
    Pause,
}

/// Records a stream of two segments: each begins at the hour given, and has one event, a second before the next hour.
fn record(history: &mut History, id: u8, hours: [u64; 2], gaps: [&[Gap]; 2]) {
    let mut stream = Stream::new(id, &at(hours[0] * HOUR), Codec::None);
    stream.process(1, 1000);
    let mut header = stream.take();
    for (hour, gaps) in hours.into_iter().zip(gaps) {
        let mut segment = history.begin_segment(&header).expect("begun");
        for gap in gaps {
            let began_ns = NEW_YEAR + hour * HOUR;
            let from_ns = match gap {
                Gap::Since => NEW_YEAR,
                Gap::Pause => began_ns + SECOND,
            };
            stream.gap(&mut segment, hour * HOUR + 1, (from_ns, began_ns + 2 * SECOND));
        }
        let ended_ns = (hour + 1) * HOUR - SECOND;
        stream.event(&mut segment, 1, ended_ns);
        segment.append(&stream.end_segment()).expect("room");
        history.close_segment(segment, &at(ended_ns)).expect("closed");
        header = stream.next_segment(&at((hour + 1) * HOUR));
    }
}

/// Its age in hours, and the rest.
fn reach(history: &mut History, hour: u64, open: Option<OpenSegment>) -> Option<(u64, bool, bool)> {
    let found = history.reach(&at(hour * HOUR), open)?;
    let hours = (found.age + Duration::from_secs(60)).as_secs() / 3600;
    Some((hours, found.is_cut, found.was_paused))
}

/// Deletes the oldest segment, as `clean` does.
fn delete_oldest(history: &mut History) {
    let entry = history.catalogue().entries()[0].clone();
    history.delete(vec![Deletion { entry, why: Why::Age, is_early: true }]);
}

#[test]
fn a_history_that_lost_nothing_goes_back_to_its_first_segment() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut history = history(&dir);
    assert_eq!(reach(&mut history, 1, None), None, "there is nothing");
    let open = |number, hour| Some(OpenSegment { number, began_ns: hour * HOUR });
    assert_eq!(reach(&mut history, 4, open(0, 1)), Some((3, false, false)));
    // Nothing happened for most of an hour, which is recorded all the same.
    record(&mut history, 1, [1, 2], [&[], &[]]);
    assert_eq!(reach(&mut history, 4, open(2, 3)), Some((3, false, false)));
}

#[test]
fn what_was_deleted_shows_in_what_is_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut first = history(&dir);
    record(&mut first, 1, [1, 2], [&[], &[]]);
    delete_oldest(&mut first);
    assert_eq!(reach(&mut first, 4, None), Some((2, true, false)));
    delete_oldest(&mut first);
    let open = |number| Some(OpenSegment { number, began_ns: 3 * HOUR });
    assert_eq!(reach(&mut first, 4, open(2)), Some((1, true, false)), "only the open one is left");
    record(&mut first, 2, [3, 4], [&[Gap::Since], &[]]);
    drop(first);
    // The next recorder knows it, too. What the gap is about is not recorded.
    let mut next = history(&dir);
    assert_eq!(reach(&mut next, 7, None), Some((4, true, false)));
    delete_oldest(&mut next);
    delete_oldest(&mut next);
    assert_eq!(reach(&mut next, 7, open(0)), Some((4, true, false)), "there was a stream before");
}

#[test]
fn a_pause_is_a_gap_that_no_stream_begins_with() {
    use Gap::{Pause, Since};
    let of = |first: [&[Gap]; 2], second: [&[Gap]; 2]| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut history = history(&dir);
        record(&mut history, 1, [1, 2], first);
        record(&mut history, 2, [5, 6], second);
        let found = reach(&mut history, 8, None).expect("known");
        assert_eq!((found.0, found.1), (7, false), "{first:?} {second:?}");
        found.2
    };
    assert!(!of([&[], &[]], [&[Since], &[]]));
    assert!(of([&[], &[]], [&[Since], &[Pause]]));
    assert!(of([&[], &[]], [&[Since, Pause], &[]]));
    assert!(of([&[Pause], &[]], [&[Since], &[]]), "of the first stream");
    assert!(of([&[], &[Pause]], [&[Since], &[]]));
}

#[test]
fn nothing_is_said_before_all_segments_are_known() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut first = history(&dir);
    record(&mut first, 1, [1, 2], [&[], &[]]);
    drop(first);
    std::fs::remove_file(dir.path().join(CATALOGUE)).expect("there");
    let mut next = History::open(dir.path(), Keep::default(), &at(DAY)).expect("a history");
    assert_eq!(reach(&mut next, 25, None), None);
    next.catch_up(&at(DAY)).expect("read");
    assert!(reach(&mut next, 25, None).is_some_and(|found| !found.1));
}
