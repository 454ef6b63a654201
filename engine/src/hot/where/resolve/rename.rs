//! Renames: of files, and of directories with all that is below them.

use super::batch::{Actor, Batch, Known, Told, who};
use super::doubt::{self, copy};
use super::{FROM_RENAME, Resolver, SELF};
use crate::hot::event::{Event, Key, Location};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tables::exchange_halves::{AsideName, Other};
use crate::hot::r#where::tables::in_doubt::Left;
use crate::hot::r#where::tables::objects::Before;
use crate::hot::r#where::tree::{NAME_ROOM, flag};
use crate::hot::who::Answer;
use fsmon_format::kind;
use fsmon_format::record::event_flag;

impl<D: Disk> Resolver<D> {
    pub(super) fn rename(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        if self.exchange.is_done(batch.window.index) {
            return;
        }
        // What is rarely needed is not made before.
        let (mut room, mut aside_room, mut seen_room);
        let seen = self.looked_into(event.location, event);
        let new = match seen {
            Some(_) => seen,
            None => {
                room = [0; NAME_ROOM];
                self.arrival(event, &mut room)
            }
        };
        let old = self.looked_into(event.old, event);
        if new.is_none() && old.is_none() {
            return self.renamed_outside(event, batch);
        }
        if self.deferred.any_early() {
            [old, new].into_iter().flatten().for_each(|at| self.note_early(at));
        }
        self.renames.note_reported();
        if old.is_none() {
            self.change_with_outside(event, batch);
        }
        let hash = event.object.map_or(0, |key| self.tree.hash(key));
        let who = who(event.pid, batch);
        let is_second = self.is_second_half(event, hash, old, new, batch);
        let mut told_old = match old {
            Some(old) => {
                aside_room = AsideName::default();
                self.told_old(event, old, is_second, &mut aside_room)
            }
            None => None,
        };
        if let (None, Some(new)) = (old, new) {
            seen_room = [0; NAME_ROOM];
            told_old = self.seen_elsewhere(event, new, &mut seen_room, who, batch);
            if told_old.is_some_and(|seen| (seen.dir, seen.name) == (new.dir, new.name)) {
                return;
            }
            if told_old.is_none() {
                self.tell_lost_departure(event, hash, who, batch);
            }
        }
        // Where a walk met it, nothing was told of what it may have been exchanged for.
        let half = old.zip(seen).filter(|_| !is_second && told_old.is_some());
        let other = half.and_then(|(old, new)| self.other_half(event, hash, old, new, batch));
        let before = match hash {
            0 => Before::Nothing,
            _ => self.objects.renamed(hash, who.image),
        };
        self.before_rename(event, (hash, before), told_old, (new, other.as_ref()), who, batch);
        if let Some(new) = new {
            if self.doubts.any_left() {
                self.tell_left_before(new, hash, batch);
            }
            self.make_way(event, hash, other.as_ref(), new, who, batch);
            // What made way had the name until now.
            if self.found.any() || self.tree.any_unread() {
                self.note_found(event.is_dir(), None, Some(new));
            }
        }
        self.note_rename(event, (hash, before), (old, told_old), new, who, batch);
        self.note_links((hash, event.is_dir()), told_old, new);
        if let (Some(_), Some(told)) = (old, told_old) {
            self.come_from_aside(told, hash, batch);
        }
        let wanted = self.rename_types(told_old, new);
        if wanted != 0 {
            let is_half = is_second || other.is_some();
            let is_found = seen.is_some() != new.is_some() || told_old.is_some() && old.is_none();
            let is_cut = told_old.is_none() || new.is_none();
            let flags = if is_half { event_flag::EXCHANGE } else { 0 }
                | if is_found { event_flag::FOUND } else { 0 }
                | if is_cut && self.may_be_inside() { event_flag::UNSURE } else { 0 };
            let told = Told { at: new, old: told_old, wanted, flags, object: hash, who };
            self.emit(told, event, batch);
        }
        if (self.types & SELF != 0 && hash != 0 || self.recent.has(hash))
            && let Some(at) = new.or(old)
        {
            self.recent.put(hash, at.dir, self.tree.node(at.dir).hash(), at.name);
        }
        if event.is_dir()
            && let Some(key) = event.object
        {
            let came_in = told_old.is_none();
            self.rename_dir(new, came_in, key, who, batch);
        }
        if hash != 0 && self.orphans.any() {
            self.second_look(hash, false, batch);
        }
    }

    /// Whether what seems to come from outside, or to go there, may have been in a directory that is watched
    /// and not known: a walk did not meet it, as it had moved on by then, or it had no mark.
    fn may_be_inside(&self) -> bool {
        // One that is gone by now never had a mark.
        let never_marked = self.deferred.any() && self.watch.any_inode_marks();
        self.tree.any_unread() || self.found.any() || never_marked
    }

    /// A place of a rename. Of a directory, one whose name is left out is outside.
    fn looked_into<'a>(
        &mut self,
        place: Option<Location<'a>>,
        event: &Event<'_>,
    ) -> Option<Known<'a>> {
        let at = self.known(place)?;
        let is_left_out = event.is_dir() && self.watch.skips(&mut self.tree, at.dir, at.name);
        (!is_left_out).then_some(at)
    }

    /// A directory leaves a place where the tree does not have it: that it went there was merged into
    /// an earlier rename.
    pub(super) fn tell_lost_move(
        &mut self,
        key: Key<'_>,
        at: Known<'_>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let Some(id) = self.tree.find_live(key) else { return };
        let node = self.tree.node(id);
        let is_there = node.parent == at.dir && self.tree.name(id) == at.name;
        if is_there || node.flags & flag::ROOT != 0 {
            return;
        }
        let mut room = [0; NAME_ROOM];
        let old = Known::new(&self.tree, node.parent, copy(self.tree.name(id), &mut room));
        let object = (self.tree.hash(key), true);
        self.note_arrival(key, old, who, batch);
        self.leave_subtree(key, at.dir, who, batch);
        let by = self.merged_by(object.0, who);
        self.tell_lost_rename(object, Some(old), Some(at), by, batch);
        self.rename_dir(Some(at), false, key, who, batch);
    }

    /// A rename of an object (its hash, and whether it is a directory) that no event told of.
    pub(super) fn tell_lost_rename(
        &mut self,
        (object, is_dir): (u64, bool),
        old: Option<Known<'_>>,
        at: Option<Known<'_>>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        if let Some(at) = at {
            self.clear_place(at, (object, is_dir), who, batch);
        }
        // One that a walk met later is told to be where it was before: what came in between is not known.
        let was_met = old.is_some_and(|old| {
            let there = self.tree.child_named(old.dir, old.name, None);
            is_dir && there.is_some_and(|id| self.tree.is_met(id))
        });
        let flags = event_flag::FOUND | if was_met { event_flag::UNSURE } else { 0 };
        let wanted = self.rename_types(old, at);
        if wanted != 0 && !batch.silent {
            self.tell(Told { at, old, wanted, flags, object, who }, is_dir, batch);
        }
        self.note_found(is_dir, old, at);
        self.note_links((object, is_dir), old, at);
        old.into_iter().for_each(|old| self.tell_doubts(old, 0));
        at.into_iter().for_each(|at| self.tell_doubts(at, object));
    }

    /// What a rename is called that leads from one place to another, or from or to where nothing is
    /// watched.
    pub(super) fn rename_types(&self, old: Option<Known<'_>>, at: Option<Known<'_>>) -> u32 {
        let all = self.types & FROM_RENAME;
        match (old, at) {
            (None, _) => all & !kind::MOVED_FROM,
            (_, None) => all & !kind::MOVED_TO,
            _ => all,
        }
    }

    /// Where a walk met a directory that comes from one without a mark: it goes there later, and that
    /// event may have its old place alone.
    fn seen_elsewhere<'a>(
        &mut self,
        event: &Event<'_>,
        new: Known<'_>,
        room: &'a mut [u8; NAME_ROOM],
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) -> Option<Known<'a>> {
        let key = event.object.filter(|_| event.is_dir())?;
        if !self.watch.marks_each(&self.tree, new.dir) {
            return None;
        }
        let mut seen_room = [0; NAME_ROOM];
        let seen = self.place_of(key, &mut seen_room)?;
        if (seen.dir, seen.name) != (new.dir, new.name) && self.are_twins(seen, new, key) {
            doubt::note_twin(batch);
            // There is one directory of that handle in the tree, and it stays where it is.
            return Some(Known { name: copy(new.name, room), ..new });
        }
        self.note_arrival(key, seen, who, batch);
        Some(Known { name: copy(seen.name, room), ..seen })
    }

    /// A directory is told to be made that a walk met where it went later, and told of: the types that
    /// are still to be told.
    #[cold]
    pub(super) fn made_before(
        &mut self,
        event: &Event<'_>,
        types: u32,
        at: Known<'_>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) -> u32 {
        let mut room = [0; NAME_ROOM];
        let Some(key) = event.object else { return types };
        let Some(seen) = self.place_of(key, &mut room) else { return types };
        if seen.dir == at.dir && seen.name == at.name || self.are_twins(seen, at, key) {
            return types;
        }
        self.note_arrival(key, seen, who, batch);
        self.leave_subtree(key, at.dir, who, batch);
        let object = (self.tree.hash(key), true);
        let by = self.merged_by(object.0, who);
        self.tell_lost_rename(object, Some(seen), Some(at), by, batch);
        self.rename_dir(Some(at), false, key, who, batch);
        types & !kind::CREATE
    }

    /// A directory was met at a place before the event came up that takes it there; or none will.
    fn note_arrival(&mut self, key: Key<'_>, at: Known<'_>, who: Actor, batch: &mut Batch<'_, '_>) {
        if self.tree.is_fresh(at.dir) && self.watch.marks_each(&self.tree, at.dir) {
            let (object, dir) = (self.tree.hash(key), self.tree.node(at.dir).hash());
            self.watch.arrivals.put(object, at.dir, dir, at.name);
            // What leaves it there is told next.
            self.doubt((key, true), at, (true, true), who, batch);
        }
    }

    /// Something comes in that the lines have here still: that it left was merged into an earlier
    /// departure.
    #[cold]
    fn tell_lost_departure(
        &mut self,
        event: &Event<'_>,
        object: u64,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let mut room = [0; NAME_ROOM];
        let known = event.object.filter(|_| event.is_dir()).map(|key| self.tree.find_live(key));
        let old = match known {
            // A root is nobody's entry.
            Some(id) => id.filter(|&id| self.tree.node(id).parent != 0).map(|id| {
                let name = copy(self.tree.name(id), &mut room);
                Known::new(&self.tree, self.tree.node(id).parent, name)
            }),
            None => {
                self.doubts.renamed_to(object).filter(|was| self.is_dir_known(was)).map(|was| {
                    Known { dir: was.dir, name: copy(was.name(), &mut room), place: was.place }
                })
            }
        };
        let Some(old) = old else { return };
        let was = self.doubts.find(old.place, object).and_then(|at| self.doubts.get(at)).copied();
        match was.filter(|was| was.left != Left::No) {
            Some(was) => {
                let silent = batch.silent;
                batch.silent = was.silent;
                self.tell_left_one(&was, batch);
                batch.silent = silent;
            }
            None => {
                let object = (object, event.is_dir());
                let by = self.merged_by(object.0, who);
                self.tell_lost_rename(object, Some(old), None, by, batch);
            }
        }
        if let Some(id) = known.flatten() {
            self.tree.forget(id);
        }
    }

    /// What must be told before.
    fn before_rename(
        &mut self,
        event: &Event<'_>,
        (object, before): (u64, Before),
        told_old: Option<Known<'_>>,
        (new, other): (Option<Known<'_>>, Option<&Other>),
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        if let Some(old) = told_old {
            if let Some(key) = event.object.filter(|_| event.is_dir()) {
                self.tell_lost_move(key, old, who, batch);
            }
            match before {
                // Its DELETE was told before its time.
                Before::Deleted(place) if place == old.place => {
                    self.tell_found(old, (object, event.is_dir()), batch);
                }
                _ => self.tell_lost_arrival(old, object, event.is_dir(), who, batch),
            }
            if !event.is_dir() {
                self.tell_unseen(kind::DELETE, old, object, who, batch);
            }
        }
        // What an exchange moves back is not gone.
        if self.deferred.any()
            && let Some(new) = new.filter(|_| other.is_none())
        {
            self.tell_gone_at(new, batch);
        }
        if self.found.any() || self.tree.any_unread() {
            self.rename_found((object, event.is_dir()), told_old, (new, other), who, batch);
        }
    }

    /// What the lines say of the two names from now on.
    fn note_rename(
        &mut self,
        event: &Event<'_>,
        (object, before): (u64, Before),
        (old, told_old): (Option<Known<'_>>, Option<Known<'_>>),
        new: Option<Known<'_>>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        if self.doubts.any() {
            let ends = [old, new].into_iter().flatten();
            ends.for_each(|at| self.settle_side(at, object, batch));
            told_old.into_iter().for_each(|at| self.tell_doubts(at, 0));
            new.into_iter().for_each(|at| self.tell_doubts(at, object));
        }
        let Some(key) = event.object else { return };
        let is_again = before != Before::Nothing;
        // What may be missing at a name where only a link was made is no rename.
        let mut by = Answer::default().into();
        if is_again {
            by = self.merged_by(object, who);
            if by.image == 0 && self.doubts.any() {
                self.doubts.disown(object, |image| batch.sources.who.release(image));
            }
        }
        for (at, told) in [(old, false), (new, true)] {
            let Some(at) = at else { continue };
            // What is in doubt where this goes may come back, and replace it. Where another name of it was
            // removed, the removal of this one may be merged into that.
            let may_go = told && self.links.was_removed(at.place, object);
            let may_return = !told && !event.is_dir() && self.came_as_link(object, at);
            if is_again || may_go || may_return || told && self.is_contested(at) {
                self.doubt((key, event.is_dir()), at, (told, true), by, batch);
            }
        }
    }

    /// Whether a CREATE alone brought a file to a name since the queue was empty, as a hard link does. The kernel merges
    /// the CREATE of another link there into that: `ln a b; mv b c; ln c b`. Where fsmon reports no CLOSE_WRITE, every
    /// file comes by a CREATE alone; where it reports types of the object itself, `recent` has every file.
    fn came_as_link(&self, object: u64, at: Known<'_>) -> bool {
        let is_told = self.types & kind::CLOSE_WRITE != 0 && self.types & SELF == 0;
        is_told && self.recent.is_new(object, at.dir, at.name)
    }

    /// Whether a name is in doubt, of whatever object.
    pub(super) fn is_contested(&self, at: Known<'_>) -> bool {
        self.doubts.any() && self.doubts.at(at.place).is_some()
    }

    /// Where a directory went that was moved into one without a mark as yet.
    fn arrival<'a>(
        &mut self,
        event: &Event<'_>,
        room: &'a mut [u8; NAME_ROOM],
    ) -> Option<Known<'a>> {
        let key = event.object.filter(|_| event.location.is_none() && event.is_dir())?;
        let old = self.known(event.old)?;
        let object = self.tree.hash(key);
        let is_noted = self.watch.arrivals.has(object);
        let met = if is_noted {
            let (dir, dir_hash, name) = self.watch.arrivals.take(object, room)?;
            let node = self.tree.node(dir);
            let is_there = node.hash() == dir_hash && node.flags & flag::DEAD == 0;
            is_there.then(|| Known::new(&self.tree, dir, name))
        } else {
            // Or where a walk has it by now.
            let met = self.place_of(key, room)?;
            let was_met = self.tree.is_fresh(met.dir) && self.watch.marks_each(&self.tree, met.dir);
            was_met.then_some(met)
        };
        met.filter(|met| (met.dir, met.name) != (old.dir, old.name))
    }

    /// A directory moved within the tree, into it, or out of it.
    #[cold]
    pub(super) fn rename_dir(
        &mut self,
        new: Option<Known<'_>>,
        came_in: bool,
        key: Key<'_>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let known = self.tree.find_live(key);
        let Some(at) = new else {
            if let Some(id) = known {
                self.tree.forget(id);
            }
            return;
        };
        // A dead one that moves was taken for replaced.
        // One that came in may be known from a walk that met it where it went later.
        let is_new = came_in || self.tree.find(key).is_none();
        // An empty directory of that name was replaced, and no DELETE told; one with something in it
        // was set aside before.
        if let Some(replaced) = self.tree.child_named(at.dir, at.name, known)
            && self.tree.node(replaced).child == 0
        {
            self.tree.remove(replaced);
        }
        let Some(id) = self.take_up(at, key, batch) else { return };
        self.tree.set_met(id, false);
        let is_silent = !came_in && self.is_read_silently(at.dir);
        if is_silent && self.watch.recursive && (is_new || self.tree.any_unread()) {
            // It was there before the root was added: the walk of that reads it, wherever it has got to.
            if is_new {
                self.tree.set(id, flag::UNREAD);
            }
            self.watch.reconsider(&mut self.tree, id);
            self.walks.stir(&self.tree, id);
            return;
        }
        if is_new && self.watch.recursive {
            // What it has in it came with it, or was in what was not read yet: others may have made that.
            let brought = if came_in { who } else { Answer::default().into() };
            self.walk(id, Some(brought), batch);
            return;
        }
        if self.tree.any_unread() {
            // It, or something in it, was no longer where the tree had it when it was to be read. Others may
            // have brought that.
            self.walk_rest(id, Answer::default().into(), batch);
        }
        if self.watch.reconsider(&mut self.tree, id) {
            // What was left out there is not left out here.
            self.walk_rest(id, who.late(), batch);
        }
    }
}
