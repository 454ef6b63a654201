//! Damage of streams.

use crate::error::{Error, ErrorKind};
use std::fmt;
use std::io;

/// Damage: what is wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Bytes from the beginning of the input.
    pub offset: u64,
    /// The number of the block that was expected there, if known.
    pub block: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The magic is missing.
    NotAStream,
    /// A major version that this reader does not know.
    Version(u16),
    /// Incompatible flags that this reader does not know.
    Flags(u64),
    /// Sizes of slots, blocks or grid that this reader does not know.
    Sizes,
    /// The file header's checksum or one of its lengths is wrong.
    FileHeader(&'static str),
    /// Nothing that looks like a block.
    NoBlock,
    /// Zeros: space that was never written.
    Unwritten,
    /// A block header's checksum is wrong.
    BlockHeader,
    /// A block header with a sound checksum has a length out of bounds.
    Length,
    /// A block's payload does not match its checksum.
    Payload,
    /// A block is compressed in a way that this reader does not know.
    Codec(u8),
    /// A block does not decompress to the length that its header says.
    Compression,
    /// A block is compressed together with those before it, and these were not read.
    Continues,
    /// A block of another stream.
    OtherStream,
    /// Blocks are missing: this number came instead.
    Missing(u64),
    /// A block that was seen before or is out of order: this number came.
    Stale(u64),
    /// The number of a block's first event does not continue the block before.
    EventNumber(u64),
    /// A block does not have as many events as its header says.
    EventCount,
    /// A record inside a block with sound checksums breaks the rules: slot and rule.
    Record(usize, &'static str),
    /// The input ends inside a header or a block.
    Cut,
    /// The input ends, or the next stream begins, without a final block.
    NoEnd,
    /// Bytes follow the final block.
    Trailing,
}

impl Fault {
    /// Whether the stream is not damaged but needs a newer version.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self, Fault::Version(_) | Fault::Flags(_) | Fault::Sizes)
    }

    /// The kind of an [`Error`] with this fault.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Fault::NotAStream => ErrorKind::Invalid,
            newer if newer.is_newer() => ErrorKind::Unsupported,
            _ => ErrorKind::Damaged,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Fault::NotAStream => f.write_str("not an fsmon stream"),
            Fault::Version(major) => {
                write!(f, "format version {major} is not known; a newer fsmon reads it")
            }
            Fault::Flags(bits) => {
                write!(f, "the stream needs features {bits:#x}; a newer fsmon reads it")
            }
            Fault::Sizes => f.write_str(
                "the stream has slots, blocks or a grid of other sizes than are known; a newer fsmon reads it",
            ),
            Fault::FileHeader(what) => write!(f, "damaged file header: {what}"),
            Fault::NoBlock => f.write_str("no block where one should begin"),
            Fault::Unwritten => f.write_str("zeros where a block should begin: never written"),
            Fault::BlockHeader => f.write_str("a block header does not match its checksum"),
            Fault::Length => f.write_str("a block's length is out of bounds"),
            Fault::Payload => f.write_str("a block does not match its checksum"),
            Fault::Codec(n) => {
                write!(f, "a block is compressed with method {n}, which is not known here")
            }
            Fault::Compression => f.write_str("a block does not decompress to its length"),
            Fault::Continues => f.write_str(
                "a block is compressed together with those before it, which could not be read",
            ),
            Fault::OtherStream => f.write_str("a block of another stream"),
            Fault::Missing(n) => write!(f, "blocks are missing: block {n} comes instead"),
            Fault::Stale(n) => write!(f, "block {n} comes again or out of its place"),
            Fault::EventNumber(n) => write!(f, "the block's first event is number {n}"),
            Fault::EventCount => {
                f.write_str("a block does not hold as many events as its header says")
            }
            Fault::Record(slot, rule) => write!(f, "slot {slot} of the block: {rule}"),
            Fault::Cut => f.write_str("the stream is cut off here"),
            Fault::NoEnd => f.write_str("the stream ends without an end record: it was cut off"),
            Fault::Trailing => f.write_str("bytes after the end of the stream"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}", self.offset)?;
        if let Some(block) = self.block {
            write!(f, ", block {block}")?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl std::error::Error for Damage {}

/// The input itself failed.
pub(super) fn unreadable(error: io::Error) -> Error {
    Error::os("cannot read the stream", error)
}
