//! Records of what happened.

use super::Resolver;
use super::batch::{Actor, Batch, Known, Told, head, who};
use crate::hot::event::Event;
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tables::exchange_halves::AsideName;
use fsmon_format::kind;
use fsmon_format::record::{Reason, event_flag};

impl<D: Disk> Resolver<D> {
    /// The filesystem of a root reported an error: the root's path, errno and how often.
    #[cold]
    pub(super) fn fs_error(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let fsid = event.object.or(event.location.map(|place| place.dir)).map(|key| key.fsid);
        let roots = self.watch.roots.iter().map(|root| root.node).filter(|&node| node != 0);
        let Some(root) = roots.into_iter().find(|&id| Some(self.tree.fsid(id)) == fsid) else {
            return;
        };
        if self.types & kind::FS_ERROR != 0 {
            let (errno, count) = event.error.unwrap_or((0, 0));
            let code = u64::from(errno) | u64::from(count) << 32;
            let who = who(event.pid, batch);
            let at = Some(Known::new(&self.tree, root, &[]));
            let wanted = kind::FS_ERROR;
            self.emit(Told { at, old: None, wanted, flags: 0, object: code, who }, event, batch);
        }
    }

    #[inline]
    pub(super) fn emit(&mut self, told: Told<'_>, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        if batch.silent {
            return;
        }
        if told.who.later != 0 && (event.types() & !kind::ONDIR).count_ones() > 1 {
            return self.emit_parts(told, event, batch);
        }
        if told.who.image == 0 {
            batch.output.counters.unattributed += 1;
        }
        self.tell(told, event.is_dir(), batch);
    }

    /// The process changed while this event was in the queue, and the kernel merged several things
    /// into it: each is told of for itself.
    #[cold]
    fn emit_parts(&mut self, told: Told<'_>, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let types = event.types() & !kind::ONDIR;
        let answer = told.who.into();
        for (part, answer) in batch.sources.who.parts(answer, event.pid, batch.window, types) {
            let wanted = told.wanted & part;
            if wanted != 0 {
                let who = Actor { later: 0, ..answer.into() };
                self.emit(Told { wanted, who, ..told }, event, batch);
            }
        }
    }

    /// One record.
    #[inline]
    pub(super) fn tell(&mut self, told: Told<'_>, is_dir: bool, batch: &mut Batch<'_, '_>) {
        let mut head = head(told.who, batch);
        head.flags |= told.flags;
        if self.unsure.any() || self.doubts.any() {
            head.flags |= self.unsure_flag(&told) | self.aside_flag(&told);
        }
        head.mask = (told.wanted | if is_dir { kind::ONDIR } else { 0 }).into();
        head.object = self.object_of(&told).into();
        head.dir = told.at.map_or(0, |at| at.dir).into();
        head.dir2 = told.old.map_or(0, |old| old.dir).into();
        let name = told.at.map_or(&b""[..], |at| at.name);
        let name2 = told.old.map_or(&b""[..], |old| old.name);
        batch.output.event(&mut self.tree, batch.sources, head, name, name2);
    }

    /// What the record identifies the object by.
    #[inline]
    fn object_of(&self, told: &Told<'_>) -> u64 {
        match told.at.or(told.old) {
            Some(known) if told.wanted & kind::FS_ERROR == 0 => {
                self.tree.object(known.dir, told.object)
            }
            _ => told.object,
        }
    }

    /// Whether a name is one that was made up for what is set aside.
    #[cold]
    fn aside_flag(&self, told: &Told<'_>) -> u16 {
        let is_aside =
            |at: Known<'_>| AsideName::is(at.name) && AsideName::of(told.object).bytes() == at.name;
        let is_any = [told.at, told.old].into_iter().flatten().any(is_aside);
        if is_any { event_flag::EXCHANGE } else { 0 }
    }

    /// What says that a path may be another.
    #[cold]
    fn unsure_flag(&self, told: &Told<'_>) -> u16 {
        let mut places = [told.at, told.old].into_iter().flatten();
        if places.any(|at| self.is_path_unsure(at.dir)) { event_flag::UNSURE } else { 0 }
    }

    /// Whether a directory, or one above it, may be elsewhere: a walk met it there a moment ago, or it was
    /// renamed so often that a rename may have been merged away.
    pub(super) fn is_path_unsure(&self, dir: u32) -> bool {
        let mut at = dir;
        while at != 0 {
            let node = self.tree.node(at);
            let mut doubts = self.doubts.of(node.hash());
            if self.tree.is_met(at) || doubts.any(|doubt| doubt.is_dir && doubt.renamed) {
                return true;
            }
            at = node.parent;
        }
        false
    }
}

/// A directory was refused for want of room: told once, counted always.
#[cold]
pub(super) fn dirs_full(batch: &mut Batch<'_, '_>) {
    batch.output.counters.dirs_refused += 1;
    if batch.output.counters.dirs_refused == 1 {
        batch.output.loss(batch.sources, Reason::DirsMax, batch.window.span(), Some(1), 1);
    }
}
