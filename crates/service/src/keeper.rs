//! The keeper: deletes what is too old or too much, and says when there is no room to record. A thread of its own, so
//! that deleting large files delays nothing.

use crate::clocks::Clocks;
use crate::limits::{KEEP_EVERY, NOTE_NAMES};
use crate::recorder::Said;
use crate::shared::Shared;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::record::What;
use fsmon_present::message;
use fsmon_store::history::{
    Cgroup, Deletion, Disk, Entry, History, Keep, Mended, Outcome, mend, scan,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Keeps a history within its limits.
pub(crate) struct Keeper {
    pub(crate) history: Arc<Mutex<History>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clocks: Clocks,
    /// Disconnected when the daemon ends.
    pub(crate) ends: flume::Receiver<()>,
}

impl Keeper {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until the daemon ends. `limits` are those in force: a reload changes them, and must not wait for the history. `note`
    /// writes a NOTE; `also` is what else is to be done now and then.
    pub(crate) fn run(
        &self,
        limits: impl Fn() -> Keep,
        note: impl Fn(Said) -> Result<(), Error>,
        also: impl Fn(),
    ) {
        loop {
            self.catch_up();
            self.history().set_keep(limits());
            self.look(&note);
            also();
            match self.ends.recv_timeout(KEEP_EVERY) {
                Err(flume::RecvTimeoutError::Timeout) | Ok(()) => {}
                Err(flume::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Ends and reads the segments that an earlier daemon left behind without closing them. One that cannot be written
    /// to is tried again.
    fn catch_up(&self) {
        let (dir, unlisted) = {
            let history = self.history();
            (history.dir().to_owned(), history.unlisted())
        };
        for file in unlisted {
            if self.ends.recv_timeout(Duration::ZERO) == Err(flume::RecvTimeoutError::Disconnected)
            {
                return;
            }
            match mend(&dir, &file) {
                Ok(Mended::Deleted) => self.history().forget(&file),
                Ok(mended) => {
                    if let Mended::Closed { cut: 1.. } = mended {
                        message::print(format_args!(
                            "{file}: the end of a block that was not written was cut off"
                        ));
                    }
                    // Without the lock: it takes some 0.2 s for 64 MiB.
                    self.adopt(&file, scan(&dir, &file));
                }
                Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::Io) => {}
                Err(error) => self.adopt(&file, Err(error)),
            }
        }
    }

    fn adopt(&self, file: &str, scanned: Result<Entry, Error>) {
        if let Err(error) = self.history().adopt(file, scanned, &self.clocks.now()) {
            message::print(error);
        }
    }

    fn look(&self, note: &impl Fn(Said) -> Result<(), Error>) {
        let open_bytes = self.shared.written().segment_bytes;
        let outcome = {
            let mut history = self.history();
            let disk = match Disk::of(history.dir()) {
                Ok(disk) => disk,
                Err(error) => {
                    let why = format!("the history's filesystem cannot be asked: {error}");
                    return self.shared.set_no_room(Some(why));
                }
            };
            let outcome = history.maintain(&self.clocks.now(), open_bytes, disk);
            let why = history.is_paused_for_space();
            self.shared.set_no_room(why.map(|why| {
                format!("{}, and all of it is younger than keep.at_least", why.words())
            }));
            outcome
        };
        report(&outcome);
        for deletion in outcome.deleted.iter().filter(|deletion| deletion.is_early) {
            // Without an answer the message must do.
            let _ = note(said(deletion));
        }
    }
}

/// Says what could not be done.
pub(crate) fn report(outcome: &Outcome) {
    for (file, error) in &outcome.failed {
        message::print(format_args!("cannot delete {file}: {error}"));
    }
    if let Some(error) = &outcome.not_saved {
        message::print(error);
    }
    for deletion in outcome.deleted.iter().filter(|deletion| deletion.is_early) {
        message::print(format_args!("deleted before its age: {deletion}; {}", most(deletion)));
    }
}

/// The NOTE of a segment that was deleted before its age.
pub(crate) fn said(deletion: &Deletion) -> Said {
    Said {
        what: Some(What::SegmentDeleted),
        path: deletion.entry.file.clone().into_bytes(),
        text: format!("{}; {}", deletion.why.words(), most(deletion)),
        types: 0,
        is_recursive: false,
    }
}

/// Who wrote most of a segment.
fn most(deletion: &Deletion) -> String {
    let entry = &deletion.entry;
    let users = entry.uids.iter().take(NOTE_NAMES);
    let users: Vec<_> =
        users.map(|top| format!("uid {} ({} events)", top.who, top.events)).collect();
    let cgroups = entry.cgroups.iter().take(NOTE_NAMES);
    let cgroups: Vec<_> =
        cgroups.map(|top| format!("{} ({} events)", name(&top.who), top.events)).collect();
    let list = |list: &[String], none: &str| {
        if list.is_empty() { none.to_owned() } else { list.join(", ") }
    };
    format!(
        "most events by {}; control groups: {}",
        list(&users, "unknown users"),
        list(&cgroups, "unknown")
    )
}

/// The path of a control group, or its id.
fn name(cgroup: &Cgroup) -> String {
    match cgroup.path.is_empty() {
        true => format!("id:{}", cgroup.id),
        false => String::from_utf8_lossy(&cgroup.path).into_owned(),
    }
}
