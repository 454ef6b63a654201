//! End-to-end tests: the real binary on the real kernel, as many at a time as there are processors. What changes the host for all, or needs it
//! quiet, is in `tests/alone`.

#![allow(clippy::cast_possible_truncation, reason = "tests count in small numbers")]

mod backends;
mod cmdline;
mod complete;
mod containers;
mod daemon;
mod daemon_check;
mod docs;
mod ending;
mod errors;
mod exe;
mod fifo;
mod filesystems;
mod filters;
mod follow_mounts;
mod formats;
mod full;
mod gaps;
mod hard_links;
mod identity;
mod large_walks;
mod long_names;
mod many;
mod merged;
mod mounts;
mod muted;
mod names;
mod objects;
mod oracle;
mod output;
mod overlay;
mod python;
mod readers;
mod real;
mod renames;
mod replays;
mod roots;
mod series;
mod setup;
mod storm;
mod streams;
mod symlinks;
mod tables;
mod terminal;
mod time;
mod truncated;
mod types;
mod users;
mod who;
