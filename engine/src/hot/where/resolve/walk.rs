//! What the filesystem shows where the queue does not tell: directories that come in, and all of
//! them after a loss.

use super::Resolver;
use super::batch::{Actor, Batch, Known, head};
use super::exchange::LOST;
use super::tell::dirs_full;
use crate::hot::event::{Event, Key};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tables::exchange_halves::Other;
use crate::hot::r#where::tables::file_at_name::FileAtName;
use crate::hot::r#where::tables::in_doubt::Doubt;
use crate::hot::r#where::tree::{Tree, flag};
use crate::hot::r#where::watch::{Met, Visit, Watch};
use crate::hot::who::Answer;
use crate::sys::buffers::UNREADABLE;
use crate::sys::fanotify::flag::Q_OVERFLOW;
use fsmon_format::kind;
use fsmon_format::record::{self, NAME_MAX, Reason, event_flag};

/// Directories and entries that a walk meets between two looks at what processes did: their rings have room
/// for a hundred times as long, and a connector's message costs a call.
const TAKE_IN_EVERY: u64 = 512;

/// What a walk tells of all that it meets.
pub(super) type Visitor<'a, D> = &'a mut dyn FnMut(&D, &mut Tree, Met<'_>) -> Visit;

impl<D: Disk> Resolver<D> {
    /// Has directories read. What is found is told in the name of `tell`; how many entries that were, whether
    /// they are told or not. Messages of processes are taken in meanwhile: see [`TAKE_IN_EVERY`].
    pub(super) fn visit<T>(
        &mut self,
        tell: Option<Actor>,
        contradicted: Contradicted,
        batch: &mut Batch<'_, '_>,
        read: impl FnOnce(&mut Watch<D>, &mut Tree, Visitor<'_, D>) -> T,
    ) -> (T, u64) {
        let (mut count, mut met_so_far) = (0, 0u64);
        // Whether the directory that is read was read before, and what was told of it may come again.
        let mut is_again = false;
        let waits = contradicted == Contradicted::Wait;
        self.watch.is_awaited = waits;
        // Taking in messages may drop processes that nobody holds.
        tell.into_iter().for_each(|who| batch.sources.who.hold(who.image));
        let (found, doubts, links) = (&mut self.found, &mut self.doubts, &mut self.links);
        let unsure = &mut self.unsure;
        let done = read(&mut self.watch, &mut self.tree, &mut |disk, tree, met| {
            met_so_far += 1;
            if met_so_far.is_multiple_of(TAKE_IN_EVERY) {
                batch.sources.catch_up();
            }
            match met {
                Met::Read(dir) => {
                    if tell.is_some() {
                        is_again = tree.is_fresh(dir);
                        found.read(dir, disk.now_ns());
                        tree.set_fresh(dir, true);
                    }
                }
                // No event tells of it, and no record has the room.
                Met::Entry { name, .. } if name.len() > NAME_MAX => {
                    batch.output.counters.names_too_long += u64::from(tell.is_some() && !is_again);
                }
                Met::Entry { dir, name, is_dir, key } => {
                    // An event, or a walk before this one, may have told of it.
                    let at = Known::new(tree, dir, name);
                    let place = found_place(at, is_dir);
                    if waits && (found.has(!place) || is_another_there(tree, links, at, key)) {
                        return Visit::Later;
                    }
                    links.forget(at.place);
                    while let Some(at) = doubts.at(at.place) {
                        batch.sources.who.release(doubts.remove(at));
                    }
                    // What the tree has there was told.
                    if found.has(place) || is_in_tree(tree, at, key) {
                        return Visit::Take;
                    }
                    count += 1;
                    if let Some(who) = tell {
                        if is_again {
                            found.note_unknown();
                        }
                        found.put(place);
                        let head = found_head(dir, is_dir, who, batch);
                        batch.output.event(tree, batch.sources, head, name, &[]);
                    }
                }
                Met::Elsewhere { dir, name, key } => {
                    let object = tree.hash(Key { fsid: tree.fsid(dir), handle: key });
                    let place = (dir, tree.node(dir).hash());
                    if let Some(mut doubt) =
                        Doubt::new((object, tree.place(dir, name)), key, place, name)
                    {
                        (doubt.is_dir, doubt.renamed) = (true, true);
                        // `put` counts one that there is no room for.
                        batch.sources.who.release(doubts.put(doubt).release);
                    } else {
                        doubts.note_too_long();
                    }
                }
                // After a loss no event is of before.
                Met::Added(_) if !waits => {}
                Met::Added(dir) => {
                    unsure.put(dir, disk.now_ns());
                    tree.set_met(dir, true);
                }
                Met::Moved(id) => batch.output.redefine_dir(tree, batch.sources, id),
                Met::Full => dirs_full(batch),
                Met::Unheard => {
                    batch.output.counters.dirs_unheard += 1;
                    walk_loss(None, batch);
                }
                Met::Unreadable(_) => unreadable(batch),
            }
            Visit::Take
        });
        tell.into_iter().for_each(|who| batch.sources.who.release(who.image));
        (done, count)
    }

    /// Tells that an entry was there before an event of it. Its maker is not known: the process that
    /// removes or renames it next may be another.
    #[cold]
    pub(super) fn tell_found(
        &mut self,
        at: Known<'_>,
        (object, is_dir): (u64, bool),
        batch: &mut Batch<'_, '_>,
    ) {
        if self.doubts.reported(at.place, object) == Some(true) {
            return;
        }
        if self.types & kind::CREATE != 0 && !batch.silent && !self.is_read_silently(at.dir) {
            let head = found_head(at.dir, is_dir, Answer::default().into(), batch);
            batch.output.event(&mut self.tree, batch.sources, head, at.name, &[]);
        }
        self.note_found(is_dir, None, Some(at));
        self.note_links((object, is_dir), None, Some(at));
        self.tell_doubts(at, object);
    }

    /// An entry was made or removed, in a directory that a walk may have read before that came up:
    /// the types that are still to be told.
    #[cold]
    pub(super) fn entry_found(
        &mut self,
        event: &Event<'_>,
        at: Known<'_>,
        hash: u64,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) -> u32 {
        let object = (hash, event.is_dir());
        let place = found_place(at, event.is_dir());
        let types = event.types();
        let (made, removed) = (types & kind::CREATE != 0, types & kind::DELETE != 0);
        self.displace(object, at, false, who, batch);
        let was_told = if removed { self.found.take(place) } else { self.found.has(place) };
        if !was_told && self.tree.is_fresh(at.dir) {
            self.found.note_unknown();
            match made {
                // A directory's removal is told later.
                true if !removed || event.is_dir() => self.found.put(place),
                // A directory that the lines have elsewhere was not made here.
                false if removed && !self.is_live_dir(event) => {
                    self.tell_found(at, object, batch);
                    self.found.take(place);
                }
                _ => {}
            }
        }
        if was_told { types & !kind::CREATE } else { types }
    }

    fn is_live_dir(&self, event: &Event<'_>) -> bool {
        let dir = event.object.filter(|_| event.is_dir());
        dir.is_some_and(|key| self.tree.find_live(key).is_some())
    }

    /// The same where an entry is renamed.
    #[cold]
    pub(super) fn rename_found(
        &mut self,
        object: (u64, bool),
        old: Option<Known<'_>>,
        (new, other): (Option<Known<'_>>, Option<&Other>),
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let (_, is_dir) = object;
        if let Some(old) = old {
            self.displace(object, old, false, who, batch);
            let was_told = self.found.take(found_place(old, is_dir));
            if !was_told && self.tree.is_fresh(old.dir) {
                self.found.note_unknown();
                self.tell_found(old, object, batch);
                self.note_found(is_dir, Some(old), None);
            }
        }
        if let Some(new) = new
            && self.tree.is_fresh(new.dir)
        {
            match other {
                // A directory replaces an empty one.
                None => self.displace(object, new, is_dir, who, batch),
                Some(other) => self.exchange_found(object, other, new, who, batch),
            }
        }
    }

    /// Before an exchange with what is at a place that a walk may have met later: what the walk met there
    /// instead is not there yet, and a file that moves away was.
    fn exchange_found(
        &mut self,
        (object, _): (u64, bool),
        other: &Other,
        at: Known<'_>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        if let Some(later) = self.dir_at([object, other.object], at, false) {
            let by = self.merged_by(later.object, who);
            self.set_aside(&later, (at, at.dir), LOST, by, batch);
        }
        if other.is_dir {
            self.displace_file(at, who, batch);
        } else if !self.found.has(found_place(at, false)) {
            self.tell_found(at, (other.object, false), batch);
        }
    }

    /// A walk met what came to a place later: that is not there yet when something else goes, or
    /// comes. What is of the same kind goes by the same line.
    fn displace(
        &mut self,
        (object, is_dir): (u64, bool),
        at: Known<'_>,
        files_only: bool,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let later = (!files_only).then(|| self.dir_at([object; 2], at, false)).flatten();
        if let Some(later) = later {
            let by = self.merged_by(later.object, who);
            self.set_aside(&later, (at, at.dir), LOST, by, batch);
        } else if is_dir {
            self.displace_file(at, who, batch);
        }
    }

    /// Before a directory is told to be there, which replaces no file: the lines may have one at that name.
    pub(super) fn displace_file(&mut self, at: Known<'_>, who: Actor, batch: &mut Batch<'_, '_>) {
        let was_found = self.found.any() && self.found.take(found_place(at, false));
        let file = self.links.at(at.place).unwrap_or(0);
        if was_found || file != 0 {
            self.tell_lost_end(file, at, self.merged_by(file, who), batch);
        }
    }

    /// Whether a walk told of a directory at that name that the tree does not have.
    pub(super) fn is_dir_told(&self, at: Known<'_>) -> bool {
        self.found.any() && self.found.has(found_place(at, true))
    }

    /// A line says that an entry is no longer at one place, and is at another: no walk tells of that.
    pub(super) fn note_found(
        &mut self,
        is_dir: bool,
        old: Option<Known<'_>>,
        new: Option<Known<'_>>,
    ) {
        if let Some(old) = old {
            self.found.take(found_place(old, is_dir));
        }
        if let Some(new) = new.filter(|new| self.tree.is_fresh(new.dir)) {
            self.found.put(found_place(new, is_dir));
        }
    }

    /// The queue was seen empty then: what walks told of is told again by nothing.
    #[inline]
    pub(crate) fn settle_found(&mut self, empty_ns: u64) {
        if self.found.any() && !self.tree.any_unread() && self.forget_found(empty_ns) {
            self.watch.arrivals.clear();
        } else if self.walks.any()
            && let Some(dirs) = self.found.drain_dirs(empty_ns)
        {
            dirs.for_each(|dir| self.tree.set_fresh(dir, false));
        }
    }

    /// Forgets what walks told of, if all of before that time is resolved. Whether it is.
    fn forget_found(&mut self, empty_ns: u64) -> bool {
        let Some(read) = self.found.on_queue_empty(empty_ns) else { return false };
        read.dirs.for_each(|dir| self.tree.set_fresh(dir, false));
        if read.any_more {
            self.tree.clear_fresh();
        }
        true
    }

    /// Nothing is left in the queue: reads what is still unread where the tree has it. What is not there after
    /// [`REREADS`] times is gone: a rename is on disk an instant before its event is queued.
    #[cold]
    pub(crate) fn read_unread(&mut self, batch: &mut Batch<'_, '_>) {
        batch.silent = batch.window.index <= self.quiet;
        let Some(is_last) = self.rereads.begin(self.watch.disk.now_ns()) else { return };
        let contradicted = if is_last { Contradicted::Take } else { Contradicted::Wait };
        for at in 0..self.watch.roots.len() {
            let root = self.watch.roots[at].node;
            if root == 0 {
                continue;
            }
            let tell = (self.types & kind::CREATE != 0 && !batch.silent).then(Answer::default);
            let tell = tell.map(Actor::from);
            self.walk_some((root, root), u64::MAX, (tell, contradicted), batch);
            let mut id = root;
            while is_last && id != 0 && self.tree.any_unread() {
                self.tree.clear(id, flag::UNREAD);
                id = self.tree.following(id, root);
            }
        }
        // Below one that is gone, for one: nothing leads there.
        if is_last && self.tree.any_unread() {
            self.tree.give_up_unread();
        }
        if !self.tree.any_unread() {
            self.rereads = Rereads::default();
        }
    }

    /// The kernel's queue overflowed, or could not be read: said, and the tree made true again from the filesystem.
    #[cold]
    pub(super) fn overflow(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        self.tell_gone(batch);
        self.tell_left(batch);
        self.links.clear();
        if let Some(names) = &mut self.watch.file_names {
            names.clear();
        }
        let counters = &mut batch.output.counters;
        let (reason, total) = match event.pid {
            UNREADABLE => (Reason::NameTooLong, &mut counters.reads_refused),
            _ => (Reason::QueueOverflow, &mut counters.lost_queue_overflows),
        };
        *total += 1;
        let total = *total;
        batch.output.loss(batch.sources, reason, batch.window.span(), None, total);
        while self.walks.any() {
            self.end_walk(batch);
        }
        // What walks told of may have gone unheard.
        self.forget_found(u64::MAX);
        // The next event tells of another loss: the walk for that one finds all that this one would.
        if batch.ahead.into_iter().flatten().next().is_some_and(|next| next.mask & Q_OVERFLOW != 0)
        {
            return;
        }
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
            // All of it at once: an event of what was not met yet may have any path.
            self.tree.set(root, flag::UNREAD);
            self.walk_some((root, root), u64::MAX, (None, Contradicted::Take), batch);
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
            let next = self.tree.past(id, root);
            self.tree.forget(id);
            id = next;
        }
    }
}

/// A directory could not be read, or reached.
pub(super) fn unreadable(batch: &mut Batch<'_, '_>) {
    batch.output.counters.dirs_unreadable += 1;
    walk_loss(Some(1), batch);
}

/// A directory could not be read, or not everything in it was told, or another has its handle.
pub(super) fn walk_loss(count: Option<u64>, batch: &mut Batch<'_, '_>) {
    let counters = batch.output.counters;
    let total = counters.dirs_unreadable + counters.dirs_unheard + counters.dirs_alike;
    batch.output.loss(batch.sources, Reason::Walk, batch.window.span(), count, total);
}

/// How often directories are looked for that are not where the tree has them, and how long it is at least from
/// one look to the next, ns: a tenth of a second in all.
const REREADS: u8 = 20;
const REREAD_NS: u64 = 4_500_000;

/// How often that was, and when the last time.
#[derive(Default)]
pub(super) struct Rereads {
    last_ns: u64,
    count: u8,
}

impl Rereads {
    /// One more, if it is time for it: whether it is the last.
    fn begin(&mut self, now_ns: u64) -> Option<bool> {
        if self.count != 0 && now_ns < self.last_ns.saturating_add(REREAD_NS) {
            return None;
        }
        self.last_ns = now_ns;
        self.count += 1;
        Some(self.count >= REREADS)
    }
}

/// What becomes of an entry where the lines have something of another kind, or another directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Contradicted {
    /// Events that are still to come end that first: it is read again.
    Wait,
    /// None come any more.
    Take,
}

/// Whether the lines have something else where a walk met an entry; `key` is the handle of a directory.
fn is_another_there(tree: &Tree, links: &FileAtName, at: Known<'_>, key: Option<&[u8]>) -> bool {
    let this = key.and_then(|handle| tree.find_live(Key { fsid: tree.fsid(at.dir), handle }));
    let is_file_there = key.is_some() && links.at(at.place).is_some_and(|file| file != 0);
    is_file_there || tree.child_named(at.dir, at.name, this).is_some()
}

/// Whether the tree has a directory where a walk met it; not one that is looked for after a loss.
fn is_in_tree(tree: &Tree, at: Known<'_>, key: Option<&[u8]>) -> bool {
    let known = key.and_then(|handle| tree.find_live(Key { fsid: tree.fsid(at.dir), handle }));
    known.is_some_and(|id| {
        let node = tree.node(id);
        node.flags & flag::UNSEEN == 0 && node.parent == at.dir && tree.name(id) == at.name
    })
}

/// What an entry goes by among those that were found: one of another kind is another.
fn found_place(at: Known<'_>, is_dir: bool) -> u64 {
    if is_dir { !at.place } else { at.place }
}

/// The beginning of a line that tells of an entry that was found.
fn found_head(dir: u32, is_dir: bool, who: Actor, batch: &Batch<'_, '_>) -> record::Event {
    let mut head = head(who, batch);
    head.flags |= event_flag::FOUND;
    head.mask = (kind::CREATE | if is_dir { kind::ONDIR } else { 0 }).into();
    head.dir = dir.into();
    head
}
