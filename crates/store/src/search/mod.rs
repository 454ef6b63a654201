//! Searches a history backwards: who wrote a file, and what was there before.

pub(crate) mod hit;
mod life;
mod links;
#[cfg(test)]
mod model_test;
pub(crate) mod read;
pub(crate) mod segments;
mod trouble;
pub(crate) mod units;
mod walk;
mod wanted;
mod who;
mod writers;

pub use hit::{Hit, Position, Process};
pub use life::{Now, Origin, Role, Told};
pub use segments::{Segment, Segments};
pub use trouble::{Trouble, TroubleKind};
pub use walk::Search;
pub use who::{Answer, Question, Unknown};

pub(crate) use trouble::KEYS;
pub(crate) use units::{Find, index_of};
pub(crate) use wanted::split;
