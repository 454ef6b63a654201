//! Walks in steps: see `hot/where/tables/under_way.rs`.

use super::Resolver;
use super::batch::{Actor, Batch};
use super::walk::Contradicted;
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tree::flag;
use fsmon_format::kind;

impl<D: Disk> Resolver<D> {
    /// Reads a directory that came in, with all below it. What is found is told, in the name of
    /// who brought it. How many entries the first step met, whether they are told or not.
    #[cold]
    pub(super) fn walk(&mut self, id: u32, actor: Option<Actor>, batch: &mut Batch<'_, '_>) -> u64 {
        self.tree.set(id, flag::UNREAD);
        self.walk_what_is_left(id, actor, batch)
    }

    /// Reads what is still unread in a directory that moved, and below: in the name of who brought it there.
    #[cold]
    pub(super) fn walk_rest(&mut self, id: u32, actor: Actor, batch: &mut Batch<'_, '_>) {
        self.walks.stir(&self.tree, id);
        self.walk_what_is_left(id, Some(actor), batch);
    }

    /// Reads as much as a step takes, and leaves the rest for others. Directories that have a mark each are
    /// all read at once: until then nobody hears what happens in them.
    fn walk_what_is_left(
        &mut self,
        id: u32,
        actor: Option<Actor>,
        batch: &mut Batch<'_, '_>,
    ) -> u64 {
        let tell = actor.filter(|_| self.types & kind::CREATE != 0 && !batch.silent);
        // The key that the upper layer has of a directory opens nothing on the overlay: nothing could be read ahead.
        let is_whole = self.watch.has_inode_marks(&self.tree, id) || !self.walks.has_room();
        let until_ns = if is_whole { u64::MAX } else { self.step_end() };
        // After a loss no event is of before.
        let is_loss = actor.is_none();
        let how = (tell, if is_loss { Contradicted::Take } else { Contradicted::Wait });
        let (left, mut count) = self.walk_some((id, id), until_ns, how, batch);
        if let Some(next) = left {
            if !self.watch.opens_by_handle(&self.tree, id) {
                // Nothing could be read ahead.
                count += self.walk_some((id, next), u64::MAX, how, batch).1;
                return count;
            }
            tell.into_iter().for_each(|who| batch.sources.who.hold(who.image));
            let before = self.walks.put(&self.tree, (id, next), tell);
            before.into_iter().for_each(|who| batch.sources.who.release(who.image));
        }
        count
    }

    /// When a step ends that begins now.
    pub(super) fn step_end(&self) -> u64 {
        self.watch.disk.now_ns().saturating_add(self.walks.step_ns)
    }

    /// One step of the walks that are under way.
    #[cold]
    pub(crate) fn walk_on(&mut self, batch: &mut Batch<'_, '_>) {
        let until_ns = self.step_end();
        while let Some(walk) = self.walks.last(&self.tree) {
            let is_there = self.walks.is_there(&walk, &self.tree);
            let how = (walk.report_as, Contradicted::Wait);
            let left = match is_there {
                true => self.walk_some(walk.top_and_next(), until_ns, how, batch).0,
                false => None,
            };
            if !is_there || self.walks.go_on(&self.tree, left) {
                self.end_walk(batch);
            }
            if self.watch.disk.now_ns() >= until_ns {
                return;
            }
        }
    }

    /// The last walk is over.
    pub(super) fn end_walk(&mut self, batch: &mut Batch<'_, '_>) {
        let tell = self.walks.pop().and_then(|walk| walk.report_as);
        tell.into_iter().for_each(|who| batch.sources.who.release(who.image));
        self.unsure.note_read(self.watch.disk.now_ns());
        self.watch.end_reading();
    }

    /// Reads at once all that is left.
    #[cold]
    pub(super) fn finish_walks(&mut self, batch: &mut Batch<'_, '_>) {
        while let Some(walk) = self.walks.last(&self.tree) {
            let is_there = self.walks.is_there(&walk, &self.tree);
            if is_there {
                self.walk_some(
                    walk.top_and_next(),
                    u64::MAX,
                    (walk.report_as, Contradicted::Wait),
                    batch,
                );
            }
            if !is_there || self.walks.go_on(&self.tree, None) {
                self.end_walk(batch);
            }
        }
    }

    /// See [`Watch::walk_some`](crate::hot::r#where::watch::Watch::walk_some); and how many entries were found.
    pub(super) fn walk_some(
        &mut self,
        place: (u32, u32),
        until_ns: u64,
        (tell, contradicted): (Option<Actor>, Contradicted),
        batch: &mut Batch<'_, '_>,
    ) -> (Option<u32>, u64) {
        self.visit(tell, contradicted, batch, |watch, tree, visit| {
            watch.walk_some(tree, place, until_ns, &mut |disk, tree, met| visit(disk, tree, met))
        })
    }
}
