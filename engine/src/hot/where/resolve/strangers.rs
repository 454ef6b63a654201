//! Events of what the tree does not know: outside the watched paths, too early, or without a name.

use super::batch::{Batch, Known, Told, who};
use super::{Resolver, SELF};
use crate::hot::event::{Event, Key, Location};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::mute::busy::Muting;
use crate::hot::r#where::tables::file_names::KnownName;
use crate::hot::r#where::tables::nameless;
use crate::hot::r#where::tables::orphans::Orphans;
use crate::hot::r#where::tree::flag;
use crate::sys::handle::{inode_number, is_shared, may_recur};
use fsmon_format::kind;
use fsmon_format::record::{self, event_flag};
use std::io;

/// Types that are of a file, whatever its name.
const OF_FILE: u32 = kind::MODIFY
    | kind::CLOSE_WRITE
    | kind::ATTRIB
    | kind::OPEN
    | kind::OPEN_EXEC
    | kind::ACCESS
    | kind::CLOSE_NOWRITE;

impl<D: Disk> Resolver<D> {
    /// An event of an unknown directory: outside the watched paths, or too early.
    pub(super) fn stranger(
        &mut self,
        event: &Event<'_>,
        place: Location<'_>,
        batch: &mut Batch<'_, '_>,
    ) {
        if self.through_link(event, batch) {
            return;
        }
        let hash = self.tree.hash(place.dir);
        const MADE: u32 = kind::CREATE | kind::ONDIR;
        if event.types() & MADE == MADE {
            self.made_outside(event, batch);
        }
        if event.types() & kind::DELETE != 0
            && let Some(gone) = event.object.filter(|key| may_recur(key.handle))
        {
            self.orphans.forget(self.tree.hash(gone));
        }
        if !self.above.is_step(hash) {
            self.orphans.keep(hash, batch.window.index, event);
            if self.busy.note(hash, event.types()) {
                let is_on = self.renames.is_on();
                let how = if is_on { self.busy.how(hash) } else { Muting::Entries };
                self.mute(place.dir, how);
            }
        }
    }

    /// Something happened to an entry whose name the kernel left out. Where its directory is watched, that is missing.
    #[cold]
    pub(super) fn unnamed(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        if event.location.is_none_or(|place| self.tree.find(place.dir).is_none()) {
            return;
        }
        let is_wanted = event.types() & self.types & !kind::ONDIR != 0;
        if (is_wanted || event.is_dir()) && !batch.silent {
            batch.output.counters.names_too_long += 1;
        }
        let removed = event.object.filter(|_| event.is_dir() && event.types() & kind::DELETE != 0);
        if let Some(id) = removed.and_then(|key| self.tree.find_live(key)) {
            self.tree.forget(id);
        }
    }

    /// A file may be changed through a name that is not watched: told under one that is, if it has any.
    /// Whether it has.
    #[inline]
    pub(super) fn through_link(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) -> bool {
        self.watch.file_names.is_some() && self.tell_through_link(event, batch)
    }

    #[cold]
    fn tell_through_link(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) -> bool {
        let is_one = |key: &Key<'_>| !event.is_dir() && !is_shared(key.handle);
        let Some(key) = event.object.filter(is_one) else { return false };
        let object = self.tree.hash(key);
        let mut room = [0; record::NAME_MAX];
        let names = self.watch.file_names.as_mut();
        let Some(KnownName { dir, len, is_leaving }) =
            names.and_then(|names| names.find(&self.tree, object, &mut room))
        else {
            return false;
        };
        let wanted = event.types() & self.types & OF_FILE;
        if wanted != 0 {
            let at = Some(Known::new(&self.tree, dir, &room[..len]));
            let who = who(event.pid, batch);
            let via = event.location.and_then(|place| self.outside(place, batch));
            let flags = event_flag::VIA | if is_leaving { event_flag::UNSURE } else { 0 };
            self.emit(Told { at, old: via, wanted, flags, object, who }, event, batch);
        }
        true
    }

    /// A place that is not watched, for the consumer; `None` where its path is not to be had.
    fn outside<'a>(&mut self, place: Location<'a>, batch: &mut Batch<'_, '_>) -> Option<Known<'a>> {
        if batch.silent {
            return None;
        }
        let object = self.tree.hash(place.dir);
        let path = self.watch.path_outside(&self.tree, place.dir)?;
        let (dir, is_new) = self.outside.id(&self.tree, object, path);
        if is_new {
            let object = self.tree.object_on(place.dir.fsid, object);
            batch.output.define_outside(batch.sources, (dir, object), path);
        }
        Some(Known { dir, name: place.name, place: 0 })
    }

    /// A file came or went.
    #[cold]
    pub(super) fn note_entry(
        &mut self,
        event: &Event<'_>,
        at: Known<'_>,
        (file, is_there): (u64, bool),
    ) {
        let is_merged = event.types() & !kind::ONDIR != kind::DELETE;
        self.note_name(at, if is_there || is_merged { file } else { 0 });
        if let Some(names) = self.watch.file_names.as_mut().filter(|_| !is_there && is_merged) {
            names.leave(at.place);
        }
    }

    /// The file of that hash is at that place from now on; 0: none is.
    #[cold]
    pub(super) fn note_name(&mut self, at: Known<'_>, file: u64) {
        let Some(names) = &mut self.watch.file_names else { return };
        match file {
            0 => names.remove(at.place),
            _ => names.put(&self.tree, file, at.dir, at.name),
        }
    }

    /// A directory is made outside: one that was known by its handle is gone.
    fn made_outside(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let Some(id) = event.object.and_then(|key| self.tree.find(key)) else { return };
        if let Some(gone) = self.deferred.take(id) {
            self.tell_one(gone, batch);
        }
        if self.tree.node(id).flags & flag::DEAD != 0 {
            self.tree.forget(id);
        }
    }

    /// A directory that nobody watches is busy: the kernel is to be silent of it.
    #[cold]
    pub(super) fn mute(&mut self, dir: Key<'_>, how: Muting) {
        match self.watch.mute(&self.tree, dir, how) {
            Ok(()) => {
                if let Some(oldest) = self.busy.put(dir, how) {
                    // Where that fails it is gone.
                    let _ = self.watch.mute(&self.tree, oldest.key(), Muting::No);
                }
            }
            // It is gone, or has to do with no root.
            Err(error)
                if error.raw_os_error() == Some(libc::ESTALE)
                    || error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => self.busy.give_up(),
        }
    }

    /// Whether an event is of a file without a name, or of one that got its name later: the entry that it
    /// is said to be of never was. A real file may be called the same.
    #[cold]
    pub(super) fn is_nameless(&mut self, event: &Event<'_>, at: Known<'_>) -> bool {
        let comes_or_goes = event.types() & (kind::CREATE | kind::DELETE | kind::RENAME) != 0;
        let Some(number) = nameless::number(at.name).filter(|_| !comes_or_goes) else {
            return false;
        };
        let Some(key) = event.object.filter(|_| !event.is_dir()) else { return false };
        // The rest is asked of the disk: anybody can name a file so.
        if inode_number(key.handle).is_some_and(|known| known != number) {
            return false;
        }
        let object = self.tree.hash(key);
        let is_known = self.recent.get(object).map(|(dir, _, name)| {
            // It was made by that very name, or got another.
            (dir, name) != (at.dir, at.name)
        });
        is_known.unwrap_or_else(|| {
            // Of one that a line told of, no CREATE came since.
            self.nameless.has(object)
                || self.watch.holds(&self.tree, at.dir, at.name, key.handle) != Some(true)
        })
    }

    /// Such an event: told under the name that the file got, or without a path.
    #[cold]
    pub(super) fn nameless_entry(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let wanted = event.types() & self.types & !kind::ONDIR;
        let Some(key) = event.object.filter(|_| wanted != 0) else { return };
        let object = self.tree.hash(key);
        let mut room = [0; record::NAME_MAX];
        let named = self.recent.get(object).map(|(dir, dir_hash, name)| {
            room[..name.len()].copy_from_slice(name);
            (dir, dir_hash, name.len())
        });
        let named = named.filter(|&(dir, dir_hash, _)| self.tree.node(dir).hash() == dir_hash);
        let at = named.map(|(dir, _, len)| Known::new(&self.tree, dir, &room[..len]));
        if at.is_none() {
            self.nameless.put(object);
        }
        let object = if at.is_some() { object } else { self.tree.object_on(key.fsid, object) };
        let who = who(event.pid, batch);
        self.emit(Told { at, old: None, wanted, flags: 0, object, who }, event, batch);
    }

    /// A file lost a name: if it was its last known one, it has none.
    #[cold]
    pub(super) fn forget_name(&mut self, object: u64, at: Known<'_>) {
        let is_it = |(dir, _, name): (u32, u64, &[u8])| (dir, name) == (at.dir, at.name);
        if self.recent.get(object).is_some_and(is_it) {
            self.recent.forget(object);
        }
    }

    /// An event that carries the object's handle alone.
    pub(super) fn nameless(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let wanted = event.types() & self.types & SELF;
        let Some(key) = event.object.filter(|_| wanted != 0) else {
            // A change of the link count, which a CREATE, RENAME or DELETE tells of by name.
            return;
        };
        let hash = self.tree.hash(key);
        let mut room = [0; record::NAME_MAX];
        let Some((dir, dir_hash, name)) = self.recent.get(hash) else {
            return self.orphans.keep(hash, batch.window.index, event);
        };
        if self.tree.node(dir).hash() != dir_hash {
            // The directory is gone, and its node another's by now.
            batch.output.counters.unresolved_paths += 1;
            return;
        }
        let name = {
            room[..name.len()].copy_from_slice(name);
            &room[..name.len()]
        };
        if wanted & kind::DELETE_SELF != 0 {
            self.recent.forget(hash);
        }
        let who = who(event.pid, batch);
        let at = Some(Known::new(&self.tree, dir, name));
        self.emit(Told { at, old: None, wanted, flags: 0, object: hash, who }, event, batch);
    }

    /// Looks again at events that came before the object with that hash was known. What happened
    /// in a directory before it moved in (`made` is false) happened outside.
    #[cold]
    pub(super) fn second_look(&mut self, hash: u64, made: bool, batch: &mut Batch<'_, '_>) {
        if made {
            self.orphans.note_made(hash);
        }
        let mut room = Orphans::room();
        let (index, own) = (batch.window.index, batch.silent);
        while let Some((its_index, event)) = self.orphans.take(hash, &mut room) {
            batch.window.index = its_index;
            batch.silent = self.is_silent(&event, its_index);
            match event.location {
                Some(_) if !made => {}
                Some(place) if self.dir_of(place.dir).is_none() && !self.above.is_step(hash) => {
                    break;
                }
                None if self.recent.get(hash).is_none() => break,
                _ => self.place(&event, batch),
            }
        }
        (batch.window.index, batch.silent) = (index, own);
    }
}
