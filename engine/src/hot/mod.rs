//! Steady state: no allocation, no lock, no formatting; what is lost is counted. Never imports
//! `cold`.
//!
//! * `reader`: the thread: takes a batch, has it resolved, hands it on; its pace and its CPU.
//! * `containers`: what several tables are made of.
//! * `event`: the kernel's bytes, parsed.
//! * `where`: the path of every event.
//! * `who`: the process of every event.
//! * `output`: records into the ring.

pub mod containers;
pub mod event;
pub(crate) mod output;
pub(crate) mod reader;
pub mod r#where;
pub mod who;
