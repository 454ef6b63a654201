//! Names and other texts, each kept once.

use crate::limits::NAMES_SWEPT_LEAST;
use fsmon_format::number::{to_u16, to_u32, to_usize};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// A text. Two are equal if their numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Name(u32);

impl Name {
    /// That of an empty text.
    pub(super) const EMPTY: Name = Name(0);
}

/// Where a text is in the bytes.
#[derive(Clone, Copy, Default)]
struct Span {
    at: usize,
    len: u16,
    is_used: bool,
}

/// All texts.
pub(super) struct Names {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// Numbers that are free again.
    free: Vec<u32>,
    table: HashTable<u32>,
    hasher: RandomState,
    /// Once there are so many, those that nothing refers to are dropped.
    sweep_at: usize,
}

impl Default for Names {
    fn default() -> Self {
        Names {
            bytes: Vec::new(),
            spans: vec![Span { is_used: true, ..Span::default() }],
            free: Vec::new(),
            table: HashTable::new(),
            hasher: RandomState::new(),
            sweep_at: NAMES_SWEPT_LEAST,
        }
    }
}

impl Names {
    /// The name of these bytes; longer ones than a record can have are cut. That of an empty text is the default.
    pub(super) fn put(&mut self, text: &[u8]) -> Name {
        let text = &text[..text.len().min(u16::MAX.into())];
        if let Some(name) = self.find(text) {
            return name;
        }
        let span = Span { at: self.bytes.len(), len: to_u16(text.len()), is_used: true };
        self.bytes.extend_from_slice(text);
        let id = self.free.pop().unwrap_or_else(|| {
            self.spans.push(Span::default());
            to_u32(self.spans.len() - 1)
        });
        self.spans[to_usize(id.into())] = span;
        let Names { table, spans, bytes, hasher, .. } = self;
        table.insert_unique(hasher.hash_one(text), id, |id| {
            hasher.hash_one(text_of(bytes, spans, *id))
        });
        Name(id)
    }

    /// The name of these bytes, if they have one.
    pub(super) fn find(&self, text: &[u8]) -> Option<Name> {
        if text.is_empty() {
            return Some(Name::default());
        }
        let hash = self.hasher.hash_one(text);
        let found = self.table.find(hash, |id| text_of(&self.bytes, &self.spans, *id) == text);
        found.map(|id| Name(*id))
    }

    /// The bytes of a name.
    pub(super) fn get(&self, name: Name) -> &[u8] {
        text_of(&self.bytes, &self.spans, name.0)
    }

    /// Whether so many names came that it is worth dropping those without use.
    pub(super) fn is_full(&self) -> bool {
        self.spans.len() - self.free.len() >= self.sweep_at
    }

    /// Drops all names but those in `used`.
    pub(super) fn sweep(&mut self, used: impl Iterator<Item = Name>) {
        for span in self.spans.iter_mut().skip(1) {
            span.is_used = false;
        }
        for name in used {
            self.spans[to_usize(name.0.into())].is_used = true;
        }
        let mut bytes = Vec::new();
        self.free.clear();
        self.table.clear();
        for id in 1..self.spans.len() {
            if !self.spans[id].is_used {
                self.free.push(to_u32(id));
                continue;
            }
            let text = text_of(&self.bytes, &self.spans, to_u32(id));
            let at = bytes.len();
            bytes.extend_from_slice(text);
            self.spans[id].at = at;
        }
        self.bytes = bytes;
        self.index();
        self.sweep_at = NAMES_SWEPT_LEAST.max(2 * (self.spans.len() - self.free.len()));
    }

    fn index(&mut self) {
        let Names { table, spans, bytes, hasher, .. } = self;
        for id in (1..spans.len()).filter(|id| spans[*id].is_used).map(to_u32) {
            table.insert_unique(hasher.hash_one(text_of(bytes, spans, id)), id, |id| {
                hasher.hash_one(text_of(bytes, spans, *id))
            });
        }
    }
}

fn text_of<'a>(bytes: &'a [u8], spans: &[Span], id: u32) -> &'a [u8] {
    let span = spans[to_usize(id.into())];
    &bytes[span.at..span.at + usize::from(span.len)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_use_go_and_the_others_stay() {
        let mut names = Names::default();
        let all: Vec<_> = (0..1000u32).map(|n| names.put(&n.to_le_bytes())).collect();
        assert_eq!(names.put(&7u32.to_le_bytes()), all[7]);
        assert_eq!(names.put(b""), Name::default());
        let used: Vec<_> = all.iter().copied().step_by(10).collect();
        names.sweep(used.iter().copied());
        for (n, name) in (0..1000u32).step_by(10).zip(&used) {
            assert_eq!(names.get(*name), n.to_le_bytes());
            assert_eq!(names.find(&n.to_le_bytes()), Some(*name));
        }
        assert_eq!(names.find(&5u32.to_le_bytes()), None);
        for n in 5000..6000u32 {
            names.put(&n.to_le_bytes());
        }
        assert_eq!(names.get(used[3]), 30u32.to_le_bytes());
    }
}
