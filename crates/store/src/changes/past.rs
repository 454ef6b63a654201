//! What was there before the time asked for.

/// Whether something had a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Something had it.
    There,
    /// Nothing had it.
    NotThere,
    /// The history does not say.
    Unknown,
}

/// Knows what was there when the time asked for began.
pub trait Past {
    /// Whether something was at this path, absolute and as records have it.
    fn was_there(&mut self, path: &[u8]) -> Answer;
}

/// A past of which nothing is known.
pub struct Unknown;

impl Past for Unknown {
    fn was_there(&mut self, _: &[u8]) -> Answer {
        Answer::Unknown
    }
}
