//! Any bytes, read strictly, salvaged, and in small pieces.

#![no_main]

use fsmon_format::record::Slot;
use fsmon_format::stream::{Item, Reader};
use libfuzzer_sys::fuzz_target;
use std::io::Read;
use zerocopy::IntoBytes;

/// All records as bytes, and whether the reader reported no error.
fn records<R: Read>(mut reader: Reader<R>) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(Item::Block(block))) => all.extend_from_slice(block.slots().as_bytes()),
            Ok(Some(Item::Pending)) => return (all, false),
            Ok(Some(_)) => {}
            Ok(None) => return (all, true),
            Err(_) => return (all, false),
        }
    }
}

/// Returns at most 97 bytes a read, so that reads and slots are not aligned.
struct Pieces<'a>(&'a [u8]);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = out.len().min(97);
        self.0.read(&mut out[..len])
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (strict, content) = records(Reader::new(bytes));
    assert_eq!(strict.len() % size_of::<Slot>(), 0);
    assert_eq!(records(Reader::new(Pieces(bytes))), (strict.clone(), content));
    let (salvaged, _) = records(Reader::new(bytes).salvage(true));
    assert!(salvaged.starts_with(&strict));
    let (following, _) = records(Reader::new(bytes).follow(true));
    assert!(following.starts_with(&strict));
    records(Reader::new(bytes).salvage(true).follow(true));
});
