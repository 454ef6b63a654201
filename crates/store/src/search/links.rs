//! A file under other names: hard links, and files that had no name at first.

use super::hit::{Hit, Position};
use super::walk::{Search, Walk};
use super::wanted::{Wanted, moved};
use crate::limits::{LINK_PIECES, NAMES_MAX};
use fsmon_format::error::Error;
use fsmon_format::kind::{CLOSE_WRITE, CREATE, MODIFY, RENAME};
use fsmon_format::record::event_flag;

/// The other names that a file was given, as far as they are recorded: `ln a b; mv b c` gives `b` and `c` for `a`, and
/// `a` for `c`.
pub(super) fn other_names(
    search: &mut Search,
    object: u64,
    own: &[u8],
) -> Result<Vec<Vec<u8>>, Error> {
    let (mut names, mut origins) = (Vec::<Vec<u8>>::new(), Vec::new());
    loop {
        let known = names.len();
        let hits = of_object(search, object, names.clone())?;
        for (at, hit) in hits.iter().enumerate() {
            let mut found = named_by(hit, &names);
            let is_link = hit.mask & CREATE != 0 && !hit.is_dir && !is_made(hit, &hits[..at]);
            if is_link && !origins.contains(&hit.position) {
                origins.push(hit.position);
                found.extend(earlier(search, object, hit.position)?.and_then(|origin| origin.path));
            }
            for name in found {
                if name != own && !names.contains(&name) && names.len() < NAMES_MAX {
                    names.push(name);
                }
            }
        }
        if names.len() == known {
            return Ok(names);
        }
    }
}

/// The names that an event shows: its own, or what a directory above a known name was called before or after.
fn named_by(hit: &Hit, names: &[Vec<u8>]) -> Vec<Vec<u8>> {
    match (hit.is_dir, &hit.path, &hit.old) {
        (false, path, old) => [path, old].into_iter().flatten().cloned().collect(),
        (true, Some(new), Some(old)) => {
            let other = |name: &Vec<u8>| moved(name, old, new).or_else(|| moved(name, new, old));
            names.iter().filter_map(other).collect()
        }
        _ => Vec::new(),
    }
}

/// The events that name an object, newest first, in the parts that have another name of it or one of these paths.
fn of_object(search: &mut Search, object: u64, paths: Vec<Vec<u8>>) -> Result<Vec<Hit>, Error> {
    let wanted = Wanted { paths, object: Some(object), by_object: false };
    let (mut walk, mut found) = (Walk::new(search, wanted, Position::END), Vec::new());
    while let Some(hits) = walk.next(search)? {
        let names = |hit: &Hit| hit.mask & (CREATE | RENAME) != 0;
        let writes = |hit: &Hit| hit.mask & (MODIFY | CLOSE_WRITE) != 0;
        let is_wanted =
            |hit: &Hit| hit.is_dir || hit.object == object && (names(hit) || writes(hit));
        found.extend(hits.into_iter().filter(is_wanted));
    }
    Ok(found)
}

/// Whether the process of a CREATE, or one that it started, wrote to the file afterwards: then it made the file, and
/// gave no further name to one that was there.
fn is_made(create: &Hit, later: &[Hit]) -> bool {
    let writes = |hit: &Hit| hit.mask & (MODIFY | CLOSE_WRITE) != 0;
    let process = create.process();
    let by_it = |hit: &Hit| process.is_some_and(|process| hit.chain.contains(&process));
    writes(create)
        || create.has(event_flag::NAMED | event_flag::FOUND)
        || later.iter().any(|hit| writes(hit) && by_it(hit))
}

/// The newest event on an object before a position, whatever its path: no index helps, so only so much of the history is
/// read.
pub(super) fn earlier(
    search: &mut Search,
    object: u64,
    before: Position,
) -> Result<Option<Hit>, Error> {
    let wanted = Wanted { paths: Vec::new(), object: Some(object), by_object: true };
    let mut walk = Walk::new(search, wanted, before).at_most(LINK_PIECES);
    Ok(walk.next(search)?.and_then(|hits| hits.into_iter().next()))
}
