//! The binary stream: blocks of records with checksums, written to a file, a pipe or a socket and
//! read back. docs/format.md in the repository is its specification.
//!
//! Every block can be understood by itself: it defines everything that its events refer to. A [`Reader`] returns
//! one block at a time, with dense ids that are valid within the block, and the caller forgets all definitions
//! between blocks. Apart from that the records are those of the engine's ring, in the same order, and the same
//! code can take both:
//!
//! ```
//! use fsmon_format::error::Error;
//! use fsmon_format::mirror::Mirror;
//! use fsmon_format::record::{Body, Record, Records, Slot};
//! use fsmon_format::stream::{BLOCK_CAPACITY, Item, Reader};
//! use std::io::Read;
//!
//! /// For both: the engine's batches and a stream's blocks.
//! fn take(slots: &[Slot], mirror: &mut Mirror, lines: &mut Vec<String>) {
//!     for record in Records(slots) {
//!         let body = record.body();
//!         mirror.define(&body);
//!         if let Body::Event(event) = body {
//!             let mut path = Vec::new();
//!             mirror.append_dir_path(event.head.dir.get(), &mut path);
//!             path.push(b'/');
//!             path.extend_from_slice(event.name);
//!             let pid = mirror.proc(event.head.proc.get()).map_or(0, |proc| proc.pid.get());
//!             lines.push(format!("{pid} {}", String::from_utf8_lossy(&path)));
//!         }
//!     }
//! }
//!
//! fn decode(stream: impl Read) -> Result<Vec<String>, Error> {
//!     let (mut reader, mut lines) = (Reader::new(stream), Vec::new());
//!     let mut mirror = Mirror::new(BLOCK_CAPACITY);
//!     while let Some(item) = reader.next()? {
//!         if let Item::Block(block) = item {
//!             mirror.clear();
//!             take(block.slots(), &mut mirror, &mut lines);
//!         }
//!     }
//!     Ok(lines)
//! }
//! # assert!(decode(&b"no stream"[..]).is_err());
//! ```
//!
//! **Files** can be mapped: the crate reads memory like any other source (it maps nothing itself, as that is
//! unsafe). A reader of a source that can seek goes to a moment without reading everything before it, and
//! continues a stream in the next file:
//!
//! ```
//! use fsmon_format::error::Error;
//! use fsmon_format::stream::{Item, Reader};
//! use std::io::Cursor;
//!
//! /// Counts events from a moment on (ns since 1970), in two mapped files of one stream.
//! fn events_since(files: [&[u8]; 2], realtime_ns: u64) -> Result<u64, Error> {
//!     let (mut reader, mut events) = (Reader::new(Cursor::new(files[0])), 0);
//!     reader.next()?; // the file header
//!     reader.seek_to_time(realtime_ns)?;
//!     for file in [None, Some(files[1])] {
//!         if let Some(file) = file {
//!             reader.continue_with(Cursor::new(file));
//!         }
//!         while let Some(item) = reader.next()? {
//!             if let Item::Block(block) = item {
//!                 events += u64::from(block.events());
//!             }
//!         }
//!     }
//!     Ok(events)
//! }
//! # let file = |name: &str| std::fs::read(format!("tests/golden/{name}.fsmon")).unwrap();
//! # let [first, second] = ["v1-segment-0", "v1-segment-1"].map(file);
//! # assert_eq!(events_since([&first, &second], 0).unwrap(), 13);
//! ```
//!
//! **Names of users and control groups.** The engine does not know them: `user` and `cgroup` of its PROC records
//! are 0. The consumer fills them in first: it makes a STR record for the name, with an id above those of the
//! engine, and a copy of the PROC record that refers to it ([`crate::record::Build`]). Then it gives both to the
//! mirror and to the [`Writer`] as if they had come from the ring. Formats read the names from the mirror, live
//! and decoded.
//!
//! **Wall time.** The latest CLOCK record in the stream ties monotonic to wall time. Each block
//! begins with the CLOCK record in force, the first block with the clock of the file header.

mod block;
mod block_at;
mod clock;
mod codec;
mod definitions;
mod error;
mod frame;
mod header;
mod input;
mod kept;
#[doc(hidden)]
pub mod layout;
mod reader;
mod recode;
mod seek;
mod translate;
#[cfg(feature = "zstd")]
mod window;
mod writer;

pub use crate::limits::CLOCK_STEP_NS;
pub use block::closing;
pub use codec::Codec;
pub use error::{Damage, Fault};
pub use header::{Filesystem, Header};
pub use reader::{Block, Gap, Item, Reader, WholeEnd};
pub use recode::recode;
pub use seek::{Grows, Mark, first_within, grows};
pub use translate::StreamIds;
pub use writer::Writer;

use crate::mirror::Capacity;

/// The capacity of a mirror that can take any block. Ids within a block begin at 1; a definition is at least
/// one slot long, that of a process two. A piece of the arena is at most twice as long as its text.
pub const BLOCK_CAPACITY: Capacity = Capacity {
    dirs: layout::BLOCK_SLOTS,
    processes: layout::BLOCK_SLOTS / 2,
    strings: layout::BLOCK_SLOTS,
    text: 2 * layout::BLOCK_MAX,
};
