//! The tree of directories: each location is looked up, directories come, move and go.

use crate::plain::{self, Dirs};
use crate::records::{ROOM, recording};
use crate::{Group, rounds};
use fsmon_engine::hot::event::{Event, Events, Key};
use fsmon_engine::hot::r#where::tree::Tree;
use fsmon_engine::replay::Recording;
use fsmon_format::kind;
use std::time::Instant;

/// With the root alone.
fn tree(recording: &Recording) -> Tree {
    let root = &recording.root;
    let mut tree = Tree::new(ROOM.0, vec![root.fsid]);
    tree.insert(0, &root.path, Key { fsid: root.fsid, handle: &root.handle }).unwrap();
    tree
}

/// What the resolver does with the tree: how many locations were found.
fn follow(tree: &mut Tree, event: &Event<'_>) -> usize {
    let old = event.old.and_then(|old| tree.find(old.dir));
    let dir = event.location.and_then(|location| tree.find(location.dir));
    if event.is_dir()
        && let Some((location, dir)) = event.location.zip(dir)
        && let Some(key) = event.object
    {
        if event.types() & kind::CREATE != 0 {
            tree.insert(dir, location.name, key).unwrap();
        }
        if event.types() & kind::RENAME != 0
            && let Some(id) = tree.find_live(key)
        {
            tree.rename(id, dir, location.name).unwrap();
        }
        if event.types() & kind::DELETE != 0
            && let Some(id) = tree.find_live(key)
        {
            tree.remove(id);
        }
    }
    usize::from(old.is_some()) + usize::from(dir.is_some())
}

/// How many locations there are, each with the path that it should have.
fn check(recording: &Recording) -> usize {
    let (mut tree, mut dirs) = (tree(recording), Dirs::new(recording));
    let events = recording.reads().flat_map(|read| Events(&read.bytes));
    let mut locations = 0;
    for (event, plain) in events.zip(plain::events(recording)) {
        follow(&mut tree, &event);
        dirs.follow(&plain);
        let all = [event.location.zip(plain.location), event.old.zip(plain.old)];
        for (location, (dir, _)) in all.into_iter().flatten() {
            let (mut path, id) = (recording.root.path.clone(), tree.find(location.dir).unwrap());
            let mut below = Vec::new();
            tree.append_path(id, &mut below);
            if !below.is_empty() {
                path.push(b'/');
                path.append(&mut below);
            }
            assert_eq!(path, dirs.path(&(dir, Vec::new())));
            locations += 1;
        }
    }
    assert_eq!(tree.len(), 1, "all was removed");
    locations
}

pub(crate) fn bench(group: &mut Group<'_>) {
    let first = recording();
    let (locations, events) = (check(&first), plain::events(&first).len());
    let mut tree = tree(&first);
    rounds(group, "tree", events, |recording| {
        let turns: Vec<Vec<Event<'_>>> =
            recording.reads().map(|read| Events(&read.bytes).collect()).collect();
        let start = Instant::now();
        let mut found = 0;
        for events in &turns {
            for event in events {
                found += follow(&mut tree, event);
            }
            tree.on_queue_empty();
        }
        let time = start.elapsed();
        assert_eq!((found, tree.len()), (locations, 1));
        time
    });
}
