//! Roots whose path may lead elsewhere now: a symbolic link on the way changed, or a mount did.

use super::batch::{Actor, Batch, Known, Told, who};
use super::steps::Came;
use super::walk::unreadable;
use super::{FROM_RENAME, Resolver};
use crate::hot::event::{Event, Key};
use crate::hot::r#where::above::{Reached, TYPES};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::watch::SIDES;
use crate::hot::r#where::watch::descent::Missed;
use fsmon_format::kind;

impl<D: Disk> Resolver<D> {
    /// After an event: whether it can be one of a link on a way to a root.
    #[inline]
    pub(super) fn may_concern_links(&self, event: &Event<'_>) -> bool {
        let may_be = |dir| self.above.may_have_links(self.tree.hash(dir));
        self.above.any_links()
            && event.types() & (TYPES | SIDES) != 0
            && [event.location, event.old].into_iter().flatten().any(|place| may_be(place.dir))
    }

    /// Follows the ways anew on which something happened to a link, or on which one may have come.
    #[cold]
    pub(super) fn follow_links(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        for place in [event.location, event.old].into_iter().flatten() {
            let dir = self.tree.hash(place.dir);
            if !self.above.may_have_links(dir) {
                continue;
            }
            for at in 0..self.above.ways.len() {
                let way = &self.above.ways[at];
                // A directory that comes is followed by events: see `steps.rs`.
                let may_be_link = !event.is_dir() || way.is_cut;
                if way.has_link(&self.tree, dir, place.name)
                    || may_be_link && way.misses(dir, place.name)
                {
                    let who = who(event.pid, batch);
                    self.look_again(at, who, batch);
                }
            }
        }
    }

    /// Goes down the way to a root once more. Where it leads to another directory than before, that one
    /// is watched from now on, and both are told as renames.
    #[cold]
    pub(crate) fn look_again(&mut self, at: usize, who: Actor, batch: &mut Batch<'_, '_>) {
        let reached = match self.above.go_down(at, &self.watch.disk, &self.tree) {
            Err(Missed::Ahead) => return,
            Err(Missed::Refused) => return unreadable(batch),
            reached => reached,
        };
        let inode_marks = reached.as_ref().is_ok_and(|found| self.needs_inode_marks(found));
        let node = self.watch.roots[at].node;
        if node != 0 {
            let found = reached.as_ref().ok();
            let key = found.map(|found| Key { fsid: found.fsid, handle: found.handle.key() });
            if key.and_then(|key| self.tree.find_live(key)) == Some(node) {
                return;
            }
            match self.deferred.take(node) {
                Some(gone) => self.tell_one(gone, batch),
                None => {
                    self.tell_away(node, who, batch);
                    self.drop_root(node);
                }
            }
        }
        match reached {
            Ok(reached) => self.adopt(at, (reached, inode_marks), Came::Renamed, who, batch),
            Err(missed) => {
                if missed == Missed::Slow {
                    unreadable(batch);
                }
                if node != 0 {
                    self.above.request_look(at);
                }
            }
        }
    }

    /// A root's path no longer leads to its directory, which is still there.
    pub(crate) fn tell_away(&mut self, node: u32, who: Actor, batch: &mut Batch<'_, '_>) {
        let wanted = self.types & FROM_RENAME & !kind::MOVED_TO;
        if wanted != 0 && !batch.silent {
            let object = self.tree.node(node).hash();
            let old = Some(Known::new(&self.tree, node, &[]));
            self.tell(Told { at: None, old, wanted, flags: 0, object, who }, true, batch);
        }
    }

    /// Whether every directory of a root's filesystem needs a mark. The filesystem is marked first, as no
    /// root may have been on it; what happened on it before is not told.
    pub(super) fn needs_inode_marks(&mut self, reached: &Reached<D::Dir>) -> bool {
        // A filesystem that was unmounted and mounted again has the same id, and no mark.
        if self.tree.add_filesystem(reached.fsid) {
            // As the others are marked now: see `hot/where/mute/rename_events.rs`.
            let sides = if self.renames.is_on() { SIDES } else { 0 };
            // That of directories lacks what only a filesystem reports.
            let of_filesystem = self.types & kind::FS_ERROR;
            let mask = self.watch.mask | u64::from(sides | of_filesystem);
            if self.watch.disk.mark_filesystem(mask, &reached.fd).is_ok() {
                self.above.cover(reached.fsid);
                return false;
            }
        }
        !self.above.covers(reached.fsid)
    }
}
