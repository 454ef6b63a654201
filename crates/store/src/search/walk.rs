//! Goes through a history backwards, and returns what is wanted.
//!
//! The parts that can have something are read newest first. Streams can overlap, so an event is returned only once no
//! part that was not read reaches to its time:
//!
//! ```text
//! stream 1   ──[ cell a ]──────[ cell c ]──►
//! stream 2   ────────[  cell b  ]──────────►
//!                              └ c is read, and what it has behind the end of b is returned; then b is read
//! ```

use super::hit::{Hit, Position, chain, path};
use super::read::{Piece, read};
use super::segments::{Segment, Segments};
use super::trouble::{Trouble, of_block};
use super::units::{KeysOf, Source, Unit, candidates, index_of, troubles_of};
use super::wanted::Wanted;
use crate::limits::SOURCES_MAX;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Body, Clock, EventRef, Record};
use fsmon_format::stream::{BLOCK_CAPACITY, Block, CLOCK_STEP_NS};
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Wall times are exact to twice what a clock can be set by without a count: docs/format.md, Searching by time.
const SLACK_NS: u64 = 2 * CLOCK_STEP_NS;

/// A directory of segments that is searched.
pub struct Search {
    dir: PathBuf,
    pub(super) segments: Vec<Segment>,
    sources: HashMap<usize, Source>,
    mirror: Mirror,
    /// Places that were damaged, with the segment.
    damage: Vec<(String, String)>,
    /// Segments that were deleted while they were to be read.
    pub(super) is_outrun: bool,
    /// The wall times that are asked for, ns since 1970.
    pub(super) since_ns: u64,
    pub(super) until_ns: u64,
    /// Losses, gaps and notes in what was read.
    pub(super) found: Vec<Trouble>,
    /// The parts that were read, by segment and beginning.
    read: HashSet<(usize, u64)>,
    /// Where an indexed segment that was passed over has losses, gaps and notes.
    passed_over: HashMap<usize, Vec<Unit>>,
}

/// A search under way: what is wanted, and where it has come to.
pub(super) struct Walk {
    wanted: Wanted,
    keys: KeysOf,
    /// Everything from here on was returned, or is not asked for.
    before: Position,
    /// Segments from this place in the list on were looked up.
    next: usize,
    units: BinaryHeap<Later>,
    /// Events of units that were read, which others may have newer ones than.
    held: Vec<Hit>,
    /// How many more units may be read.
    left: u64,
}

/// A unit, ordered by its last time.
struct Later(Unit);

impl Later {
    fn key(&self) -> (u32, u64, usize, u64) {
        (self.0.boot, self.0.last_ns, self.0.segment, self.0.begin)
    }
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Later {}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Later {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Walk {
    /// Everything before a position.
    pub(super) fn new(search: &Search, wanted: Wanted, before: Position) -> Self {
        Walk {
            wanted,
            keys: KeysOf::default(),
            before,
            next: search.segments.len(),
            units: BinaryHeap::new(),
            held: Vec::new(),
            left: u64::MAX,
        }
    }

    /// Reads no more than so many units.
    pub(super) fn at_most(self, left: u64) -> Self {
        Walk { left, ..self }
    }

    /// The next events, the last of them first; `None` at the beginning of the history.
    pub(super) fn next(&mut self, search: &mut Search) -> Result<Option<Vec<Hit>>, Error> {
        loop {
            let unit = self.units.peek().map(|top| (top.0.boot, top.0.last_ns));
            let segment = self.next.checked_sub(1).map(|next| search.segments[next].end());
            let end = unit.max(segment);
            let is_newer = |hit: &Hit| end.is_none_or(|end| hit.position.time() > end);
            if self.held.iter().any(is_newer) {
                let (mut hits, rest): (Vec<_>, _) =
                    std::mem::take(&mut self.held).into_iter().partition(is_newer);
                self.held = rest;
                hits.sort_unstable_by_key(|hit| std::cmp::Reverse(hit.position));
                return Ok(Some(hits));
            }
            if segment.is_some() && segment >= unit {
                self.look_up(search);
            } else if let Some(Later(unit)) = self.units.pop().filter(|_| self.left > 0) {
                self.left -= 1;
                let mut hits = Vec::new();
                search.events(&unit, &self.wanted, &mut hits)?;
                self.held.extend(hits.into_iter().filter(|hit| hit.position < self.before));
            } else {
                return Ok(None);
            }
        }
    }

    /// Looks up the newest segment that was not looked up.
    fn look_up(&mut self, search: &mut Search) {
        self.next -= 1;
        let segment = &search.segments[self.next];
        let before = self.before;
        let is_asked_for = Position::begin_of(segment.boot, segment.monotonic_ns.0) < before
            && segment.wall_ns.0.saturating_sub(SLACK_NS) <= search.until_ns
            && segment.wall_ns.1.saturating_add(SLACK_NS) >= search.since_ns;
        if is_asked_for {
            let units = search.units(self.next, &self.wanted, &mut self.keys);
            let begins = |unit: &Unit| Position::begin_of(unit.boot, unit.first_ns) < before;
            self.units.extend(units.into_iter().filter(begins).map(Later));
        }
    }
}

impl Search {
    /// Lists a directory.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(dir: &Path) -> Result<(Self, Segments), Error> {
        let segments = Segments::list(dir)?;
        let search = Search {
            dir: dir.to_owned(),
            segments: segments.list.clone(),
            sources: HashMap::new(),
            mirror: Mirror::new(BLOCK_CAPACITY),
            damage: Vec::new(),
            is_outrun: false,
            since_ns: 0,
            until_ns: u64::MAX,
            found: Vec::new(),
            read: HashSet::new(),
            passed_over: HashMap::new(),
        };
        Ok((search, segments))
    }

    /// Places that were damaged: each with its segment, and what it was.
    #[must_use]
    pub fn damage(&self) -> &[(String, String)] {
        &self.damage
    }

    /// How many parts of segments were read.
    #[must_use]
    pub fn parts_read(&self) -> usize {
        self.read.len()
    }

    pub(super) fn is_read(&self, unit: &Unit) -> bool {
        self.read.contains(&(unit.segment, unit.begin))
    }

    /// The parts of a segment that have losses, gaps or notes.
    pub(super) fn trouble_units(&mut self, place: usize) -> Vec<Unit> {
        if let Some(units) = self.passed_over.get(&place) {
            return units.clone();
        }
        if self.source(place).is_none() {
            return Vec::new();
        }
        let (segment, source) = (&self.segments[place], self.sources.get_mut(&place));
        source.map_or_else(Vec::new, |source| source.troubles(place, segment))
    }

    /// The open file of a segment; `None` if it was deleted.
    pub(super) fn source(&mut self, place: usize) -> Option<&mut Source> {
        if !self.sources.contains_key(&place) {
            let index = index_of(&self.dir, &self.segments[place]);
            let Some(source) = Source::open(&self.dir, &self.segments[place], index) else {
                self.is_outrun = true;
                return None;
            };
            self.keep(place, source);
        }
        self.sources.get_mut(&place)
    }

    fn keep(&mut self, place: usize, source: Source) {
        if self.sources.len() >= SOURCES_MAX {
            self.sources.clear();
        }
        self.sources.insert(place, source);
    }

    /// The parts of a segment in which something can be. Where an index says that there is nothing, the segment is not
    /// even opened.
    fn units(&mut self, place: usize, wanted: &Wanted, keys: &mut KeysOf) -> Vec<Unit> {
        if !self.sources.contains_key(&place) {
            let index = index_of(&self.dir, &self.segments[place]);
            if let Some(index) = index.as_ref().filter(|_| !wanted.by_object) {
                let keys = keys.get(wanted, index.seed());
                let found = candidates(&|kind, hash| index.find_hash(kind, hash), keys);
                let segment = &self.segments[place];
                if found.is_ok_and(|found| found.is_empty())
                    && let Some(troubles) = troubles_of(index, place, segment)
                {
                    self.passed_over.insert(place, troubles);
                    return Vec::new();
                }
            }
            match Source::open(&self.dir, &self.segments[place], index) {
                Some(source) => self.keep(place, source),
                None => self.is_outrun = true,
            }
        }
        let segment = &self.segments[place];
        let Some(source) = self.sources.get_mut(&place) else { return Vec::new() };
        source.units(place, segment, wanted, keys)
    }

    /// Calls `take` for each block of a unit.
    pub(super) fn blocks(
        &mut self,
        unit: &Unit,
        take: &mut dyn FnMut(&Block<'_>, u64, &mut Mirror),
    ) -> Result<(), Error> {
        self.read.insert((unit.segment, unit.begin));
        let (name, stream) = {
            let segment = &self.segments[unit.segment];
            (segment.name.clone(), segment.stream)
        };
        let Some(source) = self.source(unit.segment) else { return Ok(()) };
        let file = source.file.try_clone().map_err(|error| Error::os("cannot read", error))?;
        let (mirror, damage, found) = (&mut self.mirror, &mut self.damage, &mut self.found);
        let mut piece = |piece: Piece<'_>| match piece {
            Piece::Block(block, offset) => {
                of_block(&block, (unit, stream), mirror, found);
                take(&block, offset, mirror);
            }
            Piece::Damage(gap) => {
                let said = (name.clone(), gap.to_string());
                if !damage.contains(&said) {
                    damage.push(said);
                }
            }
        };
        read(&file, unit, &mut piece).map_err(|error| error.after(format!("{name}: ")))
    }

    /// Calls `take` with the records of the block of an event, up to it: `true` for the event itself.
    ///
    /// # Errors
    /// The segment cannot be read, or was deleted meanwhile.
    pub fn show(
        &mut self,
        hit: &Hit,
        take: &mut dyn FnMut(&Record<'_>, bool),
    ) -> Result<(), Error> {
        let (boot, first_ns, last_ns) = (hit.position.boot, 0, u64::MAX);
        let (segment, begin, end) = (hit.segment, hit.block, hit.block + 1);
        let unit = Unit { segment, begin, from: begin, end, boot, first_ns, last_ns };
        let mut is_shown = false;
        self.blocks(&unit, &mut |block, _, _| {
            let mut left = hit.index;
            for record in block.records() {
                let is_event = matches!(record.body(), Body::Event(_));
                if !is_event {
                    take(&record, false);
                } else if left == 0 {
                    take(&record, true);
                    is_shown = true;
                    return;
                } else {
                    left -= 1;
                }
            }
        })?;
        let name = &self.segments[hit.segment].name;
        let gone =
            || Error::new(ErrorKind::NotFound, format!("{name} was deleted meanwhile; ask again"));
        is_shown.then_some(()).ok_or_else(gone)
    }

    /// The wanted events of a unit.
    fn events(&mut self, unit: &Unit, wanted: &Wanted, hits: &mut Vec<Hit>) -> Result<(), Error> {
        let stream = self.segments[unit.segment].stream;
        let mut latest_ns = 0;
        self.blocks(unit, &mut |block, offset, mirror| {
            latest_ns =
                block_hits(block, offset, (unit, stream), wanted, (mirror, latest_ns), hits);
        })
    }
}

/// The wanted events of a block. Returns the latest time so far.
fn block_hits(
    block: &Block<'_>,
    offset: u64,
    (unit, stream): (&Unit, u32),
    wanted: &Wanted,
    (mirror, latest_ns): (&mut Mirror, u64),
    hits: &mut Vec<Hit>,
) -> u64 {
    let events = block.records().filter_map(|record| match record.body() {
        Body::Event(event) => Some(event),
        _ => None,
    });
    if !events.into_iter().any(|event| wanted.may_want(&event)) {
        return latest_ns.max(block.times().1);
    }
    mirror.clear();
    let mut clock: Option<&Clock> = None;
    let (mut index, mut latest_ns) = (0, latest_ns);
    for record in block.records() {
        let body = record.body();
        mirror.define(&body);
        match body {
            Body::Clock(now) => clock = Some(now),
            Body::Event(event) => {
                latest_ns = latest_ns.max(event.head.time_ns.get());
                let position = Position {
                    boot: unit.boot,
                    time_ns: latest_ns,
                    stream,
                    event: block.first_event() + u64::from(index),
                };
                let at = At { unit, offset, index, position, clock };
                hits.extend(hit(&event, mirror, wanted, &at));
                index += 1;
            }
            _ => {}
        }
    }
    latest_ns.max(block.times().1)
}

/// Where an event is.
struct At<'a> {
    unit: &'a Unit,
    offset: u64,
    index: u32,
    position: Position,
    clock: Option<&'a Clock>,
}

fn hit(event: &EventRef<'_>, mirror: &Mirror, wanted: &Wanted, at: &At<'_>) -> Option<Hit> {
    if !wanted.may_want(event) {
        return None;
    }
    let head = event.head;
    let here = path(mirror, head.dir.get(), event.name);
    let old = path(mirror, head.dir2.get(), event.name2);
    if !wanted.wants(event, here.as_deref(), old.as_deref()) {
        return None;
    }
    let wall = |clock: &Clock| {
        let since_ns = head.time_ns.get().wrapping_sub(clock.time_ns.get());
        clock.realtime_ns.get().wrapping_add(since_ns)
    };
    Some(Hit {
        position: at.position,
        segment: at.unit.segment,
        block: at.offset,
        index: at.index,
        wall_ns: at.clock.map_or(0, wall),
        mask: head.mask.get(),
        flags: head.flags.get(),
        is_dir: event.is_dir(),
        object: head.object.get(),
        chain: chain(mirror, event, at.unit.boot),
        path: here,
        old,
    })
}
