//! Events of upper layers and of marks: which count, and as what.

use super::pending::{FilledRoom, Gone};
use super::{EventSource, Layers, Room, Side};
use crate::hot::event::{Event, Key};
use crate::hot::r#where::tree::Tree;
use crate::sys::handle::KEY_MAX;
use fsmon_format::kind;

/// Types of an event of a directory about itself that a mark on its parent does not report.
const SELF: u64 = (kind::DELETE_SELF | kind::MOVE_SELF) as u64;

/// What an event of an upper layer means.
pub(crate) enum Heard<'a> {
    /// The overlay has this event, translated to its keys.
    Translated(Event<'a>, EventSource),
    /// The directory has its own mark, which reports the event.
    Own,
    /// Not reported from here: a mark reports it, or it shows work of overlayfs.
    Left,
    /// The directory is unknown.
    Stranger,
}

/// What a rename is of which a mark reported one side.
pub(crate) enum OneSide<'a> {
    /// The upper layer reported it.
    ByUpper,
    /// The event with both sides.
    Filled(Event<'a>),
    /// There is only the one side.
    Alone,
}

impl<F> Layers<F> {
    /// What an event of an upper layer means. `is_named`: whether a name of the object with that hash is known.
    pub(crate) fn hear<'a>(
        &mut self,
        tree: &Tree,
        event: &Event<'a>,
        is_named: impl Fn(u64) -> bool,
        room: &'a mut Room,
    ) -> Heard<'a> {
        let of = self.layer_of(tree, event, is_named);
        let Some((at, old, new)) = of else { return Heard::Stranger };
        let Room { location, old: old_room, object } = room;
        let layer = &self.layers[at];
        let mut translated = *event;
        translated.location = event.location.and_then(|at| layer.location(tree, at, new, location));
        translated.old = event.old.and_then(|at| layer.location(tree, at, old, old_room));
        let mut as_upper = [0; KEY_MAX];
        let upper = event.object.and_then(|key| layer.wrap(key, &mut as_upper));
        let hash = upper.map_or(0, |key| tree.hash(key));
        let fsid = layer.fsid;
        let is_rename = event.types() & kind::RENAME != 0;
        let source = match is_rename {
            false => {
                self.is_reported(tree, &mut translated, hash, new).then_some(EventSource::Upper)
            }
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
        Heard::Translated(translated, source)
    }

    /// The object of an event of an upper layer, with its key on the overlay.
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

    /// Which overlay an event belongs to, and the side of each directory. An event of an object alone has no
    /// directory: it belongs to the overlay on which a name of the object is known, or else to the first.
    fn layer_of(
        &self,
        tree: &Tree,
        event: &Event<'_>,
        is_named: impl Fn(u64) -> bool,
    ) -> Option<(usize, Side, Side)> {
        let [old, new] = [event.old, event.location].map(|at| at.map(|at| at.dir));
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

    /// The hash of the key that an upper object has on the overlay `at`.
    fn merged_hash(&self, tree: &Tree, at: usize, upper: Key<'_>) -> Option<u64> {
        let mut room = [0; KEY_MAX];
        let key = self.layers[at].wrap(upper, &mut room)?;
        let handle = self.real_key(tree.hash(key), key);
        Some(tree.hash(Key { fsid: key.fsid, handle }))
    }

    /// Whether the upper layer reports an event that is not a rename.
    fn is_reported(&mut self, tree: &Tree, event: &mut Event<'_>, object: u64, at: Side) -> bool {
        let dir = match at {
            Side::Heard(dir) => dir,
            Side::Own(_) | Side::Work => return false,
            // The event is of the object alone.
            Side::Unknown => return true,
        };
        let name = event.location.map_or(&b""[..], |at| at.name);
        if name.is_empty() {
            // A mark on the parent reports this event, too. The upper layer also has events of attributes that
            // overlayfs sets itself.
            if !self.is_heard(tree, tree.node(dir).parent) {
                event.mask &= SELF | u64::from(kind::ONDIR);
            }
            return event.types() & !kind::ONDIR != 0;
        }
        let is_gone = event.types() & kind::DELETE != 0;
        !(is_gone && self.pending.is_whiteout(event.pid, tree.place(dir, name), object))
    }

    /// Whether the upper layer reports a rename. If one of the directories has its own mark, that mark reports one
    /// side, and the kernel merges such events even if the other sides differ: so they are reported by the upper
    /// layer, which has both sides.
    fn rename_reported(
        &mut self,
        tree: &Tree,
        event: &Event<'_>,
        object: u64,
        sides: (Side, Side),
    ) -> Option<EventSource> {
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
            // A directory was copied up, which happens only once.
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
                Some(EventSource::Across)
            }
            (Side::Own(to), Side::Heard(from)) => {
                let (from, to) = (tree.place(from, new.name), tree.place(to, old.name));
                let how = Gone { pid: event.pid, from, to };
                let is_back = !event.is_dir() && self.pending.comes_back(how, object, new);
                (!is_back).then_some(EventSource::Across)
            }
            // The mark reports it, once the object can be looked at under its new path.
            (Side::Own(dir), Side::Unknown) => {
                self.pending.expect(event.pid, dir, tree.place(dir, old.name));
                None
            }
            (Side::Unknown, Side::Own(dir)) => {
                self.pending.expect(event.pid, dir, tree.place(dir, new.name));
                None
            }
            (Side::Heard(_) | Side::Unknown, Side::Heard(_) | Side::Unknown) => {
                Some(EventSource::Upper)
            }
        }
    }

    /// Whether an event of a mark is of a directory that is heard by the upper layer only: a mark for the way to a
    /// root reports it, too.
    pub(crate) fn is_duplicate(&self, tree: &Tree, event: &Event<'_>) -> bool {
        let locations = [event.old, event.location].into_iter().flatten();
        let mut entries = locations.filter(|at| !at.name.is_empty()).peekable();
        let is_heard = |id| self.is_heard(tree, id);
        entries.peek().is_some() && entries.all(|at| tree.find(at.dir).is_some_and(is_heard))
    }

    /// A mark reported one side of a rename. Returns the event with both sides if the upper layer left it to the
    /// mark.
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
            None if self.own.has(tree, dir) || self.is_top(tree, dir) => OneSide::ByUpper,
            None => OneSide::Alone,
        }
    }

    /// Whether a directory with its own mark has the key of its upper directory, as a root does.
    fn is_top(&self, tree: &Tree, id: u32) -> bool {
        self.is_wrapped(Key { fsid: tree.fsid(id), handle: tree.key_of(id) })
    }

    /// Records two keys of one file: its key in the rename that the upper layer translated, and its key in events
    /// of the mark. They differ if the file has a lower layer.
    pub(crate) fn note_alias(&mut self, tree: &Tree, upper: Key<'_>, merged: &[u8]) {
        self.aliases.put(tree.hash(upper), merged);
    }
}
