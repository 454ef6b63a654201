//! Segments whose recorder was killed: their end is made one that a strict reader accepts.

use super::directory;
use fsmon_format::error::Error;
use fsmon_format::record::{Body, Clock};
use fsmon_format::stream::layout::HEADER_LEN_MAX;
use fsmon_format::stream::{Header, Item, Reader, closing};
use fsmon_present::message::shown;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use zerocopy::FromZeros;

/// What was done to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// Nothing: it ends in order.
    Nothing,
    /// It got a final block; before that so many bytes behind its last whole block were cut off: a block of which only
    /// a part had been written.
    Closed {
        /// Bytes that were cut off.
        cut: u64,
    },
    /// It was deleted: not even its header had been written.
    Deleted,
}

/// Where a segment ends.
struct End {
    offset: u64,
    number: u64,
    event: u64,
    clock: Clock,
}

/// Ends a segment that no process writes any more, as if it went on in another file. Events are neither added nor lost:
/// what is cut off is a block that was not written as a whole. The segment is durable on return.
///
/// # Errors
/// It cannot be read or written, or a newer version wrote it; it may have been cut off then.
pub fn mend(dir: &Path, file: &str) -> Result<Mended, Error> {
    let path = dir.join(file);
    let failed = |error: io::Error| Error::os(format!("cannot mend {}", shown(&path)), error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
    let target = options.open(&path).map_err(failed)?;
    let len = target.metadata().map_err(failed)?.len();
    let Some(header) = header_of(&target).map_err(failed)? else {
        if len >= HEADER_LEN_MAX as u64 {
            // Something else: it is left alone.
            return Ok(Mended::Nothing);
        }
        std::fs::remove_file(&path).and_then(|()| directory::sync(dir)).map_err(failed)?;
        return Ok(Mended::Deleted);
    };
    let source = OpenOptions::new().read(true).open(&path).map_err(failed)?;
    let Some(end) = find_end(Reader::new(source), &header)? else { return Ok(Mended::Nothing) };
    let numbers = (end.number, end.event, header.stream_tag());
    target.set_len(end.offset).map_err(failed)?;
    target
        .write_all_at(&closing(end.offset, numbers, &end.clock), end.offset)
        .and_then(|()| target.sync_all())
        .map_err(failed)?;
    Ok(Mended::Closed { cut: len - end.offset })
}

fn header_of(source: impl Read) -> io::Result<Option<Header>> {
    let mut bytes = Vec::new();
    source.take(HEADER_LEN_MAX as u64).read_to_end(&mut bytes)?;
    Ok(Header::parse(&bytes).ok())
}

/// The end of the last whole block; `None` if the file ends in order.
fn find_end(reader: Reader<impl Read>, header: &Header) -> Result<Option<End>, Error> {
    let mut reader = reader.salvage(true);
    let mut clock = Clock::new_zeroed();
    (clock.time_ns, clock.realtime_ns) = (header.time_ns.into(), header.realtime_ns.into());
    let mut end = End { offset: 0, number: header.first_block, event: header.first_event, clock };
    while let Some(item) = reader.next()? {
        match item {
            // A file that was cut while it was written has several headers: only what is behind the last one counts.
            Item::Header(_) if end.offset > 0 => return Ok(None),
            Item::Header(_) => {}
            Item::Block(block) => {
                for record in block.records() {
                    if let Body::Clock(clock) = record.body() {
                        end.clock = *clock;
                    }
                }
            }
            Item::Gap(_) | Item::Pending => continue,
        }
        end.offset = reader.offset();
    }
    // Blocks that only damage before them makes unreadable stay: they say how much is missing.
    if let Some(whole) = reader.whole_end() {
        (end.offset, end.number, end.event) = (whole.offset, whole.next_block, whole.events);
        return Ok((!whole.is_final).then_some(end));
    }
    Ok(Some(end))
}
