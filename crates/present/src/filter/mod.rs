//! What is shown of what happens.

mod globs;
mod patterns;
mod places;
mod roots;
mod who;

pub use globs::PathGlobs;
pub use patterns::Purpose;
pub use roots::Roots;

use crate::moment::Range;
use crate::world::{Change, World};
use fsmon_format::error::{Error, Setting};
use fsmon_format::kind;
use fsmon_format::mirror::Capacity;
use fsmon_format::record::EventRef;
use places::Places;
use who::Who;

/// Where the records come from: some questions can be put to this host only while it is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This host, now.
    Live,
    /// A stream that was recorded, perhaps elsewhere.
    Recorded,
}

/// What is shown of what happens, as people write it: the same live and recorded. Empty lists ask for nothing.
#[derive(Clone, Debug, Default)]
pub struct Criteria {
    /// Names of event types, any case; `all` is every one.
    pub types: Vec<String>,
    /// Globs: only paths that match.
    pub include: Vec<String>,
    /// Globs: no path that matches, nor what is below it.
    pub exclude: Vec<String>,
    /// Globs on the command name (`comm`): only what these commands do.
    pub cmd: Vec<String>,
    /// Globs on the command name (`comm`): nothing that these commands do.
    pub exclude_cmd: Vec<String>,
    /// Names or uids: only what these users do.
    pub user: Vec<String>,
    /// Only what this process and its descendants do.
    pub pid: Option<u32>,
}

/// Decides event by event.
pub struct Filter {
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
    pub fn new(
        args: &Criteria,
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
    pub fn set_roots(&mut self, roots: &Roots) -> Result<(), Error> {
        self.places = Places::new(
            PathGlobs::new(Purpose::Include, &self.include, roots)?,
            PathGlobs::new(Purpose::Exclude, &self.exclude, roots)?,
            self.capacity,
        );
        Ok(())
    }

    /// Shows only what is of that time.
    pub fn within(self, range: Range) -> Self {
        Filter { range: Some(range), ..self }
    }

    /// Whether something of that time is to be shown, `CLOCK_MONOTONIC` ns.
    #[inline]
    pub fn is_in_time(&self, world: &World, mono_ns: u64) -> bool {
        self.range.is_none_or(|range| range.has(world.wall.real_ns(mono_ns)))
    }

    /// The bits of [`kind`] that are to be shown.
    pub fn types(&self) -> u32 {
        self.types
    }

    /// A definition changed what an id stands for.
    pub fn changed(&mut self, world: &World, change: Change) {
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
    pub fn wanted(&mut self, world: &World, event: &EventRef<'_>) -> u32 {
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
        .about(Setting::Types)
    })
}

#[cfg(test)]
mod tests;
