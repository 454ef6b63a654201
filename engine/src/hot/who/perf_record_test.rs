//! Recorded bytes, and a naive twin.

use super::*;

const LAYOUT: Layout = Layout { filename: 8, cgroup: true };

/// A record of these words.
fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_ne_bytes().to_vec();
    bytes.extend(misc.to_ne_bytes());
    bytes.extend(((body.len() + 8) as u16).to_ne_bytes());
    bytes.extend(body);
    bytes
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn sample(pid: u32, tid: u32, time: u64, exe: &[u8], cgroup: u64) -> Vec<u8> {
    let mut raw = words(&[365, pid, 20 | (exe.len() as u32 + 1) << 16, pid, pid]);
    raw.extend(exe);
    raw.push(0);
    while raw.len() % 8 != 4 {
        raw.push(0);
    }
    let mut body = words(&[pid, tid]);
    body.extend(time.to_ne_bytes());
    body.extend((raw.len() as u32).to_ne_bytes());
    body.extend(raw);
    body.extend(cgroup.to_ne_bytes());
    record(SAMPLE, 2, &body)
}

#[test]
fn an_exec_gives_its_name_and_cgroup() {
    let bytes = sample(42, 42, 7, b"./configure", 99);
    let Parsed::Message(message, exe) = parse(&bytes, LAYOUT) else { panic!("a message") };
    assert_eq!((message.kind, message.pid, message.time_ns), (Kind::Exec, 42, 7));
    assert_eq!((message.cgroup_id, exe), (99, &b"./configure"[..]));
    assert_eq!(parse(&sample(42, 43, 7, b"x", 9), LAYOUT), Parsed::Skip);
}

#[test]
fn a_name_given_by_exec_and_a_rename_are_different_kinds() {
    let mut body = words(&[42, 42]);
    body.extend(b"make\0\0\0\0");
    body.extend(words(&[42, 42, 7, 0]));
    for (misc, kind) in [(COMM_EXEC, Kind::CommExec), (0, Kind::Comm)] {
        let bytes = record(COMM, misc, &body);
        let Parsed::Message(message, _) = parse(&bytes, LAYOUT) else { panic!("a message") };
        assert_eq!((message.kind, message.time_ns), (kind, 7));
        assert_eq!(&message.comm, b"make\0\0\0\0\0\0\0\0\0\0\0\0");
    }
}

#[test]
fn forks_and_exits_of_threads_are_left_out() {
    let body = |tid: u32| {
        let mut body = words(&[42, 41, tid, 41, 7, 0]);
        body.extend(words(&[41, 41, 7, 0]));
        body
    };
    let bytes = record(FORK, 0, &body(42));
    let Parsed::Message(message, _) = parse(&bytes, LAYOUT) else { panic!("a message") };
    assert_eq!(
        (message.kind, message.pid, message.parent, message.time_ns),
        (Kind::Fork, 42, 41, 7)
    );
    assert_eq!(parse(&record(FORK, 0, &body(43)), LAYOUT), Parsed::Skip);
    assert_eq!(parse(&record(EXIT, 0, &body(43)), LAYOUT), Parsed::Skip);
    assert!(matches!(parse(&record(EXIT, 0, &body(42)), LAYOUT), Parsed::Message(..)));
}

#[test]
fn a_loss_is_counted_and_the_unknown_skipped() {
    let mut body = words(&[1, 0, 5, 0]);
    body.extend([0; 16]);
    assert_eq!(parse(&record(LOST, 0, &body), LAYOUT), Parsed::Lost(5));
    assert_eq!(parse(&record(99, 0, &body), LAYOUT), Parsed::Skip);
    assert_eq!(parse(&record(LOST, 0, &[]), LAYOUT), Parsed::Malformed);
}

/// The same, written with no thought for speed: one field after the other.
fn naive(bytes: &[u8]) -> Option<(u32, Vec<u8>, u64)> {
    let mut at = 8;
    let mut take = |len: usize| {
        at += len;
        bytes.get(at - len..at).map(<[u8]>::to_vec)
    };
    let number = |bytes: Vec<u8>| bytes.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let pid = number(take(4)?);
    let tid = number(take(4)?);
    take(8)?;
    let len = number(take(4)?) as usize;
    let raw = take(len)?;
    let cgroup = number(take(8)?);
    let loc = number(raw.get(8..12)?.to_vec()) as usize;
    let name = raw.get(loc & 0xffff..(loc & 0xffff) + (loc >> 16))?;
    let name: Vec<u8> = name.iter().copied().take_while(|&byte| byte != 0).take(4096).collect();
    (pid == tid && pid != 0 && pid < 1 << 31).then_some((pid as u32, name, cgroup))
}

proptest::proptest! {
    #[test]
    fn anything_may_come(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), kind in 0u32..12) {
        let _ = parse(&bytes, LAYOUT);
        if bytes.len() >= 4 {
            bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        }
        let _ = parse(&bytes, LAYOUT);
    }

    /// Good samples with a few bytes changed, cut anywhere.
    #[test]
    #[cfg(target_endian = "little")]
    fn samples_agree_with_the_twin(
        pid in 1u32..9, tid in 1u32..9,
        exe in proptest::collection::vec(0u8..255, 0..60),
        changes in proptest::collection::vec((24usize..60, proptest::num::u8::ANY), 0..3),
        cut in 0usize..140,
    ) {
        let mut bytes = sample(pid, tid, 7, &exe, 5);
        for (at, value) in changes {
            if at < bytes.len() {
                bytes[at] = value;
            }
        }
        bytes.truncate(bytes.len().saturating_sub(cut / 8).max(8));
        let parsed = match parse(&bytes, LAYOUT) {
            Parsed::Message(message, exe) => Some((message.pid, exe.to_vec(), message.cgroup_id)),
            _ => None,
        };
        proptest::prop_assert_eq!(parsed, naive(&bytes));
    }
}
