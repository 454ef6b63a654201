//! A past that reads the history before the time asked for, backwards.

use super::apply::is_within;
use super::backwards::{Backwards, Then};
use super::past::{Answer, Past};
use super::span::Span;
use crate::limits::MOVES_MAX;
use crate::search::hit::path;
use fsmon_format::error::Error;
use fsmon_format::kind::{ATTRIB, CLOSE_WRITE, CREATE, DELETE, MODIFY, ONDIR, RENAME};
use fsmon_format::mirror::Mirror;
use fsmon_format::record::event_flag::{EXCHANGE, FOUND};
use fsmon_format::record::{Body, EventRef, What};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

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
    before: Backwards,
    known: Option<Names>,
}

/// What was read. Paths are hashes: there may be a million.
#[derive(Default)]
struct Names {
    hasher: RandomState,
    states: HashMap<u64, State>,
    /// Directories that were renamed: what is said of older paths below them is of others.
    moved: Vec<Vec<u8>>,
}

impl Scan {
    /// Of the history before a span.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn new(dir: &Path, span: &Span, pieces: usize) -> Result<Self, Error> {
        Ok(Scan { before: Backwards::new(dir, span, pieces)?, known: None })
    }

    fn read(&self) -> Names {
        let mut names = Names::default();
        let mut say = |body: &Body<'_>, mirror: &Mirror, said: &mut Vec<Said>| match body {
            Body::Event(event) => of_event(event, mirror, said),
            Body::Loss(_) | Body::Gap(_) => said.push(Said::Stop),
            Body::Note(note) if matches!(note.what(), What::WatchEnded | What::WatchBegan) => {
                said.push(Said::Stop);
            }
            _ => {}
        };
        self.before.each(&mut say, || Said::Stop, |said| names.take(&said));
        names
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
    fn take(&mut self, said: &Said) -> Then {
        match said {
            Said::Stop => return Then::Stop,
            Said::Moved(path) => {
                self.moved.push(path.clone());
                if self.moved.len() >= MOVES_MAX {
                    return Then::Stop;
                }
            }
            Said::Of(path, _)
                if self.moved.iter().any(|dir| path != dir && is_within(path, dir)) => {}
            Said::Of(path, state) => {
                let known = self.states.entry(self.hasher.hash_one(&path[..])).or_insert(*state);
                if *known == State::PerhapsThere {
                    *known = *state;
                }
            }
        }
        Then::GoOn
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
