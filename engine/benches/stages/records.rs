//! The records of the recording, from whole turns of the reader, and what they report.

use crate::plain::Reported;
use fsmon_engine::replay::{Recording, Replay, Room};
use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::record::{Attribution, Body, EventRef, Records, Slot};

/// Directories, process images, and slots of the ring.
pub(crate) const ROOM: (usize, usize, usize) = (1 << 12, 1 << 12, 1 << 12);
pub(crate) const CAPACITY: Capacity =
    Capacity { dirs: 1 << 13, processes: 1 << 12, strings: 1 << 17, text: 1 << 22 };

/// What `recorded/record` made.
const RECORDED: &[u8] = include_bytes!("../recorded/kernel.recording");

/// As it can be played here.
pub(crate) fn recording() -> Recording {
    let mut recording = Recording::from_bytes(RECORDED).unwrap();
    recording.transpose();
    recording
}

/// All turns once, and the records that come of each.
pub(crate) fn play(replay: &mut Replay<'_>, recording: &Recording) -> Vec<Vec<Slot>> {
    let mut turns = Vec::new();
    for turn in &recording.turns {
        let mut slots = Vec::new();
        replay.put(turn).unwrap();
        replay.turn(turn).unwrap();
        replay.records(|batch| slots.extend_from_slice(batch));
        assert!(replay.is_idle(), "no file of the recording can be looked at");
        turns.push(slots);
    }
    turns
}

/// The records of a recording, turn by turn.
pub(crate) fn records(recording: &Recording) -> Vec<Vec<Slot>> {
    Room::with(recording, ROOM, |replay| play(replay, recording)).unwrap()
}

/// What the events among the records report.
pub(crate) fn reported(slots: &[Slot]) -> Vec<Reported> {
    let (mut mirror, mut reported) = (Mirror::new(CAPACITY), Vec::new());
    for record in Records(slots) {
        let body = record.body();
        mirror.define(&body);
        match body {
            Body::Event(event) => reported.push(reported_of(&event, &mirror)),
            Body::Loss(_) | Body::Malformed => panic!("nothing was lost in the recording"),
            _ => {}
        }
    }
    reported
}

fn reported_of(event: &EventRef<'_>, mirror: &Mirror) -> Reported {
    assert_eq!(event.attribution(), Attribution::Exact);
    let image = mirror.proc(event.head.proc.get()).unwrap();
    let path = |dir: u32, name: &[u8]| {
        let mut path = Vec::new();
        if dir != 0 {
            assert!(mirror.append_dir_path(dir, &mut path));
            path.extend(name.iter().take(1).map(|_| b'/'));
            path.extend_from_slice(name);
        }
        path
    };
    Reported {
        mask: event.head.mask.get(),
        path: path(event.head.dir.get(), event.name),
        old: path(event.head.dir2.get(), event.name2),
        pid: image.pid.get(),
        comm: image.comm.iter().copied().take_while(|byte| *byte != 0).collect(),
        exec: mirror.string(image.exec.get()).unwrap_or_default().to_vec(),
    }
}

/// How many events are among records.
pub(crate) fn count_events(slots: &[Slot]) -> usize {
    Records(slots).filter(|record| matches!(record.body(), Body::Event(_))).count()
}
