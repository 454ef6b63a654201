//! Who of those that had to do with a file wrote it.
//!
//! The writer is the last process with MODIFY or CREATE, or that renamed what it wrote. A CLOSE_WRITE without MODIFY shows
//! that a process had the file open for writing: it may have written through mmap(2). That is told, unless the
//! descriptor came from the writer or went to it, as in `cmd >file`, where a shell opens the file for `cmd`.

use super::hit::{Hit, Process};
use super::life::{Role, Told};
use crate::limits::{CLOSERS_MAX, HANDS_MAX};
use fsmon_format::kind::{CLOSE_WRITE, CREATE, MODIFY, RENAME};

pub(super) struct Writers {
    /// How many are asked for.
    pub(super) wanted: u64,
    found: u64,
    told: Vec<Told>,
    /// CLOSE_WRITE events newer than the next writer.
    closes: Vec<Hit>,
    /// The writer found last; `Some(None)`: one that is not known.
    last: Option<Option<Process>>,
    /// Processes that had the file open for writing, and their ancestors.
    hands: Vec<Process>,
}

impl Writers {
    pub(super) fn new(wanted: u64) -> Self {
        let (told, closes, hands) = (Vec::new(), Vec::new(), Vec::new());
        Writers { wanted, found: 0, told, closes, last: None, hands }
    }

    /// Adds what is no writer.
    pub(super) fn tell(&mut self, told: Told) {
        self.told.push(told);
    }

    /// Whether the process of a CREATE, or one that it started, also wrote to the file, so that it made it.
    pub(super) fn is_made_by(&self, create: &Hit) -> bool {
        let own = create.process();
        create.mask & (MODIFY | CLOSE_WRITE) != 0
            || own.is_some_and(|own| self.hands.contains(&own))
    }

    /// Takes the next event, going back. `renames` gave the file its later names. Returns whether as many writers were
    /// found as are wanted.
    pub(super) fn take(&mut self, hit: Hit, renames: &mut Vec<Hit>) -> bool {
        let process = hit.process();
        if hit.mask & (MODIFY | CLOSE_WRITE) != 0 && self.hands.len() < HANDS_MAX {
            let new = hit.chain.iter().filter(|process| !self.hands.contains(process));
            let new: Vec<_> = new.copied().collect();
            self.hands.extend(new);
        }
        if hit.mask & (MODIFY | CREATE) == 0 {
            let is_known = |close: &Hit| close.process() == process;
            let is_new = self.last != Some(process) && !self.closes.iter().any(is_known);
            if hit.mask & CLOSE_WRITE != 0 && is_new && self.closes.len() < CLOSERS_MAX {
                self.closes.push(hit);
            }
            return false;
        }
        if process.is_some() && self.last == Some(process) {
            return false;
        }
        self.tell_closes(Some(&hit));
        let own =
            renames.iter().position(|rename| process.is_some() && rename.process() == process);
        let told = match own {
            Some(own) => Told { role: Role::Wrote, kind: RENAME, hit: renames.swap_remove(own) },
            None => {
                let kind = if hit.mask & MODIFY != 0 { MODIFY } else { CREATE };
                Told { role: Role::Wrote, kind, hit }
            }
        };
        renames.clear();
        self.told.push(told);
        self.last = Some(process);
        self.found += 1;
        self.found >= self.wanted
    }

    /// Tells of those that closed the file and have nothing to do with who wrote it before. Those that closed it after the
    /// writer itself had opened it on their own.
    fn tell_closes(&mut self, writer: Option<&Hit>) {
        let closes = std::mem::take(&mut self.closes);
        let is_own = |close: &Hit| writer.is_some_and(|writer| close.process() == writer.process());
        let closed = writer.is_some_and(|writer| writer.mask & CLOSE_WRITE != 0);
        let later = if closed { closes.len() } else { closes.iter().position(is_own).unwrap_or(0) };
        for (at, hit) in closes.into_iter().enumerate() {
            let descends = |of: &Hit, from: &Hit| {
                from.process().is_some_and(|process| of.chain.contains(&process))
            };
            let is_handed_on = |writer: &Hit| descends(&hit, writer) || descends(writer, &hit);
            if !is_own(&hit) && (at < later || !writer.is_some_and(is_handed_on)) {
                self.told.push(Told { role: Role::Closed, kind: CLOSE_WRITE, hit });
            }
        }
    }

    /// All that is told, newest first. Where no writer is known: what gave the file its name.
    pub(super) fn finish(mut self, renames: &[Hit]) -> Vec<Told> {
        self.tell_closes(None);
        if self.found == 0
            && let Some(hit) = renames.first()
        {
            self.told.push(Told { role: Role::MovedHere, kind: RENAME, hit: hit.clone() });
        }
        self.told.sort_by_key(|told| std::cmp::Reverse(told.hit.position));
        self.told
    }
}
