//! A past that reads the history before the time asked for, backwards.

use super::apply::is_within;
use super::past::{Answer, Past};
use super::span::{Since, Span};
use crate::history::open_file;
use crate::limits::MOVES_MAX;
use crate::search::hit::path;
use crate::search::read::{Piece, read};
use crate::search::units::pieces;
use crate::search::{Segment, Segments};
use fsmon_format::error::Error;
use fsmon_format::kind::{ATTRIB, CLOSE_WRITE, CREATE, DELETE, MODIFY, ONDIR, RENAME};
use fsmon_format::mirror::Mirror;
use fsmon_format::record::event_flag::{EXCHANGE, FOUND};
use fsmon_format::record::{Body, Clock, EventRef, What};
use fsmon_format::stream::{BLOCK_CAPACITY, Block};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

/// What is known of a name just before the time asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    There,
    /// A write, perhaps to a file that had lost its name.
    PerhapsThere,
    NotThere,
    /// A directory was made: what nothing was heard of since is not in it.
    MadeEmpty,
}

/// Reads up to a number of pieces of 1 MiB before the time asked for, once something is asked.
pub struct Scan {
    dir: PathBuf,
    segments: Vec<Segment>,
    span: Span,
    pieces: usize,
    known: Option<Names>,
}

/// What was read. Paths are hashes: there may be a million.
#[derive(Default)]
struct Names {
    hasher: RandomState,
    states: HashMap<u64, State>,
    /// Directories that were renamed: what is said of older paths below them is of others.
    moved: Vec<Vec<u8>>,
    /// Nothing older counts.
    is_over: bool,
}

impl Scan {
    /// Of the history before a span.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn new(dir: &Path, span: &Span, pieces: usize) -> Result<Self, Error> {
        let segments = Segments::list(dir)?.list;
        Ok(Scan { dir: dir.to_owned(), segments, span: span.clone(), pieces, known: None })
    }

    fn read(&self) -> Names {
        let mut names = Names::default();
        let mut mirror = Mirror::new(BLOCK_CAPACITY);
        let mut left = self.pieces;
        for (place, segment) in self.segments.iter().enumerate().rev() {
            if !self.is_before(segment) {
                continue;
            }
            let Ok(file) = open_file(&self.dir.join(&segment.name)) else { break };
            for unit in pieces(&file, place, segment).iter().rev() {
                if names.is_over || left == 0 {
                    return names;
                }
                let mut piece = Vec::new();
                let done = read(&file, unit, &mut |part| match part {
                    Piece::Block(block, _) => self.block(segment, &block, &mut mirror, &mut piece),
                    Piece::Damage(_) => piece.push(Said::Stop),
                });
                left -= usize::from(!piece.is_empty());
                if done.is_err() {
                    return names;
                }
                piece.iter().rev().for_each(|said| names.take(said));
            }
        }
        names
    }

    /// Whether a segment has something before the span.
    fn is_before(&self, segment: &Segment) -> bool {
        match &self.span.since {
            Since::Beginning => false,
            Since::Moment(ns) => segment.wall_ns.0 <= *ns,
            Since::Cursor(_) => self
                .span
                .cursor(&segment.stream_id)
                .is_none_or(|cursor| segment.number <= cursor.segment),
        }
    }

    /// What a block says that is before the span.
    fn block(
        &self,
        segment: &Segment,
        block: &Block<'_>,
        mirror: &mut Mirror,
        said: &mut Vec<Said>,
    ) {
        let cursor = self.span.cursor(&segment.stream_id);
        let is_behind = cursor.is_some_and(|cursor| {
            segment.number == cursor.segment && block.number() >= cursor.block
        });
        if is_behind {
            return;
        }
        mirror.clear();
        let mut clock: Option<&Clock> = None;
        for record in block.records() {
            let body = record.body();
            mirror.define(&body);
            let wall = |time_ns: u64| {
                clock.map_or(0, |clock| {
                    let since_ns = time_ns.wrapping_sub(clock.time_ns.get());
                    clock.realtime_ns.get().wrapping_add(since_ns)
                })
            };
            let is_before = |time_ns| match self.span.since {
                Since::Moment(ns) => wall(time_ns) < ns,
                _ => true,
            };
            match body {
                Body::Clock(now) => clock = Some(now),
                Body::Event(event) if is_before(event.head.time_ns.get()) => {
                    of_event(&event, mirror, said);
                }
                Body::Loss(loss) if is_before(loss.last_ns.get()) => said.push(Said::Stop),
                Body::Gap(gap) if is_before(gap.time_ns.get()) => said.push(Said::Stop),
                Body::Note(note)
                    if is_before(note.head.time_ns.get())
                        && matches!(note.what(), What::WatchEnded | What::WatchBegan) =>
                {
                    said.push(Said::Stop);
                }
                _ => {}
            }
        }
    }
}

/// What an event says of a path.
enum Said {
    Of(Vec<u8>, State),
    Moved(Vec<u8>),
    /// Something is missing here.
    Stop,
}

fn of_event(event: &EventRef<'_>, mirror: &Mirror, said: &mut Vec<Said>) {
    let (head, mask) = (event.head, event.head.mask.get());
    let has = |kinds: u32| mask & kinds != 0;
    let flag = |flag: u16| head.flags.get() & flag != 0;
    let is_dir = has(ONDIR);
    let here = path(mirror, head.dir.get(), event.name);
    let old = (has(RENAME) && !event.is_via())
        .then(|| path(mirror, head.dir2.get(), event.name2))
        .flatten();
    if let Some(old) = old {
        // The other name of an exchange has something again.
        let state = if flag(EXCHANGE) { State::PerhapsThere } else { State::NotThere };
        if is_dir {
            said.push(Said::Moved(old.clone()));
        }
        said.push(Said::Of(old, state));
    }
    let Some(here) = here else { return };
    if has(RENAME) && is_dir {
        said.push(Said::Moved(here.clone()));
    }
    let state = match () {
        () if has(DELETE) => State::NotThere,
        () if has(CREATE) && is_dir && !flag(FOUND) => State::MadeEmpty,
        () if has(CREATE | RENAME) => State::There,
        () if has(MODIFY | ATTRIB | CLOSE_WRITE) => State::PerhapsThere,
        () => return,
    };
    said.push(Said::Of(here, state));
}

impl Names {
    /// Takes what is said, the newest first.
    fn take(&mut self, said: &Said) {
        match said {
            _ if self.is_over => {}
            Said::Stop => self.is_over = true,
            Said::Moved(path) => {
                self.moved.push(path.clone());
                self.is_over |= self.moved.len() >= MOVES_MAX;
            }
            Said::Of(path, state) => {
                if self.moved.iter().any(|dir| path != dir && is_within(path, dir)) {
                    return;
                }
                let known = self.states.entry(self.hasher.hash_one(&path[..])).or_insert(*state);
                if *known == State::PerhapsThere {
                    *known = *state;
                }
            }
        }
    }

    fn answer(&self, path: &[u8]) -> Answer {
        match self.states.get(&self.hasher.hash_one(path)) {
            Some(State::NotThere) => return Answer::NotThere,
            Some(_) => return Answer::There,
            None => {}
        }
        // A directory above it was made, or removed, and nothing was heard of it since.
        let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
        for (at, _) in slashes.filter(|(at, _)| *at > 0) {
            let dir = &path[..at];
            if self.moved.iter().any(|moved| moved == dir) {
                return Answer::Unknown;
            }
            let state = self.states.get(&self.hasher.hash_one(dir));
            if matches!(state, Some(State::NotThere | State::MadeEmpty)) {
                return Answer::NotThere;
            }
        }
        Answer::Unknown
    }
}

impl Past for Scan {
    fn was_there(&mut self, path: &[u8]) -> Answer {
        if self.known.is_none() {
            self.known = Some(self.read());
        }
        self.known.as_ref().map_or(Answer::Unknown, |known| known.answer(path))
    }
}
