//! Which ranges of a segment are read.

use crate::index::hash::hash;
use crate::index::{Damaged, Index, Kind, Part, without_slash};
use crate::limits::CELL_BYTES;
use crate::search::{Find, KEYS, Segment, index_of, split};
use fsmon_format::stream::layout::{BlockHeader, GRID, SYNC};
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use zerocopy::{FromZeros, IntoBytes};

/// What a reader looks for, as far as it helps to pass over parts of segments.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only events at these paths or below them; empty: all. LOSS, GAP and NOTE records are wanted in any case.
    pub paths: Vec<PathBuf>,
}

impl Wanted {
    /// The ranges of a segment in which something that is wanted can be, in order; `None`: all of it. A range begins with a
    /// block. Where there is none the segment is not opened.
    pub(super) fn parts(&self, dir: &Path, segment: &Segment) -> Option<VecDeque<Range<u64>>> {
        if self.paths.is_empty() {
            return None;
        }
        match index_of(dir, segment) {
            Some(index) => self.of_index(&index),
            None => {
                let part = Part::read(dir, &segment.name, segment.crc)?;
                Some(self.of_part(&part))
            }
        }
    }

    fn of_index(&self, index: &Index) -> Option<VecDeque<Range<u64>>> {
        let found = self.cells(index.seed(), &|kind, hash| index.find_hash(kind, hash)).ok()?;
        if found.is_empty() {
            return Some(VecDeque::new());
        }
        let cells = index.cells().ok()?;
        Some(joined(found.iter().filter_map(|cell| cells.get(*cell as usize)?.offset)))
    }

    /// The cells of a segment that is still written, and all behind them.
    fn of_part(&self, part: &Part) -> VecDeque<Range<u64>> {
        let find = |kind, hash| Ok(part.find_hash(kind, hash));
        let found = self.cells(part.seed(), &find).unwrap_or_default();
        let cells: Vec<_> = part.cells().filter_map(|cell| cell.offset).collect();
        // The first block behind the last cell is not known, but that of its piece is.
        let last = cells.last().map_or(0, |offset| (offset / CELL_BYTES + 1) * CELL_BYTES);
        let tail = last / GRID * GRID;
        let found = found.iter().filter_map(|at| cells.get(*at as usize).copied());
        let mut ranges = joined(found.filter(|offset| *offset < tail));
        ranges.push_back(tail..u64::MAX);
        ranges
    }

    /// The cells that have something at a path or below it, and those with losses, gaps and notes.
    fn cells(&self, seed: u64, find: Find<'_>) -> Result<BTreeSet<u32>, Damaged> {
        let mut cells = BTreeSet::new();
        for path in &self.paths {
            let path = without_slash(path.as_os_str().as_bytes());
            let (dir, name) = split(path);
            let named = find(Kind::Name, hash(seed, name))?;
            if !named.is_empty() {
                let direct = find(Kind::Below, hash(seed, dir))?;
                let direct = direct.iter().filter(|posting| posting.is_direct);
                let direct: BTreeSet<u32> = direct.map(|posting| posting.cell).collect();
                let named = named.iter().map(|posting| posting.cell);
                cells.extend(named.filter(|cell| direct.contains(cell)));
            }
            let below = find(Kind::Below, hash(seed, path))?;
            cells.extend(below.iter().map(|posting| posting.cell));
        }
        for trouble in KEYS {
            let found = find(Kind::Trouble, hash(seed, trouble.key()))?;
            cells.extend(found.iter().map(|posting| posting.cell));
        }
        Ok(cells)
    }
}

/// The ranges of cells that begin with blocks at these offsets; those that touch are one.
fn joined(offsets: impl Iterator<Item = u64>) -> VecDeque<Range<u64>> {
    let mut ranges: VecDeque<Range<u64>> = VecDeque::new();
    for offset in offsets {
        let end = (offset / CELL_BYTES + 1) * CELL_BYTES;
        match ranges.back_mut() {
            Some(last) if last.end / CELL_BYTES == offset / CELL_BYTES => last.end = end,
            _ => ranges.push_back(offset..end),
        }
    }
    ranges
}

/// The last multiple of the grid at which a block with at most this number begins; 0 if the file is not as it should be.
pub(super) fn piece_of(file: &File, number: u64) -> u64 {
    let len = file.metadata().map_or(0, |data| data.len());
    let (mut low, mut high) = (0, len.saturating_sub(1) / GRID);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        match number_at(file, middle * GRID) {
            Some(found) if found <= number => low = middle,
            Some(_) => high = middle - 1,
            None => return 0,
        }
    }
    low * GRID
}

/// The number of the block that begins there; `None` if none does.
fn number_at(file: &File, offset: u64) -> Option<u64> {
    let mut header = BlockHeader::new_zeroed();
    file.read_exact_at(header.as_mut_bytes(), offset).ok()?;
    let is_sound = header.sync == SYNC && header.header_crc.get() == header.computed_crc();
    is_sound.then_some(header.number.get())
}
