//! Filters: which events are shown.

mod below;
mod depth;
pub(crate) mod globs;
mod owners;
mod paths;
mod patterns;
mod regexes;
mod roots;
mod sizes;
mod who;

pub use globs::PathGlobs;
pub use owners::{Owner, Owners};
pub use paths::rest_below;
pub use patterns::Purpose;
pub use roots::{Roots, real};

use crate::moment::Range;
use crate::size::Size;
use crate::world::{Change, World};
use below::Below;
use depth::Depth;
use fsmon_format::error::{Error, Message, Setting};
use fsmon_format::kind;
use fsmon_format::mirror::Capacity;
use fsmon_format::record::EventRef;
use paths::PathFilter;
use regexes::Regexes;
pub(crate) use sizes::GONE;
use sizes::Sizes;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use who::Who;

/// Where the records come from. This host can be asked about users and processes only while it is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This host, now.
    Live,
    /// A stream that was recorded, perhaps on another host.
    Recorded,
}

/// The filters as people write them, the same live and recorded. An empty list filters nothing.
#[derive(Clone, Debug, Default)]
pub struct Criteria {
    /// Names of event types, any case; `all` is every one.
    pub types: Vec<String>,
    /// Globs: only paths that match.
    pub include: Vec<String>,
    /// Globs: no path that matches, nor anything below it.
    pub exclude: Vec<String>,
    /// Regular expressions that are found in the whole path: only such paths.
    pub include_regex: Vec<String>,
    /// Regular expressions that are found in the whole path: no such path.
    pub exclude_regex: Vec<String>,
    /// Globs on the command name (`comm`): only what these commands do.
    pub cmd: Vec<String>,
    /// Globs on the command name (`comm`): nothing that these commands do.
    pub exclude_cmd: Vec<String>,
    /// Globs on the path of the file that runs: only what these programs do.
    pub exe: Vec<String>,
    /// Names or uids: only what these users do.
    pub user: Vec<String>,
    /// Names or uids: nothing that these users do.
    pub exclude_user: Vec<String>,
    /// Globs on the path of the control group: only what processes in these and in groups below them do.
    pub cgroup: Vec<String>,
    /// Globs on the path of the control group: nothing that processes in these and in groups below them do.
    pub exclude_cgroup: Vec<String>,
    /// Only what this process and its descendants do.
    pub pid: Option<u32>,
    /// With `pid`: when that process was forked, CLOCK_MONOTONIC ns; 0 before the recorder began. `None`: whenever.
    pub started_ns: Option<u64>,
    /// Only what is at one of these paths or below it; absolute, without symbolic links. Empty: anywhere.
    pub paths: Vec<PathBuf>,
    /// Only what is at most so many names below the innermost of `paths`, or of the roots where there are none: 1 is what
    /// is directly in it. `None`: any depth.
    pub max_depth: Option<u32>,
    /// Of regular files only those of such a size. Sizes are not recorded: this counts only while this host is watched,
    /// and the size is that of the moment when the event is asked about. What has none then passes.
    pub size: Option<Size>,
}

/// Decides event by event.
pub struct Filter {
    types: u32,
    paths: Option<PathFilter>,
    below: Option<Below>,
    who: Option<Who>,
    /// `None`: any time.
    range: Option<Range>,
    notes: bool,
    include: Vec<String>,
    exclude: Vec<String>,
    regexes: Option<Regexes>,
    levels: Option<u32>,
    depth: Option<Depth>,
    sizes: Option<Sizes>,
    capacity: Capacity,
}

impl Filter {
    /// Checks the arguments. `types` is the default when they name no type.
    ///
    /// # Errors
    /// An unknown type or user, a bad glob or regular expression, a process that does not exist.
    pub fn new(
        args: &Criteria,
        types: u32,
        source: Source,
        capacity: Capacity,
    ) -> Result<Self, Error> {
        let mut filter = Filter {
            types: parse_types(&args.types, types)?,
            paths: None,
            below: Below::new(&args.paths, args.max_depth, capacity),
            who: Who::new(args, source, capacity)?,
            range: None,
            notes: false,
            include: args.include.clone(),
            exclude: args.exclude.clone(),
            regexes: Regexes::new(&args.include_regex, &args.exclude_regex)?,
            levels: args.max_depth.filter(|_| args.paths.is_empty()),
            depth: None,
            sizes: args.size.filter(|_| source == Source::Live).map(Sizes::new),
            capacity,
        };
        filter.set_roots(&Roots::default())?;
        Ok(filter)
    }

    /// Sets the roots that patterns with absolute paths refer to. Call before the records below these roots.
    ///
    /// # Errors
    /// A pattern that can never match.
    pub fn set_roots(&mut self, roots: &Roots) -> Result<(), Error> {
        self.paths = PathFilter::new(
            PathGlobs::new(Purpose::Include, &self.include, roots)?,
            PathGlobs::new(Purpose::Exclude, &self.exclude, roots)?,
            self.regexes.clone(),
            self.capacity,
        );
        self.depth = self.levels.map(|levels| Depth::new(levels, roots, self.capacity));
        Ok(())
    }

    /// Makes the globs relative to the directory `base` (absolute, without symbolic links), of which the records may
    /// show only a part: a watch inside of another one, for example. Nothing outside of it passes the globs.
    ///
    /// # Errors
    /// A pattern that can never match below `base`.
    pub fn below(mut self, base: &Path) -> Result<Self, Error> {
        self.set_roots(&Roots::of_paths([&base.to_owned()]))?;
        if let Some(paths) = &mut self.paths {
            paths.set_base(base.as_os_str().as_bytes());
        }
        Ok(self)
    }

    /// Shows only events of that time.
    pub fn within(self, range: Range) -> Self {
        Filter { range: Some(range), ..self }
    }

    /// With `on`, notes are shown: what is watched, and what the recorder did.
    pub fn with_notes(self, on: bool) -> Self {
        Filter { notes: on, ..self }
    }

    /// Whether notes are shown.
    pub fn shows_notes(&self) -> bool {
        self.notes
    }

    /// Whether something that lasted from one wall time to another, ns since 1970, overlaps the times that are shown.
    /// The first can be the later one if the clock was set back.
    pub fn meets(&self, (from_ns, to_ns): (u64, u64)) -> bool {
        let (first_ns, last_ns) = (from_ns.min(to_ns), from_ns.max(to_ns));
        self.range.is_none_or(|range| range.meets((first_ns, last_ns)))
    }

    /// Whether events of that time (`CLOCK_MONOTONIC` ns) are shown.
    #[inline]
    pub fn is_in_time(&self, world: &World, mono_ns: u64) -> bool {
        self.range.is_none_or(|range| range.has(world.wall.real_ns(mono_ns)))
    }

    /// The bits of [`kind`] that are shown.
    pub fn types(&self) -> u32 {
        self.types
    }

    /// A definition changed what an id stands for.
    pub fn changed(&mut self, world: &World, change: Change) {
        if let Some(paths) = &mut self.paths {
            paths.changed(change);
        }
        if let Some(below) = &mut self.below {
            below.changed(change);
        }
        if let Some(depth) = &mut self.depth {
            depth.changed(change);
        }
        if let Some(who) = &mut self.who {
            match change {
                Change::Proc(id) => who.defined(&world.mirror, id),
                Change::Everything => who.forget(),
                _ => {}
            }
        }
    }

    /// The types of `event` that are shown.
    #[inline]
    pub fn wanted(&mut self, world: &World, event: &EventRef<'_>) -> u32 {
        let wanted = self.wanted_of_any_size(world, event);
        match &mut self.sizes {
            Some(sizes) if wanted != 0 => sizes.wanted(&world.mirror, event, wanted),
            _ => wanted,
        }
    }

    /// The same without the condition on sizes, which takes a look at the file.
    #[inline]
    pub fn wanted_of_any_size(&mut self, world: &World, event: &EventRef<'_>) -> u32 {
        let mut wanted = event.head.mask.get() & self.types;
        // The half of a rename that lies outside the watched paths is no event.
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
        if let Some(below) = &mut self.below {
            wanted = below.wanted(world, event, wanted);
        }
        if let Some(depth) = &mut self.depth {
            wanted = depth.wanted(world, event, wanted);
        }
        if let Some(paths) = &mut self.paths {
            wanted = paths.wanted(&world.mirror, event, wanted);
        }
        wanted
    }

    /// The size of the file of the event that was asked about last, in bytes, if sizes are filtered and it has one.
    #[inline]
    pub fn late_size(&self) -> Option<u64> {
        self.sizes.as_ref().and_then(Sizes::found)
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
        let line = format!(
            "unknown event type '{}'; write one of {} or all",
            name.escape_debug(),
            valid.join(", ")
        );
        about(Setting::Types, Error::invalid(line))
    })
}

/// The error about a criterion: its line begins with the name of that.
fn about(setting: Setting, error: Error) -> Error {
    error.after(Message::from(setting).and(": ")).about(setting)
}

#[cfg(test)]
mod tests;
