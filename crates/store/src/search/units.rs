//! The parts of a segment that a search reads: cells that its index names, or all of it.

use super::segments::Segment;
use super::trouble::KEYS;
use super::wanted::{Keys, Wanted};
use crate::history::open_file;
use crate::index::hash::hash;
use crate::index::{Damaged, Index, Kind, Part, Posting, Trouble};
use crate::limits::{CELL_BYTES, PIECE_BYTES};
use fsmon_format::stream::layout::{BlockHeader, SYNC};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use zerocopy::{FromZeros, IntoBytes};

/// Consecutive blocks of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// The segment's place in the list.
    pub(crate) segment: usize,
    /// Where reading begins: the offset of a block, or 0.
    pub(crate) begin: u64,
    /// Blocks that begin before are passed over.
    pub(crate) from: u64,
    /// Blocks that begin here or later are of the next.
    pub(crate) end: u64,
    pub(crate) boot: u32,
    /// The times of its records are between these, but for a few where the stream is not in order.
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
}

/// A segment with what is indexed of it.
pub(crate) struct Source {
    pub(crate) file: File,
    indexed: Indexed,
    /// All of the segment, in pieces, once it was needed.
    pieces: Option<Vec<Unit>>,
}

enum Indexed {
    /// It is closed, and has an index.
    Whole(Box<Index>),
    /// It is still written, and has one of its first cells.
    Part(Box<Part>),
    No,
}

/// Opens the index of a segment, before the segment itself; `None` if it has none, or a damaged one.
pub(crate) fn index_of(dir: &Path, segment: &Segment) -> Option<Index> {
    Index::open(dir, &segment.name, (segment.crc, segment.bytes))
}

impl Source {
    /// Opens a segment. `None`: it was deleted.
    pub(crate) fn open(dir: &Path, segment: &Segment, index: Option<Index>) -> Option<Self> {
        let file = open_file(&dir.join(&segment.name)).ok()?;
        let indexed = match index {
            Some(index) => Indexed::Whole(Box::new(index)),
            None => match Part::read(dir, &segment.name, segment.crc) {
                Some(part) => Indexed::Part(Box::new(part)),
                None => Indexed::No,
            },
        };
        Some(Source { file, indexed, pieces: None })
    }

    /// The parts of the segment in which something that is wanted can be.
    pub(crate) fn units(
        &mut self,
        place: usize,
        segment: &Segment,
        wanted: &Wanted,
        keys: &mut KeysOf,
    ) -> Vec<Unit> {
        if wanted.by_object {
            return self.all(place, segment);
        }
        let found = match &self.indexed {
            Indexed::Whole(index) => {
                let keys = keys.get(wanted, index.seed());
                let cells = index.cells().map(<[_]>::len);
                cells.and_then(|_| candidates(&|kind, hash| index.find_hash(kind, hash), keys))
            }
            Indexed::Part(part) => {
                let keys = keys.get(wanted, part.seed());
                candidates(&|kind, hash| Ok(part.find_hash(kind, hash)), keys)
            }
            Indexed::No => Err(Damaged),
        };
        match (found, &self.indexed) {
            (Ok(found), Indexed::Whole(index)) => {
                let cells = index.cells().unwrap_or_default();
                found.iter().filter_map(|cell| unit(place, segment, cells, *cell)).collect()
            }
            (Ok(found), Indexed::Part(_)) => self.of_part(place, segment, &found),
            _ => self.all(place, segment),
        }
    }

    /// All of the segment.
    pub(crate) fn all(&mut self, place: usize, segment: &Segment) -> Vec<Unit> {
        let file = &self.file;
        self.pieces.get_or_insert_with(|| pieces(file, place, segment)).clone()
    }

    /// The cells with LOSS, GAP or NOTE records; all of the segment where no index says which.
    pub(crate) fn troubles(&mut self, place: usize, segment: &Segment) -> Vec<Unit> {
        let found = match &self.indexed {
            Indexed::Whole(index) => troubles_of(index, place, segment),
            Indexed::Part(part) => {
                let hash = |trouble: &Trouble| hash(part.seed(), trouble.key());
                let find = |trouble| part.find_hash(Kind::Trouble, hash(trouble));
                let found = KEYS.iter().flat_map(find).map(|posting| posting.cell).collect();
                Some(self.of_part(place, segment, &found))
            }
            Indexed::No => None,
        };
        found.unwrap_or_else(|| self.all(place, segment))
    }

    /// Cells of a part by their places, and what follows the cells that are indexed.
    fn of_part(&mut self, place: usize, segment: &Segment, found: &BTreeSet<u32>) -> Vec<Unit> {
        let Indexed::Part(part) = &self.indexed else { return Vec::new() };
        let cells: Vec<_> = part.cells().collect();
        let cell = |at: &u32| cells.get(*at as usize);
        let units = found.iter().filter_map(cell).filter_map(|cell| of_cell(place, segment, cell));
        let mut units: Vec<_> = units.collect();
        let last = cells.iter().filter_map(|cell| cell.offset).max().unwrap_or(0);
        let behind = (last / CELL_BYTES + 1) * CELL_BYTES;
        let pieces = self.all(place, segment).into_iter().filter(|piece| piece.end > behind);
        // The first block behind the cells is not known: reading begins at the piece, and passes over what is before.
        units.extend(pieces.map(|piece| Unit { from: behind.max(piece.begin), ..piece }));
        units
    }
}

/// The cells that an index says have LOSS, GAP or NOTE records; `None` if it is damaged.
pub(crate) fn troubles_of(index: &Index, place: usize, segment: &Segment) -> Option<Vec<Unit>> {
    let found = KEYS.iter().map(|trouble| index.find(Kind::Trouble, trouble.key()));
    let found: Vec<_> = found.collect::<Result<_, _>>().ok()?;
    let cells: BTreeSet<u32> = found.iter().flatten().map(|posting| posting.cell).collect();
    if cells.is_empty() {
        return Some(Vec::new());
    }
    let table = index.cells().ok()?;
    Some(cells.iter().filter_map(|cell| unit(place, segment, table, *cell)).collect())
}

/// The keys of what is wanted under the seeds that were met.
#[derive(Default)]
pub(crate) struct KeysOf(Vec<Keys>);

impl KeysOf {
    pub(crate) fn get(&mut self, wanted: &Wanted, seed: u64) -> &Keys {
        let at = match self.0.iter().position(|keys| keys.seed == seed) {
            Some(at) => at,
            None => {
                self.0.push(wanted.keys(seed));
                self.0.len() - 1
            }
        };
        &self.0[at]
    }
}

/// Looks a hash up.
pub(crate) type Find<'a> = &'a dyn Fn(Kind, u64) -> Result<Vec<Posting>, Damaged>;

/// The cells in which something that is wanted can be: the name of a path together with its directory, a rename of a
/// directory above it, or another name of the object.
pub(crate) fn candidates(find: Find<'_>, keys: &Keys) -> Result<BTreeSet<u32>, Damaged> {
    let mut cells = BTreeSet::new();
    for (name, dir, above) in &keys.paths {
        let named = find(Kind::Name, *name)?;
        if !named.is_empty() {
            let direct: BTreeSet<u32> = find(Kind::Below, *dir)?
                .iter()
                .filter(|posting| posting.is_direct)
                .map(|posting| posting.cell)
                .collect();
            cells.extend(
                named.iter().map(|posting| posting.cell).filter(|cell| direct.contains(cell)),
            );
        }
        for path in above {
            cells.extend(find(Kind::DirRename, *path)?.iter().map(|posting| posting.cell));
        }
    }
    if let Some(object) = keys.object {
        cells.extend(find(Kind::Link, object)?.iter().map(|posting| posting.cell));
    }
    Ok(cells)
}

fn unit(place: usize, segment: &Segment, cells: &[crate::index::Cell], cell: u32) -> Option<Unit> {
    // A cell of a false hit may be one in which no block begins.
    of_cell(place, segment, cells.get(cell as usize)?)
}

fn of_cell(place: usize, segment: &Segment, cell: &crate::index::Cell) -> Option<Unit> {
    let begin = cell.offset?;
    Some(Unit {
        segment: place,
        begin,
        from: begin,
        end: (begin / CELL_BYTES + 1) * CELL_BYTES,
        boot: segment.boot,
        first_ns: cell.first_ns,
        last_ns: cell.last_ns,
    })
}

/// All of a segment, in pieces that begin with a block.
pub(crate) fn pieces(file: &File, place: usize, segment: &Segment) -> Vec<Unit> {
    // It may have grown since the directory was listed.
    let bytes = file.metadata().map_or(segment.bytes, |data| data.len());
    let count = bytes.div_ceil(PIECE_BYTES);
    let mut pieces: Vec<Unit> = (0..count)
        .map(|piece| Unit {
            segment: place,
            begin: piece * PIECE_BYTES,
            from: piece * PIECE_BYTES,
            end: (piece + 1) * PIECE_BYTES,
            boot: segment.boot,
            first_ns: segment.monotonic_ns.0,
            last_ns: segment.monotonic_ns.1,
        })
        .collect();
    for at in 1..pieces.len() {
        // A header that is not sound says nothing: then the piece has the times of the segment.
        let Some(first_ns) = first_time(file, pieces[at].begin) else { continue };
        pieces[at].first_ns = first_ns;
        pieces[at - 1].last_ns = first_ns;
    }
    pieces
}

/// The earliest time in the block at `offset`; `None` if it has none, or is not in order.
fn first_time(file: &File, offset: u64) -> Option<u64> {
    let mut header = BlockHeader::new_zeroed();
    file.read_exact_at(header.as_mut_bytes(), offset).ok()?;
    let is_sound = header.sync == SYNC && header.header_crc.get() == header.computed_crc();
    let unordered = fsmon_format::stream::layout::block_flag::UNORDERED;
    let is_in_order = header.flags.get() & unordered == 0;
    (is_sound && is_in_order && header.first_ns.get() > 0).then_some(header.first_ns.get())
}
