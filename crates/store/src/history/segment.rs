//! The segment that is being written.

use super::directory;
use super::entry::{Blocks, Entry, Parts};
use super::scan::header_in;
use super::tally::Tally;
use crate::files::{is_written, lock};
use crate::segments::name;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::mirror::Mirror;
use fsmon_format::record::Record;
use fsmon_format::stream::Header;
use fsmon_format::stream::layout::{BlockHeader, SYNC, block_flag};
use fsmon_present::Format;
use fsmon_present::message::shown;
use jiff::Timestamp;
use nix::errno::Errno;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use zerocopy::FromBytes;

/// A segment that is being written: whole blocks are appended to it. [`super::History::begin_segment`] makes it, and
/// [`super::History::close_segment`] takes it. Dropped instead, it is like that of a writer that was killed.
pub struct SegmentWriter {
    dir: PathBuf,
    file: File,
    name: String,
    header: Header,
    header_crc: u32,
    /// Bytes of the header and whole blocks.
    bytes: u64,
    /// Whether the file may have more than `bytes`: what is left of a block that was not written as a whole.
    is_torn: bool,
    /// Whether a sync failed.
    is_doubtful: AtomicBool,
    blocks: Blocks,
    tally: Tally,
}

/// Why blocks could not be appended. The file ends with a whole block all the same.
#[derive(Clone, Debug)]
pub struct AppendError {
    /// Bytes of whole blocks that were appended before it failed: append the rest once it may work.
    pub written: usize,
    /// What failed. [`Error::raw_os_error`] has the errno: ENOSPC, EDQUOT, EFBIG, EIO, EROFS.
    pub error: Error,
}

/// Removes what is left of a segment that could not be begun, nor removed, as its disk failed or was read-only. All that is in
/// it is in `first` as well, which is written now.
///
/// # Errors
/// EEXIST: it is another file.
fn remove_leftover(path: &Path, first: &[u8]) -> io::Result<()> {
    let other = || io::Error::from(Errno::EEXIST);
    let file = directory::open(path).map_err(|_| other())?;
    let mut found = Vec::new();
    (&file).take(first.len() as u64 + 1).read_to_end(&mut found)?;
    if !first.starts_with(&found) || is_written(&file) {
        return Err(other());
    }
    std::fs::remove_file(path)
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for AppendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl SegmentWriter {
    /// Makes the file, with its header and perhaps blocks. Where that fails no file is left, unless the disk lets nothing be
    /// removed: that is done by the next call.
    pub(super) fn begin(dir: &Path, first: &[u8]) -> Result<Self, Error> {
        let no_header = || Error::new(ErrorKind::Internal, "a segment begins without a header");
        let (header, header_crc, header_len) = header_in(first).ok_or_else(no_header)?;
        let began = i64::try_from(header.realtime_ns / 1_000_000_000).unwrap_or(i64::MAX);
        let began = Timestamp::from_second(began).unwrap_or(Timestamp::MAX);
        let extension = Format::Binary.extension();
        let name = name(began, header.stream_tag(), header.segment, extension);
        let path = dir.join(&name);
        let failed = |error| Error::os(format!("cannot make {}", shown(&path)), error);
        let file = match directory::create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_leftover(&path, first).and_then(|()| directory::create(&path))
            }
            made => made,
        };
        let file = file.map_err(failed)?;
        let mut segment = SegmentWriter {
            dir: dir.to_owned(),
            file,
            name,
            bytes: 0,
            is_torn: false,
            is_doubtful: AtomicBool::new(false),
            blocks: Blocks { behind: header.first_block, ..Blocks::default() },
            tally: Tally::new(header.time_ns, header.realtime_ns),
            header,
            header_crc,
        };
        let begun = segment.write_first(first, header_len);
        if let Err(error) = begun {
            // A file without a header would be damage to readers.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(segment)
    }

    fn write_first(&mut self, first: &[u8], header_len: usize) -> Result<(), Error> {
        lock(&self.file).map_err(|error| self.failed("lock", error))?;
        let (header, blocks) = first.split_at(header_len);
        self.file.write_all_at(header, 0).map_err(|error| self.failed("write to", error))?;
        self.bytes = header.len() as u64;
        self.append(blocks).map_err(|failure| failure.error)?;
        directory::sync(&self.dir).map_err(|error| self.failed("make", error))
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        Error::os(format!("cannot {what} {}", shown(&self.dir.join(&self.name))), error)
    }

    /// The file's name in the directory.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of the file: its header and whole blocks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// EVENT records of the stream in the blocks that were appended and in the segments before.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.header.first_event.saturating_add(self.blocks.events)
    }

    /// Takes a record for the catalogue: each that goes into the stream's writer, GAP and NOTE too, after `mirror` took it.
    /// What the mirror knows of users and control groups is what the catalogue will name.
    ///
    /// Where records are noted that never reach the file, [`super::History::close_segment`] reads the file instead.
    #[inline]
    pub fn note(&mut self, record: &Record<'_>, mirror: &Mirror) {
        self.tally.take(record, mirror);
    }

    /// Takes what was tallied elsewhere, by a thread that makes the blocks that this one writes: all records of the
    /// segment, in place of those that were noted.
    pub fn set_tally(&mut self, tally: Tally) {
        self.tally = tally;
    }

    /// Appends whole blocks, as [`fsmon_format::stream::Writer`] makes them. They are not durable before
    /// [`SegmentWriter::sync_data`].
    ///
    /// # Errors
    /// The disk is full, failed, or is read-only; the file ends with the last block that was written whole, and appending
    /// can be tried again. Or `blocks` are no whole blocks, and nothing was written.
    pub fn append(&mut self, blocks: &[u8]) -> Result<(), AppendError> {
        let nothing = |error| AppendError { written: 0, error };
        let ends = ends_of_blocks(blocks).ok_or_else(|| {
            nothing(Error::new(ErrorKind::Internal, "what is appended is no whole blocks"))
        })?;
        self.mend().map_err(|error| nothing(self.failed("write to", error)))?;
        let (len, result) = self.write(blocks);
        let kept = ends.partition_point(|&end| end <= len);
        let written = kept.checked_sub(1).map_or(0, |last| ends[last]);
        self.count(&blocks[..written]);
        result.map_err(|error| {
            self.is_torn = true;
            // If that fails too, it is tried again before anything is appended.
            let _ = self.mend();
            AppendError { written, error: self.failed("write to", error) }
        })
    }

    /// Writes as much as can be. Returns how much.
    fn write(&self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut len = 0;
        while len < bytes.len() {
            match self.file.write_at(&bytes[len..], self.bytes + len as u64) {
                Ok(0) => return (len, Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => len += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (len, Err(error)),
            }
        }
        (len, Ok(()))
    }

    /// Cuts off what is left of a block that was not written as a whole.
    fn mend(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.bytes)?;
            self.is_torn = false;
        }
        Ok(())
    }

    fn count(&mut self, mut blocks: &[u8]) {
        self.bytes += blocks.len() as u64;
        while let Ok((block, _)) = BlockHeader::ref_from_prefix(blocks) {
            let times = (block.first_ns.get(), block.last_ns.get());
            self.blocks.take(block.number.get(), block.events.get(), times);
            self.blocks.is_final = block.flags.get() & block_flag::FINAL != 0;
            blocks = &blocks[block.total_len()..];
        }
    }

    /// Makes durable what was appended: fdatasync(2).
    ///
    /// # Errors
    /// What was appended since the last time may not be on the disk, and never get there. The kernel reports that once,
    /// so that this fails from then on: begin another segment.
    pub fn sync_data(&self) -> Result<(), Error> {
        if self.is_doubtful.load(Ordering::Relaxed) {
            let name = shown(&self.dir.join(&self.name));
            let message =
                format!("an earlier sync of {name} failed; what it should have may be missing");
            return Err(Error::new(ErrorKind::Io, message));
        }
        self.file.sync_data().map_err(|error| {
            self.is_doubtful.store(true, Ordering::Relaxed);
            self.failed("sync", error)
        })
    }

    /// The segment's entry; `None` if what was noted is not what was written.
    pub(super) fn entry(&self) -> Option<Entry> {
        let is_alike = self.tally.events == self.blocks.events && !self.is_torn;
        let parts = Parts {
            file: self.name.clone(),
            header: &self.header,
            header_crc: self.header_crc,
            blocks: &self.blocks,
            tally: &self.tally,
            bytes: self.bytes,
        };
        is_alike.then(|| parts.entry())
    }
}

#[cfg(test)]
impl SegmentWriter {
    /// As if a sync had failed.
    pub(super) fn fail_sync(&self) {
        self.is_doubtful.store(true, Ordering::Relaxed);
    }
}

/// Where each block ends; `None` if these are no whole blocks.
fn ends_of_blocks(bytes: &[u8]) -> Option<Vec<usize>> {
    let mut ends = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (block, _) = BlockHeader::ref_from_prefix(&bytes[at..]).ok()?;
        if block.sync != SYNC {
            return None;
        }
        at = at.checked_add(block.total_len()).filter(|end| *end <= bytes.len())?;
        ends.push(at);
    }
    Some(ends)
}
