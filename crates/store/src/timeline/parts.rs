//! Which ranges of a segment are read.

use crate::search::Segment;
use fsmon_format::stream::layout::{BlockHeader, GRID, SYNC};
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
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
    pub(super) fn parts(&self, _dir: &Path, _segment: &Segment) -> Option<VecDeque<Range<u64>>> {
        None
    }
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
