//! Events of what the tree does not know: outside the watched paths, too early, or without a name.

use super::{Batch, Known, Resolver, SELF, Told, who};
use crate::hot::busy::Muting;
use crate::hot::disk::Disk;
use crate::hot::event::{Event, Key, Place};
use crate::hot::orphans::Orphans;
use fsmon_format::kind;
use fsmon_format::record;
use std::io;

impl<D: Disk> Resolver<D> {
    /// An event of an unknown directory: outside the watched paths, or too early.
    pub(super) fn stranger(
        &mut self,
        event: &Event<'_>,
        place: Place<'_>,
        batch: &mut Batch<'_, '_>,
    ) {
        let hash = self.tree.hash(place.dir);
        if !self.above.is_step(hash) {
            self.orphans.keep(hash, batch.window.index, event);
            if self.busy.note(hash, event.types()) {
                let is_on = self.renames.is_on();
                let how = if is_on { self.busy.how(hash) } else { Muting::Entries };
                self.mute(place.dir, how);
            }
        }
    }

    /// A directory that nobody watches is busy: the kernel is to be silent of it.
    #[cold]
    pub(super) fn mute(&mut self, dir: Key<'_>, how: Muting) {
        match self.watch.mute(&self.tree, dir, how) {
            Ok(()) => {
                if let Some(oldest) = self.busy.put(dir, how) {
                    // Where that fails it is gone.
                    let _ = self.watch.mute(&self.tree, oldest.key(), Muting::Heard);
                }
            }
            // It is gone, or has to do with no root.
            Err(error)
                if error.raw_os_error() == Some(libc::ESTALE)
                    || error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => self.busy.give_up(),
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
        let mut room = Orphans::room();
        let (index, own) = (batch.window.index, batch.silent);
        while let Some((its_index, event)) = self.orphans.take(hash, &mut room) {
            batch.window.index = its_index;
            batch.silent = self.is_silent(&event, its_index);
            match event.place {
                Some(_) if !made => {}
                Some(place) if self.tree.find(place.dir).is_none() && !self.above.is_step(hash) => {
                    break;
                }
                None if self.recent.get(hash).is_none() => break,
                _ => self.place(&event, batch),
            }
        }
        (batch.window.index, batch.silent) = (index, own);
    }
}
