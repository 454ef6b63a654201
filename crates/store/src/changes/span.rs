//! Which part of a history is asked for.

use crate::search::Segment;
use std::collections::{HashMap, HashSet};

/// Where the part asked for begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// With the history.
    #[default]
    Beginning,
    /// At a wall time, ns since 1970.
    Moment(u64),
    /// Behind what was recorded before these positions.
    Cursor(Vec<Cursor>),
}

/// The part of a history that is asked for.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// Where it begins.
    pub since: Since,
    /// Its last moment, ns since 1970; `None`: up to the end.
    pub until_ns: Option<u64>,
}

impl Span {
    /// The first wall time of which something can be asked for.
    pub(super) fn since_ns(&self) -> u64 {
        match self.since {
            Since::Moment(ns) => ns,
            Since::Beginning | Since::Cursor(_) => 0,
        }
    }

    pub(super) fn last_ns(&self) -> u64 {
        self.until_ns.unwrap_or(u64::MAX)
    }

    /// The position in a stream, if there is one.
    pub(super) fn cursor(&self, stream: &[u8; 16]) -> Option<Cursor> {
        let Since::Cursor(cursors) = &self.since else { return None };
        cursors.iter().find(|cursor| cursor.stream == *stream).copied()
    }
}

impl Span {
    /// The streams that are behind the positions asked for. One without a position that began before those with one has
    /// ended before, as one recorder writes a history. A stream that is deleted began before all others.
    pub(super) fn later_streams(&self, segments: &[Segment]) -> HashSet<u32> {
        let has_cursor = |segment: &&Segment| self.cursor(&segment.stream_id).is_some();
        let begins =
            segments.iter().filter(has_cursor).map(|segment| segment.began_ns).min().unwrap_or(0);
        let mut began: HashMap<u32, u64> = HashMap::new();
        for segment in segments.iter().filter(|segment| !has_cursor(segment)) {
            let first = began.entry(segment.stream).or_insert(u64::MAX);
            *first = (*first).min(segment.began_ns);
        }
        began.into_iter().filter(|(_, began)| *began >= begins).map(|(stream, _)| stream).collect()
    }
}

/// A position in a stream, as `fsmon flush` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(super) stream: [u8; 16],
    pub(super) segment: u32,
    pub(super) block: u64,
    /// Records of the block that are before it.
    pub(super) record: u64,
}

impl Cursor {
    /// Parses `1-STREAM-SEGMENT-BLOCK-RECORD-LINE`, several with commas. `None`: it is none.
    #[must_use]
    pub fn parse_all(text: &str) -> Option<Vec<Cursor>> {
        text.split(',').map(Cursor::parse).collect()
    }

    fn parse(text: &str) -> Option<Cursor> {
        let parts: Vec<_> = text.split('-').collect();
        let [version, stream, segment, block, record, line] = parts[..] else { return None };
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if version != "1" || stream.len() != 32 || !is_number(line) || line.is_empty() {
            return None;
        }
        let stream = u128::from_str_radix(stream, 16).ok()?;
        Some(Cursor {
            stream: stream.to_be_bytes(),
            segment: segment.parse().ok()?,
            block: block.parse().ok()?,
            record: record.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_flush_prints() {
        let text = "1-00112233445566778899aabbccddeeff-3-17-0-0";
        let cursors = Cursor::parse_all(text).expect("a cursor");
        assert_eq!((cursors[0].segment, cursors[0].block, cursors[0].record), (3, 17, 0));
        assert_eq!(cursors[0].stream[..2], [0x00, 0x11]);
        assert_eq!(Cursor::parse_all(&format!("{text},{text}")).map(|all| all.len()), Some(2));
        for wrong in [
            "",
            "1767225600",
            "1-",
            "2-00112233445566778899aabbccddeeff-3-17-0-0",
            "1-00-1-1-0-0",
            "1-00112233445566778899aabbccddeeff-3-17-0-",
            "1-00112233445566778899aabbccddeeff-x-17-0-0",
        ] {
            assert_eq!(Cursor::parse_all(wrong), None, "{wrong}");
        }
    }
}
