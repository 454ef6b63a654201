//! Reads a history backwards from where the time asked for begins, piece by piece.

use super::span::{Since, Span};
use crate::history::open_file;
use crate::search::read::{Piece, read};
use crate::search::units::pieces;
use crate::search::{Segment, Segments};
use fsmon_format::error::Error;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Body, Clock};
use fsmon_format::stream::{BLOCK_CAPACITY, Block};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The part of a history before a span.
pub(super) struct Backwards {
    dir: PathBuf,
    segments: Vec<Segment>,
    span: Span,
    /// Streams that are behind the positions asked for.
    later: HashSet<u32>,
    /// Pieces of 1 MiB that may be read.
    pieces: usize,
}

/// Whether to read on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Stop,
}

/// What a record before the span says. Called in order within a piece.
pub(super) type Say<'a, T> = &'a mut dyn FnMut(&Body<'_>, &Mirror, &mut Vec<T>);

impl Backwards {
    pub(super) fn new(dir: &Path, span: &Span, pieces: usize) -> Result<Self, Error> {
        let segments = Segments::list(dir)?.list;
        let later = span.later_streams(&segments);
        Ok(Backwards { dir: dir.to_owned(), segments, span: span.clone(), later, pieces })
    }

    /// Calls `take` for what `say` makes of the records, the last first. `damaged` stands for what cannot be read.
    pub(super) fn each<T>(
        &self,
        say: Say<'_, T>,
        damaged: impl Fn() -> T,
        mut take: impl FnMut(T) -> Then,
    ) {
        let mut mirror = Mirror::new(BLOCK_CAPACITY);
        let mut left = self.pieces;
        for (place, segment) in self.segments.iter().enumerate().rev() {
            if !self.is_before(segment) {
                continue;
            }
            let Ok(file) = open_file(&self.dir.join(&segment.name)) else { return };
            for unit in pieces(&file, place, segment).iter().rev() {
                if left == 0 {
                    return;
                }
                let mut piece = Vec::new();
                let mut has_block = false;
                let done = read(&file, unit, &mut |part| match part {
                    Piece::Block(block, _) if self.is_behind(segment, &block) => {}
                    Piece::Block(block, _) => {
                        has_block = true;
                        self.block(&block, &mut mirror, say, &mut piece);
                    }
                    Piece::Damage(_) => piece.push(damaged()),
                });
                left -= usize::from(has_block);
                let is_over = piece.into_iter().rev().any(|said| take(said) == Then::Stop);
                if is_over || done.is_err() {
                    return;
                }
            }
        }
    }

    /// Whether a segment has something before the span.
    fn is_before(&self, segment: &Segment) -> bool {
        match &self.span.since {
            Since::Beginning => false,
            Since::Moment(ns) => segment.wall_ns.0 <= *ns,
            Since::Cursor(_) => match self.span.cursor(&segment.stream_id) {
                Some(cursor) => segment.number <= cursor.segment,
                None => !self.later.contains(&segment.stream),
            },
        }
    }

    /// Whether a block is behind the position asked for.
    fn is_behind(&self, segment: &Segment, block: &Block<'_>) -> bool {
        let cursor = self.span.cursor(&segment.stream_id);
        cursor.is_some_and(|cursor| {
            segment.number == cursor.segment && block.number() >= cursor.block
        })
    }

    fn block<T>(&self, block: &Block<'_>, mirror: &mut Mirror, say: Say<'_, T>, said: &mut Vec<T>) {
        mirror.clear();
        let mut clock: Option<&Clock> = None;
        for record in block.records() {
            let body = record.body();
            mirror.define(&body);
            let time_ns = match body {
                Body::Clock(now) => {
                    clock = Some(now);
                    continue;
                }
                Body::Event(event) => event.head.time_ns,
                Body::Loss(loss) => loss.last_ns,
                Body::Gap(gap) => gap.time_ns,
                Body::Note(note) => note.head.time_ns,
                _ => continue,
            };
            let wall = clock.map_or(0, |clock| {
                let since_ns = time_ns.get().wrapping_sub(clock.time_ns.get());
                clock.realtime_ns.get().wrapping_add(since_ns)
            });
            let is_before = match self.span.since {
                Since::Moment(ns) => wall < ns,
                Since::Beginning | Since::Cursor(_) => true,
            };
            if is_before {
                say(&body, mirror, said);
            }
        }
    }
}
