//! Removals that the kernel merged into earlier events: a directory's DELETE comes before what happened in it,
//! and is told when all of that has come up.

use super::Resolver;
use super::batch::{Actor, Batch, Known, Told};
use super::doubt::copy;
use super::exchange::LOST;
use crate::hot::event::{Event, Key};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tables::deferred::Gone;
use crate::hot::r#where::tables::exchange_halves::Other;
use crate::hot::r#where::tree::{NAME_ROOM, flag};
use crate::hot::who::Answer;
use crate::sys::handle::{KEY_MAX, is_btrfs_subvolume, may_recur};
use fsmon_format::kind;
use fsmon_format::record::event_flag;

/// Whether a file that one event says was made and removed may be there in the end: a hard link, or another
/// file with the handle of the one that was removed. What was written to was made as a file, as a rule.
fn may_be_back(event: &Event<'_>) -> bool {
    let was_made = event.types() & kind::CREATE != 0;
    let is_written = event.types() & kind::CLOSE_WRITE != 0;
    was_made && (!is_written || event.object.is_some_and(|key| may_recur(key.handle)))
}

impl<D: Disk> Resolver<D> {
    /// What says that an event may tell in the wrong order that a file was made and removed: `rm b; ln a b`
    /// and `ln a b; rm b` leave the same event, and nothing is known of what was there before.
    #[inline]
    pub(super) fn order_flag(&self, event: &Event<'_>, place: u64) -> u16 {
        const BOTH: u32 = kind::CREATE | kind::DELETE;
        let is_both = event.types() & BOTH == BOTH && !event.is_dir();
        let is_unknown = is_both && may_be_back(event) && self.links.at(place).is_none();
        if is_unknown { event_flag::UNSURE } else { 0 }
    }

    /// A DELETE that came with other types in one event: what is to be told of now.
    pub(super) fn merged_delete(
        &mut self,
        event: &Event<'_>,
        types: u32,
        at: Known<'_>,
        hash: u64,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) -> u32 {
        let Some(key) = event.object else { return types };
        if event.is_dir() {
            return self.defer(event, types, (key, hash), at, who, batch);
        }
        let place = at.place;
        self.objects.deleted(hash, place);
        if !may_be_back(event) {
            return types;
        }
        if self.doubts.has_much_room_or_forgets() {
            // Where a walk told of it, it is there until now.
            let told = types & kind::CREATE == 0;
            self.doubt((key, false), at, (told, false), who, batch);
        }
        // Where nothing is known of it, it was not there: `ln a b; rm b; ln a b`.
        if types & kind::CREATE == 0 || self.links.at(place) != Some(hash) {
            return types;
        }
        let wanted = kind::DELETE & self.types;
        if wanted != 0 {
            let told = Told { at: Some(at), old: None, wanted, flags: 0, object: hash, who };
            self.emit(told, event, batch);
        }
        self.links.put(place, 0);
        types & !kind::DELETE
    }

    /// A directory's DELETE is told when all that happened in it has come up.
    fn defer(
        &mut self,
        event: &Event<'_>,
        types: u32,
        (key, hash): (Key<'_>, u64),
        at: Known<'_>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) -> u32 {
        if types & kind::CREATE != 0 {
            if may_recur(key.handle) && self.is_at(key, at) {
                return self.made_again(types, (key, hash), at, who, batch);
            }
            self.take_up(at, key, batch);
        }
        if let Some(first) = self.deferred.make_room() {
            self.tell_one(first, batch);
        }
        let Some(dir) = self.tree.find_live(key) else { return types };
        if let Some(again) = self.deferred.take(dir) {
            batch.sources.who.release(again.who.image);
        }
        let who = self.who_did(kind::DELETE, event, who, batch);
        batch.sources.who.hold(who.image);
        let tell = !batch.silent && self.types & kind::DELETE != 0;
        let stamp = self.tree.path_stamp(self.tree.node(dir).parent);
        let is_unsure = self.is_path_unsure(at.dir);
        let gone = Gone { dir, hash, is_reported: tell, who, stamp, is_unsure };
        self.deferred.put(gone, batch.window.until_ns);
        types & !kind::DELETE
    }

    /// Whether the tree has a directory at that place.
    fn is_at(&self, key: Key<'_>, at: Known<'_>) -> bool {
        let is_it = |id: u32| self.tree.node(id).parent == at.dir && self.tree.name(id) == at.name;
        self.tree.find_live(key).is_some_and(is_it)
    }

    /// A directory was removed, and made again with the handle of the one before: the types that are still
    /// to be told. It may have been removed once more.
    fn made_again(
        &mut self,
        types: u32,
        (key, hash): (Key<'_>, u64),
        at: Known<'_>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) -> u32 {
        if let Some(id) = self.tree.find_live(key) {
            self.tell_emptied(id, batch);
        }
        if self.types & kind::DELETE != 0 && !batch.silent {
            let (wanted, flags) = (kind::DELETE, 0);
            let told = Told { at: Some(at), old: None, wanted, flags, object: hash, who };
            self.tell(told, true, batch);
        }
        self.doubt((key, true), at, (false, false), who, batch);
        types & !kind::DELETE
    }

    /// Who did that one of several things that an event is of.
    pub(super) fn who_did(
        &self,
        one: u32,
        event: &Event<'_>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) -> Actor {
        if who.later == 0 {
            return who;
        }
        let types = event.types() & !kind::ONDIR;
        let parts = batch.sources.who.parts(who.into(), event.pid, batch.window, types);
        let part = parts.into_iter().find(|(part, _)| part & one != 0);
        Actor { later: 0, ..part.map_or(who, |(_, answer)| answer.into()) }
    }

    /// Tells of directories that must be gone before this: another is made in the place of one, or
    /// what they were in is removed.
    pub(super) fn before_entry(
        &mut self,
        event: &Event<'_>,
        at: Known<'_>,
        batch: &mut Batch<'_, '_>,
    ) {
        let removed = event.object.filter(|_| event.is_dir() && event.types() & kind::DELETE != 0);
        // Of what is made now, what had the handle before is gone.
        if removed.is_none()
            && let Some(key) = event.object.filter(|_| event.is_dir())
            && let Some(gone) = self.tree.find_live(key).and_then(|dir| self.deferred.take(dir))
        {
            self.tell_one(gone, batch);
        }
        match removed.and_then(|key| self.tree.find_live(key)) {
            Some(dir) => self.tell_gone_below(dir, batch),
            None if event.types() & kind::CREATE != 0 => self.tell_gone_at(at, batch),
            None => {}
        }
    }

    /// Something takes the place of a directory that is gone.
    pub(super) fn tell_gone_at(&mut self, at: Known<'_>, batch: &mut Batch<'_, '_>) {
        if let Some(dir) = self.tree.child_named(at.dir, at.name, None)
            && let Some(gone) = self.deferred.take(dir)
        {
            self.tell_one(gone, batch);
        }
    }

    /// Tells of those below a directory that are gone, the lowest first. What is in one that stays was moved
    /// away with it, and stays as well.
    pub(super) fn tell_gone_below(&mut self, dir: u32, batch: &mut Batch<'_, '_>) {
        let mut at = dir;
        loop {
            let child = self.gone_child(at);
            if child != 0 {
                at = child;
                continue;
            }
            if at == dir {
                return;
            }
            let (above, gone) = (self.tree.node(at).parent, self.deferred.take(at));
            if let Some(gone) = gone {
                self.tell_this(gone, batch);
            }
            at = above;
        }
    }

    /// A directory right below that is gone; 0 where there is none.
    fn gone_child(&self, dir: u32) -> u32 {
        let mut child = self.tree.node(dir).child;
        while child != 0 && !self.deferred.has(child) {
            child = self.tree.node(child).next;
        }
        child
    }

    /// Tells of all directories that are gone.
    #[cold]
    pub(crate) fn tell_gone(&mut self, batch: &mut Batch<'_, '_>) {
        while let Some(gone) = self.deferred.take_last() {
            if self.is_back(&gone) {
                batch.sources.who.release(gone.who.image);
                continue;
            }
            self.tell_one(gone, batch);
        }
    }

    /// Something happens at a place: where that is in a directory whose removal was told of already, for want of
    /// room, it comes too late.
    #[cold]
    pub(super) fn note_early(&mut self, at: Known<'_>) {
        if !at.name.is_empty() && self.tree.node(at.dir).flags & flag::DEAD != 0 {
            self.deferred.note_late();
        }
    }

    /// Whether another directory is in its place that got its handle.
    fn is_back(&mut self, gone: &Gone) -> bool {
        let node = *self.tree.node(gone.dir);
        let is_live = node.hash() == gone.hash && node.flags & (flag::DEAD | flag::ROOT) == 0;
        let (mut room, mut key_room) = ([0; NAME_ROOM], [0; KEY_MAX]);
        let name = copy(self.tree.name(gone.dir), &mut room);
        let key = self.tree.key_of(gone.dir);
        key_room[..key.len()].copy_from_slice(key);
        let key = &key_room[..key.len()];
        is_live
            && may_recur(key)
            && self.watch.holds(&self.tree, node.parent, name, key) == Some(true)
            && self.watch.is_dir_at(&self.tree, node.parent, name)
    }

    /// One, after those below it.
    pub(super) fn tell_one(&mut self, gone: Gone, batch: &mut Batch<'_, '_>) {
        self.tell_gone_below(gone.dir, batch);
        self.tell_this(gone, batch);
    }

    /// One. It may have been moved meanwhile, or out of sight.
    fn tell_this(&mut self, gone: Gone, batch: &mut Batch<'_, '_>) {
        let node = *self.tree.node(gone.dir);
        let is_live = node.hash() == gone.hash && node.flags & flag::DEAD == 0;
        if is_live && node.flags & flag::ROOT != 0 {
            self.remove_root(gone.dir, gone.is_reported.then_some(gone.who), batch);
        } else if is_live {
            let mut room = [0; NAME_ROOM];
            let at = Known::new(&self.tree, node.parent, copy(self.tree.name(gone.dir), &mut room));
            self.tell_emptied(gone.dir, batch);
            self.note_found(true, Some(at), None);
            self.tell_doubts(at, 0);
            if gone.is_reported {
                let Gone { hash, who, .. } = gone;
                let is_moved = self.tree.path_stamp(node.parent) != gone.stamp;
                let flags = if is_moved || gone.is_unsure { event_flag::UNSURE } else { 0 };
                let at = Some(at);
                let wanted = kind::DELETE;
                self.tell(Told { at, old: None, wanted, flags, object: hash, who }, true, batch);
            }
            self.tree.remove(gone.dir);
        }
        batch.sources.who.release(gone.who.image);
    }

    /// A directory is removed: what the lines still have in it went before.
    pub(super) fn tell_emptied(&mut self, dir: u32, batch: &mut Batch<'_, '_>) {
        let silent = batch.silent;
        let hash = self.tree.node(dir).hash();
        while let Some(doubt) = self.doubts.file_in(dir, hash).copied() {
            self.correct(&doubt, Some(dir), batch);
        }
        // What was in a subvolume went with it; what was in any other directory is elsewhere.
        let (out, is_whole) =
            (self.tree.node(dir).parent, is_btrfs_subvolume(self.tree.key_of(dir)));
        let who: Actor = Answer::default().into();
        while let id @ 1.. = self.tree.node(dir).child {
            let mut room = [0; NAME_ROOM];
            let at = Known::new(&self.tree, dir, copy(self.tree.name(id), &mut room));
            let child = Other::new(self.tree.node(id).hash(), self.tree.key_of(id), true);
            batch.silent = silent;
            match child.filter(|_| out != 0 && !is_whole) {
                Some(child) => self.set_aside(&child, (at, out), LOST, who, batch),
                None => {
                    let object = (self.tree.node(id).hash(), true);
                    self.tell_lost_rename(object, Some(at), None, who, batch);
                    self.tree.forget(id);
                }
            }
            if self.tree.node(dir).child == id {
                break;
            }
        }
        batch.silent = silent;
    }
}
