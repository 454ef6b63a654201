//! Events to records: where by the tree, who by the process table, in queue order.

mod ahead;
mod batch;
mod doubt;
mod entry;
mod exchange;
mod layers;
mod relook;
mod removal;
mod rename;
mod roots;
mod sides;
mod steps;
mod stepwise;
mod strangers;
mod tell;
mod walk;

pub(crate) use batch::{Actor, Batch};

use self::batch::Known;
use crate::hot::event::{Event, Location};
use crate::hot::reader::flushes::Flushes;
use crate::hot::reader::root_commands::AllObeyed;
use crate::hot::r#where::above::Above;
use crate::hot::r#where::disk::{Disk, Kernel};
use crate::hot::r#where::mute::busy::Busy;
use crate::hot::r#where::mute::rename_events::Renames;
use crate::hot::r#where::tables::deferred::Deferred;
use crate::hot::r#where::tables::exchange_halves::ExchangeHalves;
use crate::hot::r#where::tables::file_at_name::FileAtName;
use crate::hot::r#where::tables::file_names::FileNames;
use crate::hot::r#where::tables::in_doubt::InDoubt;
use crate::hot::r#where::tables::just_met::JustMet;
use crate::hot::r#where::tables::last_seen::LastSeen;
use crate::hot::r#where::tables::nameless::Nameless;
use crate::hot::r#where::tables::objects::Objects;
use crate::hot::r#where::tables::orphans::Orphans;
use crate::hot::r#where::tables::outside::Outside;
use crate::hot::r#where::tables::reported_by_walks::ReportedByWalks;
use crate::hot::r#where::tables::under_way::UnderWay;
use crate::hot::r#where::tree::{Tree, flag};
use crate::hot::r#where::watch::{SIDES, Watch};
use crate::sys::fanotify::flag::Q_OVERFLOW;
use fsmon_format::kind;
use std::sync::Arc;

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
    /// Events that were in the queue when the tree had been read: the tree follows them, and no record tells
    /// them, as their path may be a later one.
    pub(crate) quiet: u64,
    pub(crate) orphans: Orphans,
    pub(crate) recent: LastSeen,
    pub(crate) nameless: Nameless,
    pub(crate) outside: Outside,
    pub(crate) found: ReportedByWalks,
    rereads: walk::Rereads,
    pub(crate) exchange: ExchangeHalves,
    pub(crate) objects: Objects,
    pub(crate) doubts: InDoubt,
    pub(crate) links: FileAtName,
    pub(crate) unsure: JustMet,
    pub(crate) busy: Busy,
    pub(crate) renames: Renames,
    pub(crate) deferred: Deferred,
    pub(crate) walks: UnderWay,
    pub(crate) flushes: Arc<Flushes>,
    /// Commands that were done and are to be answered.
    pub(crate) obeyed: AllObeyed,
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
            recent: LastSeen::new(),
            nameless: Nameless::new(),
            outside: Outside::new(),
            found: ReportedByWalks::new(),
            rereads: walk::Rereads::default(),
            exchange: ExchangeHalves::new(),
            objects: Objects::new(),
            doubts: InDoubt::new(),
            links: FileAtName::new(),
            unsure: JustMet::new(),
            busy,
            renames: Renames::new(),
            deferred: Deferred::new(),
            walks: UnderWay::new(),
            flushes: Arc::default(),
            obeyed: AllObeyed::new(),
        }
    }
}

impl<D: Disk> Resolver<D> {
    /// What may be missing, or wrong, because a table was full.
    pub(crate) fn forgotten(&self) -> u64 {
        let names = self.watch.file_names.as_ref();
        self.tree.forgotten()
            + self.watch.arrivals.forgotten()
            + self.orphans.forgotten()
            + self.found.forgotten()
            + self.objects.forgotten()
            + self.doubts.forgotten()
            + self.deferred.forgotten()
            + self.watch.layers.forgotten()
            + names.map_or(0, FileNames::forgotten)
    }

    /// The queue was seen empty then, and all of before is resolved.
    #[inline]
    pub(crate) fn on_queue_empty(&mut self, empty_ns: u64) {
        self.objects.on_queue_empty();
        self.recent.on_queue_empty();
        if let Some(names) = &mut self.watch.file_names {
            names.on_queue_empty();
        }
        if !self.walks.any()
            && let Some(met) = self.unsure.on_queue_empty(empty_ns)
        {
            met.dirs.for_each(|dir| self.tree.set_met(dir, false));
            if met.any_more {
                self.tree.clear_met();
            }
        }
        self.deferred.on_queue_empty(empty_ns);
        self.settle_found(empty_ns);
        // What was found is remembered by the ids of directories.
        if !self.found.any() {
            self.tree.on_queue_empty();
        }
    }

    /// One event of the queue.
    #[inline]
    pub(crate) fn event(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        batch.output.counters.kernel_events += 1;
        if event.mask & Q_OVERFLOW != 0 {
            return self.overflow(event, batch);
        }
        batch.silent = self.is_silent(event, batch.window.index);
        if batch.silent
            && self.flushes.any()
            && let Some(flushed) = self.flushes.take(event, batch.window.until_ns)
        {
            return self.obey(flushed, batch);
        }
        if self.walks.any() {
            self.read_ahead(event, batch);
        }
        if event.types() & kind::OPEN_EXEC != 0 {
            let name = event.location.map_or(&b""[..], |place| place.name);
            let answer = batch.sources.who.open_exec(event.pid, batch.window, name);
            batch.settled = Some(answer.into());
        }
        if event.lacks_name() {
            return self.unnamed(event, batch);
        }
        self.place(event, batch);
    }

    /// Whether no record tells the event of that number.
    #[inline]
    fn is_silent(&self, event: &Event<'_>, index: u64) -> bool {
        event.pid == self.own_pid || index < self.quiet
    }

    #[inline]
    fn place(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        match self.watch.layers.any() {
            true => self.place_in_layers(event, batch),
            false => self.place_as_told(event, batch),
        }
    }

    fn place_as_told(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
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
        match event.location {
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

    /// A place whose directory is watched.
    fn known<'a>(&self, place: Option<Location<'a>>) -> Option<Known<'a>> {
        let place = place?;
        let dir = self.tree.find(place.dir)?;
        let leaf = self.tree.node(dir).flags & flag::LEAF != 0;
        (!leaf).then(|| Known::new(&self.tree, dir, place.name))
    }
}
