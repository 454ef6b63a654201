//! Follows one file backwards, from a name that it has to where it was made.
//!
//! For example after `cc -o x.tmp x.c; mv x.tmp x` and the question who wrote `x`: the RENAME says that the file was `x.tmp`
//! before, and the newest write to that is by `cc`. What `x` was before the RENAME is another file: another life of the
//! name.

use super::hit::{Hit, Position};
use super::links::{earlier, other_names};
use super::walk::{Search, Walk};
use super::wanted::{Wanted, moved};
use super::writers::Writers;
use fsmon_format::error::Error;
use fsmon_format::kind::{CLOSE_WRITE, CREATE, DELETE, MODIFY, RENAME};
use fsmon_format::record::event_flag;

/// What is told of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Its process wrote the file: MODIFY, CREATE, or the RENAME of a file that the same process wrote.
    Wrote,
    /// Its process closed the file, which it had open for writing, and nothing says that it wrote: it may have written
    /// through mmap(2).
    Closed,
    /// It removed the name that is asked for.
    Deleted,
    /// It gave the file another name than the one that is asked for.
    MovedAway,
    /// It gave the file the name that is asked for. Told where no writer is known.
    MovedHere,
}

/// An event that is told.
#[derive(Clone, Debug)]
pub struct Told {
    /// Why it is told.
    pub role: Role,
    /// The event.
    pub hit: Hit,
    /// The type of it that is told, one bit of those in a record.
    pub kind: u32,
}

/// Where a life begins, as far back as it could be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// It was made here: everything of it is known.
    Made,
    /// As many writers were found as were asked for.
    Enough,
    /// It came from outside what is watched.
    Outside,
    /// The recorder found it when it read its directory: it was made before, or unseen.
    Found,
    /// Another file had the name before, and what put this one there is not recorded.
    Unseen,
    /// Nothing older is kept.
    Oldest,
    /// Nothing older was asked for.
    Since,
}

/// What the filesystem says of the path now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Whether something has the name; `None` where that is not known.
    pub exists: Option<bool>,
    /// The objects that the file may have in the history; empty where that is not known.
    pub objects: Vec<u64>,
    /// When the file's content and its attributes changed last, ns since 1970.
    pub changed_ns: Option<(u64, u64)>,
    /// Whether it is a regular file: others get no second name in practice.
    pub is_regular: Option<bool>,
}

/// What is known of a life.
pub(super) struct Followed {
    /// Newest first.
    pub(super) told: Vec<Told>,
    pub(super) origin: Origin,
    /// Before this another file had the name.
    pub(super) named: Position,
    /// Something else is there than what is recorded.
    pub(super) is_replaced: bool,
}

/// The life of a file under a name.
pub(super) struct Life<'a> {
    /// The path that the file has at the position that the search has come to.
    at: Vec<u8>,
    /// Other names of the same file: hard links.
    names: Vec<Vec<u8>>,
    object: Option<u64>,
    now: &'a Now,
    before: Position,
    /// Whether something was seen that the file did, or that was done to it, while it had the name.
    is_alive: bool,
    /// The name was swapped with another: what the file was called before is in the event before.
    is_swapped: bool,
    /// When it got the name that is asked for.
    pub(super) named: Option<Position>,
    /// RENAME events that gave it its names, newest first, until a writer is known.
    renames: Vec<Hit>,
    writers: Writers,
    /// Something else is there than what is recorded.
    pub(super) is_replaced: bool,
}

enum Step {
    On,
    /// The file had another path before this position.
    Moved(Position),
    /// The object is known now, and may have other names.
    Again,
    Over(Origin),
}

enum Ended {
    Moved,
    Again,
    Over(Origin, Position),
}

impl<'a> Life<'a> {
    pub(super) fn new(path: &[u8], before: Position, now: &'a Now, wanted: u64) -> Self {
        Life {
            at: path.to_owned(),
            names: Vec::new(),
            object: None,
            now,
            before,
            is_alive: false,
            is_swapped: false,
            named: None,
            renames: Vec::new(),
            writers: Writers::new(wanted),
            is_replaced: false,
        }
    }

    /// Follows it as far as is needed. Returns what is told, where it begins, and up to where events were taken.
    pub(super) fn follow(mut self, search: &mut Search) -> Result<Followed, Error> {
        let (path, begin) = (self.at.clone(), self.before);
        if let [object] = self.now.objects[..] {
            self.know(search, object)?;
        }
        loop {
            match self.walk(search)? {
                Ended::Moved => {}
                Ended::Again => {
                    let (names, object) = (std::mem::take(&mut self.names), self.object);
                    self = Life::new(&path, begin, self.now, self.writers.wanted);
                    (self.names, self.object) = (names, object);
                }
                Ended::Over(origin, at) => {
                    let told = self.writers.finish(&self.renames);
                    let (named, is_replaced) = (self.named.unwrap_or(at), self.is_replaced);
                    return Ok(Followed { told, origin, named, is_replaced });
                }
            }
        }
    }

    /// The object is known. Returns whether the file has other names.
    fn know(&mut self, search: &mut Search, object: u64) -> Result<bool, Error> {
        self.object = Some(object);
        // The filesystem's count of names does not help: `ln a b; echo >>b; rm b` leaves one.
        self.names = other_names(search, object, &self.at)?;
        Ok(!self.names.is_empty())
    }

    /// Goes back with the path and names of now.
    fn walk(&mut self, search: &mut Search) -> Result<Ended, Error> {
        let paths = std::iter::once(&self.at).chain(&self.names).cloned().collect();
        let wanted = Wanted { paths, object: self.object, by_object: false };
        let mut walk = Walk::new(search, wanted, self.before);
        while let Some(hits) = walk.next(search)? {
            for hit in hits {
                if hit.wall_ns < search.since_ns {
                    return Ok(Ended::Over(Origin::Since, hit.position));
                }
                if hit.wall_ns > search.until_ns {
                    continue;
                }
                match self.step(search, hit.clone())? {
                    Step::On => {}
                    Step::Moved(before) => {
                        self.before = before;
                        return Ok(Ended::Moved);
                    }
                    Step::Again => return Ok(Ended::Again),
                    Step::Over(origin) => return Ok(Ended::Over(origin, hit.position)),
                }
            }
        }
        Ok(Ended::Over(Origin::Oldest, Position::BEGIN))
    }

    /// Takes the next event, going back.
    fn step(&mut self, search: &mut Search, hit: Hit) -> Result<Step, Error> {
        if hit.is_rename() && hit.is_dir {
            return Ok(self.directory(hit));
        }
        let is_here = hit.path.as_ref() == Some(&self.at);
        if hit.is_rename() && !is_here && hit.old.as_ref() == Some(&self.at) {
            return Ok(self.left(hit));
        }
        let is_same = hit.object == 0 || self.object.is_none_or(|object| object == hit.object);
        if !is_here && !self.is_through_another_name(&hit) {
            return Ok(Step::On);
        }
        if is_here && is_same && self.object.is_none() && hit.object != 0 {
            if !self.now.objects.is_empty() && !self.now.objects.contains(&hit.object) {
                self.is_replaced = true;
                return Ok(Step::Over(Origin::Unseen));
            }
            if self.know(search, hit.object)? {
                return Ok(Step::Again);
            }
        }
        let names = hit.mask & (CREATE | DELETE | RENAME) != 0;
        if !is_same {
            // Who has a removed file open can still change it: such events are about another file.
            return Ok(if names { self.another() } else { Step::On });
        }
        if is_here && hit.mask & DELETE != 0 {
            return self.deleted(search, hit);
        }
        self.wrote(search, hit)
    }

    /// Whether the file was changed, and not by the name that is followed: by a hard link, or through a descriptor of when it
    /// had no name.
    fn is_through_another_name(&self, hit: &Hit) -> bool {
        let is_it = hit.object != 0 && self.object == Some(hit.object);
        // What was done to the file after it left the name is not asked for.
        let has_name = self.is_alive || self.now.exists == Some(true);
        let is_known = hit.path.as_ref().is_none_or(|path| self.names.contains(path));
        is_it && has_name && is_known && hit.mask & (CREATE | DELETE | RENAME) == 0
    }

    /// Another file had the name, and what put this one there was not seen.
    fn another(&mut self) -> Step {
        self.is_replaced |= !self.is_alive && self.now.exists == Some(true);
        Step::Over(Origin::Unseen)
    }

    /// A directory above was renamed, or the file is a directory.
    fn directory(&mut self, hit: Hit) -> Step {
        let (new, old) = (hit.path.clone(), hit.old.clone());
        if let Some(new) = new.filter(|new| moved(&self.at, new, new).is_some()) {
            self.named.get_or_insert(hit.position);
            self.is_alive = true;
            let came = old.and_then(|old| moved(&self.at, &new, &old));
            let before = hit.position;
            self.renames.push(hit);
            return match came {
                Some(came) => {
                    self.at = came;
                    Step::Moved(before)
                }
                None => Step::Over(Origin::Outside),
            };
        }
        let is_above = old.is_some_and(|old| moved(&self.at, &old, &old).is_some());
        if is_above && !hit.has(event_flag::EXCHANGE) { self.left(hit) } else { Step::On }
    }

    /// The file left the name.
    fn left(&mut self, hit: Hit) -> Step {
        if hit.has(event_flag::EXCHANGE) {
            if !std::mem::take(&mut self.is_swapped) {
                return Step::On;
            }
            let Some(new) = hit.path.clone() else { return Step::Over(Origin::Outside) };
            self.at = new;
            return Step::Moved(hit.position);
        }
        self.gone(Role::MovedAway, RENAME, hit)
    }

    fn deleted(&mut self, search: &mut Search, hit: Hit) -> Result<Step, Error> {
        // The kernel merges what was done to the file before its removal into one event.
        let rest = Hit { mask: hit.mask & !DELETE, ..hit.clone() };
        match self.gone(Role::Deleted, DELETE, hit) {
            Step::On if rest.mask & (MODIFY | CREATE | CLOSE_WRITE) != 0 => {
                self.wrote(search, rest)
            }
            step => Ok(step),
        }
    }

    /// The name was given up.
    fn gone(&mut self, role: Role, kind: u32, hit: Hit) -> Step {
        if self.is_alive {
            return Step::Over(Origin::Unseen);
        }
        if self.now.exists == Some(true) {
            self.is_replaced = true;
            return Step::Over(Origin::Unseen);
        }
        self.is_alive = true;
        self.writers.tell(Told { role, kind, hit });
        Step::On
    }

    fn wrote(&mut self, search: &mut Search, hit: Hit) -> Result<Step, Error> {
        self.is_alive = true;
        if hit.is_rename() {
            return Ok(self.renamed(hit));
        }
        let is_made = hit.mask & CREATE != 0 && hit.path.as_ref() == Some(&self.at);
        if is_made { self.made(search, hit) } else { Ok(self.writes(hit)) }
    }

    /// The file got this name by open(2), mknod(2) or link(2).
    fn made(&mut self, search: &mut Search, hit: Hit) -> Result<Step, Error> {
        self.named.get_or_insert(hit.position);
        if hit.has(event_flag::FOUND) {
            return Ok(Step::Over(Origin::Found));
        }
        let can_link = !hit.is_dir && hit.object != 0 && self.now.is_regular != Some(false);
        if hit.has(event_flag::NAMED) {
            return self.had_no_name(search, hit);
        }
        // `ln a b` gives a file a further name: the event is like that of a new file.
        if can_link && !self.writers.is_made_by(&hit) {
            let before = earlier(search, hit.object, hit.position)?;
            if let Some((path, before)) = before.and_then(|hit| Some((hit.path.clone()?, hit))) {
                self.at = path;
                // A name that was removed was one until then.
                let is_gone = before.mask & DELETE != 0;
                let position = before.position;
                return Ok(Step::Moved(if is_gone { position } else { position.behind() }));
            }
        }
        Ok(match self.writes(hit) {
            Step::On => Step::Over(Origin::Made),
            over => over,
        })
    }

    /// The file was made by `O_TMPFILE`: what was done to it before has no path.
    fn had_no_name(&mut self, search: &mut Search, hit: Hit) -> Result<Step, Error> {
        let (object, mut before) = (hit.object, hit.position);
        if let Step::Over(origin) = self.writes(hit) {
            return Ok(Step::Over(origin));
        }
        while let Some(hit) = earlier(search, object, before)? {
            before = hit.position;
            if let Step::Over(origin) = self.writes(hit) {
                return Ok(Step::Over(origin));
            }
        }
        Ok(Step::Over(Origin::Made))
    }

    /// The file got this name by a RENAME.
    fn renamed(&mut self, hit: Hit) -> Step {
        self.named.get_or_insert(hit.position);
        if hit.has(event_flag::EXCHANGE) && hit.old.is_none() {
            self.is_swapped = true;
            self.renames.push(hit);
            return Step::On;
        }
        let (old, before) = (hit.old.clone(), hit.position);
        self.renames.push(hit);
        match old {
            Some(old) => {
                self.at = old;
                Step::Moved(before)
            }
            None => Step::Over(Origin::Outside),
        }
    }

    /// Takes what an event says about writing.
    fn writes(&mut self, hit: Hit) -> Step {
        match self.writers.take(hit, &mut self.renames) {
            true => Step::Over(Origin::Enough),
            false => Step::On,
        }
    }
}
