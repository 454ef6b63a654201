//! Events of upper layers and of marks: which count, and as what.

use super::pending::{FilledRoom, Gone};
use super::{Layers, Room, Side, Source};
use crate::hot::event::{Event, Key};
use crate::hot::r#where::tree::Tree;
use crate::sys::handle::KEY_MAX;
use fsmon_format::kind;

/// What an event of a directory on itself tells that a mark on the directory above it does not.
const SELF: u64 = (kind::DELETE_SELF | kind::MOVE_SELF) as u64;

/// What an event of an upper layer is.
pub(crate) enum Heard<'a> {
    /// One that it tells: the event as the overlay would have it.
    Told(Event<'a>, Source),
    /// One of a directory that has its own mark, which tells it.
    Own,
    /// Another that is not told: a mark tells it, or it shows what overlayfs does.
    Left,
    /// Of no directory that is known.
    Stranger,
}

/// What a rename is of which a mark told one side.
pub(crate) enum OneSide<'a> {
    /// The upper layer told it.
    Told,
    /// With both sides.
    Filled(Event<'a>),
    /// There is nothing else.
    Alone,
}

impl<F> Layers<F> {
    /// What an event of an upper layer is. `is_named`: whether the name of an object with that hash is known.
    pub(crate) fn hear<'a>(
        &mut self,
        tree: &Tree,
        event: &Event<'a>,
        is_named: impl Fn(u64) -> bool,
        room: &'a mut Room,
    ) -> Heard<'a> {
        let of = self.layer_of(tree, event, is_named);
        let Some((at, old, new)) = of else { return Heard::Stranger };
        let Room { place, old: old_room, object } = room;
        let layer = &self.layers[at];
        let mut translated = *event;
        translated.location = event.location.and_then(|at| layer.place(tree, at, new, place));
        translated.old = event.old.and_then(|at| layer.place(tree, at, old, old_room));
        let mut as_upper = [0; KEY_MAX];
        let upper = event.object.and_then(|key| layer.wrap(key, &mut as_upper));
        let hash = upper.map_or(0, |key| tree.hash(key));
        let fsid = layer.fsid;
        let is_rename = event.types() & kind::RENAME != 0;
        let source = match is_rename {
            false => self.is_reported(tree, &mut translated, hash, new).then_some(Source::Upper),
            true => self.rename_reported(tree, &translated, hash, (old, new)),
        };
        let Some(source) = source else {
            let is_own = !is_rename && matches!(new, Side::Own(_));
            return if is_own { Heard::Own } else { Heard::Left };
        };
        let key = upper.map(|key| self.real_key(hash, key));
        translated.object = key.and_then(|key| {
            let out = object.get_mut(..key.len())?;
            out.copy_from_slice(key);
            Some(Key { fsid, handle: out })
        });
        Heard::Told(translated, source)
    }

    /// The object of an event of an upper layer, as the overlay has it.
    pub(crate) fn object_of<'a>(
        &self,
        tree: &Tree,
        event: &Event<'_>,
        room: &'a mut Room,
    ) -> Option<Key<'a>> {
        let (at, ..) = self.layer_of(tree, event, |_| false)?;
        let mut as_upper = [0; KEY_MAX];
        let key = self.layers[at].wrap(event.object?, &mut as_upper)?;
        let handle = self.real_key(tree.hash(key), key);
        let out = room.object.get_mut(..handle.len())?;
        out.copy_from_slice(handle);
        Some(Key { fsid: key.fsid, handle: out })
    }

    /// Which overlay an event is of, and whose its entries are. An event of an object alone says of no directory: it is
    /// of the overlay on which the object has a known name, or else of the first.
    fn layer_of(
        &self,
        tree: &Tree,
        event: &Event<'_>,
        is_named: impl Fn(u64) -> bool,
    ) -> Option<(usize, Side, Side)> {
        let [old, new] = [event.old, event.location].map(|place| place.map(|place| place.dir));
        if old.or(new).is_none() {
            let object = event.object?;
            let mut on =
                (0..self.layers.len()).filter(|&at| self.layers[at].upper_fsid == object.fsid);
            let first = on.clone().next()?;
            let named = on.find(|&at| self.merged_hash(tree, at, object).is_some_and(&is_named));
            return Some((named.unwrap_or(first), Side::Unknown, Side::Unknown));
        }
        let fsid = old.or(new)?.fsid;
        let is_nobodys = |side| matches!(side, Side::Work | Side::Unknown);
        for (at, layer) in self.layers.iter().enumerate() {
            if layer.upper_fsid != fsid {
                continue;
            }
            let sides = [old, new].map(|dir| self.side(tree, layer, dir));
            if !sides.into_iter().all(is_nobodys) {
                return Some((at, sides[0], sides[1]));
            }
        }
        None
    }

    /// The hash of the key that an upper object has on that overlay.
    fn merged_hash(&self, tree: &Tree, at: usize, upper: Key<'_>) -> Option<u64> {
        let mut room = [0; KEY_MAX];
        let key = self.layers[at].wrap(upper, &mut room)?;
        let handle = self.real_key(tree.hash(key), key);
        Some(tree.hash(Key { fsid: key.fsid, handle }))
    }

    /// Whether something that is no rename is told by the upper layer.
    fn is_reported(&mut self, tree: &Tree, event: &mut Event<'_>, object: u64, at: Side) -> bool {
        let dir = match at {
            Side::Heard(dir) => dir,
            Side::Own(_) | Side::Work => return false,
            // The object alone.
            Side::Unknown => return true,
        };
        let name = event.location.map_or(&b""[..], |place| place.name);
        if name.is_empty() {
            // A mark on the directory above tells of this one, too. The upper layer also shows that overlayfs
            // sets attributes of its own.
            if !self.is_heard(tree, tree.node(dir).parent) {
                event.mask &= SELF | u64::from(kind::ONDIR);
            }
            return event.types() & !kind::ONDIR != 0;
        }
        let is_gone = event.types() & kind::DELETE != 0;
        !(is_gone && self.pending.is_whiteout(event.pid, tree.place(dir, name), object))
    }

    /// Whether a rename is told by the upper layer. Of one from or to a directory that has its own mark, that
    /// mark tells one side, and the kernel merges such events though they lead to different places: so they are
    /// told by the upper layer, which has both sides.
    fn rename_reported(
        &mut self,
        tree: &Tree,
        event: &Event<'_>,
        object: u64,
        sides: (Side, Side),
    ) -> Option<Source> {
        let (old, new) = event.old.zip(event.location)?;
        if ![sides.0, sides.1].contains(&Side::Work) {
            let with_unknown = [sides.0, sides.1].contains(&Side::Unknown);
            for (side, name) in [(sides.0, old.name), (sides.1, new.name)] {
                if let Side::Own(dir) = side {
                    let this = (event.pid, tree.place(dir, name));
                    self.pending.forget_expected(dir, with_unknown.then_some(this));
                }
            }
        }
        match sides {
            (Side::Own(_), Side::Own(_)) => None,
            // A directory that was copied up: that happens once.
            (Side::Work, Side::Own(dir)) => {
                let child = tree.child_named(dir, new.name, None).filter(|_| event.is_dir());
                let is_new =
                    |child: &u32| !self.is_heard(tree, *child) && !self.own.has(tree, *child);
                if let Some(child) = child.filter(is_new) {
                    self.own.put(tree, object, child);
                }
                None
            }
            (Side::Work, _) | (_, Side::Work) => None,
            (Side::Heard(from), Side::Own(to)) => {
                if event.is_dir() {
                    let (from, to) = (tree.place(from, old.name), tree.place(to, new.name));
                    self.pending.go(Gone { pid: event.pid, from, to });
                }
                Some(Source::Across)
            }
            (Side::Own(to), Side::Heard(from)) => {
                let (from, to) = (tree.place(from, new.name), tree.place(to, old.name));
                let how = Gone { pid: event.pid, from, to };
                let is_back = !event.is_dir() && self.pending.comes_back(how, object, new);
                (!is_back).then_some(Source::Across)
            }
            // The mark tells it, when what came in can be looked at by its new path.
            (Side::Own(dir), Side::Unknown) => {
                self.pending.expect(event.pid, dir, tree.place(dir, old.name));
                None
            }
            (Side::Unknown, Side::Own(dir)) => {
                self.pending.expect(event.pid, dir, tree.place(dir, new.name));
                None
            }
            (Side::Heard(_) | Side::Unknown, Side::Heard(_) | Side::Unknown) => Some(Source::Upper),
        }
    }

    /// Whether a mark's event is of a directory that is heard by the upper layer alone: a mark for the way to
    /// a root tells of it, too.
    pub(crate) fn is_told_twice(&self, tree: &Tree, event: &Event<'_>) -> bool {
        let places = [event.old, event.location].into_iter().flatten();
        let mut entries = places.filter(|place| !place.name.is_empty()).peekable();
        let is_heard = |id| self.is_heard(tree, id);
        entries.peek().is_some() && entries.all(|place| tree.find(place.dir).is_some_and(is_heard))
    }

    /// A mark told one side of a rename: the event with both, where the upper layer left it to the mark.
    /// Nothing, where it told it.
    pub(crate) fn one_side<'a>(
        &mut self,
        tree: &Tree,
        event: &Event<'a>,
        room: &'a mut FilledRoom,
    ) -> OneSide<'a> {
        let Some(at) = event.old.or(event.location) else { return OneSide::Alone };
        let Some(dir) = tree.find(at.dir) else { return OneSide::Alone };
        let from = tree.place(dir, at.name);
        let filled = event.old.is_some().then(|| self.pending.fill(event, from, room)).flatten();
        match filled {
            Some(filled) => OneSide::Filled(filled),
            None if self.pending.is_expected(event.pid, dir, from) => OneSide::Alone,
            None if self.own.has(tree, dir) || self.is_top(tree, dir) => OneSide::Told,
            None => OneSide::Alone,
        }
    }

    /// Whether a directory with its own mark has the key of its upper directory: a root.
    fn is_top(&self, tree: &Tree, id: u32) -> bool {
        self.is_wrapped(Key { fsid: tree.fsid(id), handle: tree.key_of(id) })
    }

    /// Two keys of one file: that of a rename that the upper layer translated, and that by which the mark tells of
    /// it. They differ where the file has a lower layer.
    pub(crate) fn note_alias(&mut self, tree: &Tree, upper: Key<'_>, merged: &[u8]) {
        self.aliases.put(tree.hash(upper), merged);
    }
}
