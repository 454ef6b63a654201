//! Paths of executables and names given to exec, each kept once.
//!
//! Ids are dense from 1 and used again. A name without references stays, for the next exec of the same program,
//! until its room is needed.

use crate::hot::containers::probing::ProbeTable;
use fsmon_format::arena::{Arena, Text};
use zerocopy::FromZeros;

/// A name.
#[derive(Clone, Copy, Default, FromZeros)]
#[repr(C)]
struct Name {
    text: Text,
    hash: u32,
    refs: u32,
    /// Hash of the last part of the path after symbolic links; 0 if unknown.
    reached: u32,
    /// Hash of another name under which an exec opened the file, for example in a container; 0 none.
    alias: u32,
    /// Next in the chain of free ids.
    free: u32,
    defined: u8,
    live: u8,
    /// Whether `reached` was looked up.
    asked: u8,
    misses: u8,
    hits: u8,
    reserved: [u8; 3],
}

/// The names.
pub struct Strings {
    names: Vec<Name>,
    /// Ids by the hash of the name.
    by_hash: ProbeTable<u32>,
    arena: Arena,
    free: u32,
    used: u32,
    hand: u32,
    /// Number of names without references.
    idle: u32,
    refused: u64,
}

/// FNV-1a with a final mix: names are short, and there is one hash for each exec.
#[must_use]
pub fn hash(bytes: &[u8]) -> u32 {
    let mut value = 0x811c_9dc5_u32;
    for &byte in bytes {
        value = (value ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    value ^= value >> 15;
    value.wrapping_mul(0x2c1b_3c6d).max(1)
}

impl Strings {
    /// Reserves room for `max` names of `bytes` bytes together; pages are taken as used.
    #[must_use]
    pub fn with_capacity(max: usize, bytes: usize) -> Self {
        Strings {
            names: Name::new_vec_zeroed(max + 1).expect("room is bounded by STRINGS_MAX"),
            by_hash: ProbeTable::new((2 * max).next_power_of_two()),
            arena: Arena::with_capacity(bytes),
            free: 0,
            used: 0,
            hand: 0,
            idle: 0,
            refused: 0,
        }
    }

    /// The id of `text`, with one more reference; 0 for the empty text, or if there is no room.
    pub fn intern(&mut self, text: &[u8]) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let hash = hash(text);
        if let Some(id) = self.find(text, hash) {
            self.retain(id);
            return id;
        }
        let Some((id, kept)) = self.make_room(text) else {
            self.refused += 1;
            return 0;
        };
        self.names[id as usize] = Name { text: kept, hash, refs: 1, live: 1, ..Name::default() };
        // The slot is searched only now: making room may have moved other entries.
        self.by_hash.insert(hash as usize, id);
        id
    }

    /// Adds a reference to `id`.
    pub fn retain(&mut self, id: u32) {
        if id != 0 {
            let name = &mut self.names[id as usize];
            self.idle -= u32::from(name.refs == 0);
            name.refs += 1;
        }
    }

    /// Removes a reference.
    pub fn release(&mut self, id: u32) {
        if id != 0 {
            let name = &mut self.names[id as usize];
            self.idle += u32::from(name.refs == 1);
            name.refs = name.refs.saturating_sub(1);
        }
    }

    /// The bytes of `id`; empty for 0.
    #[must_use]
    pub fn get(&self, id: u32) -> &[u8] {
        match self.names.get(id as usize) {
            Some(name) if name.live != 0 => self.arena.get(name.text),
            _ => &[],
        }
    }

    /// Whether its definition was sent.
    #[must_use]
    pub fn is_defined(&self, id: u32) -> bool {
        self.names.get(id as usize).is_some_and(|name| name.defined != 0)
    }

    /// Records that its definition was sent.
    pub fn set_defined(&mut self, id: u32) {
        if let Some(name) = self.names.get_mut(id as usize) {
            name.defined = 1;
        }
    }

    /// Names that were refused because there was no room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Hash of the last part of the file that the name leads to; `None` if it was not looked up.
    #[must_use]
    pub fn reached(&self, id: u32) -> Option<u32> {
        let name = &self.names[id as usize];
        (name.asked != 0).then_some(name.reached)
    }

    /// Records the result; 0 for none.
    pub fn set_reached(&mut self, id: u32, hash: u32) {
        let name = &mut self.names[id as usize];
        (name.asked, name.reached) = (1, hash);
    }

    /// Hash of another name of its file, learnt from an exec; 0 none.
    #[must_use]
    pub fn alias(&self, id: u32) -> u32 {
        self.names[id as usize].alias
    }

    /// Sets it.
    pub fn set_alias(&mut self, id: u32, hash: u32) {
        if id != 0 {
            self.names[id as usize].alias = hash;
        }
    }

    /// Records whether an opening was matched to an exec of this name.
    pub fn note_opened(&mut self, id: u32, seen: bool) {
        let name = &mut self.names[id as usize];
        let count = if seen { &mut name.hits } else { &mut name.misses };
        *count = count.saturating_add(1);
    }

    /// How often an opening was matched to an exec of this name, and how often not.
    #[must_use]
    pub fn opened(&self, id: u32) -> (u8, u8) {
        let name = &self.names[id as usize];
        (name.hits, name.misses)
    }

    fn find(&self, text: &[u8], hash: u32) -> Option<u32> {
        let is_it = |&id: &u32| {
            let name = &self.names[id as usize];
            name.hash == hash && self.arena.get(name.text) == text
        };
        let found = self.by_hash.find(hash as usize, is_it).ok()?;
        Some(*self.by_hash.get(found))
    }

    fn make_room(&mut self, text: &[u8]) -> Option<(u32, Text)> {
        // At most once around.
        for _ in 0..self.names.len() {
            let id_is_there = self.free != 0 || (self.used as usize) + 1 < self.names.len();
            if id_is_there && let Some(kept) = self.arena.insert(text) {
                return Some((self.take_id(), kept));
            }
            if !self.evict_next() {
                return None;
            }
        }
        None
    }

    fn take_id(&mut self) -> u32 {
        if self.free == 0 {
            self.used += 1;
            return self.used;
        }
        let id = self.free;
        self.free = self.names[id as usize].free;
        id
    }

    /// Drops the next name without references; false if there is none.
    fn evict_next(&mut self) -> bool {
        if self.idle == 0 {
            return false;
        }
        for _ in 0..self.used {
            self.hand = self.hand % self.used + 1;
            let name = self.names[self.hand as usize];
            if name.live != 0 && name.refs == 0 {
                self.evict(self.hand);
                return true;
            }
        }
        false
    }

    fn evict(&mut self, id: u32) {
        let name = self.names[id as usize];
        self.idle -= 1;
        let found = self.by_hash.find(name.hash as usize, |here| *here == id);
        debug_assert!(found.is_ok(), "each live string is in the table");
        if let Ok(at) = found {
            self.by_hash.remove(at, |&other| self.names[other as usize].hash as usize);
        }
        self.arena.remove(name.text);
        self.names[id as usize] = Name { free: self.free, ..Name::default() };
        self.free = id;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn what_is_in_use_stays_and_the_rest_makes_room() {
        let mut strings = Strings::with_capacity(2, 4096);
        let (make, gcc) = (strings.intern(b"/usr/bin/make"), strings.intern(b"/usr/bin/gcc"));
        assert_eq!((make, gcc, strings.intern(b"ld")), (1, 2, 0));
        strings.release(gcc);
        assert_eq!(strings.intern(b"/usr/bin/gcc"), gcc);
        strings.release(gcc);
        assert_eq!(strings.intern(b"ld"), gcc);
        assert_eq!((strings.get(make), strings.get(gcc)), (&b"/usr/bin/make"[..], &b"ld"[..]));
        assert_eq!((strings.refused(), strings.intern(b"")), (1, 0));
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(ops in proptest::collection::vec((any::<bool>(), 0u32..40), 1..300)) {
            let mut strings = Strings::with_capacity(24, 4096);
            let mut model: HashMap<u32, (String, u32)> = HashMap::new();
            for (add, n) in ops {
                let text = format!("/bin/{}{n}", "x".repeat(n as usize % 7));
                let held = model.iter().find(|(_, kept)| kept.0 == text).map(|(&id, _)| id);
                if add {
                    let id = strings.intern(text.as_bytes());
                    match held {
                        Some(held) => prop_assert_eq!(id, held),
                        None if model.len() == 24 => prop_assert_eq!(id, 0),
                        None => prop_assert!(id != 0 && !model.contains_key(&id)),
                    }
                    if id != 0 {
                        model.entry(id).or_insert((text, 0)).1 += 1;
                    }
                } else if let Some(id) = held {
                    strings.release(id);
                    let kept = model.get_mut(&id).expect("held");
                    kept.1 -= 1;
                    if kept.1 == 0 {
                        model.remove(&id);
                    }
                }
                for (&id, (text, _)) in &model {
                    prop_assert_eq!(strings.get(id), text.as_bytes());
                }
            }
        }
    }
}
