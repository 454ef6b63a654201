//! Events to records: where by the tree, who by the process table, in queue order.

use super::above::Above;
use super::event::{Event, Key, Place};
use super::orphans::Orphans;
use super::output::{Output, Sources};
use super::recent::Recent;
use super::shuffled::{Moved, Shuffled};
use super::tree::{Full, Inserted, Tree, flag};
use super::watch::{Found, Watch};
use super::who::{Answer, Window};
use crate::sys::fanotify::flag::Q_OVERFLOW;
use crate::sys::handle::is_btrfs_subvolume;
use fsmon_format::kind;
use fsmon_format::record::{self, Attribution, Reason, event_flag};
use zerocopy::FromZeros;

/// Types that concern the object and come without a name for files.
const SELF: u32 = kind::DELETE_SELF | kind::MOVE_SELF;
/// Types that this program makes out of RENAME instead of asking the kernel for them.
pub(crate) const FROM_RENAME: u32 = kind::RENAME | kind::MOVED_FROM | kind::MOVED_TO;

/// The state that events are resolved against.
pub(crate) struct Resolver {
    pub(crate) tree: Tree,
    pub(crate) watch: Watch,
    /// What leads to the roots.
    pub(crate) above: Above,
    /// What the user wants to see.
    pub(crate) types: u32,
    pub(crate) own_pid: u32,
    pub(crate) orphans: Orphans,
    pub(crate) recent: Recent,
    pub(crate) shuffled: Shuffled,
}

/// What goes with every event of a batch.
pub(crate) struct Batch<'a, 's> {
    /// The time in which its events happened.
    pub(crate) window: Window,
    pub(crate) sources: &'a mut Sources<'s>,
    pub(crate) output: &'a mut Output,
    /// The event at hand is our own: the tree follows it, and nobody is told.
    pub(crate) own: bool,
    /// Who did the event at hand, where that was asked already: once for each event.
    settled: Option<Actor>,
}

impl<'a, 's> Batch<'a, 's> {
    pub(crate) fn new(
        window: Window,
        sources: &'a mut Sources<'s>,
        output: &'a mut Output,
    ) -> Self {
        Batch { window, sources, output, own: false, settled: None }
    }
}

/// Who did it, as far as is known.
#[derive(Clone, Copy)]
pub(crate) struct Actor {
    pub(crate) image: u32,
    attribution: Attribution,
    /// See [`Answer::later`].
    later: u32,
}

impl From<Answer> for Actor {
    fn from(answer: Answer) -> Self {
        let Answer { image, attribution, later } = answer;
        Actor { image, attribution, later }
    }
}

impl Actor {
    /// Of what was found afterwards: who made it is a guess.
    pub(crate) fn late(self) -> Self {
        Actor { attribution: self.attribution.max(Attribution::Late), ..self }
    }
}

/// A place whose directory is watched. An empty name is the directory itself.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) dir: u32,
    pub(crate) name: &'a [u8],
}

impl Resolver {
    /// One event of the queue.
    #[inline]
    pub(crate) fn event(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        batch.output.counters.kernel_events += 1;
        if event.mask & Q_OVERFLOW != 0 {
            return self.overflow(batch);
        }
        batch.own = event.pid == self.own_pid;
        if event.types() & kind::OPEN_EXEC != 0 {
            let name = event.place.map_or(&b""[..], |place| place.name);
            let answer = batch.sources.who.open_exec(event.pid, batch.window, name);
            batch.settled = Some(answer.into());
        }
        self.place(event, batch);
    }

    fn place(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        if self.concerns_steps(event) {
            self.leave_steps(event, batch);
            self.place_in_tree(event, batch);
            return self.reach_steps(event, batch);
        }
        self.place_in_tree(event, batch);
    }

    #[inline]
    fn place_in_tree(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        if event.types() & kind::RENAME != 0 {
            return self.rename(event, batch);
        }
        if event.types() & kind::FS_ERROR != 0 {
            return self.fs_error(event, batch);
        }
        match event.place {
            Some(place) => match self.tree.find(place.dir) {
                Some(dir) => {
                    let known = Known { dir, name: place.name };
                    self.entry(event, known, batch);
                }
                None => self.stranger(event, place, batch),
            },
            None => self.nameless(event, batch),
        }
    }

    /// An event in a watched directory, or on one.
    fn entry(&mut self, event: &Event<'_>, at: Known<'_>, batch: &mut Batch<'_, '_>) {
        if self.tree.node(at.dir).flags & flag::LEAF != 0 && !at.name.is_empty() {
            return;
        }
        let wanted = event.types() & self.types;
        let object = event.object.filter(|_| !at.name.is_empty());
        let hash = match object {
            Some(key) => self.tree.hash(key),
            None => 0,
        };
        let changes_tree = event.is_dir() && event.types() & (kind::CREATE | kind::DELETE) != 0;
        let mut actor = None;
        if wanted != 0 {
            let who = *actor.insert(who(event.pid, batch));
            self.emit(Some(at), None, event, wanted, hash, who, batch);
        }
        if self.types & SELF != 0 && hash != 0 && event.types() & (kind::CREATE | kind::DELETE) != 0
        {
            self.recent.put(hash, at.dir, self.tree.node(at.dir).hash(), at.name);
        }
        if changes_tree && let Some(key) = object {
            self.dir_event(event, at, key, actor, batch);
        }
        if (changes_tree || self.types & SELF != 0) && hash != 0 && self.orphans.any() {
            self.second_look(hash, true, batch);
        }
    }

    /// A directory was made, or removed, or both.
    #[cold]
    fn dir_event(
        &mut self,
        event: &Event<'_>,
        at: Known<'_>,
        key: Key<'_>,
        actor: Option<Actor>,
        batch: &mut Batch<'_, '_>,
    ) {
        let removed = event.types() & kind::DELETE != 0;
        if event.types() & kind::CREATE != 0
            && let Some(id) = self.take_up(at, key, batch)
            && !removed
            && self.watch.recursive
            && (is_btrfs_subvolume(key.handle) || self.watch.marks_each(&self.tree, id))
        {
            // What was made in it before its mark took hold is found now, and what a snapshot has.
            let actor = actor.unwrap_or_else(|| who(event.pid, batch));
            self.walk(id, Some(actor.late()), batch);
        }
        if removed && let Some(id) = self.tree.find_live(key) {
            self.tree.remove(id);
        }
    }

    /// Puts a directory into the tree, unless it is left out or there is no room.
    fn take_up(&mut self, at: Known<'_>, key: Key<'_>, batch: &mut Batch<'_, '_>) -> Option<u32> {
        if self.watch.skips(&self.tree, at.dir, at.name) {
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

    fn rename(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let mut room = [0; record::NAME_MAX];
        let new = self.known(event.place).or_else(|| self.arrival(event, &mut room));
        let old = self.known(event.old);
        if new.is_none() && old.is_none() {
            return;
        }
        let hash = event.object.map_or(0, |key| self.tree.hash(key));
        let wanted = self.types & FROM_RENAME;
        let wanted = match (old, new) {
            (None, _) => wanted & !kind::MOVED_FROM,
            (_, None) => wanted & !kind::MOVED_TO,
            _ => wanted,
        };
        let who = who(event.pid, batch);
        if wanted != 0 {
            let mask = wanted | event.types() & kind::ONDIR;
            self.emit(new, old, event, mask, hash, who, batch);
        }
        if self.types & SELF != 0
            && hash != 0
            && let Some(at) = new.or(old)
        {
            self.recent.put(hash, at.dir, self.tree.node(at.dir).hash(), at.name);
        }
        if event.is_dir()
            && let Some(key) = event.object
        {
            if let (Some(_), Some(old)) = (new, old) {
                let from = (old.dir, self.tree.node(old.dir).hash());
                self.note_shuffle(key, from, old.name, who, batch);
            }
            self.rename_dir(new, old.is_none(), key, who, batch);
        }
        if hash != 0 && self.orphans.any() {
            self.second_look(hash, false, batch);
        }
    }

    /// Whether something may be where the queue does not tell.
    #[inline]
    pub(crate) fn is_in_doubt(&self) -> bool {
        !self.shuffled.is_empty() || self.above.in_doubt()
    }

    #[cold]
    fn note_shuffle(
        &mut self,
        key: Key<'_>,
        from: (u32, u64),
        name: &[u8],
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let Some(id) = self.tree.find_live(key) else { return };
        let swap = self.shuffled.note((id, self.tree.hash(key)), from, name, who.image);
        if swap.hold != 0 {
            batch.sources.who.hold(swap.hold);
        }
        if swap.release != 0 {
            batch.sources.who.release(swap.release);
        }
    }

    /// Looks for directories that were renamed to and fro, now that nothing is left to read; one
    /// that a lost rename put back is told of, and put right.
    #[cold]
    pub(crate) fn look_for_shuffled(&mut self, batch: &mut Batch<'_, '_>) {
        self.shuffled.keep_repeated();
        let mut at = 0;
        while let Some(mut moved) = self.shuffled.get(at) {
            let known = self.tree.node(moved.id);
            let gone = known.hash() != moved.hash || known.flags & (flag::DEAD | flag::ROOT) != 0;
            if !gone && !self.watch.is_there(&self.tree, moved.id) && !moved.missed() {
                self.shuffled.set(at, moved);
                at += 1;
                continue;
            }
            let dir_known = self.tree.node(moved.dir).hash() == moved.dir_hash;
            if !gone
                && dir_known
                && !self.watch.is_there(&self.tree, moved.id)
                && self.watch.is_at(&self.tree, moved.id, moved.dir, moved.name())
            {
                self.put_back(&moved, batch);
            }
            if moved.image != 0 {
                batch.sources.who.release(moved.image);
            }
            self.shuffled.remove(at);
        }
    }

    /// Tells of the rename that was lost, and does it in the tree.
    fn put_back(&mut self, moved: &Moved, batch: &mut Batch<'_, '_>) {
        let wanted = self.types & FROM_RENAME;
        if wanted != 0 {
            let mut room = [0; record::NAME_MAX];
            let name2 = self.tree.name(moved.id);
            let name2 = {
                room[..name2.len()].copy_from_slice(name2);
                &room[..name2.len()]
            };
            let attribution = match moved.image {
                0 => Attribution::Unknown,
                _ => Attribution::Late,
            };
            let mut head = head(Answer::new(moved.image, attribution).into(), batch);
            head.mask = (wanted | kind::ONDIR).into();
            head.object = moved.hash.into();
            head.dir = moved.dir.into();
            head.dir2 = self.tree.node(moved.id).parent.into();
            batch.output.event(&mut self.tree, batch.sources, head, moved.name(), name2);
        }
        if self.tree.rename(moved.id, moved.dir, moved.name()).is_ok() {
            batch.output.redefine_dir(&mut self.tree, batch.sources, moved.id);
        }
    }

    /// Where a directory went that was moved into one without a mark as yet.
    fn arrival<'a>(
        &mut self,
        event: &Event<'_>,
        room: &'a mut [u8; record::NAME_MAX],
    ) -> Option<Known<'a>> {
        let key = event.object.filter(|_| event.place.is_none() && event.is_dir())?;
        let (dir, dir_hash, name) = self.watch.arrivals.take(self.tree.hash(key), room)?;
        (self.tree.node(dir).hash() == dir_hash).then_some(Known { dir, name })
    }

    /// A directory moved within the tree, into it, or out of it.
    #[cold]
    fn rename_dir(
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
        // A dead one that moves was taken for replaced, and is the other half of an exchange.
        // One that came in may be known from a walk that met it where it went later.
        let is_new = came_in || self.tree.find(key).is_none();
        // An empty directory of that name was replaced, and no DELETE told; one with something
        // in it is the other half of an exchange.
        if let Some(replaced) = self.tree.child_named(at.dir, at.name)
            && Some(replaced) != known
            && self.tree.node(replaced).child == 0
        {
            self.tree.remove(replaced);
        }
        let Some(id) = self.take_up(at, key, batch) else { return };
        if is_new && self.watch.recursive {
            self.walk(id, Some(who), batch);
        } else if self.tree.any_unread() {
            // It, or something in it, was no longer where the tree had it when it was to be read.
            self.walk_rest(id, Some(who.late()), batch);
        }
    }

    /// Reads a directory that came in, with all below it. What is found is told, in the name of
    /// who brought it.
    #[cold]
    pub(crate) fn walk(&mut self, id: u32, actor: Option<Actor>, batch: &mut Batch<'_, '_>) {
        self.tree.set(id, flag::UNREAD);
        self.walk_rest(id, actor, batch);
    }

    /// Reads what is still unread from a directory down.
    #[cold]
    fn walk_rest(&mut self, id: u32, actor: Option<Actor>, batch: &mut Batch<'_, '_>) {
        let tell = actor.filter(|_| self.types & kind::CREATE != 0 && !batch.own);
        self.watch.walk_rest(&mut self.tree, id, &mut |tree, found| match found {
            Found::Entry { dir, name, is_dir } => {
                if let Some(who) = tell {
                    let mut head = head(who, batch);
                    head.flags |= event_flag::FOUND;
                    head.mask = (kind::CREATE | if is_dir { kind::ONDIR } else { 0 }).into();
                    head.dir = dir.into();
                    batch.output.event(tree, batch.sources, head, name, &[]);
                }
            }
            Found::Moved(id) => batch.output.redefine_dir(tree, batch.sources, id),
            Found::Full => dirs_full(batch),
            Found::Unreadable => {
                let total = batch.output.counters.dirs_unreadable + 1;
                batch.output.counters.dirs_unreadable = total;
                batch.output.loss(batch.sources, Reason::Walk, batch.window.span(), Some(1), total);
            }
        });
    }

    /// A place whose directory is watched.
    pub(crate) fn known<'a>(&self, place: Option<Place<'a>>) -> Option<Known<'a>> {
        let place = place?;
        let dir = self.tree.find(place.dir)?;
        let leaf = self.tree.node(dir).flags & flag::LEAF != 0;
        (!leaf).then_some(Known { dir, name: place.name })
    }

    /// An event of an unknown directory: outside the watched paths, or too early.
    fn stranger(&mut self, event: &Event<'_>, place: Place<'_>, batch: &mut Batch<'_, '_>) {
        let hash = self.tree.hash(place.dir);
        if !self.above.is_step(hash) {
            self.orphans.keep(hash, batch.window.index, event);
        }
    }

    /// An event that carries the object's handle alone.
    fn nameless(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
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
        let mask = wanted | event.types() & kind::ONDIR;
        let at = Some(Known { dir, name });
        self.emit(at, None, event, mask, hash, who, batch);
    }

    /// Looks again at events that came before the object with that hash was known. What happened
    /// in a directory before it moved in (`made` is false) happened outside.
    #[cold]
    pub(crate) fn second_look(&mut self, hash: u64, made: bool, batch: &mut Batch<'_, '_>) {
        let mut room = Orphans::room();
        let index = batch.window.index;
        while let Some((its_index, event)) = self.orphans.take(hash, &mut room) {
            batch.window.index = its_index;
            match event.place {
                Some(_) if !made => {}
                Some(place) if self.tree.find(place.dir).is_none() && !self.above.is_step(hash) => {
                    break;
                }
                None if self.recent.get(hash).is_none() => break,
                _ => self.place(&event, batch),
            }
        }
        batch.window.index = index;
    }

    /// The filesystem of a root reported an error: the root's path, errno and how often.
    #[cold]
    fn fs_error(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let fsid = event.object.or(event.place.map(|place| place.dir)).map(|key| key.fsid);
        let roots = self.watch.roots.iter().map(|root| root.node).filter(|&node| node != 0);
        let Some(root) = roots.into_iter().find(|&id| Some(self.tree.fsid(id)) == fsid) else {
            return;
        };
        if self.types & kind::FS_ERROR != 0 {
            let (errno, count) = event.error.unwrap_or((0, 0));
            let code = u64::from(errno) | u64::from(count) << 32;
            let who = who(event.pid, batch);
            let at = Some(Known { dir: root, name: &[] });
            self.emit(at, None, event, kind::FS_ERROR, code, who, batch);
        }
    }

    /// The kernel's queue overflowed: said, and the tree made true again from the filesystem.
    #[cold]
    fn overflow(&mut self, batch: &mut Batch<'_, '_>) {
        batch.output.counters.lost_queue_overflows += 1;
        let total = batch.output.counters.lost_queue_overflows;
        batch.output.loss(batch.sources, Reason::QueueOverflow, batch.window.span(), None, total);
        self.find_roots(batch);
        for at in 0..self.watch.roots.len() {
            let root = self.watch.roots[at].node;
            if root == 0 {
                continue;
            }
            let mut id = root;
            while id != 0 {
                self.tree.set(id, flag::UNSEEN);
                id = self.tree.following(id, root);
            }
            self.tree.clear(root, flag::UNSEEN);
            self.walk(root, None, batch);
            self.drop_unseen(root);
        }
    }

    fn drop_unseen(&mut self, root: u32) {
        let mut id = root;
        while id != 0 {
            if self.tree.node(id).flags & flag::UNSEEN == 0 {
                id = self.tree.following(id, root);
                continue;
            }
            // Its parent is left to go on from; it is met again, with one child fewer.
            let parent = self.tree.node(id).parent;
            self.tree.forget(id);
            id = parent;
        }
    }

    #[allow(clippy::too_many_arguments)]
    #[inline]
    pub(crate) fn emit(
        &mut self,
        at: Option<Known<'_>>,
        old: Option<Known<'_>>,
        event: &Event<'_>,
        mask: u32,
        object: u64,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        if batch.own {
            return;
        }
        if who.later != 0 && (event.types() & !kind::ONDIR).count_ones() > 1 {
            return self.emit_parts(at, old, event, mask, object, who, batch);
        }
        let mut head = head(who, batch);
        head.mask = (mask | event.types() & kind::ONDIR).into();
        head.object = object.into();
        head.dir = at.map_or(0, |at| at.dir).into();
        head.dir2 = old.map_or(0, |old| old.dir).into();
        if who.image == 0 {
            batch.output.counters.unattributed += 1;
        }
        let name = at.map_or(&b""[..], |at| at.name);
        let name2 = old.map_or(&b""[..], |old| old.name);
        batch.output.event(&mut self.tree, batch.sources, head, name, name2);
    }

    /// The process changed while this event was in the queue, and the kernel merged several things
    /// into it: each is told of for itself.
    #[allow(clippy::too_many_arguments)]
    #[cold]
    fn emit_parts(
        &mut self,
        at: Option<Known<'_>>,
        old: Option<Known<'_>>,
        event: &Event<'_>,
        mask: u32,
        object: u64,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let types = event.types() & !kind::ONDIR;
        let Actor { image, attribution, later } = who;
        let answer = Answer { image, attribution, later };
        for (part, answer) in batch.sources.who.parts(answer, event.pid, batch.window, types) {
            let part = mask & part;
            if part != 0 {
                let who = Actor { later: 0, ..answer.into() };
                self.emit(at, old, event, part | mask & kind::ONDIR, object, who, batch);
            }
        }
    }
}

#[inline]
pub(crate) fn who(pid: u32, batch: &mut Batch<'_, '_>) -> Actor {
    if let Some(actor) = batch.settled.take() {
        return actor;
    }
    batch.sources.who.resolve(pid, batch.window).into()
}

#[inline]
pub(crate) fn head(who: Actor, batch: &Batch<'_, '_>) -> record::Event {
    let mut head = record::Event::new_zeroed();
    head.flags = (who.attribution as u16).into();
    head.time_ns = batch.window.until_ns.into();
    head.proc = who.image.into();
    head
}

/// A directory was refused for want of room: told once, counted always.
#[cold]
pub(crate) fn dirs_full(batch: &mut Batch<'_, '_>) {
    batch.output.counters.dirs_refused += 1;
    if batch.output.counters.dirs_refused == 1 {
        batch.output.loss(batch.sources, Reason::DirsMax, batch.window.span(), Some(1), 1);
    }
}
