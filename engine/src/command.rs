//! Commands to a running engine.

/// What [`Monitor::command`] asks of a running engine. Each is answered by one record in the ring, an
/// [`Answer`] with the same token, in order with the events. What the token means is up to the caller.
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
    /// At most 16 can be under way; a further one is refused with [`ErrorKind::Busy`](crate::ErrorKind::Busy).
    Flush {
        /// What the answer has.
        token: u64,
    },
}
