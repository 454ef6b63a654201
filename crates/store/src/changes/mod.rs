//! What is different since a moment, net: of everything that events tell, one line for each path.
//!
//! [`Changes`] takes events and gives lines; it reads nothing and prints nothing. What was there at the beginning follows
//! from the events where possible: DELETE of a name of which nothing else was heard shows that something was there,
//! CREATE that nothing was. Only for a RENAME onto a name, which replaces what is there without a word, [`Past`] is asked.
//!
//! Memory is for what differs: what is made and removed again leaves nothing behind.

mod apply;
mod backwards;
mod entry;
mod history;
#[cfg(test)]
mod history_test;
mod lines;
#[cfg(test)]
mod model_test;
mod names;
mod order;
mod past;
mod paths;
mod process;
mod recent;
mod scan;
mod span;
#[cfg(test)]
mod tests;
mod thing;
mod track;
mod tree;
mod trouble;

pub use apply::Event;
pub use history::{Reading, read, roots};
pub use lines::{Change, Line, Lines, Processes};
pub use past::{Answer, Past, Unknown};
pub use process::Who;
pub use scan::Scan;
pub use span::{Cursor, Since, Span};
pub use trouble::Trouble;

use fsmon_format::mirror::Mirror;
use process::Table;
use thing::Id;
use tree::Tree;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Only changes at these paths and below; empty: all. Absolute, as records have them.
    pub paths: Vec<Vec<u8>>,
    /// What was made and is gone again is told, too.
    pub all: bool,
}

/// The changes so far.
pub struct Changes {
    asked: Asked,
    tree: Tree,
    processes: Table,
    /// What an exchange took from its name. The next event brings it back.
    displaced: Option<Id>,
    /// How often something was missing.
    era: u8,
}

impl Changes {
    /// None yet.
    #[must_use]
    pub fn new(asked: Asked) -> Self {
        let asked = Asked { paths: asked.paths.into_iter().map(without_slash).collect(), ..asked };
        let tree = Tree::new(asked.all);
        Changes { asked, tree, processes: Table::default(), displaced: None, era: 0 }
    }

    /// The process that `id` stands for in `mirror`, for events. Holds until the next [`Changes::sweep`].
    pub fn process(&mut self, mirror: &Mirror, id: u32) -> Who {
        self.processes.put(mirror, id, &mut self.tree.names)
    }

    /// Drops names and processes that no line needs any more, once there are many. Call between blocks.
    pub fn sweep(&mut self) {
        if !self.tree.names.is_full() && !self.processes.is_full() {
            return;
        }
        let tree = &self.tree;
        let lasts = tree.ids().flat_map(|id| [tree.get(id).last, tree.get(id).moved]);
        self.processes.sweep(lasts.map(|last| last.who));
        let places = tree.ids().flat_map(|id| [tree.get(id).place, tree.get(id).start]);
        let used: Vec<_> = places.map(|place| place.name).chain(self.processes.names()).collect();
        self.tree.names.sweep(used.into_iter());
    }

    /// Something is missing here: what is known of names that are gone may be wrong from here on.
    pub fn interrupt(&mut self) {
        self.era = self.era.wrapping_add(1);
        self.displaced = None;
        self.tree.recent.forget();
    }
}

/// A path as records have it: without a slash at its end. `/` becomes empty.
fn without_slash(mut path: Vec<u8>) -> Vec<u8> {
    while path.last() == Some(&b'/') {
        path.pop();
    }
    path
}
