//! Any bytes as the result of a fanotify read: the parser does not panic or read outside the bytes, and a simple parser
//! of the same layout finds the same events.

#![no_main]

use fsmon_engine::hot::event::{Event, Events};
use libfuzzer_sys::fuzz_target;

/// Length, mask and pid of each event, read one field at a time.
fn plainly(mut bytes: &[u8]) -> Vec<(usize, u64, u32)> {
    let mut all = Vec::new();
    while bytes.len() >= 24 {
        let len = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        let head = u16::from_ne_bytes([bytes[6], bytes[7]]);
        if len < 24 || len > bytes.len() || bytes[4] != 3 || head < 24 {
            break;
        }
        let mask = u64::from_ne_bytes(bytes[8..16].try_into().expect("eight bytes"));
        let pid = u32::from_ne_bytes(bytes[20..24].try_into().expect("four bytes"));
        all.push((len, mask, pid));
        bytes = &bytes[len..];
    }
    all
}

fn is_inside(part: &[u8], whole: &[u8]) -> bool {
    part.is_empty() || whole.as_ptr_range().contains(&part.as_ptr()) && part.len() <= whole.len()
}

fuzz_target!(|bytes: &[u8]| {
    let events: Vec<Event<'_>> = Events(bytes).collect();
    let seen: Vec<_> =
        events.iter().map(|event| (event.raw.len(), event.mask, event.pid)).collect();
    assert_eq!(seen, plainly(bytes));
    for event in events {
        for at in [event.location, event.old].into_iter().flatten() {
            assert!(is_inside(at.name, event.raw) && is_inside(at.dir.handle, event.raw));
            assert!(!at.name.contains(&0));
        }
        assert!(event.object.is_none_or(|object| is_inside(object.handle, event.raw)));
    }
});
