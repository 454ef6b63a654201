//! Random operations on a model tree, as events: the lines are compared with the difference of two listings.
//!
//! `FSMON_CHANGES_SEED=N` runs one series and prints it; `FSMON_CHANGES_SERIES=N` runs so many.

use super::tests::{Known, text};
use super::{Answer, Asked, Change, Changes, Event, Past, Unknown};
use fsmon_format::kind::{ATTRIB, CLOSE_WRITE, CREATE, DELETE, MODIFY, RENAME};
use fsmon_format::number::to_usize;
use fsmon_format::record::event_flag::{EXCHANGE, FOUND};
use std::collections::{BTreeMap, BTreeSet};

/// An entry of a directory: a hard link is one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    id: u64,
    object: u64,
    is_dir: bool,
    content: u32,
    attributes: u32,
}

type Listing = BTreeMap<String, Entry>;

/// An event with its own texts.
#[derive(Clone, Debug)]
struct Said {
    types: u32,
    flags: u16,
    is_dir: bool,
    object: u64,
    path: Option<String>,
    old: Option<String>,
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        to_usize((z ^ (z >> 31)) % end as u64)
    }
}

struct Model {
    random: Random,
    now: Listing,
    ids: u64,
    /// Directories that were moved out, and those that were in them.
    out: BTreeSet<u64>,
    /// Removed files that are open: the directory's id, the name, the object.
    open: Vec<(u64, String, u64)>,
    said: Vec<Said>,
    exchanges: u32,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut model = Model {
            random: Random(seed),
            now: Listing::new(),
            ids: 1,
            out: BTreeSet::new(),
            open: Vec::new(),
            said: Vec::new(),
            exchanges: 0,
        };
        let root = model.entry(true);
        model.now.insert("/w".to_owned(), root);
        model
    }

    fn entry(&mut self, is_dir: bool) -> Entry {
        self.ids += 1;
        Entry { id: self.ids, object: self.ids * 2, is_dir, content: 0, attributes: 0 }
    }

    fn say(
        &mut self,
        types: u32,
        entry: &Entry,
        path: Option<&str>,
        old: Option<&str>,
        flags: u16,
    ) {
        self.said.push(Said {
            types,
            flags,
            is_dir: entry.is_dir,
            object: entry.object,
            path: path.map(str::to_owned),
            old: old.map(str::to_owned),
        });
    }

    fn pick(&mut self, wanted: impl Fn(&str, &Entry) -> bool) -> Option<String> {
        let found: Vec<_> = self
            .now
            .iter()
            .filter(|(path, entry)| wanted(path, entry))
            .map(|(path, _)| path)
            .collect();
        if found.is_empty() {
            return None;
        }
        let at = self.random.below(found.len());
        Some(found[at].clone())
    }

    /// A name in some directory, which may be taken.
    fn name(&mut self) -> String {
        let dir = self.pick(|_, entry| entry.is_dir).expect("the root is there");
        let name = ["a", "b", "c", "d"][self.random.below(4)];
        format!("{dir}/{name}")
    }

    fn is_empty(&self, dir: &str) -> bool {
        !self.now.keys().any(|path| is_below(path, dir))
    }

    /// Moves an entry and what is below it.
    fn rehang(&mut self, old: &str, new: &str) {
        let all = std::mem::take(&mut self.now);
        self.now = all
            .into_iter()
            .map(|(path, entry)| match path.strip_prefix(old) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                    (format!("{new}{rest}"), entry)
                }
                _ => (path, entry),
            })
            .collect();
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=3 => self.create(),
            4..=6 => self.write(),
            7 => self.chmod(),
            8..=10 => self.remove(),
            11..=15 => self.rename(),
            16 => self.exchange(),
            17 => self.link(),
            18 => self.cross(),
            _ => self.late(),
        }
    }

    fn create(&mut self) {
        let path = self.name();
        if self.now.contains_key(&path) {
            return;
        }
        let is_dir = self.random.below(3) == 0;
        let entry = self.entry(is_dir);
        let types = if is_dir { CREATE } else { CREATE | MODIFY | CLOSE_WRITE };
        self.say(types, &entry, Some(&path), None, 0);
        self.now.insert(path, entry);
    }

    fn write(&mut self) {
        let Some(path) = self.pick(|_, entry| !entry.is_dir) else { return };
        let entry = self.now.get_mut(&path).expect("picked");
        entry.content += 1;
        let entry = entry.clone();
        self.say(MODIFY | CLOSE_WRITE, &entry, Some(&path), None, 0);
    }

    fn chmod(&mut self) {
        let Some(path) = self.pick(|path, _| path != "/w") else { return };
        let entry = self.now.get_mut(&path).expect("picked");
        entry.attributes += 1;
        let entry = entry.clone();
        self.say(ATTRIB, &entry, Some(&path), None, 0);
    }

    fn remove(&mut self) {
        let Some(path) = self.pick(|path, _| path != "/w") else { return };
        let below: Vec<_> =
            self.now.keys().filter(|other| is_below(other, &path)).cloned().collect();
        // As rm -r does: what is in a directory first.
        for path in below.iter().rev().chain([&path]) {
            let entry = self.now.remove(path).expect("listed");
            self.say(DELETE, &entry, Some(path), None, 0);
            if !entry.is_dir
                && let Some(dir) = self.now.get(parent(path))
            {
                self.open.push((dir.id, name(path).to_owned(), entry.object));
            }
        }
    }

    fn rename(&mut self) {
        let Some(old) = self.pick(|path, _| path != "/w") else { return };
        let new = self.name();
        let entry = self.now[&old].clone();
        if new == old || is_below(&new, &old) {
            return;
        }
        if let Some(there) = self.now.get(&new) {
            let is_possible =
                there.is_dir == entry.is_dir && there.object != entry.object && self.is_empty(&new);
            if !is_possible {
                return;
            }
            self.now.remove(&new);
        }
        self.rehang(&old, &new);
        self.say(RENAME, &entry, Some(&new), Some(&old), 0);
    }

    /// As the recorder tells it: docs/accuracy.md, Exchanges.
    fn exchange(&mut self) {
        let (Some(a), Some(b)) =
            (self.pick(|path, _| path != "/w"), self.pick(|path, _| path != "/w"))
        else {
            return;
        };
        if a == b || is_below(&a, &b) || is_below(&b, &a) {
            return;
        }
        let (one, other) = (self.now[&a].clone(), self.now[&b].clone());
        if one.object == other.object {
            return;
        }
        self.exchanges += 1;
        let made_up = format!("{}/.exchange-{:016x}", parent(&b), self.exchanges);
        self.rehang(&b, &made_up);
        self.rehang(&a, &b);
        self.rehang(&made_up, &a);
        if one.is_dir || other.is_dir {
            self.say(RENAME, &other, Some(&made_up), Some(&b), EXCHANGE);
            self.say(RENAME, &one, Some(&b), Some(&a), EXCHANGE);
            self.say(RENAME, &other, Some(&a), Some(&made_up), EXCHANGE);
        } else {
            self.say(RENAME, &one, Some(&b), Some(&a), EXCHANGE);
            self.say(RENAME, &other, Some(&a), None, EXCHANGE);
        }
    }

    fn link(&mut self) {
        let Some(of) = self.pick(|_, entry| !entry.is_dir) else { return };
        let path = self.name();
        if self.now.contains_key(&path) {
            return;
        }
        let object = self.now[&of].object;
        let entry = Entry { object, ..self.entry(false) };
        self.say(CREATE, &entry, Some(&path), None, 0);
        self.now.insert(path, entry);
    }

    /// Something leaves what is watched, or comes in.
    fn cross(&mut self) {
        if self.random.below(2) == 0 {
            let Some(path) = self.pick(|path, _| path != "/w") else { return };
            let entry = self.now[&path].clone();
            self.say(RENAME, &entry, None, Some(&path), 0);
            let leaves = |other: &String| *other == path || is_below(other, &path);
            let dirs = self.now.iter().filter(|(other, entry)| leaves(other) && entry.is_dir);
            self.out.extend(dirs.map(|(_, entry)| entry.id));
            self.now.retain(|other, _| !leaves(other));
            return;
        }
        let path = self.name();
        let is_dir = self.random.below(2) == 0;
        if let Some(there) = self.now.get(&path)
            && (there.is_dir != is_dir || !self.is_empty(&path))
        {
            return;
        }
        let entry = self.entry(is_dir);
        self.say(RENAME, &entry, Some(&path), None, 0);
        self.now.insert(path.clone(), entry);
        for name in ["a", "b"].into_iter().filter(|_| is_dir) {
            let path = format!("{path}/{name}");
            let entry = self.entry(false);
            self.say(CREATE, &entry, Some(&path), None, FOUND);
            self.now.insert(path, entry);
        }
    }

    /// Somebody writes to a file that was removed.
    fn late(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let (dir, name, object) = self.open[self.random.below(self.open.len())].clone();
        let has_name = self.now.values().any(|entry| entry.object == object);
        let Some((dir, _)) = self.now.iter().find(|(_, entry)| entry.id == dir) else { return };
        let path = format!("{dir}/{name}");
        if !has_name {
            let entry = Entry { id: 0, object, is_dir: false, content: 0, attributes: 0 };
            self.say(MODIFY | CLOSE_WRITE, &entry, Some(&path), None, 0);
        }
    }
}

/// What the two listings say.
struct Difference<'a> {
    before: &'a Listing,
    now: &'a Listing,
    out: &'a BTreeSet<u64>,
}

impl Difference<'_> {
    fn path_before(&self, id: u64) -> Option<&String> {
        self.before.iter().find(|(_, entry)| entry.id == id).map(|(path, _)| path)
    }

    fn path_now(&self, id: u64) -> Option<&String> {
        self.now.iter().find(|(_, entry)| entry.id == id).map(|(path, _)| path)
    }

    /// The path before that a path now stands for: directories that were renamed take along what is below.
    fn base(&self, path: &str) -> Option<String> {
        let dir = parent(path);
        if dir.is_empty() {
            return Some(path.to_owned());
        }
        let entry = &self.now[dir];
        if let Some(dir) = self.path_before(entry.id) {
            return Some(format!("{dir}/{}", name(path)));
        }
        let base = self.base(dir)?;
        let was = self.before.get(&base).filter(|was| was.is_dir)?;
        self.path_now(was.id).is_none().then(|| format!("{base}/{}", name(path)))
    }

    fn lines(&self) -> BTreeSet<String> {
        let (mut lines, mut told) = (BTreeSet::new(), BTreeSet::new());
        for (path, entry) in self.now {
            let base = self.base(path);
            let was = base.as_ref().and_then(|base| self.before.get(base));
            let slash = if entry.is_dir { "/" } else { "" };
            let old = self.path_before(entry.id);
            match (was, old) {
                (Some(was), _) if was.id == entry.id => {
                    told.insert(was.id);
                    let is_other = was.content != entry.content;
                    if is_other || was.attributes != entry.attributes {
                        lines.insert(format!("{} {path}{slash}", if is_other { "M" } else { "T" }));
                    }
                    continue;
                }
                (Some(_), Some(old)) if entry.is_dir => {
                    lines.insert(format!("R {path}{slash} < {old}"));
                    told.insert(entry.id);
                }
                (Some(_), _) => _ = lines.insert(format!("M {path}{slash}")),
                (None, Some(old)) => {
                    lines.insert(format!("R {path}{slash} < {old}"));
                    told.insert(entry.id);
                }
                (None, None) => _ = lines.insert(format!("A {path}{slash}")),
            }
            told.extend(was.map(|was| was.id));
        }
        let has_dir = |path: &str| {
            let dir = self.before.get(parent(path));
            dir.is_some_and(|dir| self.path_now(dir.id).is_some())
        };
        let mut before: Vec<_> = self.before.iter().collect();
        before.sort_by_key(|(path, _)| !has_dir(path));
        for (path, entry) in before {
            let mut dirs = self.before.iter().filter(|(dir, _)| is_below(path, dir));
            if told.contains(&entry.id) || dirs.any(|(_, dir)| self.out.contains(&dir.id)) {
                continue;
            }
            let dir = self.before.get(parent(path)).and_then(|dir| self.path_now(dir.id));
            let dir = dir.map_or_else(|| parent(path).to_owned(), String::clone);
            let slash = if entry.is_dir { "/" } else { "" };
            let path = format!("{dir}/{}", name(path));
            let of_path = |line: &&String| line[2..].trim_end_matches('/') == path;
            let is_free = !lines.iter().any(|line| {
                line[2..].split(" < ").next().is_some_and(|own| own.trim_end_matches('/') == path)
            });
            if is_free {
                lines.insert(format!("D {path}{slash}"));
            } else if let Some(added) =
                lines.iter().find(of_path).filter(|line| line.starts_with('A'))
            {
                let modified = added.replacen('A', "M", 1);
                lines.retain(|line| !of_path(&line));
                lines.insert(modified);
            }
        }
        lines
    }
}

/// A series: what was there, and what happened then.
fn series(seed: u64) -> (Model, Listing) {
    let mut model = Model::new(seed);
    let length = 3 + model.random.below(25);
    for _ in 0..30 {
        model.step();
    }
    let before = model.now.clone();
    model.said.clear();
    model.out.clear();
    model.open.clear();
    for _ in 0..length {
        model.step();
    }
    (model, before)
}

/// The lines, each with its paths.
fn net(said: &[Said], asked: &[&str], past: &mut dyn Past) -> Vec<(String, Vec<String>, bool)> {
    let paths = asked.iter().map(|path| path.as_bytes().to_vec()).collect();
    let mut changes = Changes::new(Asked { paths, all: false });
    for said in said {
        changes.take(&Event {
            types: said.types,
            flags: said.flags,
            is_dir: said.is_dir,
            object: said.object,
            path: said.path.as_deref().map(str::as_bytes),
            old: said.old.as_deref().map(str::as_bytes),
            ..Event::default()
        });
    }
    let mut lines = Vec::new();
    let done: Result<(), ()> = changes.finish(past).each(|_, line| {
        let paths = [Some(line.path), line.old_path].into_iter().flatten();
        let paths = paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        let is_whole = !matches!(line.change, Change::Attributes);
        lines.push((text(line), paths, is_whole));
        Ok(())
    });
    assert_eq!(done, Ok(()));
    lines
}

fn known(before: &Listing) -> Known {
    let there = before.keys().map(|path| path.as_bytes().to_vec()).collect();
    Known { there, others: Answer::NotThere }
}

fn check(seed: u64) {
    let (model, before) = series(seed);
    let difference = Difference { before: &before, now: &model.now, out: &model.out };
    let expected = difference.lines();
    let shown = || {
        let said: Vec<_> = model.said.iter().map(|said| format!("{said:?}")).collect();
        format!("seed {seed}\nbefore {:?}\n{}", before.keys(), said.join("\n"))
    };
    if std::env::var_os("FSMON_CHANGES_SEED").is_some() {
        println!("{}", shown());
    }
    let lines = net(&model.said, &[], &mut known(&before));
    let texts: BTreeSet<_> = lines.iter().map(|(text, ..)| text.clone()).collect();
    assert_eq!(texts.len(), lines.len(), "a line twice; {}", shown());
    assert_eq!(texts, expected, "{}", shown());

    // Whatever is not known, no path that differs is left out.
    let all: BTreeSet<_> = lines.iter().flat_map(|(_, paths, _)| paths.clone()).collect();
    let blind = net(&model.said, &[], &mut Unknown);
    let told: BTreeSet<_> = blind.iter().flat_map(|(_, paths, _)| paths.clone()).collect();
    // A directory that left or was renamed stands for what was in it.
    for path in &all {
        let is_told = told.contains(path) || told.iter().any(|dir| is_below(path, dir));
        assert!(is_told, "{told:?} lacks {path}\n{}", shown());
    }

    // Of what is asked for neither: a directory that comes or goes stands for what is below.
    let asked = "/w/a";
    let part = net(&model.said, &[asked], &mut known(&before));
    for path in all.iter().filter(|path| *path == asked || is_below(path, asked)) {
        let tells = |(_, paths, is_whole): &(String, Vec<String>, bool)| {
            paths.iter().any(|own| own == path || *is_whole && is_below(path, own))
        };
        assert!(part.iter().any(tells), "{path} is missing in {part:?}\n{}", shown());
    }
    let is_within = |path: &String| path == asked || is_below(path, asked);
    assert!(part.iter().all(|(_, paths, _)| paths.iter().all(is_within)), "{part:?}\n{}", shown());
}

#[test]
fn lines_are_the_difference_of_two_listings() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("FSMON_CHANGES_SEED") {
        return check(seed);
    }
    for seed in 0..number("FSMON_CHANGES_SERIES").unwrap_or(20_000) {
        check(seed);
    }
}
