use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const FSID: u64 = 77;

fn key(bytes: &[u8]) -> Key<'_> {
    Key { fsid: FSID, handle: bytes }
}

fn path(tree: &Tree, id: u32) -> String {
    let mut out = Vec::new();
    tree.append_path(id, &mut out);
    let root = tree.root_of(id);
    format!("{}:{}", String::from_utf8_lossy(tree.name(root)), String::from_utf8_lossy(&out))
}

#[test]
fn a_filesystem_takes_the_place_of_one_that_no_directory_is_on() {
    let mut tree = Tree::new(8, vec![1]);
    let key = |fsid: u64| Key { fsid, handle: b"handle" };
    let first = tree.insert_root(b"/1", key(1)).expect("room");
    assert!((2..=255).all(|fsid| tree.add_filesystem(fsid)));
    let second = tree.insert_root(b"/255", key(255)).expect("room");
    for fsid in 256..1000 {
        assert!(tree.add_filesystem(fsid));
    }
    assert_eq!((tree.find(key(1)), tree.find(key(255))), (Some(first), Some(second)));
    assert_eq!((tree.fsid(first), tree.fsid(second)), (1, 255));
}

const OBJECT_KEY: [u8; KEY_BYTES] = [3; KEY_BYTES];

/// A tree on one filesystem with that id, which is known by `identity`, and what records have of its root.
fn known_by(fsid: u64, identity: u64) -> (Tree, u64) {
    let mut tree = Tree::keyed((8, 8), vec![fsid], &OBJECT_KEY);
    tree.identify(fsid, identity);
    let root = tree.insert_root(b"/r", Key { fsid, handle: b"root" }).expect("room");
    let object = tree.object(root, tree.node(root).hash());
    (tree, object)
}

#[test]
fn objects_go_by_what_the_filesystem_is_known_by() {
    let (tree, object) = known_by(1, 77);
    assert_eq!(object, ObjectHash::new(&OBJECT_KEY).object(77, b"root"));
    assert_eq!(object, known_by(2, 77).1, "mounted from another device");
    assert_ne!(object, known_by(1, 78).1);
    // The same for what is in no directory that is known.
    let hash = tree.hash(Key { fsid: 1, handle: b"root" });
    assert_eq!(tree.object_on(1, hash), object);
    let elsewhere = tree.hash(Key { fsid: 9, handle: b"root" });
    assert_eq!(tree.object_on(9, elsewhere), ObjectHash::new(&OBJECT_KEY).object(9, b"root"));
    assert_eq!(tree.object(1, 0), 0, "unknown stays unknown");
}

#[test]
fn of_two_filesystems_that_are_known_by_the_same_the_second_goes_by_its_id() {
    let (mut tree, first) = known_by(1, 77);
    assert!(tree.add_filesystem(2));
    tree.identify(2, 77);
    let key = Key { fsid: 2, handle: b"root" };
    let copy = tree.insert_root(b"/copy", key).expect("room");
    let second = |tree: &Tree| tree.object(copy, tree.node(copy).hash());
    assert_ne!(second(&tree), first);
    // It keeps what it has for as long as it is watched, whatever becomes of the other one.
    let root = tree.find(Key { fsid: 1, handle: b"root" }).expect("there");
    tree.forget_root(root);
    let before = second(&tree);
    tree.identify(2, 77);
    assert_eq!(second(&tree), before);
    tree.set(copy, flag::DEFINED);
    tree.remove(copy);
    tree.identify(2, 77);
    assert_eq!(second(&tree), first);
    assert_eq!(tree.node(copy).flags & flag::DEFINED, 0, "the consumer knows the object of before");
}

#[test]
fn a_moved_directory_takes_its_subtree_along() {
    let mut tree = Tree::new(100, vec![FSID]);
    let root = tree.insert(0, b"/r", key(b"root")).expect("room").id();
    let a = tree.insert(root, b"a", key(b"aaaa")).expect("room").id();
    let b = tree.insert(a, b"b", key(b"bbbb")).expect("room").id();
    let c =
        tree.insert(root, b"c", key(b"a key that is longer than a node holds")).expect("room").id();
    tree.rename(a, c, b"moved").expect("room");
    assert_eq!(path(&tree, b), "/r:c/moved/b");
    assert_eq!(path(&tree, root), "/r:");
    assert_eq!(tree.find(key(b"a key that is longer than a node holds")), Some(c));
    // Into its own subtree it cannot go, whatever an event says.
    tree.rename(c, b, b"c").expect("ignored");
    assert_eq!(path(&tree, c), "/r:c");
}

#[test]
fn the_dead_keep_their_path_and_are_revived_by_an_insert() {
    let mut tree = Tree::new(100, vec![FSID]);
    let root = tree.insert(0, b"/r", key(b"root")).expect("room").id();
    let a = tree.insert(root, b"a", key(b"aaaa")).expect("room").id();
    let b = tree.insert(a, b"b", key(b"bbbb")).expect("room").id();
    tree.remove(a);
    assert_eq!((tree.len(), tree.find_live(key(b"bbbb"))), (1, None));
    assert_eq!(path(&tree, tree.find(key(b"bbbb")).expect("dead, but known")), "/r:a/b");
    assert_eq!(tree.insert(root, b"again", key(b"bbbb")), Ok(Inserted::Moved(b)));
    assert_eq!((path(&tree, b), tree.len()), ("/r:again".into(), 2));
}

#[test]
fn room_runs_out_and_comes_back() {
    let mut tree = Tree::new(10, vec![FSID]);
    let root = tree.insert(0, b"/", key(b"root")).expect("room").id();
    let ids: Vec<_> = (0..9u32)
        .map(|i| tree.insert(root, b"d", key(&i.to_le_bytes())).expect("room").id())
        .collect();
    assert_eq!(tree.insert(root, b"d", key(b"one more")), Err(Full));
    tree.remove(ids[3]);
    assert!(tree.insert(root, b"d", key(b"one more")).is_ok());
}

#[test]
fn the_dead_stay_until_the_queue_was_empty() {
    let mut tree = Tree::new(5000, vec![FSID]);
    let root = tree.insert(0, b"/r", key(b"root")).expect("room").id();
    // Its DELETE was merged into its CREATE: what happened in it is still to come.
    let a = tree.insert(root, b"a", key(b"aaaa")).expect("room").id();
    tree.remove(a);
    let x = tree.insert(a, b"x", key(b"xxxx")).expect("room").id();
    for i in 0..3000u32 {
        let id = tree.insert(root, b"d", key(&i.to_le_bytes())).expect("room").id();
        tree.remove(id);
    }
    assert_eq!(path(&tree, tree.find(key(b"xxxx")).expect("known")), "/r:a/x");
    tree.rename(x, root, b"y").expect("room");
    tree.on_queue_empty();
    assert_eq!((tree.find(key(b"aaaa")), tree.dead), (None, DIRS_DEAD_MAX));
    assert_eq!((path(&tree, x), tree.len()), ("/r:y".into(), 2));
}

#[test]
fn what_was_removed_before_its_parent_was_forgotten_keeps_its_path() {
    let mut tree = Tree::new(100, vec![FSID]);
    let root = tree.insert(0, b"/r", key(b"root")).expect("room").id();
    let a = tree.insert(root, b"a", key(b"aaaa")).expect("room").id();
    let b = tree.insert(a, b"b", key(b"bbbb")).expect("room").id();
    tree.remove(b);
    tree.forget(a);
    assert_eq!((tree.find(key(b"aaaa")), tree.find(key(b"bbbb"))), (None, Some(b)));
    tree.insert(root, b"new", key(b"cccc")).expect("room");
    assert_eq!(path(&tree, b), "/r:a/b");
}

/// A directory that comes and goes has one handle and many nodes, or one node many times.
#[test]
fn no_two_stays_of_a_directory_share_a_place() {
    let mut places = std::collections::HashSet::new();
    for dead_max in [0, 100] {
        let mut tree = Tree::keyed((100, dead_max), vec![FSID], &OBJECT_KEY);
        tree.seed = 1;
        for _ in 0..50 {
            let root = tree.insert_root(b"/r", key(b"root")).expect("room");
            for at in 0..16u8 {
                for name in [vec![b'a' + at], [b"name", &[b'a' + at][..]].concat()] {
                    places.insert(tree.place(root, &name));
                }
            }
            tree.forget_root(root);
            tree.on_queue_empty();
        }
    }
    // The first of both is the same.
    assert_eq!(places.len(), (2 * 50 - 1) * 32);
}

#[derive(Clone, Default)]
struct Model {
    /// Handle to (parent handle, name).
    dirs: HashMap<u32, (u32, String)>,
}

impl Model {
    fn is_below(&self, id: u32, above: u32) -> bool {
        id == above || self.dirs.get(&id).is_some_and(|(up, _)| self.is_below(*up, above))
    }

    fn path(&self, id: u32) -> String {
        match self.dirs.get(&id) {
            Some((0, name)) => name.clone(),
            Some((up, name)) => format!("{}/{name}", self.path(*up)),
            None => String::new(),
        }
    }

    fn remove(&mut self, id: u32) {
        let gone: Vec<_> =
            self.dirs.keys().copied().filter(|&other| self.is_below(other, id)).collect();
        gone.iter().for_each(|id| drop(self.dirs.remove(id)));
    }
}

proptest! {
    /// Handle 0 is the root; it is never in the model's map.
    #[test]
    fn agrees_with_a_map(ops in proptest::collection::vec((0u8..4, 1u32..30, 0u32..30, 0u8..6), 1..400)) {
        let mut tree = Tree::new(64, vec![FSID]);
        let handle = |id: u32| {
            let mut bytes = vec![id as u8; if id.is_multiple_of(3) { 40 } else { 12 }];
            bytes[0] = 1;
            bytes
        };
        tree.insert(0, b"/", key(&handle(0))).expect("room");
        let mut model = Model::default();
        for (op, id, parent, name) in ops {
            let name = format!("n{name}");
            let parent_known = parent == 0 || model.dirs.contains_key(&parent);
            let known = model.dirs.contains_key(&id);
            if op < 3 {
                if !parent_known || model.is_below(parent, id) {
                    continue;
                }
                let up = tree.find_live(key(&handle(parent))).expect("known");
                tree.insert(up, name.as_bytes(), key(&handle(id))).expect("room");
                model.dirs.insert(id, (parent, name));
            } else if known {
                let node = tree.find_live(key(&handle(id))).expect("known");
                if name == "n0" { tree.forget(node) } else { tree.remove(node) }
                model.remove(id);
            }
            prop_assert_eq!(tree.len(), model.dirs.len() + 1);
            for other in 1..30 {
                let found = tree.find_live(key(&handle(other)));
                prop_assert_eq!(found.is_some(), model.dirs.contains_key(&other));
                if let Some(id) = found {
                    prop_assert_eq!(path(&tree, id), format!("/:{}", model.path(other)));
                }
            }
        }
    }
}

#[test]
fn handles_of_every_length_differ_by_any_byte() {
    for len in 0..=40 {
        let one: Vec<u8> = (0..len).collect();
        assert!(is_same(&one, &one.clone()));
        for at in 0..one.len() {
            let mut other = one.clone();
            other[at] ^= 0x80;
            assert!(!is_same(&one, &other), "{len}, {at}");
            assert!(!is_same(&one, &one[..at]));
        }
    }
}

#[test]
fn directories_never_take_the_ids_of_those_outside() {
    let mut tree = Tree::with_dead(3, 2, vec![FSID]);
    let root = tree.insert_root(b"/", key(b"root")).expect("room");
    for time in 0..20u8 {
        for number in [1, 2, 3] {
            let handle = [number, time];
            let Ok(inserted) = tree.insert(root, &handle, key(&handle)) else {
                assert_eq!(number, 3);
                continue;
            };
            assert!(inserted.id() < tree.outside(0));
        }
        for number in [1, 2] {
            tree.remove(tree.find_live(key(&[number, time])).expect("inserted"));
        }
    }
    assert_eq!(tree.outside(1), tree.outside(0) + 1);
}
