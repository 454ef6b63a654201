//! The order of lines: by path, name by name.

use super::entry::Entry;
use super::names::{Name, Names};
use fsmon_format::number::{to_u32, to_usize};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// A path: that of another one, and a name behind it.
struct Node {
    above: u32,
    name: Name,
    entry: Option<Entry>,
}

/// Entries by their paths.
#[derive(Default)]
pub(super) struct Order {
    /// The first is `/`.
    nodes: Vec<Node>,
    table: HashTable<u32>,
    hasher: RandomState,
    /// The nodes but the first, by the node above and then by name.
    sorted: Vec<u32>,
    /// Where those below each node begin in `sorted`; the last has its end.
    begins: Vec<u32>,
    count: usize,
}

impl Order {
    /// Adds an entry at the path of these names.
    pub(super) fn add(&mut self, names: &[Name], entry: Entry) {
        if self.nodes.is_empty() {
            self.nodes.push(Node { above: 0, name: Name::EMPTY, entry: None });
        }
        let at = names.iter().fold(0, |above, name| self.below(above, *name));
        let node = &mut self.nodes[to_usize(at.into())];
        self.count += usize::from(node.entry.is_none());
        node.entry = Some(match node.entry {
            Some(other) => other.with(entry),
            None => entry,
        });
    }

    /// The node of a name below another, which is made if there is none.
    fn below(&mut self, above: u32, name: Name) -> u32 {
        let Order { nodes, table, hasher, .. } = self;
        let key = |nodes: &[Node], at: u32| {
            let node = &nodes[to_usize(at.into())];
            (node.above, node.name)
        };
        let hash = hasher.hash_one((above, name));
        if let Some(at) = table.find(hash, |at| key(nodes, *at) == (above, name)) {
            return *at;
        }
        nodes.push(Node { above, name, entry: None });
        let at = to_u32(nodes.len() - 1);
        table.insert_unique(hash, at, |at| hasher.hash_one(key(nodes, *at)));
        at
    }

    /// All are there: sorts them.
    pub(super) fn sort(&mut self, names: &Names) {
        self.table = HashTable::new();
        let nodes = &self.nodes;
        self.sorted = (1..to_u32(nodes.len().max(1))).collect();
        self.sorted.sort_by(|one, other| {
            let (one, other) = (&nodes[to_usize((*one).into())], &nodes[to_usize((*other).into())]);
            let by_name = || names.get(one.name).cmp(names.get(other.name));
            one.above.cmp(&other.above).then_with(by_name)
        });
        self.begins = vec![0; nodes.len() + 1];
        for at in &self.sorted {
            self.begins[to_usize(nodes[to_usize((*at).into())].above.into()) + 1] += 1;
        }
        for at in 1..self.begins.len() {
            self.begins[at] += self.begins[at - 1];
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Calls `take` for each entry in order.
    pub(super) fn each<E>(&self, take: &mut impl FnMut(&Entry) -> Result<(), E>) -> Result<(), E> {
        let mut stack: Vec<(u32, u32)> = Vec::new();
        let range = |at: u32| {
            let at = to_usize(at.into());
            (self.begins[at], self.begins[at + 1])
        };
        if !self.nodes.is_empty() {
            stack.push(range(0));
        }
        while let Some((next, end)) = stack.pop() {
            if next == end {
                continue;
            }
            stack.push((next + 1, end));
            let at = self.sorted[to_usize(next.into())];
            if let Some(entry) = &self.nodes[to_usize(at.into())].entry {
                take(entry)?;
            }
            stack.push(range(at));
        }
        Ok(())
    }
}
