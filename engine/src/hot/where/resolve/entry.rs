//! An entry comes, goes or changes in a watched directory, or the directory itself does.

use super::batch::{Actor, Batch, Known, Moves, Told, who};
use super::tell::dirs_full;
use super::{Resolver, SELF, doubt};
use crate::hot::event::{Event, Key};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tables::file_at_name::Last;
use crate::hot::r#where::tree::{Full, Inserted, NAME_ROOM, flag};
use crate::hot::who::Answer;
use crate::sys::handle::{is_btrfs_subvolume, is_shared, may_recur};
use fsmon_format::kind;
use fsmon_format::record::event_flag;

impl<D: Disk> Resolver<D> {
    /// An event in a watched directory, or on one.
    pub(super) fn entry(&mut self, event: &Event<'_>, at: Known<'_>, batch: &mut Batch<'_, '_>) {
        if self.tree.node(at.dir).flags & flag::LEAF != 0 && !at.name.is_empty() {
            self.through_link(event, batch);
            return;
        }
        if self.deferred.any_early() {
            self.note_early(at);
        }
        let mut types = event.types();
        if at.name.first() == Some(&b'#') && self.is_nameless(event, at) {
            return self.nameless_entry(event, batch);
        }
        let (object, hash) = match event.object.filter(|_| !at.name.is_empty()) {
            // Others have this handle: its name is what tells it apart.
            Some(key) if is_shared(key.handle) => (None, at.place & !1),
            Some(key) => (Some(key), self.tree.hash(key)),
            None => (None, 0),
        };
        let comes_or_goes = types & (kind::CREATE | kind::DELETE) != 0 && hash != 0;
        let file = (comes_or_goes && !event.is_dir()).then_some(at.place);
        let order_flag = self.order_flag(event, at.place);
        let mut actor = None;
        if comes_or_goes && self.exchange.any(batch.window.index) {
            self.exchange.touch(at.place);
        }
        if comes_or_goes
            && (self.is_unsettled(types)
                || batch.merged
                || self.is_new_link(types, hash)
                || self.is_unlikely(event, at.place, hash))
        {
            let who = *actor.insert(who(event.pid, batch));
            types = self.unsettled_entry(event, at, hash, who, batch);
        }
        if let Some(place) = file {
            let is_there = types & kind::DELETE == 0;
            match is_there {
                true => self.links.put(place, hash),
                false => self.links.remove(place, hash),
            }
            if self.watch.file_names.is_some() {
                self.note_entry(event, at, (hash, is_there));
            }
        }
        let wanted = types & self.types;
        if wanted & !kind::ONDIR != 0 {
            let who = *actor.get_or_insert_with(|| who(event.pid, batch));
            let is_named = types == kind::CREATE && self.nameless.any() && self.nameless.take(hash);
            let flags = order_flag | if is_named { event_flag::NAMED } else { 0 };
            let mut told = Told { at: Some(at), old: None, wanted, flags, object: hash, who };
            if wanted & kind::DELETE != 0 && event.types() & !kind::ONDIR != kind::DELETE {
                told = self.part_delete(told, event, batch);
            }
            self.emit(told, event, batch);
        }
        // A file that is made by a CREATE alone may be one that had no name.
        if comes_or_goes && (self.types & SELF != 0 || event.types() == kind::CREATE) {
            self.recent.put(hash, at.dir, self.tree.node(at.dir).hash(), at.name);
        } else if event.types() == kind::DELETE && self.recent.has(hash) {
            self.forget_name(hash, at);
        }
        let changes_tree = event.is_dir() && comes_or_goes;
        if changes_tree && let Some(key) = object {
            self.dir_event(event, types, at, key, actor, batch);
        }
        if (changes_tree || self.types & SELF != 0) && hash != 0 && self.orphans.any() {
            match object.filter(|key| changes_tree && may_recur(key.handle)) {
                Some(key) => self.read_instead(key),
                None => self.second_look(hash, types & kind::CREATE != 0, batch),
            }
        }
    }

    /// Events came of a directory before that was known, or of another that had its handle before: what is in it
    /// shows when the queue is empty.
    #[cold]
    fn read_instead(&mut self, key: Key<'_>) {
        if self.orphans.forget(self.tree.hash(key))
            && let Some(id) = self.tree.find_live(key).filter(|_| self.watch.recursive)
        {
            self.tree.set(id, flag::UNREAD);
        }
    }

    /// A DELETE that was merged with other types: where the directory may move before it happened, what came
    /// before it is told first, and it has a path that is not sure. What is still to be told.
    #[cold]
    fn part_delete<'a>(
        &mut self,
        told: Told<'a>,
        event: &Event<'_>,
        batch: &mut Batch<'_, '_>,
    ) -> Told<'a> {
        if !told.at.is_some_and(|at| self.may_move(at.dir, batch)) {
            return told;
        }
        let before = Told { wanted: told.wanted & !kind::DELETE, ..told };
        if before.wanted != 0 {
            self.emit(before, event, batch);
        }
        Told { wanted: kind::DELETE, flags: event_flag::UNSURE, ..told }
    }

    /// Whether an event that follows renames a directory, or one above it. What was merged into the event
    /// before happened before or after that, and the path that it had then is not known.
    fn may_move(&self, dir: u32, batch: &mut Batch<'_, '_>) -> bool {
        let index = batch.window.index;
        let moves = batch.moves.get_or_insert_with(|| Moves::new(batch.ahead, index + 1));
        let is_above = |key| {
            self.dir_of(key).is_some_and(|id| self.tree.is_below(dir, id))
                || self.above.is_step(self.tree.hash(key))
        };
        moves.after(index).any(|key| key.is_none_or(is_above))
    }

    /// Whether a file was renamed just before it gets a name: that one was a hard link, then.
    #[inline]
    fn is_new_link(&self, types: u32, hash: u64) -> bool {
        types & kind::CREATE != 0 && self.objects.is_renamed(hash)
    }

    /// Whether something comes where a file is, or a file goes where it is not, as far as is known; or one comes
    /// back that was removed there, or goes whose handle another may get: that may be merged into its CREATE.
    #[inline]
    fn is_unlikely(&self, event: &Event<'_>, place: u64, hash: u64) -> bool {
        let Some(known) = self.links.last(place) else { return false };
        if event.is_dir() {
            return known.is_there();
        }
        match event.types() & kind::DELETE {
            0 => known.is_there() || known.was(hash),
            _ if known != Last::There(hash) => true,
            _ => event.object.is_some_and(|key| may_recur(key.handle)),
        }
    }

    /// Whether more than the event itself counts when an entry comes or goes.
    #[inline]
    fn is_unsettled(&self, types: u32) -> bool {
        // Merged with something else, or that of a directory.
        let is_delete = types & kind::DELETE != 0 && types != kind::DELETE;
        is_delete
            || self.found.any()
            || self.tree.any_unread()
            || self.doubts.any()
            || self.deferred.any()
    }

    /// An entry comes or goes, and more than the event itself counts: the types to go on with.
    #[cold]
    fn unsettled_entry(
        &mut self,
        event: &Event<'_>,
        at: Known<'_>,
        hash: u64,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) -> u32 {
        let mut types = event.types();
        if self.deferred.any() {
            self.before_entry(event, at, batch);
        }
        if self.found.any() || self.tree.any_unread() {
            types = self.entry_found(event, at, hash, who, batch);
            if event.is_dir() && types & kind::CREATE != 0 {
                types = self.made_before(event, types, at, who, batch);
            }
        }
        // Also where a walk told of its CREATE.
        let is_merged = batch.merged || event.types() & !(kind::DELETE | kind::ONDIR) != 0;
        if types & kind::DELETE != 0 && is_merged {
            types = self.merged_delete(event, types, at, hash, who, batch);
        }
        if event.is_dir()
            && types & kind::DELETE != 0
            && let Some(id) = event.object.and_then(|key| self.tree.find_live(key))
            && self.tree.node(id).flags & flag::ROOT == 0
        {
            if let Some(key) = event.object.filter(|_| types & kind::CREATE == 0) {
                self.tell_lost_move(key, at, who, batch);
            }
            self.tell_emptied(id, batch);
        }
        if self.doubts.any() {
            self.settle_doubt(event, types, at, hash, who, batch);
        }
        match event.is_dir() {
            true => {
                if types & kind::CREATE != 0 {
                    self.displace_file(at, who, batch);
                }
                self.links.forget(at.place);
            }
            false => {
                self.doubt_link(event, types, at, hash, who, batch);
                self.tell_unseen(types, at, hash, who, batch);
            }
        }
        let is_there = types & kind::DELETE == 0;
        if !is_there && self.found.any() {
            // Whatever was told on the way.
            self.note_found(event.is_dir(), Some(at), None);
        }
        self.tell_doubts(at, if is_there { hash } else { 0 });
        types
    }

    /// A directory was made, or removed, or both; `types` are still to be done.
    #[cold]
    fn dir_event(
        &mut self,
        event: &Event<'_>,
        types: u32,
        at: Known<'_>,
        key: Key<'_>,
        actor: Option<Actor>,
        batch: &mut Batch<'_, '_>,
    ) {
        let is_gone = event.types() & kind::DELETE != 0;
        if types & kind::CREATE != 0 && !is_gone && self.is_made_twice(at, key) {
            return doubt::note_twin(batch);
        }
        // One that a walk told of was read by it.
        if types & kind::CREATE != 0
            && let Some(id) = self.take_up(at, key, batch)
            && !is_gone
            && self.watch.recursive
            && (is_btrfs_subvolume(key.handle) || self.watch.marks_each(&self.tree, id))
        {
            // What a snapshot has came with it. What was made in a directory before its mark took hold is
            // found now, and anybody may have made it.
            let actor = match is_btrfs_subvolume(key.handle) {
                true => actor.unwrap_or_else(|| who(event.pid, batch)).late(),
                false => Answer::default().into(),
            };
            let count = self.walk(id, Some(actor), batch);
            if !is_btrfs_subvolume(key.handle) && !batch.silent {
                batch.output.counters.entries_unmarked += count;
            }
        }
        if is_gone
            && is_btrfs_subvolume(key.handle)
            && let Some(id) = self.tree.find_live(key)
        {
            // It may be a snapshot: what is removed from it came with it.
            self.tree.set(id, flag::UNREAD);
        }
        if types & kind::DELETE != 0
            && let Some(id) = self.tree.find_live(key)
        {
            self.tree.remove(id);
        }
    }

    /// Whether a directory is made with the handle of one that is still there, at another place.
    fn is_made_twice(&mut self, at: Known<'_>, key: Key<'_>) -> bool {
        let mut room = [0; NAME_ROOM];
        let Some(known) = self.place_of(key, &mut room) else { return false };
        // What was made is another, whatever became of it.
        (known.dir, known.name) != (at.dir, at.name)
            && self.watch.holds(&self.tree, known.dir, known.name, key.handle) == Some(true)
    }

    /// Puts a directory into the tree, unless it is left out or there is no room.
    pub(super) fn take_up(
        &mut self,
        at: Known<'_>,
        key: Key<'_>,
        batch: &mut Batch<'_, '_>,
    ) -> Option<u32> {
        if self.watch.skips(&mut self.tree, at.dir, at.name) {
            if let Some(id) = self.tree.find(key) {
                self.tree.forget(id);
            }
            return None;
        }
        match self.tree.insert(at.dir, at.name, key) {
            Ok(inserted) => {
                let id = inserted.id();
                if let Inserted::Moved(id) = inserted {
                    batch.output.redefine_dir(&mut self.tree, batch.sources, id);
                }
                if !self.watch.recursive && self.tree.node(id).flags & flag::ROOT == 0 {
                    self.tree.set(id, flag::LEAF);
                }
                Some(id)
            }
            Err(Full) => {
                dirs_full(batch);
                None
            }
        }
    }
}
