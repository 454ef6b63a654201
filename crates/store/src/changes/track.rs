//! One stream of a history, read forward from where the time asked for begins.

use super::span::{Cursor, Span};
use crate::history::open_file;
use crate::search::Segment;
use fsmon_format::error::Error;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Body, Record, Slot};
use fsmon_format::stream::{BLOCK_CAPACITY, CLOCK_STEP_NS, Header, Item, Reader};
use fsmon_present::wall::Wall;
use std::collections::VecDeque;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Wall times are exact to twice what a clock can be set by without a count: docs/format.md, Searching by time.
const SLACK_NS: u64 = 2 * CLOCK_STEP_NS;

/// What happened on the way to the next block.
pub(super) enum Met {
    /// A file header; segments before it are missing.
    Header(Box<Header>, bool),
    /// A block is there.
    Block,
    /// A part is damaged: in words.
    Damage(String),
    /// A segment was deleted meanwhile.
    Deleted,
    End,
}

/// What the reader gave.
enum Step {
    Met(Met),
    Next,
    /// The file is at its end.
    Over,
}

/// Whether there is another file.
enum Opened {
    Yes,
    Deleted,
    None,
}

/// A stream that is being read.
pub(super) struct Track {
    dir: PathBuf,
    files: VecDeque<Segment>,
    name: String,
    reader: Option<Reader<File>>,
    /// The number of the last segment.
    last: Option<u32>,
    cursor: Option<Cursor>,
    wanted: Option<RangeInclusive<u64>>,
    /// Up to this offset of the file there may be records of the wanted times.
    chosen: u64,
    must_seek: bool,
    /// The records of the current block, and how many were taken.
    block: Vec<Slot>,
    taken: usize,
    mirror: Mirror,
    wall: Wall,
    /// Wall time minus monotonic time of its boot, ns: what the times of streams are compared by.
    pub(super) ahead_ns: u64,
    /// The time of the next event by that.
    pub(super) next_ns: u64,
}

impl Track {
    pub(super) fn new(
        dir: &Path,
        files: Vec<Segment>,
        span: &Span,
        cursor: Option<Cursor>,
    ) -> Self {
        let (since, until) = (span.since_ns(), span.last_ns());
        let wanted = since.saturating_sub(SLACK_NS)..=until.saturating_add(SLACK_NS);
        // Records of a block before a position in it are read again: the net is the same, or has a little more.
        let is_all = since == 0 && until == u64::MAX;
        Track {
            dir: dir.to_owned(),
            files: files.into(),
            name: String::new(),
            reader: None,
            last: None,
            cursor,
            wanted: (!is_all).then_some(wanted),
            chosen: 0,
            must_seek: false,
            block: Vec::new(),
            taken: 0,
            mirror: Mirror::new(BLOCK_CAPACITY),
            wall: Wall::default(),
            ahead_ns: 0,
            next_ns: 0,
        }
    }

    /// When it begins, by the times that streams are compared by.
    pub(super) fn begins_ns(&self) -> u64 {
        self.files.front().map_or(0, |file| file.wall_ns.0)
    }

    /// Goes on to the next block that has something.
    ///
    /// # Errors
    /// A segment cannot be read, or is newer than this version.
    pub(super) fn advance(&mut self) -> Result<Met, Error> {
        loop {
            if self.reader.is_none() {
                match self.open()? {
                    Opened::Yes => {}
                    Opened::Deleted => return Ok(Met::Deleted),
                    Opened::None => return Ok(Met::End),
                }
            }
            if std::mem::take(&mut self.must_seek) {
                self.seek()?;
            }
            match self.step().map_err(|error| error.after(format!("{}: ", self.name)))? {
                Step::Met(met) => return Ok(met),
                Step::Next => {}
                Step::Over => self.reader = None,
            }
        }
    }

    fn open(&mut self) -> Result<Opened, Error> {
        let Some(segment) = self.files.pop_front() else { return Ok(Opened::None) };
        let file = match open_file(&self.dir.join(&segment.name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Opened::Deleted);
            }
            opened => {
                opened.map_err(|error| Error::os(format!("cannot read {}", segment.name), error))?
            }
        };
        self.name = segment.name;
        // It may end anywhere: it is still written, or its writer was killed.
        self.reader = Some(Reader::new(file).salvage(true).follow(true));
        Ok(Opened::Yes)
    }

    fn seek(&mut self) -> Result<(), Error> {
        self.chosen = u64::MAX;
        let (Some(wanted), Some(reader)) = (&self.wanted, &mut self.reader) else { return Ok(()) };
        self.chosen = reader.seek_to_times(wanted)?;
        Ok(())
    }

    fn step(&mut self) -> Result<Step, Error> {
        let Some(reader) = &mut self.reader else { return Ok(Step::Over) };
        match reader.next()? {
            None | Some(Item::Pending) => Ok(Step::Over),
            Some(Item::Gap(gap)) => Ok(Step::Met(Met::Damage(format!("{}: {gap}", self.name)))),
            Some(Item::Header(header)) => {
                let before = self.last.replace(header.segment);
                let is_cut_off = before.is_some_and(|last| header.segment > last.saturating_add(1));
                // The first block may have a gap that reaches back to the wanted times, and notes.
                self.chosen = 0;
                Ok(Step::Met(Met::Header(Box::new(header.clone()), is_cut_off)))
            }
            Some(Item::Block(block)) => {
                let times = block.wall_times().filter(|_| self.wanted.is_some());
                let is_wanted = times.is_none_or(|(first, last)| {
                    self.wanted
                        .as_ref()
                        .is_none_or(|wanted| first <= *wanted.end() && *wanted.start() <= last)
                });
                let is_before = self.cursor.is_some_and(|cursor| {
                    self.last == Some(cursor.segment) && block.number() < cursor.block
                });
                self.must_seek = !is_wanted && block.offset() >= self.chosen;
                if is_before || !is_wanted && !block.has_gap() {
                    return Ok(Step::Next);
                }
                self.block.clear();
                self.block.extend_from_slice(block.slots());
                (self.taken, self.next_ns) = (0, 0);
                self.mirror.clear();
                self.find_next();
                Ok(Step::Met(Met::Block))
            }
        }
    }

    /// The next record of the block, with the definitions and the clock in force.
    pub(super) fn next(&mut self) -> Option<(Record<'_>, &Mirror, &Wall)> {
        let (record, _) = Record::split_first(&self.block[self.taken..])?;
        self.taken += record.slots().len();
        let body = record.body();
        match &body {
            Body::Clock(clock) => self.wall.anchor(clock.time_ns.get(), clock.realtime_ns.get()),
            Body::Dir(..) | Body::Proc(_) | Body::Str(..) => _ = self.mirror.define(&body),
            _ => {}
        }
        Some((record, &self.mirror, &self.wall))
    }

    /// Finds the time of the next event.
    pub(super) fn find_next(&mut self) {
        let mut rest = &self.block[self.taken.min(self.block.len())..];
        while let Some((record, behind)) = Record::split_first(rest) {
            if let Body::Event(event) = record.body() {
                self.next_ns = self.ahead_ns.wrapping_add(event.head.time_ns.get());
                return;
            }
            rest = behind;
        }
    }
}
