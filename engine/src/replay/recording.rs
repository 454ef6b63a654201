//! A recording, and its layout in a file. The file is a list of pieces, each with a tag, a length, and its bytes.
//! Numbers are in the host's byte order, as in what the kernel sends.

use std::io;

/// The first bytes of the file: the kind of file, and the version of its layout.
const MAGIC: &[u8] = b"fsmon recording 1\n";

mod tag {
    pub(super) const ROOT: u32 = 1;
    pub(super) const PATH: u32 = 2;
    pub(super) const READ: u32 = 3;
    pub(super) const MESSAGE: u32 = 4;
    /// Ends a turn.
    pub(super) const TURN: u32 = 5;
}

/// The directory that was watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedRoot {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// The id of its filesystem.
    pub fsid: u64,
    /// Its handle: type, then bytes.
    pub handle: Vec<u8>,
}

/// One read of the fanotify queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedRead {
    /// Number of reads before it.
    pub number: u32,
    /// `TURN` of `sys/gauge.rs` during the read, as the BPF programs saw it.
    pub turn: u32,
    /// The bytes that it returned.
    pub bytes: Vec<u8>,
}

/// What the reader takes in during one turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The reads, in order.
    pub reads: Vec<RecordedRead>,
    /// perf records, ordered by CPU.
    pub messages: Vec<Vec<u8>>,
    /// The time after the reads.
    pub until_ns: u64,
    /// When the queue was seen empty; `None` if it was not.
    pub empty_ns: Option<u64>,
}

/// Everything that was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The watched directory.
    pub root: RecordedRoot,
    /// When the recording began.
    pub start_ns: u64,
    /// The turns in which something was read.
    pub turns: Vec<Turn>,
}

impl Recording {
    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let times = [self.start_ns, self.root.fsid].map(u64::to_ne_bytes);
        piece(tag::ROOT, &[&times[0], &times[1], &self.root.handle], &mut out);
        piece(tag::PATH, &[&self.root.path], &mut out);
        for turn in &self.turns {
            for read in &turn.reads {
                let head = [read.number, read.turn].map(u32::to_ne_bytes);
                piece(tag::READ, &[&head[0], &head[1], &read.bytes], &mut out);
            }
            turn.messages.iter().for_each(|bytes| piece(tag::MESSAGE, &[bytes], &mut out));
            let times = [turn.until_ns, turn.empty_ns.unwrap_or(0)].map(u64::to_ne_bytes);
            piece(tag::TURN, &[&times[0], &times[1]], &mut out);
        }
        out
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// They are not a recording, or one of another version, or are cut off.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "no recording of this version");
        let mut rest = bytes.strip_prefix(MAGIC).ok_or_else(broken)?;
        let (mut recording, mut turn) = (Recording::default(), Turn::default());
        while !rest.is_empty() {
            rest = recording.take(&mut turn, rest).ok_or_else(broken)?;
        }
        if turn == Turn::default() { Ok(recording) } else { Err(broken()) }
    }

    /// Reads one piece, and returns the bytes after it; `None` if the piece is not valid.
    fn take<'a>(&mut self, turn: &mut Turn, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (tag, rest) = u32_of(bytes)?;
        let (len, rest) = u32_of(rest)?;
        let (piece, rest) = rest.split_at_checked(len as usize)?;
        match tag {
            tag::ROOT => {
                let (start_ns, piece) = u64_of(piece)?;
                let (fsid, handle) = u64_of(piece)?;
                (self.start_ns, self.root.fsid) = (start_ns, fsid);
                self.root.handle = handle.to_vec();
            }
            tag::PATH => self.root.path = piece.to_vec(),
            tag::READ => {
                let (number, piece) = u32_of(piece)?;
                let (at, bytes) = u32_of(piece)?;
                turn.reads.push(RecordedRead { number, turn: at, bytes: bytes.to_vec() });
            }
            tag::MESSAGE => turn.messages.push(piece.to_vec()),
            tag::TURN => {
                let (until_ns, piece) = u64_of(piece)?;
                let (empty_ns, _) = u64_of(piece)?;
                (turn.until_ns, turn.empty_ns) = (until_ns, (empty_ns != 0).then_some(empty_ns));
                self.turns.push(std::mem::take(turn));
            }
            _ => return None,
        }
        Some(rest)
    }

    /// The reads, in order.
    pub fn reads(&self) -> impl Iterator<Item = &RecordedRead> {
        self.turns.iter().flat_map(|turn| &turn.reads)
    }

    /// The messages, turn by turn.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.turns.iter().flat_map(|turn| &turn.messages).map(Vec::as_slice)
    }
}

fn piece(tag: u32, parts: &[&[u8]], out: &mut Vec<u8>) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.extend(tag.to_ne_bytes());
    out.extend(u32::try_from(len).expect("a piece is far below 4 GiB").to_ne_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn u32_of(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_ne_bytes(*number), rest))
}

fn u64_of(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_ne_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording() -> Recording {
        let read = RecordedRead { number: 3, turn: 7, bytes: vec![1; 30] };
        let messages = vec![vec![2; 8], Vec::new()];
        let turn = Turn { reads: vec![read], messages, until_ns: 9, empty_ns: Some(8) };
        let quiet = Turn { until_ns: 11, ..Turn::default() };
        let root = RecordedRoot { path: b"/mnt".into(), fsid: 5, handle: vec![1, 2, 3, 4] };
        Recording { root, start_ns: 1, turns: vec![turn, quiet] }
    }

    #[test]
    fn a_recording_is_read_as_it_was_written() {
        let kept = recording().to_bytes();
        assert_eq!(Recording::from_bytes(&kept).expect("valid"), recording());
    }

    #[test]
    fn a_recording_that_is_cut_off_is_refused_or_ends_with_a_turn() {
        let kept = recording().to_bytes();
        for len in 0..kept.len() {
            if let Ok(read) = Recording::from_bytes(&kept[..len]) {
                assert!(read.turns.len() < 2, "{len}");
            }
        }
    }
}
