//! Steady state: no allocation, no lock, no formatting; what is lost is counted.

pub mod event;
pub(crate) mod index;
pub(crate) mod tree;
