//! One stream that is being read: its segments, one after the other, and the block that it has come to.

use super::held::Held;
use super::parts::{self, Wanted};
use super::streams::{File as Listed, Stream};
use super::{Consumer, Lost, Said};
use crate::cursor::Place;
use crate::history::open_file;
use crate::is_written;
use crate::within::Within;
use fsmon_format::error::Error;
use fsmon_format::stream::{Fault, Gap, Header, Item, Reader};
use fsmon_present::message::shown;
use fsmon_present::moment;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

/// What all tracks have in common.
pub(super) struct Common<'a> {
    pub(super) dir: &'a Path,
    pub(super) wanted: &'a Wanted,
}

/// Whether a track has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A block is held.
    Ready,
    /// There is no more for now.
    Idle,
    /// Its segment was closed, and the next one is not listed.
    Awaits,
    /// All of it was read.
    Over,
}

pub(super) struct Track {
    pub(super) stream: Stream,
    pub(super) held: Held,
    pub(super) state: State,
    reader: Option<Reader<File>>,
    open: Option<Open>,
    within: Within,
    /// What comes behind the block that is held.
    next: Place,
    /// What is before this was taken already.
    after: Option<Place>,
    /// The wall time of the last record that was held.
    last_wall_ns: Option<u64>,
    has_end: bool,
    /// Blocks were passed over since the last one that was read.
    is_interrupted: bool,
}

/// The segment that is read.
struct Open {
    name: String,
    number: u32,
    /// To look at its lock.
    file: File,
    parts: Option<VecDeque<Range<u64>>>,
    /// Its writer is gone; what was written last may not be read yet.
    is_left: bool,
}

/// What to do after an item.
#[derive(Clone, Copy, Debug)]
enum Then {
    Next,
    Search,
    To(u64),
    EndSegment,
    Held,
    Paused,
}

impl Track {
    pub(super) fn new(stream: Stream, range: moment::Range, after: Option<Place>) -> Self {
        let mut held = Held::default();
        held.set_stream(stream.id);
        let first = stream.segments.front().map_or(0, |file| file.segment.number);
        let place = Place { stream_id: stream.id, segment: first, ..Place::default() };
        Track {
            stream,
            held,
            state: State::Idle,
            reader: None,
            open: None,
            within: Within::new(range),
            next: after.unwrap_or(place),
            after,
            last_wall_ns: None,
            has_end: false,
            is_interrupted: true,
        }
    }

    /// Where the next record of it is.
    pub(super) fn place(&self) -> Place {
        if self.held.next().is_some() { self.held.place() } else { self.next }
    }

    /// Reads on until a block is held that has a record, or there is none for now.
    pub(super) fn fill(
        &mut self,
        common: &Common<'_>,
        consumer: &mut dyn Consumer,
    ) -> Result<(), Error> {
        while self.held.next().is_none() {
            self.state = self.read(common, consumer)?;
            if self.state != State::Ready {
                return Ok(());
            }
        }
        self.state = State::Ready;
        self.last_wall_ns = self.held.next().map(|(_, wall_ns)| wall_ns);
        Ok(())
    }

    /// Reads the next block.
    fn read(&mut self, common: &Common<'_>, consumer: &mut dyn Consumer) -> Result<State, Error> {
        loop {
            if self.open.is_none() && !self.open_next(common, consumer)? {
                let goes_on = !self.has_end && self.reader.as_ref().is_some_and(Reader::closed);
                return Ok(if goes_on { State::Awaits } else { State::Over });
            }
            match self.item(consumer)? {
                Then::Next => {}
                Then::EndSegment => self.open = None,
                Then::Held => return Ok(State::Ready),
                Then::Paused => return Ok(State::Idle),
                skip => self.skip(&skip)?,
            }
        }
    }

    /// Passes over a part of the segment.
    fn skip(&mut self, skip: &Then) -> Result<(), Error> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        self.is_interrupted = true;
        match skip {
            Then::To(offset) => reader.go_to_block(*offset),
            _ => self.within.search(reader),
        }
    }

    /// Opens the next segment. Returns false if there is none.
    fn open_next(
        &mut self,
        common: &Common<'_>,
        consumer: &mut dyn Consumer,
    ) -> Result<bool, Error> {
        while let Some(Listed { segment, is_continued }) = self.stream.segments.pop_front() {
            let begins_ns = segment.began_ns;
            if !is_continued && self.is_begun() {
                self.lose(Some(begins_ns), consumer);
            }
            let parts = common.wanted.parts(common.dir, &segment);
            if parts.as_ref().is_some_and(VecDeque::is_empty) {
                self.pass_over(segment.number);
                continue;
            }
            let file = match open_file(&common.dir.join(&segment.name)) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let next = self.stream.segments.front_mut();
                    let next_ns = next.map(|next| {
                        next.is_continued = true;
                        next.segment.began_ns
                    });
                    self.lose(next_ns, consumer);
                    continue;
                }
                Err(error) => {
                    consumer.said(&Said::Unreadable(&segment.name, &error.to_string()));
                    self.pass_over(segment.number);
                    continue;
                }
            };
            self.begin(common.dir, file, &segment.name, segment.number, parts)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Turns to a segment.
    fn begin(
        &mut self,
        dir: &Path,
        file: File,
        name: &str,
        number: u32,
        parts: Option<VecDeque<Range<u64>>>,
    ) -> Result<(), Error> {
        let name = shown(&dir.join(name));
        let failed = |error| Error::os(format!("cannot read {name}"), error);
        let source = file.try_clone().map_err(failed)?;
        match &mut self.reader {
            None => self.reader = Some(Reader::new(source).salvage(true).follow(true)),
            Some(reader) if self.is_interrupted => drop(reader.skip_to(source)),
            Some(reader) => drop(reader.continue_with(source)),
        }
        if let Some(reader) = &mut self.reader {
            reader.set_follow(true);
        }
        self.is_interrupted = false;
        if number > self.next.segment {
            self.next = Place { segment: number, record: 0, line: 0, ..self.next };
        }
        self.open = Some(Open { name, number, file, parts, is_left: false });
        Ok(())
    }

    /// A segment is not read.
    fn pass_over(&mut self, number: u32) {
        self.is_interrupted = true;
        self.next = Place { segment: number.saturating_add(1), ..self.next };
    }

    fn is_begun(&self) -> bool {
        self.reader.is_some() || self.after.is_some()
    }

    /// Segments are gone. Those before a cursor were read.
    fn lose(&mut self, to_ns: Option<u64>, consumer: &mut dyn Consumer) {
        self.is_interrupted = true;
        let (stream_id, from_ns) = (self.stream.id, self.last_wall_ns);
        consumer.said(&Said::Lost(Lost { stream_id, from_ns, to_ns }));
    }

    /// Reads the next item.
    fn item(&mut self, consumer: &mut dyn Consumer) -> Result<Then, Error> {
        let Track { reader: Some(reader), open: Some(open), .. } = self else {
            return Ok(Then::EndSegment);
        };
        let named = |error: Error| error.after(format!("{}: ", open.name));
        match reader.next().map_err(named)? {
            None => Ok(Then::EndSegment),
            Some(Item::Pending) => Ok(match self.stream.segments.is_empty() {
                true => open.pause(reader),
                false => {
                    // The file ends where its writer was killed: what is behind the last whole block is damage, or nothing.
                    reader.set_follow(false);
                    Then::Next
                }
            }),
            Some(Item::Gap(gap)) => {
                let is_last = self.stream.segments.is_empty() && !self.has_end;
                open.damaged(&gap, is_last, consumer);
                Ok(Then::Next)
            }
            Some(Item::Header(header)) => {
                consumer.header(header)?;
                let (header, first) = (header.clone(), open.first());
                Ok(self.begun(&header, first))
            }
            Some(Item::Block(block)) => {
                let offset = block.offset();
                if let Some(to) = open.outside(offset) {
                    self.is_interrupted = true;
                    return Ok(to);
                }
                let (number, after) = (block.number(), self.after.as_ref());
                let taken = self.within.take(&block);
                self.has_end |= block.end().is_some();
                self.next.segment = open.number;
                self.next =
                    Place { block: number.saturating_add(1), record: 0, line: 0, ..self.next };
                if taken.is_wanted && after.is_none_or(|after| number >= after.block) {
                    self.held.load(&block, open.number, after);
                    return Ok(Then::Held);
                }
                Ok(if taken.must_search && open.parts.is_none() {
                    Then::Search
                } else {
                    Then::Next
                })
            }
        }
    }

    /// The header of a segment was read.
    fn begun(&mut self, header: &Header, first: Option<u64>) -> Then {
        let Some(after) = self.after.filter(|after| after.segment == header.segment) else {
            let must_search = self.within.begin(header);
            return match first {
                Some(first) => Then::To(first),
                None if must_search => Then::Search,
                None => Then::Next,
            };
        };
        self.within.begin(header);
        self.open.as_ref().map_or(Then::EndSegment, |open| match first {
            Some(first) => Then::To(first),
            None => open.to_block(after.block),
        })
    }
}

impl Open {
    /// Where the first range begins, if not all of the segment is to be read.
    fn first(&self) -> Option<u64> {
        self.parts.as_ref()?.front().map(|part| part.start)
    }

    /// Where to go on if what is at an offset is not to be read.
    fn outside(&mut self, offset: u64) -> Option<Then> {
        let parts = self.parts.as_mut()?;
        while parts.front().is_some_and(|part| part.end <= offset) {
            parts.pop_front();
        }
        match parts.front() {
            None => Some(Then::EndSegment),
            Some(part) if offset < part.start => Some(Then::To(part.start)),
            Some(_) => None,
        }
    }

    /// There is no more in the last segment of a stream for now.
    fn pause(&mut self, reader: &mut Reader<File>) -> Then {
        if is_written(&self.file) {
            return Then::Paused;
        }
        // The writer may have written just before it ended.
        if std::mem::replace(&mut self.is_left, true) {
            reader.set_follow(false);
        }
        Then::Next
    }

    fn damaged(&self, gap: &Gap, is_last: bool, consumer: &mut dyn Consumer) {
        match gap.damage.fault {
            Fault::Cut | Fault::NoEnd if is_last => consumer.said(&Said::CutOff(&self.name)),
            // What is missing, the numbers of the next segment tell.
            Fault::Cut | Fault::NoEnd => {}
            _ => consumer.said(&Said::Damaged(&self.name, gap)),
        }
    }

    /// Goes to a block at or before the one with this number.
    fn to_block(&self, number: u64) -> Then {
        match parts::piece_of(&self.file, number) {
            0 => Then::Next,
            offset => Then::To(offset),
        }
    }
}
