//! How far the answer can be trusted: losses, gaps, and watches that were not there in the time that is asked for.

use fsmon_format::record::{Body, NoteRef, Reason, Record, What};
use fsmon_format::stream::Header;
use fsmon_present::filter::rest_below;
use fsmon_present::message::{self, shown};
use fsmon_present::moment::Range;
use fsmon_present::world::World;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What is known of the record that was read.
pub(super) struct Judge {
    paths: Vec<Path>,
    range: Range,
    /// Something is missing in the time that is asked for.
    is_incomplete: bool,
}

/// A path that is asked for, under all its names.
struct Path {
    names: Vec<PathBuf>,
    was_watched: bool,
}

impl Path {
    /// Whether a watch of `root` is one of this path, of something above it, or of something below it.
    fn concerns(&self, root: &[u8]) -> bool {
        self.names
            .iter()
            .map(|name| name.as_os_str().as_bytes())
            .any(|name| rest_below(name, root).is_some() || rest_below(root, name).is_some())
    }
}

impl Judge {
    /// `paths`: each with all its names.
    pub(super) fn new(paths: Vec<Vec<PathBuf>>, range: Range) -> Self {
        let path = |names| Path { names, was_watched: false };
        let paths = paths.into_iter().map(path).collect();
        Judge { paths, range, is_incomplete: false }
    }

    /// Whether something is missing in the time that is asked for, as far as is known.
    pub(super) fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Something is missing for sure.
    pub(super) fn set_incomplete(&mut self) {
        self.is_incomplete = true;
    }

    pub(super) fn header(&mut self, header: &Header) {
        for root in &header.roots {
            self.began(root);
        }
        // Roots that did not fit may be of any path.
        if header.left_out > 0 {
            self.paths.iter_mut().for_each(|path| path.was_watched = true);
        }
    }

    fn began(&mut self, root: &[u8]) {
        let paths = self.paths.iter_mut();
        paths.filter(|path| path.concerns(root)).for_each(|path| path.was_watched = true);
    }

    /// Takes a record that `world` has taken.
    #[inline]
    pub(super) fn take(&mut self, record: &Record<'_>, world: &World) {
        match record.body() {
            Body::Event(_) => {}
            Body::Loss(loss) if self.has(world, loss.last_ns.get()) => {
                let mut dir = Vec::new();
                let is_known =
                    loss.dir.get() != 0 && world.mirror().append_dir_path(loss.dir.get(), &mut dir);
                let is_meant = !is_known || self.is_about(&dir);
                // After an unmount nothing is missing any more.
                self.is_incomplete |=
                    is_meant && Reason::from_code(loss.reason.get()) != Reason::Unmount;
            }
            Body::Gap(gap) => {
                let (from_ns, to_ns) = (gap.from_ns.get(), gap.to_ns.get());
                let times = (from_ns.min(to_ns), from_ns.max(to_ns));
                self.is_incomplete |= self.range.meets(times);
            }
            Body::Note(note) => self.note(&note, world),
            _ => {}
        }
    }

    fn has(&self, world: &World, time_ns: u64) -> bool {
        self.range.has(world.real_ns(time_ns))
    }

    /// Whether something about a directory is about what is asked for.
    fn is_about(&self, dir: &[u8]) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|path| path.concerns(dir))
    }

    fn note(&mut self, note: &NoteRef<'_>, world: &World) {
        match note.what() {
            What::WatchBegan => self.began(note.path),
            What::WatchEnded | What::WatchFailed
                if !self.paths.is_empty() && self.has(world, note.head.time_ns.get()) =>
            {
                self.is_incomplete |= self.is_about(note.path);
            }
            _ => {}
        }
    }

    /// All was read. Says which paths were not watched, and that the history begins too late.
    pub(super) fn finish(&mut self, oldest_ns: Option<u64>) {
        for path in self.paths.iter().filter(|path| !path.was_watched) {
            self.is_incomplete = true;
            let name = path.names.first().map_or_else(String::new, |name| shown(name));
            message::print(format_args!(
                "{name} was not watched then, as far as is known; fsmon query --notes shows what was watched when"
            ));
        }
        if let (Some(since), Some(oldest)) = (self.range.since, oldest_ns)
            && since < oldest
        {
            self.is_incomplete = true;
            message::print(
                "the history begins later than --since: nothing is kept of the time before",
            );
        }
    }
}
