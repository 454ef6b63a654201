//! The files of binary streams in a directory: their names, when one ends, which are deleted, and how to read them
//! in order, also while they grow. docs/format.md, Segments. A directory that a recorder keeps for years, with its
//! catalogue and what is deleted when: [`history`], docs/history.md.

#![forbid(unsafe_code)]

pub mod changes;
pub mod cursor;
mod files;
pub mod history;
pub mod index;
pub mod limits;
pub mod recording;
pub mod search;
pub mod segments;
#[cfg(test)]
mod tape;
pub mod timeline;
pub mod within;

pub use files::{StreamFile, is_written, list, lock, survive_file_limit};
