//! When an image may be freed: never before every file event that it can have caused was resolved.
//!
//! * An image that another replaced is freed once the queue of file events was empty after that.
//! * A process that has exited may still close its files: on Linux 6.18 the EXIT record comes before its memory is
//!   torn down and its files are closed (measured: a third of a second for a process of 3 GiB). So fsmon checks
//!   whether it still exists, and frees it once the queue was empty after it was gone. It checks zombies again, and
//!   processes whose first thread ended before the others.
//! * Ancestors stay as long as a descendant does.
//! * If there is no room, the processes that have been gone longest are evicted first, then those that exited
//!   longest ago. Evictions are counted.

use super::images::ImageQueue;
use super::table::Table;
use crate::limits::who::{EVICTIONS_MAX, EXITED_LOOK_AGAIN_NS, EXITED_LOOKS_MAX};
use crate::sys::{clock, procdir};

impl Table {
    /// Frees what no event can refer to any more. Every event from before `empty_ns`, when the queue was seen
    /// empty, has been resolved.
    #[inline]
    pub fn retire(&mut self, empty_ns: u64) {
        self.empty_ns = self.empty_ns.max(empty_ns);
        let queues = [&self.superseded, &self.exited, &self.lingering, &self.gone];
        if queues.iter().any(|queue| !queue.is_empty()) {
            self.retire_some(empty_ns);
        }
    }

    fn retire_some(&mut self, empty_ns: u64) {
        while self.is_before(&self.superseded, empty_ns) {
            let id = self.superseded.pop(&mut self.images);
            self.drop_reference(id);
        }
        while self.is_before(&self.gone, empty_ns) {
            let id = self.gone.pop(&mut self.images);
            self.forget(id);
        }
        let mut looks = 0;
        while looks < EXITED_LOOKS_MAX && self.is_before(&self.exited, empty_ns) {
            looks += 1;
            let id = self.exited.pop(&mut self.images);
            self.look(id, empty_ns);
        }
        let due = empty_ns.saturating_sub(EXITED_LOOK_AGAIN_NS);
        while looks < EXITED_LOOKS_MAX && self.is_before(&self.lingering, due) {
            looks += 1;
            let id = self.lingering.pop(&mut self.images);
            self.look(id, empty_ns);
        }
    }

    fn is_before(&self, queue: &ImageQueue, time_ns: u64) -> bool {
        let first = queue.first();
        first != 0 && self.images.get(first).queued_ns < time_ns
    }

    /// Checks whether the process of an image is gone.
    fn look(&mut self, id: u32, empty_ns: u64) {
        let image = *self.images.get(id);
        if image.until_ns != 0 {
            // Another image or process replaced it meanwhile: later events are not its own.
            if image.until_ns < empty_ns {
                return self.drop_reference(id);
            }
            return self.superseded.push(&mut self.images, id, image.until_ns);
        }
        let there = procdir::exists(image.pid);
        // The clock is read after the check, so the process was gone by then.
        let now = clock::monotonic_ns();
        let queue = if there { &mut self.lingering } else { &mut self.gone };
        queue.push(&mut self.images, id, now);
    }

    /// Removes the reference of the table, and the pid if this was its latest process.
    fn forget(&mut self, id: u32) {
        let pid = self.images.get(id).pid;
        if self.pids.get(pid).is_some_and(|entry| entry.image == id) {
            self.pids.remove(pid);
        }
        self.drop_reference(id);
    }

    /// Makes room for an image that is about to be added.
    #[inline]
    pub(super) fn make_room(&mut self) {
        if self.images.is_full() {
            self.evict();
        }
    }

    #[cold]
    fn evict(&mut self) {
        for _ in 0..EVICTIONS_MAX {
            let queues =
                [&mut self.gone, &mut self.superseded, &mut self.exited, &mut self.lingering];
            let Some(queue) = queues.into_iter().find(|queue| !queue.is_empty()) else { return };
            let id = queue.pop(&mut self.images);
            self.counters.evicted += 1;
            self.forget(id);
        }
    }
}
