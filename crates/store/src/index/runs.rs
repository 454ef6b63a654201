//! The postings of one kind while an index is made: in memory, or as sorted runs in a file once they are too many.

use crate::limits::{RUN_BYTES, RUNS_MAX};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a posting in a run.
const POSTING: usize = size_of::<u64>();

/// A file without a name that holds the runs of all kinds.
pub(super) struct Spill {
    file: File,
    len: u64,
}

impl Spill {
    /// Makes the file in `dir`.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        Ok(Spill { file: tempfile_in(dir)?, len: 0 })
    }
}

/// A file that is gone with its last descriptor.
fn tempfile_in(dir: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let open = |flags: nix::fcntl::OFlag, path: &Path| {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(flags.bits());
        options.open(path)
    };
    match open(nix::fcntl::OFlag::O_TMPFILE, dir) {
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EOPNOTSUPP as i32) => {
            let path = dir.join(format!(".spill-{}", std::process::id()));
            let mut options = std::fs::OpenOptions::new();
            let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        opened => opened,
    }
}

/// The postings of a kind: hash and value in one number.
#[derive(Default)]
pub(super) struct Postings {
    held: Vec<u64>,
    /// Where each run is in the file: offset, and count.
    runs: Vec<(u64, u64)>,
}

impl Postings {
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.held.len() as u64 + self.runs.iter().map(|run| run.1).sum::<u64>()
    }

    pub(super) fn push(&mut self, posting: u64) {
        self.held.push(posting);
    }

    /// Moves what is held into the file.
    pub(super) fn spill(&mut self, spill: &mut Spill) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        if self.runs.len() == RUNS_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too many postings"));
        }
        self.held.sort_unstable();
        let mut bytes = Vec::with_capacity(RUN_BYTES);
        let (begin, count) = (spill.len, self.held.len() as u64);
        for part in self.held.chunks(RUN_BYTES / POSTING) {
            bytes.clear();
            part.iter().for_each(|posting| bytes.extend_from_slice(&posting.to_le_bytes()));
            spill.file.write_all_at(&bytes, spill.len)?;
            spill.len += bytes.len() as u64;
        }
        self.runs.push((begin, count));
        // The memory is for the other kinds as well.
        self.held = Vec::new();
        Ok(())
    }

    /// All postings in order, each once.
    pub(super) fn sorted<'a>(&'a mut self, spill: Option<&'a Spill>) -> io::Result<Merge<'a>> {
        self.held.sort_unstable();
        let mut merge = Merge {
            held: self.held.iter(),
            runs: Vec::new(),
            heap: BinaryHeap::new(),
            file: spill.map(|spill| &spill.file),
        };
        for (begin, count) in &self.runs {
            merge.runs.push(Run { next: *begin, left: *count, bytes: Vec::new(), at: 0 });
        }
        for index in 0..=merge.runs.len() {
            merge.refill(index)?;
        }
        Ok(merge)
    }
}

struct Run {
    next: u64,
    left: u64,
    bytes: Vec<u8>,
    at: usize,
}

/// Merges the runs and what is held.
pub(super) struct Merge<'a> {
    held: std::slice::Iter<'a, u64>,
    runs: Vec<Run>,
    /// The least of each, with its index; that of `held` is the count of runs.
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    file: Option<&'a File>,
}

impl Merge<'_> {
    /// The next posting.
    pub(super) fn next(&mut self) -> io::Result<Option<u64>> {
        let Some(Reverse((posting, index))) = self.heap.pop() else { return Ok(None) };
        self.refill(index)?;
        Ok(Some(posting))
    }

    fn refill(&mut self, index: usize) -> io::Result<()> {
        let Some(run) = self.runs.get_mut(index) else {
            self.heap.extend(self.held.next().map(|posting| Reverse((*posting, index))));
            return Ok(());
        };
        if run.at == run.bytes.len() {
            let count = run.left.min((RUN_BYTES / POSTING) as u64);
            if count == 0 {
                return Ok(());
            }
            let file = self.file.ok_or(io::ErrorKind::NotFound)?;
            run.bytes.resize(fsmon_format::number::to_usize(count) * POSTING, 0);
            file.read_exact_at(&mut run.bytes, run.next)?;
            (run.at, run.left) = (0, run.left - count);
            run.next += run.bytes.len() as u64;
        }
        let (posting, _) = run.bytes[run.at..].split_first_chunk().expect("whole postings");
        run.at += POSTING;
        self.heap.push(Reverse((u64::from_le_bytes(*posting), index)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_what_is_held_come_back_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut spill = Spill::new(dir.path()).expect("made");
        let mut postings = Postings::default();
        let number = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for i in 0..10_000 {
            postings.push(number(i));
            if i % 3_000 == 2_999 {
                postings.spill(&mut spill).expect("written");
            }
        }
        assert_eq!((postings.len(), postings.held()), (10_000, 1_000));
        let mut expected: Vec<_> = (0..10_000).map(number).collect();
        expected.sort_unstable();
        let mut merge = postings.sorted(Some(&spill)).expect("read");
        let mut sorted = Vec::new();
        while let Some(posting) = merge.next().expect("read") {
            sorted.push(posting);
        }
        assert_eq!(sorted, expected);
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0);
    }
}
