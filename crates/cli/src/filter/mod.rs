//! What is shown of what happens.

mod globs;
mod patterns;
mod places;
mod roots;
mod who;

pub(crate) use globs::PathGlobs;
pub(crate) use roots::Roots;

use crate::args::FilterArgs;
use crate::moment::Range;
use crate::world::{Change, World};
use fsmon_engine::Error;
use fsmon_engine::config::SkipDir;
use fsmon_format::kind;
use fsmon_format::mirror::Capacity;
use fsmon_format::record::EventRef;
use patterns::Purpose;
use places::Places;
use who::Who;

/// Where the records come from: some questions can be put to this host only while it is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// This host, now.
    Live,
    /// A stream that was recorded, perhaps elsewhere.
    Recorded,
}

/// Decides event by event.
pub(crate) struct Filter {
    types: u32,
    places: Option<Places>,
    who: Option<Who>,
    /// None: of any time.
    range: Option<Range>,
    include: Vec<String>,
    exclude: Vec<String>,
    capacity: Capacity,
}

impl Filter {
    /// Checks the arguments. `types` is what they mean when none is named.
    ///
    /// # Errors
    /// An unknown type or user, a bad glob, a process that does not exist.
    pub(crate) fn new(
        args: &FilterArgs,
        types: u32,
        source: Source,
        capacity: Capacity,
    ) -> Result<Self, Error> {
        let mut filter = Filter {
            types: parse_types(&args.types, types)?,
            places: None,
            who: Who::new(args, source, capacity)?,
            range: None,
            include: args.include.clone(),
            exclude: args.exclude.clone(),
            capacity,
        };
        filter.set_roots(&Roots::default())?;
        Ok(filter)
    }

    /// Patterns with absolute paths are below these roots. To be said before a block, or before all.
    ///
    /// # Errors
    /// A pattern that can never match.
    pub(crate) fn set_roots(&mut self, roots: &Roots) -> Result<(), Error> {
        self.places = Places::new(
            PathGlobs::new(Purpose::Include, &self.include, roots)?,
            PathGlobs::new(Purpose::Exclude, &self.exclude, roots)?,
            self.capacity,
        );
        Ok(())
    }

    /// Shows only what is of that time.
    pub(crate) fn within(self, range: Range) -> Self {
        Filter { range: Some(range), ..self }
    }

    /// Whether something of that time is to be shown, `CLOCK_MONOTONIC` ns.
    #[inline]
    pub(crate) fn is_in_time(&self, world: &World, mono_ns: u64) -> bool {
        self.range.is_none_or(|range| range.has(world.wall.real_ns(mono_ns)))
    }

    /// The bits of [`kind`] that are to be shown.
    pub(crate) fn types(&self) -> u32 {
        self.types
    }

    /// A definition changed what an id stands for.
    pub(crate) fn changed(&mut self, world: &World, change: Change) {
        if let Some(places) = &mut self.places {
            places.changed(change);
        }
        if let Some(who) = &mut self.who {
            match change {
                Change::Proc(id) => who.defined(&world.mirror, id),
                Change::Everything => who.forget(),
                _ => {}
            }
        }
    }

    /// The types of `event` that are to be shown.
    #[inline]
    pub(crate) fn wanted(&mut self, world: &World, event: &EventRef<'_>) -> u32 {
        let mut wanted = event.head.mask.get() & self.types;
        // One half of a rename is no event where it lies outside the watched paths.
        if event.head.dir2.get() == 0 {
            wanted &= !kind::MOVED_FROM;
        }
        if event.head.dir.get() == 0 {
            wanted &= !kind::MOVED_TO;
        }
        if wanted == 0 || !self.is_in_time(world, event.head.time_ns.get()) {
            return 0;
        }
        if let Some(who) = &mut self.who
            && !who.passes(&world.mirror, event.head.proc.get())
        {
            return 0;
        }
        match &mut self.places {
            Some(places) => places.wanted(&world.mirror, event, wanted),
            None => wanted,
        }
    }
}

/// What the engine asks before it watches a directory, where there is anything to leave out.
///
/// # Errors
/// A bad glob, or one that can never match.
pub(crate) fn skip_dir(args: &FilterArgs, roots: &Roots) -> Result<Option<SkipDir>, Error> {
    let exclude = PathGlobs::new(Purpose::Exclude, &args.exclude, roots)?;
    Ok(exclude.map(|globs| SkipDir { by_path: globs.need_path(), skips: Box::new(globs) }))
}

fn parse_types(names: &[String], default: u32) -> Result<u32, Error> {
    if names.is_empty() {
        return Ok(default);
    }
    names.iter().map(|name| parse_type(name.trim())).try_fold(0, |all, one| Ok(all | one?))
}

fn parse_type(name: &str) -> Result<u32, Error> {
    if name.eq_ignore_ascii_case("all") {
        return Ok(kind::EVERY);
    }
    kind::by_name(name).map(|kind| kind.bit).ok_or_else(|| {
        let valid: Vec<_> = kind::ALL.iter().map(|kind| kind.name).collect();
        Error::invalid(format!(
            "unknown event type '{}'; write one of {} or all",
            name.escape_debug(),
            valid.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests;
