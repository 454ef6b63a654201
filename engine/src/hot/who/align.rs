//! Which image of a process a file event belongs to. Only hosts without BPF need this.
//!
//! File events carry no time. An event happened after the queue was last seen empty and before the read that
//! returned it. Events are queued in order, so it also happened after the birth of every image that an earlier
//! event belongs to. Nearly always one image was valid during all of that time: the event belongs to it.
//!
//! If the process called exec in that time, the executables that it opened decide, as their events are in the same
//! queue (seen on 6.18): first the named file; for a script its interpreter (and the interpreter of that); then the
//! dynamic loader, which a static program lacks. The event has the name of the file reached, not of a symbolic
//! link: `dash` if the command is `sh`. An exec that fails also opens the file, if it came that far. Equal events
//! merge: a shell that execs a shell may leave one opening. So `match_openings` matches openings to execs in order,
//! by name, and an exec has happened once its file was opened. A change of user or name leaves no trace in the
//! queue: if one lies in that time and makes a difference, the answer is `Ambiguous`.

use super::images::{Image, birth};
use super::pids::{Entry, IN_EXEC, OPENED_OVER};
use super::strings::hash;
use super::table::{Table, last_part};
use super::{Answer, Interval, OpenExec, Rung};
use crate::limits::who::{IMAGES_LOOKED_AT, OPENED_MAX, OPENINGS_MISSED};
use crate::sys::procdir::{self, Path};
use arrayvec::ArrayVec;
use fsmon_format::number::to_u8;
use fsmon_format::record::Attribution;

/// Stands for a dynamic loader among the hashes of opened names.
const LOADER: u32 = 0;
/// Set in the hash of an opened name once it is known which exec opened it.
const EXPLAINED: u32 = 1;

/// The images of one pid that an event may belong to, oldest first.
type Chain = ArrayVec<u32, IMAGES_LOOKED_AT>;

/// Whether an opening is of the file of an image.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    /// The name leads to a file that fsmon cannot look up.
    Perhaps,
}

impl Table {
    /// The image that an event of `pid` belongs to, and how certain that is.
    #[inline]
    pub fn resolve(&mut self, pid: u32, interval: Interval) -> Answer {
        let lower = interval.after_ns.max(self.floor_ns);
        let reached = if self.rung == Rung::Bpf { interval.index } else { lower };
        if let Some(entry) = self.pids.get(pid)
            && entry.since <= reached
            && lower >= self.unsure_before_ns
        {
            return Answer::new(entry.image, Attribution::Exact);
        }
        if self.rung == Rung::Bpf {
            return self.resolve_by_position(pid, interval);
        }
        self.resolve_slowly(pid, interval)
    }

    /// Records that `pid` opened the executable `name` (`FAN_OPEN_EXEC`). Call it in queue order. Returns what
    /// [`Table::resolve`] would for that event: exec continues after the opening, so the event belongs to the old
    /// image.
    #[cold]
    pub fn open_exec(&mut self, pid: u32, interval: Interval, name: &[u8]) -> Answer {
        if self.rung == Rung::Bpf {
            return self.resolve(pid, interval);
        }
        self.renew(pid, interval);
        let Some(entry) = self.pids.get(pid) else { return self.resolve(pid, interval) };
        let opened = entry.opened_pending();
        let loader = is_loader(name);
        // After its loader an exec opens nothing. This opening is of the next exec, so the process has already
        // become the image between the two.
        let found = if opened.is_empty() || opened.last() == Some(&LOADER) && !loader {
            self.resolve(pid, interval)
        } else {
            let lower = interval.after_ns.max(self.floor_ns);
            let (chain, _) = self.chain(pid, lower, interval.until_ns);
            let oldest = self.oldest(&chain, lower);
            let index = self.confirmed(pid, &chain).unwrap_or(0).max(oldest);
            self.withhold_cmdline(&chain, oldest, index);
            let id = chain[index];
            Answer::new(id, self.attribution(id, lower))
        };
        self.push_opened(pid, interval, if loader { LOADER } else { name_hash(name) });
        found
    }

    fn push_opened(&mut self, pid: u32, interval: Interval, name: u32) {
        let Some(entry) = self.pids.get_mut(pid) else { return };
        entry.since = u64::MAX;
        entry.opened_until_ns = interval.until_ns;
        entry.push_opened(name);
    }

    #[cold]
    fn resolve_slowly(&mut self, pid: u32, interval: Interval) -> Answer {
        if pid == 0 {
            return Answer::default();
        }
        if self.pids.get(pid).is_none() || self.rung == Rung::Proc {
            return self.answer_late(pid);
        }
        self.renew(pid, interval);
        let lower = interval.after_ns.max(self.floor_ns);
        let (chain, whole) = self.chain(pid, lower, interval.until_ns);
        if self.is_lost(pid, &chain)
            && let Some(entry) = self.pids.get_mut(pid)
        {
            entry.give_up_opened(interval.until_ns);
        }
        let index = self.match_openings(pid, &chain, lower);
        let reach = self.reach(pid, &chain, index);
        let (first, last) = (chain[index], chain[reach]);
        let agree = chain[index..=reach]
            .iter()
            .all(|&id| self.images.get(id).says_the_same(self.images.get(first)));
        self.raise_floor(first);
        self.withhold_cmdline(&chain, self.oldest(&chain, lower), index);
        if !agree || !whole {
            return Answer::new(last, Attribution::Ambiguous);
        }
        let mut answer = Answer::new(first, self.attribution(first, lower));
        // An exec after this event. What the kernel merged into the event may come after that exec.
        let newest = chain[chain.len() - 1];
        if reach + 1 < chain.len() && !self.images.get(newest).says_the_same(self.images.get(first))
        {
            answer.later = newest;
        }
        answer
    }

    /// An answer from /proc, or `Unknown`.
    pub(super) fn answer_late(&mut self, pid: u32) -> Answer {
        let id = self.read_late(pid);
        let sure = if id == 0 { Attribution::Unknown } else { Attribution::Late };
        Answer::new(id, sure)
    }

    /// Nothing merges any more into the openings from before the queue was seen empty, so the first event of `pid`
    /// after that drops the matched ones. Unmatched ones stay: their exec may be in progress, or have another name.
    fn renew(&mut self, pid: u32, interval: Interval) {
        let Some(entry) = self.pids.get(pid) else { return };
        let is_strange = |&name: &u32| name != LOADER && name & EXPLAINED == 0;
        let passed = self.images.get(entry.image).from_ns <= interval.after_ns;
        let waits = !passed && entry.opened_before().iter().any(is_strange);
        if entry.opened_until_ns > interval.after_ns || waits {
            return;
        }
        let Some(entry) = self.pids.get_mut(pid) else { return };
        let mixed = entry.is(OPENED_OVER);
        entry.drop_opened_before();
        if mixed && !entry.opened_pending().is_empty() {
            entry.give_up_opened(interval.until_ns);
        }
    }

    /// Whether images that the openings may belong to were freed.
    fn is_lost(&self, pid: u32, chain: &Chain) -> bool {
        let entry = self.pids.get(pid).copied().unwrap_or_default();
        let begun = entry.at == 0 && self.images.get(chain[0]).birth != birth::EXEC;
        !entry.opened_pending().is_empty() && !begun && self.confirmed(pid, chain).is_none()
    }

    /// The images of `pid` that overlap the time from `lower` to `until`, after those that the unmatched openings
    /// may belong to; and whether the chain is complete. It is never empty.
    fn chain(&self, pid: u32, lower: u64, until: u64) -> (Chain, bool) {
        let mut chain = Chain::new();
        let mut whole = true;
        let entry = self.pids.get(pid).copied().unwrap_or_default();
        let mut id = entry.image;
        loop {
            let image = self.images.get(id);
            let before = self.images.get_if(image.before, image.before_serial);
            // Until the exec is done no event belongs to the new image.
            let begun = image.from_ns <= until && (!entry.is(IN_EXEC) || id != entry.image);
            if begun || (chain.is_empty() && before.is_none()) {
                whole = chain.try_push(id).is_ok();
            }
            let known = if entry.at != 0 { id == entry.at } else { image.birth != birth::EXEC };
            let base = begun
                && image.from_ns <= lower
                && image.birth != birth::CHANGE
                && (known || entry.opened_pending().is_empty());
            if base || before.is_none() || !whole {
                break;
            }
            id = image.before;
        }
        chain.reverse();
        (chain, whole)
    }

    /// The first index of a chain that overlaps the time from `lower` on.
    fn oldest(&self, chain: &Chain, lower: u64) -> usize {
        chain.iter().rposition(|&id| self.images.get(id).from_ns <= lower).unwrap_or(0)
    }

    /// The index of the image that the events of a process have reached, if the chain has it.
    fn confirmed(&self, pid: u32, chain: &Chain) -> Option<usize> {
        let entry = self.pids.get(pid)?;
        self.images.get_if(entry.at, entry.at_serial)?;
        chain.iter().position(|&id| id == entry.at)
    }

    /// Matches openings to the execs of the chain, and records how far the events of the process have come. Returns
    /// the index in the chain.
    fn match_openings(&mut self, pid: u32, chain: &Chain, lower: u64) -> usize {
        let Some(&entry) = self.pids.get(pid) else { return 0 };
        let confirmed = self.confirmed(pid, chain);
        // No event may have confirmed the exec of the oldest image yet; its openings come first.
        let mut next = confirmed.map_or(0, |index| index + 1);
        let mut index = confirmed.unwrap_or(0);
        let done = usize::from(entry.opened_done);
        let mut opened = entry.opened;
        let pending = &mut opened[done..usize::from(entry.opened_len)];
        let mut own = false;
        for opened in pending.iter_mut() {
            let name = *opened;
            if name == LOADER {
                own = false;
                continue;
            }
            // The interpreter is opened by the exec of its script.
            let found = match own && self.is_script(chain[index], name, chain.get(next)) {
                true => None,
                false => self.exec_of(chain, next, name),
            };
            if let Some(found) = found {
                self.note_opened(chain[found], true);
                (index, next, own) = (found, found + 1, true);
            }
            *opened |= if own { EXPLAINED } else { 0 };
        }
        let oldest = self.oldest(chain, lower);
        let passed = *self.images.get(chain[oldest]);
        if next <= oldest && passed.birth == birth::EXEC {
            self.learn(&passed, pending, entry.opened_until_ns);
        }
        let index = index.max(oldest);
        self.confirm(pid, chain[index], opened);
        index
    }

    /// No opening was matched to this exec. If one opening is unexplained, it is likely the one of this exec, under
    /// another name. If there is none at all, the file is not watched.
    fn learn(&mut self, image: &Image, pending: &[u32], opened_until_ns: u64) {
        let mut strange = pending.iter().filter(|&&name| name != LOADER && name & EXPLAINED == 0);
        match (strange.next(), strange.next()) {
            (Some(&name), None)
                if is_fixed(self.strings.get(image.file_name()))
                    && self.is_name_of(image, name) == Match::Perhaps =>
            {
                self.strings.set_alias(image.file_name(), name);
            }
            (None, _) if pending.is_empty() && opened_until_ns < image.from_ns => {
                self.strings.note_opened(image.file_name(), false);
            }
            _ => {}
        }
    }

    /// An event was attributed to the image at `index` of a chain that overlaps its interval from `oldest` on. If an
    /// exec separates this image from another that is equal to it, the event may belong to either, which matters
    /// only for the command line.
    fn withhold_cmdline(&mut self, chain: &Chain, oldest: usize, index: usize) {
        let given = self.images.get(chain[index]);
        let is_exec = |id: &u32| self.images.get(*id).birth == birth::EXEC;
        let could_be = |other: usize| {
            let between = other.min(index) + 1..=other.max(index);
            self.images.get(chain[other]).says_the_same(given) && chain[between].iter().any(is_exec)
        };
        if (oldest..chain.len()).filter(|&other| other != index).any(could_be) {
            self.images.get_mut(chain[index]).withhold_cmdline();
        }
    }

    /// Events are queued in order: later events happened after the birth of this image. Values from /proc were true
    /// before they were read.
    fn raise_floor(&mut self, id: u32) {
        let image = self.images.get(id);
        if image.late == 0 && image.birth <= birth::CHANGE {
            self.floor_ns = self.floor_ns.max(image.from_ns);
        }
    }

    fn confirm(&mut self, pid: u32, id: u32, mut opened: [u32; OPENED_MAX]) {
        let serial = self.images.get(id).serial;
        if let Some(entry) = self.pids.get_mut(pid) {
            (entry.at, entry.at_serial) = (id, serial);
            // Keeps each name once: from now on it only matters whether another opening may have merged into it.
            let mut len = 0;
            for index in 0..usize::from(entry.opened_len) {
                if opened[index] != LOADER && !opened[..len].contains(&opened[index]) {
                    opened[len] = opened[index];
                    len += 1;
                }
            }
            entry.opened = opened;
            entry.opened_len = to_u8(len);
            entry.opened_done = entry.opened_len;
        }
        self.set_since(pid);
    }

    /// The last image that an event at `index` may belong to: changes and execs without a trace may have happened
    /// before the event.
    fn reach(&mut self, pid: u32, chain: &Chain, index: usize) -> usize {
        let entry = self.pids.get(pid).copied().unwrap_or_default();
        let mut reach = index;
        while let Some(&next) = chain.get(reach + 1) {
            if self.leaves_a_trace(next, &entry) {
                break;
            }
            reach += 1;
        }
        reach
    }

    /// Whether an event after the birth of this image comes after an opening of its file in any case.
    fn leaves_a_trace(&mut self, id: u32, entry: &Entry) -> bool {
        let image = *self.images.get(id);
        if image.birth != birth::EXEC || entry.is(OPENED_OVER) || is_loader(&image.comm) {
            return false;
        }
        for &name in entry.opened_before() {
            match self.matches(id, name) {
                // The opening of this exec may have been merged into that one.
                Match::Yes => return false,
                // That may be the opening of this exec.
                Match::Perhaps if name & EXPLAINED == 0 => return false,
                _ => {}
            }
        }
        let (hits, misses) = self.strings.opened(image.file_name());
        match self.open_exec {
            OpenExec::None => false,
            OpenExec::Some => hits > 0,
            OpenExec::All => hits > 0 || misses < OPENINGS_MISSED,
        }
    }

    /// The exec, at index `next` of the chain or later, that an opening of `name` belongs to.
    fn exec_of(&mut self, chain: &Chain, next: usize, name: u32) -> Option<usize> {
        (next..chain.len()).find(|&at| self.matches(chain[at], name) == Match::Yes)
    }

    /// Whether an opening of `name` is one of the file of this image.
    fn matches(&mut self, id: u32, name: u32) -> Match {
        let image = *self.images.get(id);
        if image.birth != birth::EXEC || name == LOADER {
            return Match::No;
        }
        self.is_name_of(&image, name)
    }

    fn is_name_of(&mut self, image: &Image, name: u32) -> Match {
        let name = name & !EXPLAINED;
        let comm = &image.comm[..memchr::memchr(0, &image.comm).unwrap_or(image.comm.len())];
        let exe = self.strings.get(image.file_name());
        if name == name_hash(comm) || name == name_hash(last_part(exe)) {
            return Match::Yes;
        }
        let reached = self.reached(image.file_name());
        if name == reached || name == self.strings.alias(image.file_name()) {
            return Match::Yes;
        }
        // In a container the same path may be another file.
        if reached == 0 || image.cgroup_id != self.own_cgroup { Match::Perhaps } else { Match::No }
    }

    /// Hash of the last part of the file that `exe` leads to through symbolic links; 0 if unknown. Looked up once
    /// for each name.
    fn reached(&mut self, exe: u32) -> u32 {
        if let Some(known) = self.strings.reached(exe) {
            return known;
        }
        let path = self.strings.get(exe);
        let mut buffer = [0; fsmon_format::record::TEXT_MAX];
        let found = Path::join(&[path]).filter(|_| is_fixed(path)).and_then(|path| {
            procdir::resolve(&path, &mut buffer).ok().map(|end| name_hash(last_part(end)))
        });
        self.strings.set_reached(exe, found.unwrap_or(0));
        found.unwrap_or(0)
    }

    /// Whether an opening that could be of the next exec is of the interpreter of the script opened before it.
    fn is_script(&mut self, id: u32, name: u32, next: Option<&u32>) -> bool {
        let Some(&next) = next else { return true };
        if self.matches(next, name) != Match::Yes {
            return false;
        }
        let exe = self.images.get(id).file_name();
        let path = Path::join(&[self.strings.get(exe)]);
        let mut magic = [0; 2];
        path.is_some_and(|path| procdir::read(&path, &mut magic).is_ok_and(|bytes| bytes == b"#!"))
    }

    fn note_opened(&mut self, id: u32, seen: bool) {
        let exe = self.images.get(id).file_name();
        self.strings.note_opened(exe, seen);
    }

    /// How certain the values of the image are.
    pub(super) fn attribution(&mut self, id: u32, lower: u64) -> Attribution {
        let image = *self.images.get(id);
        if !image.is_complete() && image.asked == 0 {
            let latest = self.pids.get(image.pid).is_some_and(|entry| entry.image == id);
            self.images.get_mut(id).asked = 1;
            if latest {
                self.read_late(image.pid);
            }
        }
        let image = self.images.get(id);
        if image.late != 0 || !image.is_complete() || lower < self.unsure_before_ns {
            return Attribution::Late;
        }
        Attribution::Exact
    }
}

/// Whether a path leads to the same file for fsmon as for the process. A relative path starts at the working
/// directory of the process, and /proc and /dev differ between processes.
fn is_fixed(path: &[u8]) -> bool {
    path.starts_with(b"/") && !path.starts_with(b"/proc/") && !path.starts_with(b"/dev/")
}

/// The hash of a name: never [`LOADER`], and without the bit [`EXPLAINED`].
fn name_hash(name: &[u8]) -> u32 {
    (hash(name) & !EXPLAINED).max(2)
}

fn is_loader(name: &[u8]) -> bool {
    name.starts_with(b"ld-") && memchr::memmem::find(name, b".so").is_some()
}

#[cfg(test)]
#[path = "align_test.rs"]
mod tests;
