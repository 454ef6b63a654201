//! Recorded bytes.

use super::*;

/// A datagram as recorded on 6.18, with these words after the timestamp.
fn datagram(what: u32, time: u64, words: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |value: u32| bytes.extend(value.to_ne_bytes());
    // nlmsghdr: length, type NLMSG_DONE, sequence, pid.
    for value in [76, 3, 0, 0] {
        put(value);
    }
    // cn_msg: index, value, sequence, acknowledgement, length and flags.
    for value in [1, 1, 17, 0, 40] {
        put(value);
    }
    put(what);
    put(1);
    bytes.extend(time.to_ne_bytes());
    bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    bytes.resize(76, 0);
    bytes
}

fn message(bytes: &[u8]) -> Message {
    let Parsed::Message(message, _) = parse(bytes) else { panic!("a message") };
    message
}

#[test]
fn a_fork_gives_the_parent() {
    let found = message(&datagram(FORK, 7, &[5, 4, 42, 42]));
    assert_eq!((found.kind, found.pid, found.parent, found.time_ns), (Kind::Fork, 42, 4, 7));
    assert_eq!(parse(&datagram(FORK, 7, &[5, 4, 43, 42])), Parsed::Skip);
}

#[test]
fn the_effective_ids_are_taken() {
    let uid = message(&datagram(UID, 7, &[42, 42, 0, 1000]));
    assert_eq!((uid.kind, uid.pid, uid.value), (Kind::Uid, 42, 1000));
    assert_eq!(message(&datagram(GID, 7, &[42, 42, 0, 77])).value, 77);
    assert_eq!(parse(&datagram(UID, 7, &[43, 42, 0, 1000])), Parsed::Skip);
}

#[test]
fn names_execs_and_exits() {
    let comm = message(&datagram(COMM, 7, &[42, 42, 0x656b_616d, 0, 0, 0]));
    assert_eq!(&comm.comm[..5], b"make\0");
    assert_eq!(message(&datagram(EXEC, 7, &[42, 42])).kind, Kind::Exec);
    assert_eq!(message(&datagram(EXIT, 7, &[42, 42, 0, 17])).kind, Kind::Exit);
}

#[test]
fn what_is_not_a_process_event_is_skipped() {
    let mut other = datagram(FORK, 7, &[5, 4, 42, 42]);
    other[16] = 9;
    assert_eq!(parse(&other), Parsed::Skip);
    assert_eq!(parse(&datagram(0, 7, &[0])), Parsed::Skip);
}

#[test]
fn cut_anywhere_it_is_whole_or_malformed() {
    let whole = datagram(GID, 7, &[42, 42, 0, 77]);
    for len in 0..whole.len() {
        match parse(&whole[..len]) {
            Parsed::Message(found, _) => assert_eq!(found, message(&whole)),
            other => assert_eq!(other, Parsed::Malformed),
        }
    }
}

proptest::proptest! {
    #[test]
    fn anything_may_come(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120), what in 0u32..0x400) {
        let _ = parse(&bytes);
        if bytes.len() >= 40 {
            bytes[16..24].copy_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0]);
            bytes[36..40].copy_from_slice(&what.to_ne_bytes());
        }
        let _ = parse(&bytes);
    }
}
