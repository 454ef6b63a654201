//! Steady state: no allocation, no lock, no formatting; what is lost is counted. Never imports
//! `cold`.

pub(crate) mod above;
pub(crate) mod arrivals;
pub(crate) mod busy;
pub(crate) mod chains;
pub(crate) mod deferred;
pub(crate) mod descent;
pub(crate) mod disk;
pub(crate) mod doubts;
pub mod event;
pub(crate) mod exchange;
pub(crate) mod file_names;
pub(crate) mod forgotten;
pub(crate) mod found;
pub(crate) mod index;
pub(crate) mod intake;
pub(crate) mod layers;
pub(crate) mod links;
pub(crate) mod mounts;
pub(crate) mod nameless;
pub(crate) mod objects;
pub(crate) mod orphans;
pub(crate) mod output;
pub(crate) mod outside;
pub(crate) mod pace;
pub(crate) mod placement;
pub(crate) mod reader;
pub(crate) mod recent;
pub(crate) mod renames;
pub(crate) mod resolve;
pub(crate) mod rounds;
pub(crate) mod trail;
pub mod tree;
pub(crate) mod unsure;
pub(crate) mod walks;
pub(crate) mod watch;
pub mod who;

#[cfg(test)]
mod merge_test;
