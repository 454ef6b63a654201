//! Commands to a running engine.

use std::path::PathBuf;

/// What [`Monitor::command`] asks of a running engine. Each is answered by one record in the ring, an
/// [`Answer`] with the same token, in order with the events. Each has its place in the queue: it is done after
/// everything that happened before the call, and before everything that happens after it. What the token means is up to the caller.
///
/// [`Monitor::command`]: crate::Monitor::command
/// [`Answer`]: fsmon_format::record::Answer
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Asks for an answer that comes after the records of everything that happened before the call, also while the
    /// queue never gets empty. The outcome is [`Done`](fsmon_format::record::Outcome::Done).
    ///
    /// All events that were queued before the call have been resolved, and their records are in the ring before the
    /// answer; so are LOSS records of what the kernel's queue or the process messages lost before. Of some events fsmon reports a part later than the rest: removals of directories that the kernel
    /// merged into earlier events, names that it has to compare with the filesystem while no event is queued, and
    /// what is found in a directory that came in. The answer waits for these too, but no longer than 20 ms after the
    /// events are resolved: on a host on which changes never pause they may come after it. Among them is never a
    /// change whose event arrived unmerged.
    ///
    /// At most 16 commands of all kinds can be under way; a further one is refused with [`ErrorKind::Busy`](crate::ErrorKind::Busy).
    Flush {
        /// What the answer has.
        token: u64,
    },
    /// Watches one more directory, with everything below it unless [`Config::recursive`](crate::Config::recursive) is
    /// off.
    ///
    /// The call opens the directory and sets the mark on its filesystem, which takes as long as the filesystem takes.
    /// The reader then reads the directories in steps between its batches. It reports nothing of what it meets
    /// there, but every change after the call, before the answer already. A path in such a line may be from just before
    /// or just after a rename that happened meanwhile; the line is flagged as unsure then.
    ///
    /// The outcome is [`Active`](fsmon_format::record::Outcome::Active), with the number of directories, once all of
    /// it is read; [`Pending`](fsmon_format::record::Outcome::Pending) if there is no directory at the path yet: it
    /// is watched from when one appears, and what is in it then is reported as found. It is
    /// [`Failed`](fsmon_format::record::Outcome::Failed) with ENOSPC if there is no room for another directory. The
    /// call itself fails if a root has that name ([`ErrorKind::Busy`](crate::ErrorKind::Busy)), if the directory cannot
    /// be watched, and for a filesystem that may not answer, such as FUSE.
    ///
    /// A root within another one is a part of that, and each change is reported once. So is a root that gets another
    /// one around it.
    AddRoot {
        /// What the answer has.
        token: u64,
        /// The directory.
        path: PathBuf,
    },
    /// Ends the watch of a root. No line is about it after the answer, unless it is part of another root.
    ///
    /// The outcome is [`Done`](fsmon_format::record::Outcome::Done). The call fails if no root has that name
    /// ([`ErrorKind::NotFound`](crate::ErrorKind::NotFound)). What would be reported later of before, because fsmon has
    /// to compare names below the root with the filesystem, is not reported any more.
    RemoveRoot {
        /// What the answer has.
        token: u64,
        /// The path by which the root was added, or which [`Config::roots`](crate::Config::roots) has.
        path: PathBuf,
    },
    /// Reports other types from now on. The marks ask the kernel for no more than these and what the tree needs.
    ///
    /// The outcome is [`Done`](fsmon_format::record::Outcome::Done);
    /// [`Failed`](fsmon_format::record::Outcome::Failed) with EOPNOTSUPP if there are to be more types on a
    /// filesystem whose directories have a mark each (overlayfs), or with the error of fanotify_mark(2).
    Types {
        /// What the answer has.
        token: u64,
        /// [`fsmon_format::kind`] bits.
        types: u32,
    },
}
