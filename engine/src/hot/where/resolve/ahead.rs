//! Events of directories that a walk under way has not met yet: what leads there is read first.

use super::Resolver;
use super::batch::Batch;
use super::walk::Contradicted;
use crate::hot::event::{Event, Key};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tree::flag;
use crate::hot::r#where::watch::{ReadOutcome, WAY_MAX};

use crate::hot::who::Answer;
use crate::sys::handle::Handle;
use arrayvec::ArrayVec;
use fsmon_format::kind;

impl<D: Disk> Resolver<D> {
    /// Before an event is resolved: its directories become known where a walk would come to know them.
    /// What is in them is as late as by the walk, and later than the event.
    #[cold]
    pub(super) fn read_ahead(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        if event.is_dir() && event.types() & kind::RENAME != 0 {
            // What was outside may have come in.
            self.walks.forget_outside();
        }
        for place in [event.location, event.old].into_iter().flatten() {
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
        let (tree, walks) = (&self.tree, &self.walks);
        let is_read = |root| walks.any_in(tree, root);
        let Some(at) = self.watch.nearest_above(tree, dir, &mut way, is_read) else { return false };
        if way.is_full() {
            // Deeper than any real tree: to climb again for each part of it would take the square of the time.
            self.finish_walks(batch);
        } else {
            self.read_down(at, &mut way, dir, batch);
        }
        self.watch.end_reading();
        self.tree.find(dir).is_some()
    }

    /// Reads a directory, and those below it that lead to `dir`.
    fn read_down(
        &mut self,
        mut at: u32,
        way: &mut ArrayVec<Handle, WAY_MAX>,
        dir: Key<'_>,
        batch: &mut Batch<'_, '_>,
    ) {
        while self.tree.node(at).flags & flag::UNREAD != 0 {
            if self.read_one(at, batch) == ReadOutcome::NoDir {
                return self.tree.forget(at);
            }
            let next = way.pop().filter(|_| self.tree.find(dir).is_none());
            let known = next
                .and_then(|next| self.tree.find_live(Key { fsid: dir.fsid, handle: next.key() }));
            // It was there a moment ago.
            let Some(known) = known else { return };
            at = known;
        }
    }

    /// Reads a directory. What is found has the process that brought it in, if a walk under way knows that.
    fn read_one(&mut self, id: u32, batch: &mut Batch<'_, '_>) -> ReadOutcome {
        let tell = match self.walks.of(&self.tree, id) {
            Some(walk) => walk.report_as,
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
