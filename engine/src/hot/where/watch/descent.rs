//! The walk down to a root on disk, one name after the other, through symbolic links.
//!
//! If the root was named `/srv/www` and `/srv` is a symbolic link to `/data/srv`, the steps are `/`, `/data`,
//! `/data/srv` and `/data/srv/www`. The link is remembered by its name and the directory that it is in.

use crate::hot::event::Key;
use crate::hot::r#where::above::{Above, Reached, STEP_MASK, Way};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tree::Tree;
use crate::limits::sys::PATH_MAX;
use crate::limits::walks::{PATH_REST_BYTES, WAY_NAMES_MAX};
use crate::sys::handle::{Handle, Handles, btrfs_whole};
use fsmon_format::record::NAME_MAX;
use std::ffi::CStr;
use std::io;

/// Why a root was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// There is no directory at its path.
    Gone,
    /// A directory on the way differs from what the queue has reported so far: the event is still to come.
    Ahead,
    /// The way leads through a filesystem that may not answer, for example a network filesystem.
    Slow,
    /// The search failed: the kernel refused a call with another error than that something is missing (EMFILE,
    /// EIO), or the way is too long.
    Refused,
}

impl Missed {
    /// For a failed call that opens or reads something on the way.
    fn by(error: &io::Error) -> Self {
        // EINVAL: not a symbolic link, see readlink(2).
        let is_gone = matches!(
            error.raw_os_error(),
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ESTALE | libc::EINVAL)
        );
        if is_gone { Missed::Gone } else { Missed::Refused }
    }
}

/// Room for a descent, allocated once.
pub(crate) struct Descent {
    /// The rest of the path, from `at` on.
    rest: Vec<u8>,
    at: usize,
    spare: Vec<u8>,
    /// The way as found so far.
    found: Way,
}

impl Descent {
    pub(crate) fn new() -> Self {
        Descent {
            rest: Vec::with_capacity(PATH_REST_BYTES),
            at: 0,
            spare: Vec::with_capacity(PATH_REST_BYTES),
            found: Way::new(b"/"),
        }
    }

    /// Begins with an absolute path.
    fn begin(&mut self, path: &[u8]) {
        self.rest.clear();
        self.rest.extend_from_slice(path);
        self.at = 0;
        self.found.restart();
        self.found.links.clear();
    }

    /// The range of the next name in `rest`; `None` at the end.
    fn next_name(&mut self) -> Option<(usize, usize)> {
        loop {
            let left = self.rest.get(self.at..).filter(|left| !left.is_empty())?;
            let len = memchr::memchr(b'/', left).unwrap_or(left.len());
            let from = self.at;
            self.at = (from + len + 1).min(self.rest.len());
            if !matches!(&self.rest[from..from + len], b"" | b".") {
                return Some((from, from + len));
            }
        }
    }

    /// Whether no further name follows.
    fn is_at_end(&self) -> bool {
        let left = &self.rest[self.at.min(self.rest.len())..];
        left.split(|&byte| byte == b'/').all(|name| matches!(name, b"" | b"."))
    }

    /// Replaces the rest by the text of a link and what follows it. False if that is too long.
    fn follow(&mut self, text: &[u8]) -> bool {
        let left = self.rest.len().saturating_sub(self.at);
        if text.len() + 1 + left > PATH_REST_BYTES {
            return false;
        }
        self.spare.clear();
        self.spare.extend_from_slice(text);
        self.spare.push(b'/');
        self.spare.extend_from_slice(&self.rest[self.at.min(self.rest.len())..]);
        std::mem::swap(&mut self.rest, &mut self.spare);
        self.at = 0;
        true
    }

    /// Records that there is no `name`: the way is known up to here, and the rest of the path is as written. If the
    /// rest goes up with `..`, it leads nowhere.
    fn note_missing(&mut self, name: (usize, usize)) {
        let mut next = Some(name);
        while let Some((from, to)) = next {
            if &self.rest[from..to] == b".." {
                self.found.is_cut = true;
                return;
            }
            let (rest, found) = (&self.rest, &mut self.found);
            found.push(&rest[from..to], 0);
            next = self.next_name();
        }
    }
}

impl Above {
    /// Goes down the way to a root on disk, as far as it exists; marks each step and remembers each step and link.
    /// A root that was given up is not looked for.
    ///
    /// # Errors
    /// See [`Missed`]. After [`Missed::Ahead`] and [`Missed::Refused`] the way is as before, except for steps that
    /// were learnt.
    pub(crate) fn go_down<D: Disk>(
        &mut self,
        at: usize,
        disk: &D,
        tree: &Tree,
    ) -> Result<Reached<D::Dir>, Missed> {
        if self.is_given_up(at) {
            return Err(Missed::Gone);
        }
        let mut descent = self.descent.take().ok_or(Missed::Gone)?;
        descent.begin(&self.ways[at].named);
        let reached = self.descend(at, &mut descent, disk, tree);
        match reached {
            Err(Missed::Ahead | Missed::Refused) => self.ways[at].learn(&descent.found),
            _ => {
                let is_moved = self.ways[at].path != descent.found.path;
                self.ways[at].take_over(&mut descent.found);
                if let Some(moved) = self.moved.as_ref().filter(|_| is_moved) {
                    moved(at, &self.ways[at].path);
                }
            }
        }
        self.descent = Some(descent);
        self.sift();
        reached
    }

    fn descend<D: Disk>(
        &mut self,
        at: usize,
        descent: &mut Descent,
        disk: &D,
        tree: &Tree,
    ) -> Result<Reached<D::Dir>, Missed> {
        let by = |error: io::Error| Missed::by(&error);
        let mut fd = disk.open_absolute(c"/").map_err(by)?;
        let mut text = [0; PATH_MAX];
        let mut names = 0;
        loop {
            let here = self.note_step(at, descent, fd, disk, tree)?;
            fd = match here {
                Here::Root(reached) => return Ok(reached),
                Here::Step(fd) => fd,
            };
            // Used until the next directory is recorded.
            loop {
                let Some((from, to)) = descent.next_name() else { return Err(Missed::Gone) };
                names += 1;
                if names > WAY_NAMES_MAX {
                    return Err(Missed::Refused);
                }
                let mut room = [0; NAME_MAX + 1];
                let name = c_name(&descent.rest[from..to], &mut room).ok_or(Missed::Gone)?;
                let is_up = name == c"..";
                if !is_up && self.is_slow(&descent.found.path, name.to_bytes()) {
                    descent.note_missing((from, to));
                    return Err(Missed::Slow);
                }
                match disk.open_step(&fd, name).map_err(by) {
                    Ok(next) => {
                        match is_up {
                            true => descent.found.pop(),
                            false => descent.found.push(name.to_bytes(), 0),
                        }
                        fd = next;
                        break;
                    }
                    Err(Missed::Gone) => {}
                    Err(refused) => return Err(refused),
                }
                let target = match disk.read_link(&fd, name, &mut text).map_err(by) {
                    Ok(target) => target,
                    Err(Missed::Gone) => {
                        descent.note_missing((from, to));
                        return Err(Missed::Gone);
                    }
                    Err(refused) => return Err(refused),
                };
                let dir = descent.found.last_hash();
                let link = Link { dir, place: place_of(tree, dir, name.to_bytes()) };
                if descent.found.links.try_push(link).is_err() || target.is_empty() {
                    return Err(Missed::Gone);
                }
                if !descent.follow(target) {
                    return Err(Missed::Refused);
                }
                if target[0] == b'/' {
                    descent.found.restart();
                    fd = disk.open_absolute(c"/").map_err(by)?;
                    break;
                }
                if descent.is_at_end() {
                    // A link to the directory that it is in.
                    break;
                }
            }
        }
    }

    /// Marks the directory that was just reached, and remembers its handle.
    fn note_step<D: Disk>(
        &mut self,
        at: usize,
        descent: &mut Descent,
        fd: D::Dir,
        disk: &D,
        tree: &Tree,
    ) -> Result<Here<D::Dir>, Missed> {
        let is_root = descent.is_at_end();
        let fsid = disk.filesystem(&fd).map_err(|error| Missed::by(&error))?;
        let Some((handles, handle, mount_id)) = handle_of(disk, &fd) else {
            return if is_root { Err(Missed::Gone) } else { Ok(Here::Step(fd)) };
        };
        // Events of a btrfs subvolume carry the id of the filesystem that was marked.
        let whole = btrfs_whole(fsid, handle.key()).filter(|whole| self.covers(*whole));
        let fsid = whole.unwrap_or(fsid);
        let hash = tree.hash(Key { fsid, handle: handle.key() });
        if self.ways[at].is_another(&descent.found, hash) {
            return Err(Missed::Ahead);
        }
        if is_root {
            descent.found.set_last(hash);
            let here = Reached { fd, handle, handles, mount_id, fsid };
            return Ok(Here::Root(here.without_mounts(disk)));
        }
        // It may have been muted where it was before.
        disk.unmute(STEP_MASK, &fd);
        if self.covers(fsid) || disk.mark_step(STEP_MASK, &fd).is_ok() {
            descent.found.set_last(hash);
        }
        Ok(Here::Step(fd))
    }

    /// Whether a filesystem that may not answer is mounted on `name` in the directory at `path`.
    fn is_slow(&self, path: &[u8], name: &[u8]) -> bool {
        let is_here = |point: &[u8]| {
            let rest = point.strip_prefix(path).and_then(|rest| rest.strip_suffix(name));
            rest.is_some_and(|rest| matches!(rest, b"/") || rest.is_empty() && path == b"/")
        };
        self.slow.iter().any(|point| is_here(point))
    }
}

/// A directory on the way.
enum Here<F> {
    Root(Reached<F>),
    Step(F),
}

/// A symbolic link on the way to a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The hash of the directory that it is in; 0 if events of that directory do not come.
    pub(crate) dir: u64,
    /// The place of the link, see [`place_of`].
    pub(crate) place: u64,
}

/// The place of a name in the directory with that hash.
pub(crate) fn place_of(tree: &Tree, dir: u64, name: &[u8]) -> u64 {
    tree.name_hash_in(dir, name)
}

fn c_name<'a>(name: &[u8], room: &'a mut [u8; NAME_MAX + 1]) -> Option<&'a CStr> {
    room.get_mut(..name.len()).filter(|_| name.len() <= NAME_MAX)?.copy_from_slice(name);
    CStr::from_bytes_until_nul(room).ok()
}

fn handle_of<D: Disk>(disk: &D, fd: &D::Dir) -> Option<(Handles, Handle, i32)> {
    let handles = disk.probe_handles(fd).ok()?;
    let (handle, mount_id) = disk.handle_of(fd, handles).ok()?;
    Some((handles, handle, mount_id))
}
