//! Whatever is pushed, sane or not: the writer writes a stream that a strict reader takes, with
//! every event in it, and nothing in it refers to what is not there.

#![allow(clippy::unwrap_used)]

use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::record::{Body, Build, Dir, Event, Gap, Note, Proc, Record, Slot};
use fsmon_format::stream::{BLOCK_CAPACITY, Header, Item, Reader, Writer};
use proptest::prelude::*;
use zerocopy::FromZeros;

const CAPACITY: Capacity = Capacity { dirs: 12, processes: 12, strings: 12, text: 1 << 18 };

#[derive(Clone, Debug)]
enum Step {
    Dir { id: u32, parent: u32, object: u64, len: usize },
    Proc { id: u32, parent: u32, strings: [u32; 5] },
    Str { id: u32, len: usize },
    Event { dir: u32, dir2: u32, proc: u32, len: usize, len2: usize },
    Gap { cause: u32 },
    Note { what: u32, len: usize, len2: usize },
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0u32..14;
    let len = prop_oneof![4 => 0usize..100, 1 => 0usize..5000];
    let strings = [id.clone(), id.clone(), id.clone(), id.clone(), id.clone()];
    prop_oneof![
        3 => (id.clone(), id.clone(), 0u64..4, len.clone())
            .prop_map(|(id, parent, object, len)| Step::Dir { id, parent, object, len }),
        2 => (id.clone(), id.clone(), strings)
            .prop_map(|(id, parent, strings)| Step::Proc { id, parent, strings }),
        1 => (id.clone(), len.clone()).prop_map(|(id, len)| Step::Str { id, len }),
        1 => (id.clone()).prop_map(|cause| Step::Gap { cause }),
        1 => (id.clone(), len.clone(), len)
            .prop_map(|(what, len, len2)| Step::Note { what, len, len2 }),
        5 => (id.clone(), id.clone(), id, 0usize..256, 0usize..256)
            .prop_map(|(dir, dir2, proc, len, len2)| Step::Event { dir, dir2, proc, len, len2 }),
        1 => Just(Step::Flush),
    ]
}

fn build(build: &mut Build, step: &Step, serial: u64) -> Option<Vec<Slot>> {
    let text = vec![b'x'; 5000];
    Some(match *step {
        Step::Dir { id, parent, object, len } => {
            let mut head = Dir::new_zeroed();
            (head.id, head.parent, head.object) = (id.into(), parent.into(), object.into());
            build.dir(head, &text[..len]).to_vec()
        }
        Step::Proc { id, parent, strings } => {
            let mut head = Proc::new_zeroed();
            (head.id, head.parent) = (id.into(), parent.into());
            [head.exe, head.exec, head.cgroup, head.user, head.cmdline] = strings.map(Into::into);
            build.proc(head).to_vec()
        }
        Step::Str { id, len } => build.str(id, &text[..len]).to_vec(),
        Step::Event { dir, dir2, proc, len, len2 } => {
            let mut head = Event::new_zeroed();
            (head.dir, head.dir2, head.proc) = (dir.into(), dir2.into(), proc.into());
            head.time_ns = serial.into();
            build.event(head, &text[..len], &text[..len2]).to_vec()
        }
        Step::Gap { cause } => {
            let mut head = Gap::new_zeroed();
            (head.cause, head.time_ns) = (cause.into(), serial.into());
            build.gap(head).to_vec()
        }
        Step::Note { what, len, len2 } => {
            let mut head = Note::new_zeroed();
            (head.what, head.time_ns) = (what.into(), serial.into());
            build.note(head, &text[..len], &text[..len2]).to_vec()
        }
        Step::Flush => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn makes_a_sound_stream(steps in proptest::collection::vec(step(), 0..600)) {
        let mut mirror = Mirror::new(CAPACITY);
        let mut writer = Writer::new(Vec::new(), &Header::default(), CAPACITY).unwrap();
        let mut room = Build::default();
        let mut pushed = Vec::new();
        for (serial, step) in steps.iter().enumerate() {
            let Some(slots) = build(&mut room, step, serial as u64) else {
                writer.flush().unwrap();
                continue;
            };
            let (record, _) = Record::split_first(&slots).unwrap();
            mirror.define(&record.body());
            writer.push(&record, &mirror).unwrap();
            match record.body() {
                Body::Event(event) => {
                    pushed.push((serial as u64, event.name.len(), event.name2.len()));
                }
                Body::Note(note) => pushed.push((serial as u64, note.path.len(), note.text.len())),
                Body::Gap(_) => pushed.push((serial as u64, 0, 0)),
                _ => {}
            }
        }
        let stream = writer.finish().unwrap();
        let mut reader = Reader::new(&stream[..]);
        let mut mirror = Mirror::new(BLOCK_CAPACITY);
        let (mut read, mut path) = (Vec::new(), Vec::new());
        while let Some(item) = reader.next().unwrap() {
            let Item::Block(block) = item else { continue };
            mirror.clear();
            for record in block.records() {
                mirror.define(&record.body());
                match record.body() {
                    Body::Note(note) => {
                        read.push((note.head.time_ns.get(), note.path.len(), note.text.len()));
                    }
                    Body::Gap(gap) => read.push((gap.time_ns.get(), 0, 0)),
                    _ => {}
                }
                if let Body::Event(event) = record.body() {
                    let head = event.head;
                    read.push((head.time_ns.get(), event.name.len(), event.name2.len()));
                    for dir in [head.dir.get(), head.dir2.get()] {
                        path.clear();
                        prop_assert!(dir == 0 || mirror.append_dir_path(dir, &mut path));
                    }
                }
            }
        }
        prop_assert_eq!(read, pushed);
    }
}
