//! Events of directories that a walk under way has not met yet: what leads there is read first.

use super::Resolver;
use super::batch::Batch;
use super::walk::Contradicted;
use crate::hot::disk::Disk;
use crate::hot::event::{Event, Key};
use crate::hot::tree::flag;
use crate::hot::watch::Read;
use crate::hot::who::Answer;
use arrayvec::ArrayVec;
use fsmon_format::kind;

impl<D: Disk> Resolver<D> {
    /// Before an event is resolved: its directories become known where a walk would come to know them.
    /// What is in them is as late as by the walk, and later than the event.
    #[cold]
    pub(super) fn read_ahead(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        for place in [event.place, event.old].into_iter().flatten() {
            let hash = self.tree.hash(place.dir);
            let is_known = self.tree.find(place.dir).is_some() || self.above.is_step(hash);
            if !is_known && !self.walks.is_outside(hash) && !self.reach(place.dir, batch) {
                self.walks.note_outside(hash);
            }
        }
    }

    /// Reads from the nearest known directory above one that is not known down to it, if that is still to be
    /// read. Whether it is known then.
    fn reach(&mut self, dir: Key<'_>, batch: &mut Batch<'_, '_>) -> bool {
        let mut way = ArrayVec::new();
        while let Some(mut at) = self.watch.nearest_above(&self.tree, dir, &mut way) {
            let is_cut = way.is_full();
            loop {
                if self.tree.node(at).flags & flag::UNREAD == 0 {
                    return false;
                }
                if self.read_one(at, batch) == Read::NoDir {
                    self.tree.forget(at);
                    return false;
                }
                if self.tree.find(dir).is_some() {
                    return true;
                }
                let Some(next) = way.pop() else { break };
                match self.tree.find_live(Key { fsid: dir.fsid, handle: next.key() }) {
                    Some(known) => at = known,
                    // It was there a moment ago.
                    None => return false,
                }
            }
            // A way that is longer than what is kept of it is gone in pieces.
            if !is_cut {
                return false;
            }
        }
        false
    }

    /// Reads a directory, in the name of whoever brought it in.
    fn read_one(&mut self, id: u32, batch: &mut Batch<'_, '_>) -> Read {
        let tell = match self.walks.of(&self.tree, id) {
            Some(walk) => walk.tell,
            None => {
                let tells = self.types & kind::CREATE != 0 && !batch.silent;
                tells.then(|| Answer::default().into())
            }
        };
        let read = self.visit(tell, Contradicted::Wait, batch, |watch, tree, visit| {
            watch.read_one(tree, id, &mut |disk, tree, met| visit(disk, tree, met))
        });
        read.0
    }
}
