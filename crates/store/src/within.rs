//! Which blocks of a file have records of the wanted times. Looks for them where the clock allows it, and reads the rest.

use fsmon_format::error::Error;
use fsmon_format::stream::{Block, Header, Reader};
use fsmon_present::moment::Range;
use std::io::{Read, Seek};

/// The search for wanted times in the files of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    range: Range,
    /// Up to this offset of the file there may be records of the wanted times.
    chosen: u64,
}

/// What a block is for a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// It may have something that is wanted.
    pub is_wanted: bool,
    /// All of it is later than what is wanted.
    pub is_late: bool,
    /// Nothing wanted follows for a while: search.
    pub must_search: bool,
}

impl Within {
    /// Looks for a range.
    #[must_use]
    pub fn new(range: Range) -> Self {
        Within { range, chosen: 0 }
    }

    /// A file begins. Returns whether to search at once. One that may begin with a GAP record, which is about the time
    /// before it, is read up to its first block, wherever the search leads then.
    pub fn begin(&mut self, header: &Header) -> bool {
        let may_have_gaps = header.minor > 0;
        if may_have_gaps {
            self.chosen = 0;
        }
        !may_have_gaps
    }

    /// Looks at a block.
    pub fn take(&self, block: &Block<'_>) -> Taken {
        let times = self.range.to_search().and_then(|_| block.wall_times());
        let is_in_time = times.is_none_or(|times| self.range.meets(times));
        let is_late = |(first, _)| self.range.until.is_some_and(|until| until < first);
        Taken {
            // The times of a gap are not those of its block: the pipeline compares them with the range.
            is_wanted: is_in_time || block.has_gap(),
            is_late: times.is_some_and(is_late),
            must_search: !is_in_time && block.offset() >= self.chosen,
        }
    }

    /// Skips to records of the wanted times.
    ///
    /// # Errors
    /// Those of the input.
    pub fn search(&mut self, reader: &mut Reader<impl Read + Seek>) -> Result<(), Error> {
        self.chosen = match self.range.to_search() {
            Some(wanted) => reader.seek_to_times(&wanted)?,
            None => u64::MAX,
        };
        Ok(())
    }

    /// The file cannot be searched, and is read to its end.
    pub fn read_all(&mut self) {
        self.chosen = u64::MAX;
    }
}
