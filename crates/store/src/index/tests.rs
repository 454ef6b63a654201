//! An index against a naive reading of its segment.

use super::layout::{FIXED, KIND};
use super::*;
use crate::history::index_name;
use crate::limits::CELL_BYTES;
use crate::tape::{Said, Tape};
use fsmon_format::kind::{CLOSE_WRITE, CREATE, MODIFY, ONDIR, RENAME};
use fsmon_format::mirror::Mirror;
use fsmon_format::record::Body;
use fsmon_format::stream::{BLOCK_CAPACITY, Codec, Header, Item, Reader};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A segment with names at several depths, in some cells.
fn segment(dir: &Path, events: u64) -> String {
    let mut tape = Tape::new(dir, 1, 1, 1_000_000, Codec::None);
    for i in 0..events {
        let pid = u32::try_from(10 + i % 7).expect("small");
        let path = format!("/srv/d{}/e{}/f{i}", i % 5, i % 11);
        let said = Said { path: &path, object: 2 * i + 2, pid, ..Said::default() };
        tape.event(&Said { mask: CREATE | MODIFY, ..said.clone() });
        match i % 4 {
            0 => tape.event(&Said { mask: CLOSE_WRITE, ..said }),
            1 => {
                let new = format!("/srv/d{}/g{i}", i % 5);
                tape.event(&Said { mask: RENAME, path: &new, old: &path, ..said });
            }
            _ => {}
        }
        if i % 500 == 499 {
            let (old, new) = (format!("/srv/d{}/e{}", i % 5, i % 11), format!("/srv/d0/h{i}"));
            let mask = RENAME | ONDIR;
            tape.event(&Said { mask, path: &new, old: &old, pid, ..Said::default() });
            tape.loss();
        }
        if i % 90 == 89 {
            tape.flush();
        }
    }
    tape.rotate()
}

type Keys = BTreeMap<(u16, Vec<u8>), BTreeSet<Posting>>;

/// Every key of a segment with its cells, from the paths as text.
fn keys(dir: &Path, file: &str) -> Keys {
    let bytes = std::fs::read(dir.join(file)).expect("read");
    let (mut reader, mut mirror) = (Reader::new(&bytes[..]), Mirror::new(BLOCK_CAPACITY));
    let mut keys = Keys::new();
    while let Some(item) = reader.next().expect("sound") {
        let Item::Block(block) = item else { continue };
        let cell = u32::try_from(block.offset() / CELL_BYTES).expect("few");
        let mut add = |kind: Kind, key: &[u8], is_direct: bool| {
            keys.entry((kind.code(), key.to_vec()))
                .or_default()
                .insert(Posting { cell, is_direct });
        };
        mirror.clear();
        for record in block.records() {
            mirror.define(&record.body());
            let Body::Event(event) = record.body() else {
                if let Body::Loss(_) = record.body() {
                    add(Kind::Trouble, b"LOSS", false);
                }
                continue;
            };
            for (dir, name) in
                [(event.head.dir.get(), event.name), (event.head.dir2.get(), event.name2)]
            {
                let mut path = Vec::new();
                if !mirror.append_dir_path(dir, &mut path) {
                    continue;
                }
                add(Kind::Name, name, false);
                add(Kind::Below, &path, true);
                if event.is_dir() && event.head.mask.get() & RENAME != 0 {
                    add(Kind::DirRename, &[&path[..], b"/", name].concat(), false);
                }
                while let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
                    path.truncate(slash);
                    add(Kind::Below, &path, false);
                }
            }
            let process = mirror.proc(event.head.proc.get()).expect("known");
            let pid = process.pid.get();
            add(Kind::Comm, format!("p{pid}").as_bytes(), false);
            add(Kind::Exe, format!("/bin/p{pid}").as_bytes(), false);
            add(Kind::Uid, &process.uid.get().to_le_bytes(), false);
        }
    }
    keys
}

fn known(dir: &Path, file: &str) -> (u32, u64) {
    let bytes = std::fs::read(dir.join(file)).expect("read");
    let (_, crc) = crate::history::header_of(&bytes[..]).expect("read").expect("sound");
    (crc, bytes.len() as u64)
}

fn kind_of(code: u16) -> Kind {
    *Kind::ALL.iter().find(|kind| kind.code() == code).expect("known")
}

#[test]
fn every_key_is_found_in_its_cells_and_few_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = segment(dir.path(), 20_000);
    let made = make(dir.path(), &file, 7, || true).expect("made");
    let Made::Indexed { bytes, events } = made else { panic!("{made:?}") };
    assert!(events > 20_000 && bytes > 10_000);
    let index = Index::open(dir.path(), &file, known(dir.path(), &file)).expect("an index");
    let cells = index.cells().expect("sound");
    assert!(cells.len() > 8, "{}", cells.len());
    let keys = keys(dir.path(), &file);
    let (mut wanted, mut false_hits) = (0, 0);
    for ((code, key), expected) in &keys {
        let found = index.find(kind_of(*code), key).expect("sound");
        for posting in expected {
            let is_there = |other: &&Posting| {
                other.cell == posting.cell && (other.is_direct || !posting.is_direct)
            };
            assert!(found.iter().any(|other| is_there(&other)), "{code} {key:?} {posting:?}");
        }
        let cells: BTreeSet<_> = expected.iter().map(|posting| posting.cell).collect();
        wanted += cells.len();
        false_hits += found.iter().filter(|found| !cells.contains(&found.cell)).count();
    }
    assert!(false_hits * 50 < wanted, "{false_hits} of {wanted}");
    let of_nothing = (0..10_000).map(|i| format!("nothing-{i}"));
    let found =
        of_nothing.map(|name| index.find(Kind::Name, name.as_bytes()).expect("sound").len());
    assert!(found.sum::<usize>() < 400);
}

#[test]
fn a_follower_makes_the_same_index_and_a_part_before() {
    let (dir, other) = (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
    let file = segment(other.path(), 8_000);
    make(other.path(), &file, 7, || true).expect("made");
    let whole = std::fs::read(other.path().join(&file)).expect("read");
    let at = dir.path().join(&file);
    let mut follower = None;
    for share in 1..=20 {
        std::fs::write(&at, &whole[..whole.len() * share / 20]).expect("written");
        if follower.is_none() {
            follower = Follower::new(dir.path(), &file, 7).expect("made");
        }
        // Writing the file anew keeps its inode, so that the follower sees it grow.
        let progress = follower.as_mut().expect("a header").go_on(|| true).expect("read");
        assert_eq!(matches!(progress, Progress::Done(_)), share == 20);
        let part = Part::read(dir.path(), &file, known(dir.path(), &file).0);
        assert_eq!(part.is_some(), (2..20).contains(&share) && whole.len() * share / 20 > 300_000);
        let Some(part) = part else { continue };
        for ((code, key), expected) in keys(other.path(), &file) {
            let found = part.find_hash(kind_of(code), hash::hash(7, &key));
            for posting in
                expected.iter().filter(|posting| (posting.cell as usize) < part.cells().len())
            {
                let is_there = |other: &&Posting| {
                    other.cell == posting.cell && (other.is_direct || !posting.is_direct)
                };
                assert!(found.iter().any(|other| is_there(&other)), "{code} {key:?}");
            }
        }
    }
    let index = |dir: &Path| std::fs::read(dir.join(index_name(&file))).expect("read");
    assert!(index(dir.path()) == index(other.path()));
    assert!(!dir.path().join(crate::history::part_name(&file)).exists());
}

#[test]
fn a_small_memory_makes_the_same_index() {
    // With spilled runs: a segment with more postings than are held.
    let dir = tempfile::tempdir().expect("a directory");
    let file = segment(dir.path(), 300_000);
    let made = make(dir.path(), &file, 3, || true).expect("made");
    assert!(matches!(made, Made::Indexed { .. }), "{made:?}");
    let index = Index::open(dir.path(), &file, known(dir.path(), &file)).expect("an index");
    for i in (0..300_000).step_by(997) {
        let found = index.find(Kind::Name, format!("f{i}").as_bytes()).expect("sound");
        assert!(!found.is_empty(), "f{i}");
    }
}

#[test]
fn any_flipped_bit_and_any_cut_is_seen_or_harmless() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = segment(dir.path(), 200);
    make(dir.path(), &file, 7, || true).expect("made");
    let path = dir.path().join(index_name(&file));
    let whole = std::fs::read(&path).expect("read");
    let known = known(dir.path(), &file);
    let keys = keys(dir.path(), &file);
    let check = || {
        let Some(index) = Index::open(dir.path(), &file, known) else { return };
        let _ = index.cells();
        for ((code, key), expected) in &keys {
            let Ok(found) = index.find(kind_of(*code), key) else { continue };
            for posting in expected {
                assert!(found.iter().any(|found| found.cell == posting.cell), "{code} {key:?}");
            }
        }
    };
    for at in (0..whole.len()).step_by(3).chain(0..FIXED + 9 * KIND) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).expect("written");
        check();
    }
    for len in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..len]).expect("written");
        check();
    }
    // Of another segment, and of this one when it was shorter.
    std::fs::write(&path, &whole).expect("written");
    assert!(Index::open(dir.path(), &file, (known.0 ^ 1, known.1)).is_none());
    assert!(Index::open(dir.path(), &file, (known.0, known.1 + 64)).is_none());
}

#[test]
fn a_damaged_segment_gets_no_index() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = segment(dir.path(), 2_000);
    let mut bytes = std::fs::read(dir.path().join(&file)).expect("read");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(dir.path().join(&file), &bytes).expect("written");
    assert!(Header::peek(&bytes[..]).expect("read").is_some());
    assert_eq!(make(dir.path(), &file, 7, || true).expect("read"), Made::Damaged);
    assert!(!dir.path().join(index_name(&file)).exists());
}
