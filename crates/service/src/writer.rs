//! The thread that writes the history: `fsmon-writer`. It alone waits for the disk.
//!
//! When the disk is full, refuses to be written to, or has too little room for more, it pauses, keeps the piece that it
//! has, and tries again.

use crate::clocks::Clocks;
use crate::handover::{Handover, Piece};
use crate::limits::{FIRST_RETRY, RETRY_MAX, SEGMENT_NUMBERS};
use crate::shared::{Shared, Written};
use fsmon_engine::privileges::{self, Task};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::stream::Header;
use fsmon_present::message;
use fsmon_present::wall::Wall;
use fsmon_store::history::{History, OpenSegment, SegmentWriter};
use nix::errno::Errno;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// The segments of a stream.
pub(crate) struct Files {
    history: Arc<Mutex<History>>,
    clocks: Clocks,
    /// `None` before the first is made, and while the next cannot be made.
    segment: Option<SegmentWriter>,
    /// Why a segment that was closed may not be durable; nobody who waited for that was told yet.
    unsynced: Option<Error>,
    /// Bytes in segments that were closed.
    closed_bytes: u64,
    /// When something was written last, ns since 1970; 0 if nothing was.
    written_ns: u64,
    /// The number of the next segment, at least; 0 until another file had the name of one.
    next_number: u32,
    /// The wall time of the last record that was written, ns since 1970; at first that of the beginning.
    until_ns: u64,
}

impl Files {
    pub(crate) fn new(history: Arc<Mutex<History>>, clocks: Clocks, now_ns: u64) -> Self {
        let (segment, unsynced) = (None, None);
        let (closed_bytes, written_ns, next_number) = (0, 0, 0);
        let until_ns = now_ns;
        Files {
            history,
            clocks,
            segment,
            unsynced,
            closed_bytes,
            written_ns,
            next_number,
            until_ns,
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a piece.
    ///
    /// # Errors
    /// Something could not be written: it is in `piece` still, and the call can be repeated.
    pub(crate) fn write(&mut self, piece: &mut Piece) -> Result<(), Error> {
        self.append(&mut piece.blocks)?;
        self.written_ns = Wall::of_this_host().moment().1;
        self.until_ns = piece.until_ns;
        if let Some(tally) = piece.ends.take()
            && let Some(mut segment) = self.segment.take()
        {
            segment.set_tally(*tally);
            self.close(segment);
        }
        Ok(())
    }

    fn append(&mut self, blocks: &mut Vec<u8>) -> Result<(), Error> {
        if blocks.is_empty() {
            return Ok(());
        }
        match &mut self.segment {
            None => self.segment = Some(self.begin(blocks)?),
            Some(segment) => segment.append(blocks).map_err(|failure| {
                blocks.drain(..failure.written);
                failure.error
            })?,
        }
        blocks.clear();
        Ok(())
    }

    /// Begins the segment whose header and first blocks these are. Where another file has its name it gets the next number,
    /// and so do those that follow.
    fn begin(&mut self, blocks: &mut [u8]) -> Result<SegmentWriter, Error> {
        let mut tries = SEGMENT_NUMBERS;
        loop {
            let number = number_from(self.next_number, blocks);
            let begun = self.history().begin_segment(blocks);
            tries -= 1;
            match begun {
                Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) && tries > 0 => {
                    message::print(format_args!("{error}; it gets the next number"));
                    self.next_number = number.wrapping_add(1);
                }
                Ok(segment) => {
                    if self.next_number != 0 {
                        self.next_number = number.wrapping_add(1);
                    }
                    return Ok(segment);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the segment, whose last block is written, durably. If that fails the next sync says so.
    fn close(&mut self, segment: SegmentWriter) {
        self.closed_bytes += segment.bytes();
        let now = self.clocks.now();
        let closed = self.history().close_segment(segment, &now);
        if let Err(error) = closed {
            message::print(&error);
            self.unsynced = Some(error);
        }
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    /// It may not be; nor what a segment has that was closed since the last sync. What failed once is not trusted again:
    /// let the segment end.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        let synced = self.segment.as_ref().map_or(Ok(()), SegmentWriter::sync_data);
        synced.and(self.unsynced.take().map_or(Ok(()), Err))
    }

    fn written(&self) -> Written {
        let segment = self.segment.as_ref();
        Written {
            segment: segment.map(|segment| segment.name().to_owned()),
            segment_bytes: segment.map_or(0, SegmentWriter::bytes),
            open: segment
                .map(SegmentWriter::header)
                .map(|header| OpenSegment { number: header.segment, began_ns: header.time_ns }),
            closed_bytes: self.closed_bytes,
            at_ns: self.written_ns,
        }
    }
}

/// Gives the segment whose header `carried` begins with the number `least`, if its own is less. Returns its number.
fn number_from(least: u32, carried: &mut [u8]) -> u32 {
    let Ok(mut header) = Header::parse(carried) else { return least };
    if header.segment < least {
        header.segment = least;
        let encoded = header.encode();
        carried[..encoded.len()].copy_from_slice(&encoded);
    }
    header.segment
}

/// The thread's own.
pub(crate) struct Writer {
    pub(crate) files: Files,
    pub(crate) handover: Arc<Handover>,
    pub(crate) shared: Arc<Shared>,
}

impl Writer {
    /// Starts the thread, which keeps the capabilities for `tasks`. It ends when the handover is closed.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub(crate) fn spawn(self, tasks: Vec<Task>) -> Result<JoinHandle<()>, Error> {
        let builder = thread::Builder::new().name("fsmon-writer".into());
        let run = move || {
            // With more than it needs it works as well.
            let _ = privileges::keep(&tasks);
            self.run();
        };
        builder.spawn(run).map_err(|error| Error::os("cannot start the writer's thread", error))
    }

    fn run(mut self) {
        let handover = self.handover.clone();
        // Nobody waits for it if it panics.
        let _ended = Ended(&handover);
        self.publish();
        while let Some(mut piece) = handover.next() {
            if !self.write(&mut piece) {
                break;
            }
            let synced = if handover.wants_sync() { self.sync() } else { Ok(()) };
            handover.done(piece.blocks, synced);
        }
        if let Some(error) = self.files.unsynced.take() {
            self.shared.set_unwritten(error.to_string());
        }
    }

    /// Writes a piece, however long that takes. False if it was given up.
    fn write(&mut self, piece: &mut Piece) -> bool {
        let no_room = if piece.blocks.is_empty() { None } else { self.shared.no_room() };
        let written = match no_room {
            Some(why) => Err(Error::new(ErrorKind::Busy, why)),
            None => self.try_to_write(piece),
        };
        match written {
            Ok(()) => true,
            Err(error) => self.pause(&error, piece),
        }
    }

    /// Others see how long it takes.
    fn try_to_write(&mut self, piece: &mut Piece) -> Result<(), Error> {
        self.shared.set_writing(true);
        let written = self.files.write(piece);
        self.shared.set_writing(false);
        if written.is_err() {
            self.shared.count_write_failure();
        }
        self.publish();
        written
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.shared.set_writing(true);
        let synced = self.files.sync();
        self.shared.set_writing(false);
        synced.inspect_err(|_| self.handover.note_failed_sync())
    }

    /// Tries again until the piece is written, or the daemon ends. Returns whether it is written.
    #[cold]
    fn pause(&mut self, error: &Error, piece: &mut Piece) -> bool {
        let since_ns = self.files.until_ns;
        self.shared.set_paused(Some(error.to_string()));
        if !self.shared.is_given_up() {
            message::print(format_args!(
                "recording is paused: {error}; it goes on by itself once it can"
            ));
        }
        let mut retry = FIRST_RETRY;
        loop {
            thread::sleep(retry);
            retry = (2 * retry).min(RETRY_MAX);
            let is_given_up = self.shared.is_given_up();
            let written = match self.shared.no_room() {
                Some(why) if !is_given_up => Err(Error::new(ErrorKind::Busy, why)),
                _ => self.try_to_write(piece),
            };
            match written {
                Ok(()) => break,
                Err(why) if is_given_up => {
                    self.shared.set_unwritten(why.to_string());
                    return false;
                }
                Err(why) => self.shared.set_paused(Some(why.to_string())),
            }
        }
        self.handover.note_pause(since_ns);
        self.shared.set_paused(None);
        message::print("recording goes on");
        true
    }

    fn publish(&self) {
        self.shared.set_written(self.files.written());
        self.shared.set_writer_cpu();
    }
}

/// Says that the writer has ended when it is dropped.
struct Ended<'a>(&'a Handover);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Whether it is the disk that is full, over quota, read-only or failing: that may pass.
pub(crate) fn is_of_disk(error: &Error) -> bool {
    const OF_DISK: [Errno; 4] = [Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS, Errno::EIO];
    error.raw_os_error().is_some_and(|errno| OF_DISK.contains(&Errno::from_raw(errno)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_gets_another_number_is_the_same_but_for_that() {
        let header = Header { roots: vec![b"/srv".to_vec()], segment: 3, ..Header::default() };
        let mut first = header.encode();
        first.extend_from_slice(b"blocks");
        let was = first.clone();
        for least in [0, 3] {
            assert_eq!(number_from(least, &mut first), 3);
            assert_eq!(first, was);
        }
        // The number of a segment that could not begin stays, however often it is tried.
        for _ in 0..2 {
            assert_eq!(number_from(5, &mut first), 5);
            assert_eq!(
                Header::parse(&first).expect("a header"),
                Header { segment: 5, ..header.clone() }
            );
            assert!(first.ends_with(b"blocks"));
        }
        assert_eq!(number_from(7, &mut []), 7);
    }
}
