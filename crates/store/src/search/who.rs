//! Who wrote a file: the lives of a name, the newest first.

use super::hit::Position;
use super::life::{Life, Now, Origin, Role, Told};
use super::trouble::{Trouble, TroubleKind};
use super::walk::Search;
use fsmon_format::error::Error;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// An absolute path.
    pub path: &'a [u8],
    /// Nothing older is wanted, ns since 1970.
    pub since_ns: u64,
    /// As of then, ns since 1970; `None`: as of now.
    pub until_ns: Option<u64>,
    /// How many writers are wanted.
    pub writers: u64,
    /// What the filesystem says. It is not asked about the past.
    pub now: Now,
}

/// What is known.
#[derive(Debug)]
pub struct Answer {
    /// Newest first within each life of the name.
    pub told: Vec<Told>,
    /// Where the life of the file begins that has the name now, as far as it was followed.
    pub origin: Origin,
    /// Why no writer can be named; `None`: one can, or none was found.
    pub unknown: Option<Unknown>,
    /// What makes the answer uncertain, oldest first.
    pub troubles: Vec<Trouble>,
}

/// Why no writer can be named.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknown {
    /// Another file is there than the one that was recorded last.
    Replaced,
    /// It was changed at this wall time, ns since 1970, for which something is missing.
    ChangedUnseen(u64),
}

impl Answer {
    /// How many writers are told of.
    #[must_use]
    pub fn writers(&self) -> usize {
        self.told.iter().filter(|told| told.role == Role::Wrote).count()
    }
}

impl Search {
    /// Answers a question.
    ///
    /// # Errors
    /// A segment cannot be read. What is damaged in it is no error: [`Search::damage`].
    pub fn who(&mut self, question: &Question<'_>) -> Result<Answer, Error> {
        self.since_ns = question.since_ns;
        self.until_ns = question.until_ns.unwrap_or(u64::MAX);
        let (mut told, mut before) = (Vec::new(), Position::END);
        let (mut first, mut is_replaced) = (None, false);
        let nothing = Now::default();
        let mut left = question.writers;
        loop {
            let is_first = first.is_none();
            let now = if is_first { &question.now } else { &nothing };
            let life = Life::new(question.path, before, now, left);
            let followed = life.follow(self)?;
            let writers = followed.told.iter().filter(|told| told.role == Role::Wrote).count();
            left = left.saturating_sub(writers as u64);
            told.extend(followed.told);
            is_replaced |= is_first && followed.is_replaced;
            first.get_or_insert(followed.origin.clone());
            // Who wrote an earlier file of that name is no answer.
            let is_unknown = is_first && writers == 0 && question.writers == 1;
            let is_end = matches!(followed.origin, Origin::Oldest | Origin::Since | Origin::Enough);
            if is_end || is_unknown || is_replaced || left == 0 || followed.named >= before {
                break;
            }
            before = followed.named;
        }
        let newest = told.iter().find(|told| told.role == Role::Wrote);
        let after = newest.map_or(Position::BEGIN, |told| told.hit.position);
        let troubles = self.troubles(after, question.path)?;
        let unknown = match is_replaced {
            true => Some(Unknown::Replaced),
            false => changed_unseen(&question.now, &troubles).filter(|_| newest.is_some()),
        };
        let origin = first.unwrap_or(Origin::Oldest);
        Ok(Answer { told, origin, unknown, troubles })
    }
}

/// Whether the file changed while nothing was recorded, or something was lost.
fn changed_unseen(now: &Now, troubles: &[Trouble]) -> Option<Unknown> {
    let (content, attributes) = now.changed_ns?;
    let is_in = |trouble: &&Trouble, at: u64| trouble.wall_ns.0 < at && at <= trouble.wall_ns.1;
    let counts = |trouble: &&Trouble| matches!(trouble.kind, TroubleKind::Gap(_));
    let during = |at: u64| troubles.iter().filter(counts).any(|trouble| is_in(&trouble, at));
    [content, attributes].into_iter().find(|at| during(*at)).map(Unknown::ChangedUnseen)
}
