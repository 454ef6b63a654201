//! A pipeline without ring and sink: for benchmarks, and for `fsmon-convert`, which does its own reading and
//! writing.

use crate::Format;
use crate::binary::Binary;
use crate::filter::Criteria;
use crate::filter::{Filter, Source};
use crate::names::{Names, STRINGS};
use crate::pipeline::{Output, Pipeline};
use crate::text::{Lines, csv, human::Human, json::Json};
use crate::wall::Wall;
use crate::world::World;
use fsmon_format::error::Error;
use fsmon_format::kind;
use fsmon_format::mirror::Capacity;
use fsmon_format::record::{Records, Slot};
use fsmon_format::stream::{BLOCK_CAPACITY, Codec, Header};

/// A pipeline like a live one, except that every user is `builder` and every control group `/job`.
pub struct Formats(Box<dyn Take>);

impl Formats {
    /// `capacity.strings` is the number of strings that the engine may define.
    ///
    /// # Errors
    /// None that can happen without arguments.
    pub fn new(format: Format, capacity: Capacity) -> Result<Self, Error> {
        let capacity = Capacity { strings: capacity.strings + STRINGS, ..capacity };
        Ok(Formats(match format {
            Format::Human => boxed(Lines(Human::new(false, false)), capacity)?,
            Format::Json => boxed(Lines(Json::new(false)), capacity)?,
            Format::Csv => boxed(Lines(csv::Plain::new(false)), capacity)?,
            Format::Binary => {
                boxed(Binary::new(Header::default(), Codec::None, capacity)?, capacity)?
            }
        }))
    }

    /// Lines for the blocks of recorded streams, as `fsmon decode --cmdline` prints them. `None` for
    /// [`Format::Binary`].
    ///
    /// # Errors
    /// None that can happen without arguments.
    pub fn recorded(format: Format) -> Result<Option<Self>, Error> {
        Ok(Some(Formats(match format {
            Format::Json => of_blocks(Lines(Json::new(false).with_cmdline(true)))?,
            Format::Csv => of_blocks(Lines(csv::Plain::new(false).with_cmdline(true)))?,
            Format::Human => of_blocks(Lines(Human::new(false, false).with_cmdline(true)))?,
            Format::Binary => return Ok(None),
        })))
    }

    /// Appends the header, if the format has one.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        self.0.begin(out);
    }

    /// Forgets all ids, as a reader does before each block.
    pub fn forget(&mut self, out: &mut Vec<u8>) {
        self.0.forget(out);
    }

    /// Takes a batch of whole records.
    pub fn take(&mut self, slots: &[Slot], out: &mut Vec<u8>) {
        self.0.take(slots, out);
    }

    /// Appends what was held back.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.0.flush(out);
    }

    /// How many bytes of `part`, the beginning of what was appended, are whole lines or blocks.
    #[must_use]
    pub fn whole(&self, part: &[u8]) -> usize {
        self.0.whole(part)
    }

    /// Lines so far: each type of a merged event is one.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.0.lines()
    }
}

/// A pipeline, whatever its output.
trait Take {
    fn begin(&mut self, out: &mut Vec<u8>);
    fn forget(&mut self, out: &mut Vec<u8>);
    fn take(&mut self, slots: &[Slot], out: &mut Vec<u8>);
    fn flush(&mut self, out: &mut Vec<u8>);
    fn whole(&self, part: &[u8]) -> usize;
    fn lines(&self) -> u64;
}

impl<O: Output> Take for Pipeline<O> {
    fn begin(&mut self, out: &mut Vec<u8>) {
        Pipeline::begin(self, out);
    }

    fn forget(&mut self, out: &mut Vec<u8>) {
        Pipeline::forget(self, out);
    }

    fn take(&mut self, slots: &[Slot], out: &mut Vec<u8>) {
        for record in Records(slots) {
            Pipeline::take(self, &record, out);
        }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        Pipeline::flush(self, out);
    }

    fn whole(&self, part: &[u8]) -> usize {
        O::whole(part)
    }

    fn lines(&self) -> u64 {
        self.passed().events
    }
}

fn of_blocks<O: Output + 'static>(output: O) -> Result<Box<dyn Take>, Error> {
    let args = Criteria::default();
    let filter = Filter::new(&args, kind::EVERY, Source::Recorded, BLOCK_CAPACITY)?;
    let world = World::recorded(BLOCK_CAPACITY);
    Ok(Box::new(Pipeline::new(world, filter, output, None)))
}

fn boxed<O: Output + 'static>(output: O, capacity: Capacity) -> Result<Box<dyn Take>, Error> {
    let user = Box::new(|_| Some(b"builder".to_vec()));
    let names =
        Names::from_lookups(capacity.strings - STRINGS, user, Box::new(|_| Some(b"/job".to_vec())));
    let filter = Filter::new(&Criteria::default(), kind::DEFAULT, Source::Recorded, capacity)?;
    let world = World::live(capacity, Wall::default(), names);
    Ok(Box::new(Pipeline::new(world, filter, output, None)))
}
