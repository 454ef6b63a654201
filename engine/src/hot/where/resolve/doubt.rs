//! What the kernel merged in the queue: names that have to be held against the filesystem.

use super::Resolver;
use super::batch::{Actor, Batch, Known, Told};
use super::walk::walk_loss;
use crate::hot::event::{Event, Key};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tables::in_doubt::{Doubt, Left};
use crate::hot::r#where::tree::{NAME_ROOM, flag};
use crate::hot::who::Answer;
use crate::sys::handle::may_recur;
use fsmon_format::kind;
use fsmon_format::record::{Attribution, event_flag};

/// Names of one object in doubt among which fsmon looks for the other end of a rename that the kernel merged away. Of
/// a file with more it may tell the two ends apart: DELETE of one name and CREATE of the other.
const NAMES: usize = 8;

impl<D: Disk> Resolver<D> {
    /// An entry comes or goes whose name is in doubt: where the lines said that it was there
    /// already, or was not, they were wrong until now.
    pub(super) fn settle_doubt(
        &mut self,
        event: &Event<'_>,
        types: u32,
        at: Known<'_>,
        hash: u64,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        if types & kind::CREATE == 0 {
            self.tell_lost_arrival(at, hash, event.is_dir(), who, batch);
        } else if let Some(other) = self.doubts.reported_there(at.place).copied() {
            // That is gone, whatever it was.
            let silent = batch.silent;
            self.correct(&other, None, batch);
            batch.silent = silent;
        }
    }

    /// A file got a name, or lost one, that was renamed before; or came where another is in doubt. The
    /// next rename may be merged into that one, and be seen by nobody.
    pub(super) fn doubt_link(
        &mut self,
        event: &Event<'_>,
        types: u32,
        at: Known<'_>,
        hash: u64,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let Some(key) = event.object else { return };
        let is_there = types & kind::DELETE == 0;
        let place = at.place;
        let is_link = is_there && self.objects.is_renamed(hash)
            || !is_there && self.doubts.of(hash).any(|other| other.place != place);
        // What is in doubt there may come back, and replace it. What was removed there before may be removed
        // once more, merged into that.
        let is_contested = is_there && self.is_contested(at);
        let is_back = is_there && self.links.was_removed(place, hash);
        let is_again = !is_there && may_recur(key.handle) && self.links.at(place) == Some(hash);
        if (is_link || is_contested || is_back || is_again)
            && self.doubts.find(place, hash).is_none()
            && self.doubts.has_much_room_or_forgets()
        {
            self.doubt((key, false), at, (is_there, is_link), who, batch);
        }
    }

    /// Who did something to an object that the kernel merged away, or that a walk saw first. That is the process of an
    /// event of the object, if all its renames since the queue was empty are that process's; else nobody knows.
    pub(super) fn merged_by(&self, object: u64, who: Actor) -> Actor {
        match self.objects.is_renamed_by(object, who.image) {
            true => who.late(),
            false => Answer::default().into(),
        }
    }

    /// An entry goes, by removal or rename, whose arrival no line told of: that is told first.
    pub(super) fn tell_lost_arrival(
        &mut self,
        at: Known<'_>,
        object: u64,
        is_dir: bool,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let place = at.place;
        let doubt = self.doubts.find(place, object).and_then(|at| self.doubts.get(at));
        let Some(is_renamed) = doubt.filter(|doubt| !doubt.is_reported).map(|doubt| doubt.renamed)
        else {
            return;
        };
        if self.deferred.any() {
            self.tell_gone_at(at, batch);
        }
        let was = self.doubts.renamed_to(object).filter(|was| self.is_dir_known(was));
        let Some(was) = was.copied() else {
            // A rename may have replaced what the lines have there.
            return match is_renamed && !is_dir {
                true => {
                    let who = self.merged_by(object, who);
                    self.tell_lost_rename((object, is_dir), None, Some(at), who, batch);
                }
                false => self.tell_found(at, (object, is_dir), batch),
            };
        };
        let old = known(&was);
        let key = Key { fsid: self.tree.fsid(at.dir), handle: was.key() };
        if is_dir {
            self.leave_subtree(key, at.dir, who, batch);
        }
        let by = self.merged_by(object, who);
        self.tell_lost_rename((object, is_dir), Some(old), Some(at), by, batch);
        if is_dir {
            self.rename_dir(Some(at), false, key, who, batch);
        }
    }

    /// The name of an object is in doubt, as it was renamed or for another reason; `told` says whether
    /// the lines say that it is there. False where there is no room.
    pub(super) fn doubt(
        &mut self,
        (key, is_dir): (Key<'_>, bool),
        at: Known<'_>,
        (told, renamed): (bool, bool),
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) -> bool {
        let dir = (at.dir, self.tree.node(at.dir).hash());
        let image = who.image;
        let object = self.tree.hash(key);
        let ids = (object, at.place);
        let Some(mut doubt) = Doubt::new(ids, key.handle, dir, at.name) else {
            self.doubts.note_too_long();
            return false;
        };
        (doubt.is_reported, doubt.renamed, doubt.silent) = (told, renamed, batch.silent);
        (doubt.is_dir, doubt.image, doubt.attribution) = (is_dir, image, who.attribution);
        let swap = self.doubts.put(doubt);
        if swap.is_kept {
            batch.sources.who.hold(image);
        }
        batch.sources.who.release(swap.release);
        swap.is_kept
    }

    /// Holds names in doubt against the filesystem, now that nothing is left to read. What the
    /// lines do not say is told, and put right.
    #[cold]
    pub(crate) fn look_at_doubts(&mut self, batch: &mut Batch<'_, '_>) {
        let mut at = 0;
        while let Some(doubt) = self.doubts.get(at).copied() {
            if !self.is_dir_known(&doubt) {
                batch.sources.who.release(self.doubts.remove(at));
                continue;
            }
            let seen = self.is_there(&doubt);
            if !self.watch.disk.is_queue_empty() {
                // What was seen may be of something that is still to be told.
                return;
            }
            let is_over = match seen {
                Some(is_there) if self.doubts.note_look(at, is_there) => {
                    if is_there != doubt.is_reported {
                        self.correct(&doubt, None, batch);
                        self.give_up(&doubt, batch);
                        continue;
                    }
                    true
                }
                Some(_) => false,
                // Its directory is in doubt itself, as a rule.
                None => self.doubts.note_miss(at),
            };
            if is_over {
                batch.sources.who.release(self.doubts.remove(at));
            } else {
                at += 1;
            }
        }
    }

    /// Where no line could say what a look showed, none ever will: looking goes on for nothing.
    fn give_up(&mut self, doubt: &Doubt, batch: &mut Batch<'_, '_>) {
        let index = self.doubts.find(doubt.place, doubt.object);
        let is_so = |index: &usize| {
            self.doubts.get(*index).is_some_and(|now| now.is_reported == doubt.is_reported)
        };
        if let Some(index) = index.filter(is_so) {
            batch.sources.who.release(self.doubts.remove(index));
        }
    }

    pub(super) fn is_dir_known(&self, doubt: &Doubt) -> bool {
        let dir = self.tree.node(doubt.dir);
        let is_same = dir.hash() == doubt.dir_hash && dir.flags & flag::DEAD == 0;
        // One that left and came back was read then.
        is_same && self.tree.place(doubt.dir, doubt.name()) == doubt.place
    }

    /// Whether the object is there; `None` where its directory is not to be found.
    fn is_there(&mut self, doubt: &Doubt) -> Option<bool> {
        self.is_dir_known(doubt)
            .then(|| self.watch.holds(&self.tree, doubt.dir, doubt.name(), doubt.key()))
            .flatten()
    }

    /// A file is gone, and no event told of that.
    pub(super) fn tell_lost_end(
        &mut self,
        object: u64,
        at: Known<'_>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let (wanted, flags) = (kind::DELETE & self.types, event_flag::FOUND);
        if wanted != 0 && !batch.silent {
            let told = Told { at: Some(at), old: None, wanted, flags, object, who };
            self.tell(told, false, batch);
        }
        self.note_found(false, Some(at), None);
        self.note_links((object, false), Some(at), None);
        self.tell_doubts(at, 0);
    }

    /// A line says that an object has lost a name, and got another.
    pub(super) fn note_links(
        &mut self,
        (object, is_dir): (u64, bool),
        old: Option<Known<'_>>,
        new: Option<Known<'_>>,
    ) {
        for (at, file) in [(old, 0), (new, object)] {
            let Some(at) = at else { continue };
            let place = at.place;
            match is_dir || object == 0 {
                true => self.links.forget(place),
                false => self.links.put(place, file),
            }
            if self.watch.file_names.is_some() {
                self.note_name(at, if is_dir { 0 } else { file });
            }
        }
    }

    /// A file comes or goes, and was there already or not, as far as is known: what nothing told of
    /// is told first.
    pub(super) fn tell_unseen(
        &mut self,
        types: u32,
        at: Known<'_>,
        file: u64,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let Some(known) = self.links.at(at.place) else { return };
        let comes = types & kind::CREATE != 0;
        match known {
            0 if !comes && types & kind::DELETE != 0 => {
                self.tell_found(at, (file, false), batch);
            }
            0 => {}
            // It went, and came back by this.
            _ if comes => self.tell_lost_end(known, at, self.merged_by(known, who), batch),
            _ if known == file || types & kind::DELETE == 0 => {}
            // It replaced what was there.
            _ => {
                let who = self.merged_by(file, who);
                self.tell_lost_rename((file, false), None, Some(at), who, batch);
            }
        }
    }

    /// What the lines say of a name from now on.
    pub(super) fn tell_doubts(&mut self, at: Known<'_>, object: u64) {
        self.doubts.set_reported(at.place, object);
    }

    /// An object is not where the lines say; and not in `gone`, whatever is on disk.
    pub(super) fn correct(&mut self, doubt: &Doubt, gone: Option<u32>, batch: &mut Batch<'_, '_>) {
        let mut others = [None; NAMES];
        let all = self.doubts.of(doubt.object).filter(|one| one.is_reported != doubt.is_reported);
        let all = all.filter(|one| gone != Some(one.dir));
        others.iter_mut().zip(all).for_each(|(other, one)| *other = Some(*one));
        let is_so = |one: &Doubt| self.is_there(one) == Some(!one.is_reported);
        let other = others.into_iter().flatten().find(is_so);
        let (gone, there) = match doubt.is_reported {
            true => (Some(*doubt), other),
            false => (other, Some(*doubt)),
        };
        batch.silent = doubt.silent;
        let attribution = if doubt.image == 0 { Attribution::Unknown } else { Attribution::Late };
        let who: Actor = Answer::new(doubt.image, attribution).into();
        if doubt.is_reported {
            self.doubts.set_reported(doubt.place, 0);
        }
        let new = there.as_ref().map(known);
        match doubt.is_dir {
            true => self.correct_dir(doubt, new, who, batch),
            false => {
                let old = gone.as_ref().map(known);
                self.correct_file(doubt, old, new, who, batch);
            }
        }
    }

    /// A file went from a name to where nobody watches, and nothing but that side told of it.
    pub(super) fn tell_left_one(&mut self, doubt: &Doubt, batch: &mut Batch<'_, '_>) {
        let (old, object) = (known(doubt), doubt.object);
        let wanted = self.rename_types(Some(old), None);
        if wanted != 0 && !batch.silent {
            let who: Actor = Answer::new(doubt.image, doubt.attribution).into();
            let told = Told { at: None, old: Some(old), wanted, flags: 0, object, who };
            self.tell(told, false, batch);
        }
        self.note_found(false, Some(old), None);
        self.note_links((object, false), Some(old), None);
        self.tell_doubts(old, 0);
    }

    fn correct_file(
        &mut self,
        doubt: &Doubt,
        old: Option<Known<'_>>,
        new: Option<Known<'_>>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        match (old, new) {
            (Some(_), None) if doubt.is_reported && doubt.left != Left::No => {
                self.tell_left_one(doubt, batch);
            }
            (Some(old), None) => self.tell_lost_end(doubt.object, old, who, batch),
            // A rename can have replaced what the lines have there.
            (None, Some(new)) if !doubt.renamed => {
                self.clear_place(new, (doubt.object, false), who, batch);
                self.tell_found(new, (doubt.object, false), batch);
            }
            _ => self.tell_lost_rename((doubt.object, false), old, new, who, batch),
        }
    }

    /// Whether a directory is at both places: then two have one handle. What moves meanwhile from one to
    /// the other is not at the first any more when that is looked at again.
    pub(super) fn are_twins(&mut self, one: Known<'_>, other: Known<'_>, key: Key<'_>) -> bool {
        [one, other, one]
            .into_iter()
            .all(|at| self.watch.holds(&self.tree, at.dir, at.name, key.handle) == Some(true))
    }

    /// The same of a directory: where the lines have it, the tree says.
    fn correct_dir(
        &mut self,
        doubt: &Doubt,
        new: Option<Known<'_>>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let key = Key { fsid: self.tree.fsid(doubt.dir), handle: doubt.key() };
        let mut room = [0; NAME_ROOM];
        let old = self.place_of(key, &mut room);
        let at = |place: Known<'_>| place.dir == doubt.dir && place.name == doubt.name();
        match (old, new) {
            (Some(old), Some(new)) if old.dir == new.dir && old.name == new.name => {
                return self.tell_doubts(new, doubt.object);
            }
            // It went on from there, and that was told.
            (Some(old), None) if !at(old) => return,
            (None, None) => return,
            _ => {}
        }
        if let Some((old, new)) = old.zip(new)
            && self.are_twins(old, new, key)
        {
            self.tell_found(new, (doubt.object, true), batch);
            return note_twin(batch);
        }
        if let Some(new) = new {
            self.leave_subtree(key, new.dir, who, batch);
        }
        self.tell_lost_rename((doubt.object, true), old, new, who, batch);
        self.rename_dir(new, old.is_none(), key, who, batch);
    }
}

/// A directory has the handle of another one that is there, too: what happens in one cannot be told from
/// what happens in the other.
#[cold]
pub(super) fn note_twin(batch: &mut Batch<'_, '_>) {
    batch.output.counters.dirs_alike += 1;
    walk_loss(Some(1), batch);
}

/// The name in doubt.
fn known(doubt: &Doubt) -> Known<'_> {
    Known { dir: doubt.dir, name: doubt.name(), place: doubt.place }
}

/// A copy of a name, in `room`.
pub(super) fn copy<'a>(name: &[u8], room: &'a mut [u8; NAME_ROOM]) -> &'a [u8] {
    let len = name.len().min(NAME_ROOM);
    room[..len].copy_from_slice(&name[..len]);
    &room[..len]
}
