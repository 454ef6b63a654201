//! Makes, renames, removes, forgets and restores directories in any order, with and without an empty queue, and more
//! than the capacity. The tree must agree with a simple list: in lookups, paths, parents and the order of walks.

#![no_main]

use fsmon_engine::hot::event::Key;
use fsmon_engine::hot::r#where::tree::{Full, Inserted, Tree, flag};
use libfuzzer_sys::fuzz_target;

/// Handles below this are roots, one on each filesystem.
const ROOTS: u8 = 2;
const HANDLES: u8 = 40;
/// The handles from here on are of a filesystem that is not watched.
const STRANGERS: u8 = 38;
const NAMES: [&[u8]; 6] = [b"a", b"b", b"c", b"\xff", b"sixteen bytes...", &[b'x'; 255]];

fn handle(number: u8) -> Vec<u8> {
    // Some handles are too long to be stored in a node.
    let mut bytes = vec![7; if number.is_multiple_of(3) { 40 } else { 12 }];
    bytes[8] = number;
    bytes
}

fn fsid(number: u8) -> u64 {
    if number >= STRANGERS { 99 } else { u64::from(number % ROOTS) }
}

fn find(tree: &Tree, number: u8) -> Option<u32> {
    tree.find(Key { fsid: fsid(number), handle: &handle(number) })
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Live,
    Dead,
}

#[derive(Clone)]
struct Dir {
    /// Its id in the tree.
    id: u32,
    handle: u8,
    /// Forgotten: dead, and no longer found.
    found: bool,
    parent: u32,
    name: Vec<u8>,
    state: State,
    /// Watched as a root, until it is removed.
    root: bool,
    unread: bool,
    /// When it got its parent: the latest child comes first.
    hung: usize,
}

/// The model: a simple list.
struct Model {
    dirs: Vec<Dir>,
    /// The ids of the dead, in the order in which they go.
    dead: Vec<u32>,
    capacity: usize,
    dead_max: usize,
    clock: usize,
}

impl Model {
    fn get(&self, id: u32) -> &Dir {
        self.dirs.iter().find(|dir| dir.id == id).expect("known")
    }

    fn get_mut(&mut self, id: u32) -> &mut Dir {
        self.dirs.iter_mut().find(|dir| dir.id == id).expect("known")
    }

    fn find(&self, handle: u8) -> Option<u32> {
        self.dirs.iter().find(|dir| dir.found && dir.handle == handle).map(|dir| dir.id)
    }

    fn is_root(&self, id: u32) -> bool {
        self.get(id).root
    }

    fn live(&self) -> usize {
        self.dirs.iter().filter(|dir| dir.state == State::Live).count()
    }

    fn is_below(&self, id: u32, above: u32) -> bool {
        id != 0 && (id == above || self.is_below(self.get(id).parent, above))
    }

    /// The live children, the latest first.
    fn children(&self, id: u32) -> Vec<u32> {
        let is_child = |dir: &&Dir| dir.parent == id && dir.state == State::Live;
        let mut children: Vec<&Dir> = self.dirs.iter().filter(is_child).collect();
        children.sort_by_key(|dir| usize::MAX - dir.hung);
        children.iter().map(|dir| dir.id).collect()
    }

    fn path(&self, id: u32) -> Vec<u8> {
        let dir = self.get(id);
        if dir.parent == 0 {
            return Vec::new();
        }
        let mut path = self.path(dir.parent);
        if self.get(dir.parent).parent != 0 {
            path.push(b'/');
        }
        path.extend_from_slice(&dir.name);
        path
    }

    fn root_of(&self, id: u32) -> u32 {
        let parent = self.get(id).parent;
        if parent == 0 { id } else { self.root_of(parent) }
    }

    /// The order of a walk.
    fn walk(&self, id: u32, out: &mut Vec<u32>) {
        out.push(id);
        self.children(id).into_iter().for_each(|child| self.walk(child, out));
    }

    fn hang(&mut self, id: u32, parent: u32, name: &[u8]) {
        self.clock += 1;
        let hung = self.clock;
        let dir = self.get_mut(id);
        (dir.parent, dir.hung) = (parent, hung);
        dir.name = name.to_vec();
    }

    /// Children first.
    fn remove(&mut self, id: u32, forget: bool) {
        for child in self.children(id) {
            self.remove(child, forget);
        }
        if self.get(id).state == State::Live {
            let dir = self.get_mut(id);
            (dir.state, dir.root) = (State::Dead, false);
            self.bury_last(id);
        }
        if forget {
            self.get_mut(id).found = false;
        }
    }

    /// To the end of the line, and after it the dead that it is in.
    fn bury_last(&mut self, id: u32) {
        if id == 0 || self.get(id).state == State::Live {
            return;
        }
        self.dead.retain(|&other| other != id);
        self.dead.push(id);
        self.bury_last(self.get(id).parent);
    }

    fn bury_oldest(&mut self) {
        let oldest = self.dead[0];
        match self.children(oldest).first() {
            Some(&child) => self.remove(child, false),
            None => {
                assert!(self.dirs.iter().all(|dir| dir.parent != oldest), "nothing hangs on it");
                self.dead.remove(0);
                self.dirs.retain(|dir| dir.id != oldest);
            }
        }
    }

    fn rename(&mut self, id: u32, parent: u32, name: &[u8]) -> bool {
        let dir = self.get(id);
        let same = dir.parent == parent && dir.name == name;
        let dead = dir.state == State::Dead;
        if same || dead || self.is_root(id) || self.is_below(parent, id) {
            return false;
        }
        self.hang(id, parent, name);
        true
    }

    /// What the tree should say to an insert, with id 0 for a new one.
    fn insert(&mut self, parent: u32, name: &[u8], handle: u8) -> Result<Inserted, Full> {
        let Some(id) = self.find(handle) else { return self.make_room(parent, handle) };
        if self.get(id).state == State::Live {
            let moved = self.rename(id, parent, name);
            return Ok(if moved { Inserted::Moved(id) } else { Inserted::Same(id) });
        }
        if self.is_below(parent, id) {
            return Err(Full);
        }
        self.dead.retain(|&other| other != id);
        self.get_mut(id).state = State::Live;
        self.hang(id, parent, name);
        Ok(Inserted::Moved(id))
    }

    fn make_room(&mut self, parent: u32, handle: u8) -> Result<Inserted, Full> {
        if handle >= STRANGERS || self.live() >= self.capacity {
            return Err(Full);
        }
        while self.dirs.len() >= self.capacity + self.dead_max {
            if self.dead.first().is_none_or(|&oldest| self.is_below(parent, oldest)) {
                return Err(Full);
            }
            self.bury_oldest();
        }
        Ok(Inserted::New(0))
    }

    fn made(&mut self, id: u32, parent: u32, name: &[u8], handle: u8) {
        assert!(id != 0 && self.dirs.iter().all(|dir| dir.id != id), "an id of its own");
        let (state, root, name) = (State::Live, parent == 0, name.to_vec());
        self.dirs.push(Dir {
            id,
            handle,
            found: true,
            parent,
            name,
            state,
            root,
            unread: false,
            hung: 0,
        });
        let name = self.get(id).name.clone();
        self.hang(id, parent, &name);
    }

    fn on_queue_empty(&mut self) {
        while self.dead.len() > self.dead_max {
            self.bury_oldest();
        }
    }
}

fn insert(tree: &mut Tree, model: &mut Model, parent: u32, name: &[u8], number: u8) {
    let expected = model.insert(parent, name, number);
    let key = handle(number);
    let done = tree.insert(parent, name, Key { fsid: fsid(number), handle: &key });
    match (expected, done) {
        (Ok(Inserted::New(_)), Ok(Inserted::New(id))) => model.made(id, parent, name, number),
        (expected, done) => assert_eq!(expected, done),
    }
}

fn agree(tree: &Tree, model: &Model) {
    assert_eq!(tree.len(), model.live());
    let unread = model.dirs.iter().any(|dir| dir.state == State::Live && dir.unread);
    assert_eq!(tree.any_unread(), unread);
    for number in 0..HANDLES {
        assert_eq!(find(tree, number), model.find(number));
    }
    for dir in &model.dirs {
        let mut path = Vec::new();
        tree.append_path(dir.id, &mut path);
        assert_eq!(tree.root_of(dir.id), model.root_of(dir.id));
        assert_eq!(path, model.path(dir.id));
        assert_eq!(tree.key_of(dir.id), handle(dir.handle));
        assert_eq!(tree.node(dir.id).flags & flag::DEAD != 0, dir.state == State::Dead);
        let children = model.children(dir.id);
        for name in NAMES {
            let named = |id: &&u32| model.get(**id).name == name;
            let first = tree.child_named(dir.id, name, None);
            let second = first.and_then(|first| tree.child_named(dir.id, name, Some(first)));
            let among = |found: Option<u32>| found.is_none_or(|id| children.contains(&id));
            assert!(among(first) && among(second) && (first.is_none() || first != second));
            let found = [first, second].into_iter().flatten().count();
            assert_eq!(found, children.iter().filter(named).count().min(2));
        }
    }
    let alive = |dir: &&Dir| dir.state == State::Live;
    for dir in model.dirs.iter().filter(alive) {
        let (mut expected, mut walked, mut at) = (Vec::new(), Vec::new(), dir.id);
        model.walk(dir.id, &mut expected);
        while at != 0 {
            walked.push(at);
            at = tree.following(at, dir.id);
        }
        assert_eq!(walked, expected);
    }
}

fuzz_target!(|input: &[u8]| {
    let [capacity, dead_max, ops @ ..] = input else { return };
    let (capacity, dead_max) = (usize::from(capacity % 32) + 3, usize::from(dead_max % 16));
    let mut tree = Tree::with_dead(capacity, dead_max, (0..u64::from(ROOTS)).collect());
    let mut model = Model { dirs: Vec::new(), dead: Vec::new(), capacity, dead_max, clock: 0 };
    for root in 0..ROOTS {
        insert(&mut tree, &mut model, 0, b"/root", root);
    }
    for op in ops.chunks_exact(4).take(512) {
        let &[what, number, parent, name] = op else { unreachable!("of four bytes") };
        let number = number % HANDLES;
        let name = NAMES[usize::from(name) % NAMES.len()];
        let known = model.find(number);
        match (what % 8, known, model.find(parent % HANDLES)) {
            (0..3, _, Some(parent)) => insert(&mut tree, &mut model, parent, name, number),
            (3, Some(id), Some(parent)) => {
                assert_eq!(tree.rename(id, parent, name), Ok(model.rename(id, parent, name)));
            }
            (4, Some(id), _) => {
                tree.remove(id);
                model.remove(id, false);
            }
            (5, Some(id), _) if !model.is_root(id) => {
                tree.forget(id);
                model.remove(id, true);
            }
            (6, Some(id), _) => {
                let unread = model.get(id).unread;
                model.get_mut(id).unread = !unread;
                if unread { tree.clear(id, flag::UNREAD) } else { tree.set(id, flag::UNREAD) }
            }
            (7, ..) => {
                tree.on_queue_empty();
                model.on_queue_empty();
            }
            _ => continue,
        }
        agree(&tree, &model);
    }
});
