//! What makes an answer incomplete, and for what a rescan is needed.

use super::apply::is_within;
use fsmon_format::record::{Cause, Reason};

/// Something that is not known of the time asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// Events are missing; of this directory and what is below it, if it is about one.
    Loss(Reason, Option<Vec<u8>>),
    /// Nothing was recorded from one wall time to another, ns since 1970.
    Gap(Cause, u64, u64),
    /// The history begins later than the time asked for, ns since 1970.
    BeginsLate(u64),
    /// Segments of a stream were deleted, or the position asked for is in one.
    Deleted,
    /// This path was not watched all the time.
    Unwatched(Vec<u8>),
}

impl Trouble {
    /// Whether it is about what is asked for.
    pub(super) fn concerns(&self, asked: &[Vec<u8>]) -> bool {
        match self {
            Trouble::Gap(..) | Trouble::BeginsLate(_) | Trouble::Deleted => true,
            Trouble::Loss(_, None) => true,
            Trouble::Loss(_, Some(path)) | Trouble::Unwatched(path) => {
                asked.is_empty()
                    || asked.iter().any(|own| is_within(own, path) || is_within(path, own))
            }
        }
    }
}

/// What is watched, as headers and notes say.
#[derive(Default)]
pub(super) struct Watched {
    roots: Vec<Vec<u8>>,
    /// These were watched at some time.
    all: Vec<Vec<u8>>,
    /// A stream was met.
    has_begun: bool,
}

impl Watched {
    /// These are watched from here on. Returns those that were not before.
    pub(super) fn begin(&mut self, roots: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let roots = roots.iter().cloned().map(super::without_slash);
        let new: Vec<_> = roots.filter(|root| !self.has(root)).collect();
        self.roots.extend(new.iter().cloned());
        self.all.extend(new.iter().cloned());
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        if is_first { Vec::new() } else { new }
    }

    /// It was watched before the time asked for.
    pub(super) fn add(&mut self, root: Vec<u8>) {
        self.all.push(root);
    }

    /// It is no longer watched.
    pub(super) fn end(&mut self, root: &[u8]) {
        self.roots.retain(|own| own != root);
    }

    /// What was watched at some time.
    pub(super) fn all(&self) -> &[Vec<u8>] {
        &self.all
    }

    /// Whether a path was watched at some time.
    pub(super) fn was_ever(&self, path: &[u8]) -> bool {
        self.all.iter().any(|root| is_within(path, root))
    }

    fn has(&self, path: &[u8]) -> bool {
        self.roots.iter().any(|root| is_within(path, root))
    }
}
