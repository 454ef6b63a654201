//! Commands to a running engine, as far as the caller's thread can do them: it opens what is to be watched, which may
//! take any time, and sets the mark on its filesystem, so that the reader waits for neither.

use super::mount_watch::{Ask, Follower, Named};
use super::mounts::{self, Points, Slow};
use super::remedy::{Call, refused};
use super::{marks, roots};
use crate::hot::reader::Control;
use crate::hot::reader::flushes::Flushes;
use crate::hot::reader::root_commands::{NewRoot, RootCommand};
use crate::plan::MarkKind;
use crate::sys::fanotify::Group;
use crate::sys::fd::signal;
use crate::{Error, ErrorKind};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What commands need of a running engine.
pub(crate) struct Commander {
    /// The group of the reader.
    pub(crate) group: Group,
    pub(crate) flushes: Arc<Flushes>,
    pub(crate) control: flume::Sender<Control>,
    pub(crate) wake: Arc<OwnedFd>,
    /// The types that were last asked for.
    pub(crate) types: AtomicU32,
}

impl Commander {
    /// Begins a flush, which may carry a command.
    ///
    /// # Errors
    /// `Busy` if too many are under way; those of the system.
    pub(crate) fn flush(&self, token: u64, what: Option<RootCommand>) -> Result<(), Error> {
        let asked = self.flushes.ask(&self.group, token, what.map(Box::new));
        let must_wake = asked.map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => {
                Error::new(ErrorKind::Busy, "too many commands are under way; wait for an answer")
            }
            _ => refused("cannot flush", Call::Plain, error),
        })?;
        if must_wake {
            signal(self.wake.as_fd());
        }
        Ok(())
    }

    /// Has the directory at `path` watched. The thread that follows mounts gives it a number.
    ///
    /// # Errors
    /// Those of [`roots::open_on`], [`marks::mark`] and [`Commander::flush`]; a filesystem that may not answer.
    pub(crate) fn add(&self, mounts: &Follower, path: &Path, token: u64) -> Result<(), Error> {
        let shown = path.display();
        let reachable = mounts::reachable();
        let mut root = roots::open_on(path, &Points::of(&reachable))?;
        if Slow::of(&reachable).is_between(Path::new("/"), &root.path) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "cannot add {shown}: its filesystem, or one on the way to it, may not answer (FUSE, a server), \
                     and all else would wait for it; watch it from the start"
                ),
            ));
        }
        let bad_path = |_| Error::invalid(format!("{shown} has a NUL in it"));
        let point = CString::new(root.named.as_os_str().as_bytes()).map_err(bad_path)?;
        let mask = marks::mask_for(self.types.load(Ordering::Relaxed));
        let (kind, _) = marks::mark(&self.group, &mut root, mask)?;
        let covers = (kind == MarkKind::Filesystem).then_some(root.fsid);
        let named = Named {
            path: root.path,
            named: root.named,
            is_missing: root.nearest.is_some(),
            fsid: root.fsid,
            is_followed: false,
        };
        let at = number(mounts.number(|number| Ask::Add(Box::new(named), number)), path)?;
        let added = Box::new(NewRoot::new(at, point, covers));
        self.flush(token, Some(RootCommand::Add(added))).inspect_err(|_| mounts.remove(at))
    }

    /// Ends the watch of a root.
    ///
    /// # Errors
    /// `NotFound` if no root was named so; those of [`Commander::flush`].
    pub(crate) fn remove(&self, mounts: &Follower, path: &Path, token: u64) -> Result<(), Error> {
        let at = number(mounts.number(|number| Ask::Find(roots::named(path), number)), path)?;
        self.flush(token, Some(RootCommand::Remove(at)))?;
        // A command that gets the number again comes later in the queue.
        mounts.remove(at);
        Ok(())
    }

    /// Has other types reported.
    ///
    /// # Errors
    /// Those of [`Commander::flush`].
    pub(crate) fn set_types(&self, types: u32, token: u64) -> Result<(), Error> {
        self.flush(token, Some(RootCommand::Types { types, mask: marks::mask_for(types) }))?;
        self.types.store(types, Ordering::Relaxed);
        Ok(())
    }
}

/// The number that the thread which follows mounts gave to a root.
fn number(given: Option<Result<usize, i32>>, path: &Path) -> Result<usize, Error> {
    let shown = path.display();
    match given {
        Some(Ok(at)) => Ok(at),
        Some(Err(libc::EEXIST)) => {
            Err(Error::new(ErrorKind::Busy, format!("{shown} is watched already")))
        }
        Some(Err(libc::ENOENT)) => {
            Err(Error::new(ErrorKind::NotFound, format!("{shown} is not watched")))
        }
        Some(Err(_)) => Err(Error::new(
            ErrorKind::Busy,
            format!("cannot add {shown}: too many roots or filesystems are watched; remove one"),
        )),
        None => Err(Error::new(ErrorKind::Io, "mounts are no longer followed")),
    }
}
