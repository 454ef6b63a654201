//! Watches that older versions had beside each other, where this one has one: what comes out records all that any of
//! them recorded, and perhaps more.

use super::{Found, Notes, refusal};
use crate::config::Watch;
use fsmon_format::kind;
use fsmon_present::message::shown;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Files become names in the directory that they are in.
pub(super) fn of_directories(
    found: Vec<Found>,
    is_file: impl Fn(&Path) -> bool,
    notes: &mut Notes,
) -> Vec<Found> {
    let of_directory = |found: Found| {
        let path = &found.watch.path;
        if !is_file(path) {
            return Some(found);
        }
        let file = shown(path);
        let (Some(dir), Some(name)) =
            (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Some(found);
        };
        let watch = Watch {
            path: dir.to_owned(),
            include: vec![literal(name)],
            recursive: false,
            max_depth: None,
            ..found.watch.clone()
        };
        if let Some(why) = refusal(&watch) {
            notes.add(&found.at, format!("{file}: left out: it is a file, and {why}"));
            return None;
        }
        let text = format!(
            "{file}: is a file, and watches are of directories: {} is watched, and of it only this name recorded",
            shown(dir)
        );
        notes.add(&found.at, text);
        Some(Found { watch, at: found.at })
    };
    found.into_iter().filter_map(of_directory).collect()
}

/// The glob that matches this name only.
fn literal(name: &str) -> String {
    let special = |letter| matches!(letter, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '!');
    let mut glob = String::from("/");
    for letter in name.chars() {
        if special(letter) {
            glob.push('\\');
        }
        glob.push(letter);
    }
    glob
}

/// Puts together watches of the same path.
pub(super) fn each_path_once(found: Vec<Found>, notes: &mut Notes) -> Vec<Found> {
    let mut at: HashMap<PathBuf, usize> = HashMap::new();
    let mut once: Vec<Found> = Vec::new();
    for next in found {
        let Some(index) = at.get(&next.watch.path) else {
            at.insert(next.watch.path.clone(), once.len());
            once.push(next);
            continue;
        };
        let earlier = &mut once[*index];
        let both = united(&earlier.watch, &next.watch);
        if earlier.watch != both || next.watch != both {
            let path = shown(&next.watch.path);
            let text = format!(
                "{path}: is also at {}: it is watched once, and what either asked for is recorded",
                earlier.at
            );
            notes.add(&next.at, text);
        }
        earlier.watch = both;
    }
    once
}

/// Where a watch is inside of another, the inner one alone decides in this version. So it has to record what the outer
/// one did there. One that would add nothing is left out.
pub(super) fn innermost_decide(found: &[Found], notes: &mut Notes) -> Vec<Found> {
    let mut outer_first: Vec<usize> = (0..found.len()).collect();
    outer_first.sort_by_key(|index| found[*index].watch.path.as_os_str().len());
    let mut kept: Vec<Option<Found>> = vec![None; found.len()];
    let mut known: HashMap<&Path, usize> = HashMap::new();
    for index in outer_first {
        let own = &found[index];
        let path = own.watch.path.as_path();
        let around = path.ancestors().skip(1).find_map(|above| known.get(above));
        kept[index] = match around.and_then(|outer| kept[*outer].as_ref()) {
            Some(outer) => inside(own, &outer.watch, notes),
            None => Some(own.clone()),
        };
        if kept[index].is_some() {
            known.insert(path, index);
        }
    }
    kept.into_iter().flatten().collect()
}

/// A watch with what one around it records there; `None` if that is all.
fn inside(own: &Found, outer: &Watch, notes: &mut Notes) -> Option<Found> {
    let Some(there) = part(outer, &own.watch.path) else { return Some(own.clone()) };
    let watch = united(&own.watch, &there);
    let (path, at) = (shown(&own.watch.path), shown(&outer.path));
    if watch == there {
        notes.add(&own.at, format!("{path}: left out, as what is recorded of {at} includes it"));
        return None;
    }
    if watch != own.watch {
        let what = "what either asked for is recorded there";
        notes.add(&own.at, format!("{path}: is inside of {at}, which is watched too; {what}"));
    }
    Some(Found { watch, at: own.at.clone() })
}

/// What a watch records at a path inside of it and below, as a watch of that path; `None` if it is too deep for it.
fn part(outer: &Watch, path: &Path) -> Option<Watch> {
    let depth = path.strip_prefix(&outer.path).ok()?.components().count();
    let levels = match levels(outer) {
        None => None,
        Some(levels) => {
            Some(u32::try_from(depth).ok().and_then(|depth| levels.checked_sub(depth))?)
        }
    };
    match levels {
        Some(0) => None,
        levels => Some(Watch {
            path: path.to_owned(),
            recursive: levels != Some(1),
            max_depth: levels.filter(|levels| *levels > 1),
            ..outer.clone()
        }),
    }
}

/// Levels of names below its path that a watch records; `None`: all.
fn levels(watch: &Watch) -> Option<u32> {
    if watch.recursive { watch.max_depth } else { Some(1) }
}

/// A watch of the path of the first that records what either does.
fn united(one: &Watch, other: &Watch) -> Watch {
    if one == other {
        return one.clone();
    }
    let levels = levels(one).zip(levels(other)).map(|(one, other)| one.max(other));
    let both = Watch {
        include: selected_by_either(&one.include, &other.include),
        include_regex: selected_by_either(&one.include_regex, &other.include_regex),
        exclude: left_out_by_both(&one.exclude, &other.exclude),
        exclude_regex: left_out_by_both(&one.exclude_regex, &other.exclude_regex),
        exclude_cmd: left_out_by_both(&one.exclude_cmd, &other.exclude_cmd),
        types: types_of_either(one, other),
        recursive: levels != Some(1),
        max_depth: levels.filter(|levels| *levels > 1),
        size: one.size.filter(|size| other.size == Some(*size)),
        ..one.clone()
    };
    // Two lists can be too long together: then without.
    match refusal(&both) {
        None => both,
        Some(_) => Watch { include: Vec::new(), include_regex: Vec::new(), ..both },
    }
}

/// An empty list selects everything.
fn selected_by_either(one: &[String], other: &[String]) -> Vec<String> {
    if one.is_empty() || other.is_empty() {
        return Vec::new();
    }
    let new = other.iter().filter(|pattern| !one.contains(pattern));
    one.iter().chain(new).cloned().collect()
}

fn left_out_by_both(one: &[String], other: &[String]) -> Vec<String> {
    one.iter().filter(|pattern| other.contains(pattern)).cloned().collect()
}

fn types_of_either(one: &Watch, other: &Watch) -> Vec<String> {
    if one.types == other.types {
        return one.types.clone();
    }
    match one.types() | other.types() {
        kind::DEFAULT => Vec::new(),
        types => kind::in_causal_order(types).map(|kind| kind.name.to_owned()).collect(),
    }
}
