//! Events to records: where by the tree, who by the process table, in queue order.

mod doubt;
mod exchange;
mod relook;
mod rename;
mod sides;
mod steps;
mod strangers;
mod walk;

use super::above::Above;
use super::busy::Busy;
use super::deferred::Deferred;
use super::disk::{Disk, Kernel};
use super::doubts::Doubts;
use super::event::{Event, Events, Key, Place};
use super::exchange::Exchange;
use super::found::Found;
use super::links::Links;
use super::nameless::Nameless;
use super::orphans::Orphans;
use super::output::{Output, Sources};
use super::outside::Outside;
use super::recent::Recent;
use super::renames::Renames;
use super::tree::{Full, Inserted, Tree, flag};
use super::unsure::Unsure;
use super::watch::{SIDES, Watch};
use super::who::{Answer, Window};
use crate::sys::fanotify::flag::Q_OVERFLOW;
use crate::sys::handle::{is_btrfs_subvolume, is_shared};
use fsmon_format::kind;
use fsmon_format::record::{self, Attribution, Reason, event_flag};
use zerocopy::FromZeros;

/// Types that concern the object and come without a name for files.
const SELF: u32 = kind::DELETE_SELF | kind::MOVE_SELF;
/// Types that this program makes out of RENAME instead of asking the kernel for them.
pub(crate) const FROM_RENAME: u32 = kind::RENAME | kind::MOVED_FROM | kind::MOVED_TO;

/// The state that events are resolved against.
pub(crate) struct Resolver<D: Disk = Kernel> {
    pub(crate) tree: Tree,
    pub(crate) watch: Watch<D>,
    /// What leads to the roots.
    pub(crate) above: Above,
    /// What the user wants to see.
    pub(crate) types: u32,
    pub(crate) own_pid: u32,
    /// What was in the queue when the tree had been read: the tree follows it, and nobody is told,
    /// as a path may be that of afterwards.
    pub(crate) quiet: u64,
    pub(crate) orphans: Orphans,
    pub(crate) recent: Recent,
    pub(crate) nameless: Nameless,
    pub(crate) outside: Outside,
    pub(crate) found: Found,
    pub(crate) exchange: Exchange,
    pub(crate) doubts: Doubts,
    pub(crate) links: Links,
    pub(crate) unsure: Unsure,
    pub(crate) busy: Busy,
    pub(crate) renames: Renames,
    pub(crate) deferred: Deferred,
}

impl<D: Disk> Resolver<D> {
    /// For what this tree has, `watch` watches and `above` leads to: `types` are told, but not of
    /// the first `quiet` events, nor what `own_pid` does.
    pub(crate) fn new(
        tree: Tree,
        watch: Watch<D>,
        above: Above,
        types: u32,
        own_pid: u32,
        quiet: u64,
    ) -> Self {
        let mut busy = Busy::new();
        if watch.file_names.is_some() {
            // A change outside may be of a file that has a name inside.
            busy.give_up();
        }
        Resolver {
            tree,
            watch,
            above,
            types,
            own_pid,
            quiet,
            orphans: Orphans::new(),
            recent: Recent::new(),
            nameless: Nameless::new(),
            outside: Outside::new(),
            found: Found::new(),
            exchange: Exchange::default(),
            doubts: Doubts::new(),
            links: Links::new(),
            unsure: Unsure::default(),
            busy,
            renames: Renames::new(),
            deferred: Deferred::new(),
        }
    }
}

/// What goes with every event of a batch.
pub(crate) struct Batch<'a, 's> {
    /// The time in which its events happened.
    pub(crate) window: Window,
    pub(crate) sources: &'a mut Sources<'s>,
    pub(crate) output: &'a mut Output,
    /// What follows the event at hand in its buffer and the next.
    pub(crate) ahead: [Events<'a>; 2],
    /// The event at hand is our own, or too old: the tree follows it, and nobody is told.
    silent: bool,
    /// The event at hand has sides of renames merged into it, whether it still says so or not.
    merged: bool,
    /// Who did this event, where that was asked already: once for each event.
    settled: Option<Actor>,
    /// The directories that are renamed in what follows; looked for when it first matters.
    moves: Option<Moves<'a>>,
}

/// Directories that are renamed by events which follow.
struct Moves<'a> {
    /// The number of each event, and the directory.
    dirs: [(u64, Key<'a>); MOVES],
    len: usize,
}

/// Renames of directories ahead that are looked at.
const MOVES: usize = 64;

impl<'a> Moves<'a> {
    /// Those in two buffers, the first event of which has that number.
    #[cold]
    fn new([here, next]: [Events<'a>; 2], first: u64) -> Self {
        let mut moves = Moves { dirs: [(0, Key { fsid: 0, handle: &[] }); MOVES], len: 0 };
        let second = first + u64::from(here.len());
        let next = next.renamed_dirs().map(|(at, key)| (second + at, key));
        let all = here.renamed_dirs().map(|(at, key)| (first + at, key)).chain(next);
        for (room, found) in moves.dirs.iter_mut().zip(all) {
            *room = found;
            moves.len += 1;
        }
        moves
    }

    /// Those of events after that number; `None` for more than were looked at: any directory.
    fn after(&self, index: u64) -> impl Iterator<Item = Option<Key<'a>>> {
        let more = (self.len == MOVES).then_some(None);
        let dirs = self.dirs[..self.len].iter().filter(move |(at, _)| *at > index);
        dirs.map(|(_, key)| Some(*key)).chain(more)
    }
}

impl<'a, 's> Batch<'a, 's> {
    pub(crate) fn new(
        window: Window,
        sources: &'a mut Sources<'s>,
        output: &'a mut Output,
    ) -> Self {
        let ahead = [Events(&[]), Events(&[])];
        Batch {
            window,
            sources,
            output,
            ahead,
            silent: false,
            merged: false,
            settled: None,
            moves: None,
        }
    }

    /// The next event is at hand; `ahead` follows it.
    #[inline]
    pub(crate) fn begin(&mut self, ahead: [Events<'a>; 2]) {
        self.ahead = ahead;
        (self.silent, self.merged, self.settled) = (false, false, None);
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

impl From<Actor> for Answer {
    fn from(actor: Actor) -> Self {
        let Actor { image, attribution, later } = actor;
        Answer { image, attribution, later }
    }
}

impl Actor {
    /// Of what was found afterwards: who made it is a guess.
    fn late(self) -> Self {
        Actor { attribution: self.attribution.max(Attribution::Late), ..self }
    }
}

/// What is to be told of an event.
#[derive(Clone, Copy)]
struct Told<'a> {
    at: Option<Known<'a>>,
    /// RENAME: the old place. VIA: the name that is not watched.
    old: Option<Known<'a>>,
    /// Those of its types that are wanted.
    wanted: u32,
    /// Beside the attribution.
    flags: u16,
    /// The hash of the object.
    object: u64,
    who: Actor,
}

/// A place whose directory is watched. An empty name is the directory itself.
#[derive(Clone, Copy)]
struct Known<'a> {
    dir: u32,
    name: &'a [u8],
    /// What the two go by: [`Tree::place`].
    place: u64,
}

impl<'a> Known<'a> {
    #[inline]
    fn new(tree: &Tree, dir: u32, name: &'a [u8]) -> Self {
        Known { dir, name, place: tree.place(dir, name) }
    }
}

impl<D: Disk> Resolver<D> {
    /// The queue was seen empty then, and all of before is resolved.
    #[inline]
    pub(crate) fn settle(&mut self, empty_ns: u64) {
        self.doubts.settle();
        if let Some(names) = &mut self.watch.file_names {
            names.settle();
        }
        self.unsure.settle(empty_ns);
        self.settle_found(empty_ns);
        // What was found is remembered by the ids of directories.
        if !self.found.any() {
            self.tree.settle();
        }
    }

    /// One event of the queue.
    #[inline]
    pub(crate) fn event(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        batch.output.counters.kernel_events += 1;
        if event.mask & Q_OVERFLOW != 0 {
            return self.overflow(batch);
        }
        batch.silent = self.is_silent(event, batch.window.index);
        if event.types() & kind::OPEN_EXEC != 0 {
            let name = event.place.map_or(&b""[..], |place| place.name);
            let answer = batch.sources.who.open_exec(event.pid, batch.window, name);
            batch.settled = Some(answer.into());
        }
        self.place(event, batch);
    }

    /// Whether nobody is told of the event of that number.
    #[inline]
    fn is_silent(&self, event: &Event<'_>, index: u64) -> bool {
        event.pid == self.own_pid || index < self.quiet
    }

    fn place(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        batch.merged = event.types() & SIDES != 0;
        if self.concerns_steps(event) {
            self.leave_steps(event, batch);
            self.place_in_tree(event, batch);
            self.reach_steps(event, batch);
        } else {
            self.place_in_tree(event, batch);
        }
        if self.may_concern_links(event) {
            self.follow_links(event, batch);
        }
    }

    #[inline]
    fn place_in_tree(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        if event.types() & kind::RENAME != 0 {
            return self.rename(event, batch);
        }
        if event.types() & (kind::FS_ERROR | SIDES) != 0 {
            return self.seldom(event, batch);
        }
        match event.place {
            Some(place) => match self.tree.find(place.dir) {
                Some(dir) => {
                    let known = Known::new(&self.tree, dir, place.name);
                    self.entry(event, known, batch);
                }
                None => self.stranger(event, place, batch),
            },
            None => self.nameless(event, batch),
        }
    }

    #[cold]
    fn seldom(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        match event.types() & SIDES {
            0 => self.fs_error(event, batch),
            _ => self.sides(event, batch),
        }
    }

    /// An event in a watched directory, or on one.
    fn entry(&mut self, event: &Event<'_>, at: Known<'_>, batch: &mut Batch<'_, '_>) {
        if self.tree.node(at.dir).flags & flag::LEAF != 0 && !at.name.is_empty() {
            self.through_link(event, batch);
            return;
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
        let mut actor = None;
        if comes_or_goes && self.exchange.any(batch.window.index) {
            self.exchange.touch(at.place);
        }
        if comes_or_goes
            && (self.is_unsettled(types)
                || batch.merged
                || self.is_new_link(types, hash)
                || file.is_some_and(|place| self.is_unlikely(types, place, hash)))
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
            let flags = if is_named { event_flag::NAMED } else { 0 };
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
            self.second_look(hash, types & kind::CREATE != 0, batch);
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
            self.tree.find(key).is_some_and(|id| self.tree.is_below(dir, id))
                || self.above.is_step(self.tree.hash(key))
        };
        moves.after(index).any(|key| key.is_none_or(is_above))
    }

    /// Whether a file was renamed just before it gets a name: that one was a hard link, then.
    #[inline]
    fn is_new_link(&self, types: u32, hash: u64) -> bool {
        types & kind::CREATE != 0 && self.doubts.is_renamed(hash)
    }

    /// Whether a file comes where one is, or goes where it is not, as far as is known.
    #[inline]
    fn is_unlikely(&self, types: u32, place: u64, hash: u64) -> bool {
        let expected = if types & kind::DELETE == 0 { 0 } else { hash };
        self.links.at(place).is_some_and(|known| known != expected)
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
            true => self.links.forget(at.place),
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
        if types & kind::DELETE != 0
            && let Some(id) = self.tree.find_live(key)
        {
            self.tree.remove(id);
        }
    }

    /// Whether a directory is made with the handle of one that is still there, at another place.
    fn is_made_twice(&mut self, at: Known<'_>, key: Key<'_>) -> bool {
        let mut room = [0; record::NAME_MAX];
        let Some(known) = self.place_of(key, &mut room) else { return false };
        (known.dir, known.name) != (at.dir, at.name) && self.are_twins(known, at, key)
    }

    /// Puts a directory into the tree, unless it is left out or there is no room.
    fn take_up(&mut self, at: Known<'_>, key: Key<'_>, batch: &mut Batch<'_, '_>) -> Option<u32> {
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

    /// A place whose directory is watched.
    fn known<'a>(&self, place: Option<Place<'a>>) -> Option<Known<'a>> {
        let place = place?;
        let dir = self.tree.find(place.dir)?;
        let leaf = self.tree.node(dir).flags & flag::LEAF != 0;
        (!leaf).then(|| Known::new(&self.tree, dir, place.name))
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
            let at = Some(Known::new(&self.tree, root, &[]));
            let wanted = kind::FS_ERROR;
            self.emit(Told { at, old: None, wanted, flags: 0, object: code, who }, event, batch);
        }
    }

    #[inline]
    fn emit(&mut self, told: Told<'_>, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
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
    fn tell(&mut self, told: Told<'_>, is_dir: bool, batch: &mut Batch<'_, '_>) {
        let mut head = head(told.who, batch);
        head.flags |= told.flags;
        if self.unsure.any() || self.doubts.any() {
            head.flags |= self.unsure_flag(&told);
        }
        head.mask = (told.wanted | if is_dir { kind::ONDIR } else { 0 }).into();
        head.object = told.object.into();
        head.dir = told.at.map_or(0, |at| at.dir).into();
        head.dir2 = told.old.map_or(0, |old| old.dir).into();
        let name = told.at.map_or(&b""[..], |at| at.name);
        let name2 = told.old.map_or(&b""[..], |old| old.name);
        batch.output.event(&mut self.tree, batch.sources, head, name, name2);
    }

    /// Whether a directory on the way to what is told of may be elsewhere: it came in a moment ago, or
    /// was renamed so often that a rename may have been merged away.
    #[cold]
    fn unsure_flag(&self, told: &Told<'_>) -> u16 {
        let is_unsure = |dir: u32| {
            let mut at = dir;
            while at != 0 {
                let node = self.tree.node(at);
                let mut doubts = self.doubts.of(node.hash());
                if self.unsure.has(at) || doubts.any(|doubt| doubt.is_dir && doubt.renamed) {
                    return true;
                }
                at = node.parent;
            }
            false
        };
        let is_one = [told.at, told.old].into_iter().flatten().any(|at| is_unsure(at.dir));
        if is_one { event_flag::UNSURE } else { 0 }
    }
}

#[inline]
fn who(pid: u32, batch: &mut Batch<'_, '_>) -> Actor {
    if let Some(actor) = batch.settled.take() {
        return actor;
    }
    batch.sources.who.resolve(pid, batch.window).into()
}

#[inline]
fn head(who: Actor, batch: &Batch<'_, '_>) -> record::Event {
    let mut head = record::Event::new_zeroed();
    head.flags = (who.attribution as u16).into();
    head.time_ns = batch.window.until_ns.into();
    head.proc = who.image.into();
    head
}

/// A directory was refused for want of room: told once, counted always.
#[cold]
fn dirs_full(batch: &mut Batch<'_, '_>) {
    batch.output.counters.dirs_refused += 1;
    if batch.output.counters.dirs_refused == 1 {
        batch.output.loss(batch.sources, Reason::DirsMax, batch.window.span(), Some(1), 1);
    }
}
