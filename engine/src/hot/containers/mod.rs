//! The containers that several tables of the engine are made of. Each is written once, takes all its room when it is
//! made, and allocates nothing afterwards.
//!
//! | container | what it is | who uses it |
//! |---|---|---|
//! | [`ProbeTable`](probing::ProbeTable) | hash table: linear probing, deletion shifts back | `where/tables/index.rs` (`Index`, with which `where/tree`, `where/tables/file_names.rs`, `where/tables/deferred.rs` and `where/overlay/known.rs` find their entries), `who/pids.rs`, `who/strings.rs` |
//! | [`SetCache`](ways::SetCache) | cache of sets with a few ways each | `where/tables/file_at_name.rs`, `where/tables/last_seen.rs`, `where/tables/nameless.rs`, `where/mute/busy.rs` (directories that are counted) |
//! | [`LastN`](last::LastN) | the last entries, the oldest overwritten | `where/tables/exchange_halves.rs`, `where/tables/met_elsewhere.rs`, `where/tables/orphans.rs`, `where/overlay/known.rs` (`Aliases`), `where/overlay/pending.rs`, `where/mute/busy.rs` (directories that are muted), `who/reads.rs`, `who/witnesses.rs`, `who/cmdline.rs` (execs) |
//!
//! Tables that look like one of these and are none say in their files why: `where/tables/rounds.rs`,
//! `where/tables/objects.rs`, `where/tables/deferred.rs`, `where/tables/file_names.rs` (names that may be gone),
//! `where/overlay/pending.rs` (renames that are expected), `where/tables/under_way.rs` and `where/tables/outside.rs`
//! (one way), `who/cmdline.rs` (slots) and `stream/translate.rs` of `fsmon-format`.

pub mod last;
pub mod probing;
pub mod ways;
