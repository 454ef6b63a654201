//! Collects the postings of a segment, cell by cell.

use super::hash::HASH_BITS;
use super::keys::Collector;
use super::kind::Kind;
use super::layout::Cell;
use super::runs::{Postings, Spill};
use super::write::{Of, write};
use crate::limits::{CELL_BYTES, CELLS_MAX, POSTINGS_HELD};
use fsmon_format::number::to_usize;
use fsmon_format::stream::Block;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Bits of a posting below its hash: a cell, and what a kind says about it.
pub(super) const VALUE_BITS: u32 = u64::BITS - HASH_BITS;

/// A cell with its keys: for each kind the hashes, in order, each once. Those of [`Kind::Below`] have a bit behind the
/// hash: directly in.
pub(super) struct Finished<'a> {
    pub(super) cell: Cell,
    pub(super) keys: &'a [Vec<u64>; Kind::ALL.len()],
}

/// Makes an index while a segment is read or written, in some 10 MiB of memory.
pub struct Builder {
    /// Where to put what does not fit into memory.
    dir: PathBuf,
    pub(super) seed: u64,
    collector: Collector,
    cells: Vec<Cell>,
    /// Whether the last cell can still get blocks.
    is_open: bool,
    postings: [Postings; Kind::ALL.len()],
    spill: Option<Spill>,
}

impl Builder {
    /// `began_ns` is the time of the segment's header.
    #[must_use]
    pub fn new(dir: &Path, seed: u64) -> Self {
        Builder {
            dir: dir.to_owned(),
            seed,
            collector: Collector::new(seed),
            cells: Vec::new(),
            is_open: false,
            postings: Default::default(),
            spill: None,
        }
    }

    /// Takes the next block of the segment. `finished` gets each cell that is complete.
    ///
    /// # Errors
    /// The postings do not fit into memory, and the disk takes no more of them.
    pub(super) fn take(
        &mut self,
        block: &Block<'_>,
        mut finished: impl FnMut(&Finished<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let number = to_usize(block.offset() / CELL_BYTES);
        if number >= CELLS_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if number >= self.cells.len() {
            self.end_cell(&mut finished)?;
            let before_ns = self.cells.last().map_or(0, |cell| cell.last_ns);
            let empty = Cell { offset: None, first_ns: before_ns, last_ns: before_ns };
            self.cells.resize(number + 1, empty);
            self.cells[number].offset = Some(block.offset());
            self.is_open = true;
            let (first_ns, last_ns) = block.times();
            if last_ns > 0 {
                (self.cells[number].first_ns, self.cells[number].last_ns) = (first_ns, last_ns);
            }
        }
        let cell = self.cells.last_mut().expect("one was made");
        let (first_ns, last_ns) = block.times();
        if last_ns > 0 {
            cell.first_ns = cell.first_ns.min(first_ns);
            cell.last_ns = cell.last_ns.max(last_ns);
        }
        self.collector.take(block.records());
        Ok(())
    }

    fn end_cell(
        &mut self,
        finished: &mut impl FnMut(&Finished<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        if !std::mem::take(&mut self.is_open) {
            return Ok(());
        }
        self.collector.end_cell();
        let number = self.cells.len() - 1;
        let cell = self.cells[number];
        finished(&Finished { cell, keys: &self.collector.found })?;
        for kind in Kind::ALL {
            let postings = &mut self.postings[kind.place()];
            for key in self.collector.found[kind.place()].drain(..) {
                let (hash, value) = match kind.values() {
                    2 => (key >> 1, (number as u64) << 1 | key & 1),
                    _ => (key, number as u64),
                };
                postings.push(hash << VALUE_BITS | value);
            }
        }
        self.spill()
    }

    /// Moves postings to the disk where too many are in memory.
    fn spill(&mut self) -> io::Result<()> {
        let held: usize = self.postings.iter().map(Postings::held).sum();
        if held <= POSTINGS_HELD {
            return Ok(());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill::new(&self.dir)?),
        };
        // Those with few postings stay in memory.
        let most = self.postings.iter_mut().filter(|postings| postings.held() > held / 8);
        most.into_iter().try_for_each(|postings| postings.spill(spill))
    }

    /// Writes the index of the segment that was read to its end.
    ///
    /// # Errors
    /// The disk takes no more.
    pub(super) fn finish(
        mut self,
        (segment_crc, segment_bytes): (u32, u64),
        file: &File,
    ) -> io::Result<()> {
        self.end_cell(&mut |_| Ok(()))?;
        let of = Of { segment_crc, segment_bytes, seed: self.seed };
        drop(self.collector);
        write(file, of, &self.cells, &mut self.postings, self.spill.as_ref())
    }
}
