//! Where a reader of a history has come to, as text: `1-STREAM-SEGMENT-BLOCK-RECORD-LINE`, for several streams one behind
//! the other with commas.
//!
//! A cursor names the streams that are not read to their end, and the last one that was begun. What it does not name was
//! read if it began before one of the same host that it names, and else not: streams are begun in order.

use crate::history::replace_file;
use crate::limits::{CURSOR_BYTES_MAX, CURSOR_STREAMS_MAX};
use fsmon_format::error::Error;
use fsmon_present::message::shown;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::str::FromStr;

/// The version of the text.
const VERSION: &str = "1";

/// The line that is next in a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Of its header.
    pub stream_id: [u8; 16],
    /// The segment.
    pub segment: u32,
    /// The number of the block in the stream; that behind the last one where it has no more for now.
    pub block: u64,
    /// The record in the block, definitions included.
    pub record: u32,
    /// How many types of the record's event, in causal order, are passed already.
    pub line: u32,
}

/// The places of all streams that are being read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(Vec<Place>);

impl Cursor {
    /// Of these places, each of another stream.
    #[must_use]
    pub fn new(places: Vec<Place>) -> Self {
        Cursor(places)
    }

    /// The places.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.0
    }

    /// The place in a stream, if it is named.
    #[must_use]
    pub fn of(&self, stream_id: &[u8; 16]) -> Option<&Place> {
        self.0.iter().find(|place| place.stream_id == *stream_id)
    }
}

/// Reads a cursor from a file; `None` if there is no file, or nothing in it.
///
/// # Errors
/// It cannot be read, or has something else.
pub fn read(path: &Path) -> Result<Option<Cursor>, Error> {
    let failed = |error| Error::os(format!("cannot read {}", shown(path)), error);
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(CURSOR_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some),
    }
}

/// Writes a cursor to a file, durably: at each moment the file has the old one or the new one.
///
/// # Errors
/// The file cannot be replaced.
pub fn write(path: &Path, cursor: &Cursor) -> Result<(), Error> {
    let failed = |error| {
        let line =
            format!("cannot write {}; name a file in a directory you may write to", shown(path));
        Error::os(line, error)
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| failed(ErrorKind::IsADirectory.into()))?;
    replace_file(dir, name, format!("{cursor}\n").as_bytes()).map_err(failed)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { segment, block, record, line, .. } = self;
        let id = u128::from_be_bytes(self.stream_id);
        write!(f, "{VERSION}-{id:032x}-{segment}-{block}-{record}-{line}")
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, place) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{place}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// # Errors
    /// It is no cursor.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut places: Vec<Place> = Vec::new();
        for part in text.trim().split(',') {
            let place = place(part).ok_or_else(|| refused(part))?;
            let is_known = places.iter().any(|known| known.stream_id == place.stream_id);
            if is_known || places.len() == CURSOR_STREAMS_MAX {
                return Err(refused(part));
            }
            places.push(place);
        }
        Ok(Cursor(places))
    }
}

/// `None`: it is no place of this version.
fn place(text: &str) -> Option<Place> {
    let mut parts = text.split('-');
    if parts.next()? != VERSION {
        return None;
    }
    let id =
        parts.next().filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let place = Place {
        stream_id: u128::from_str_radix(id, 16).ok()?.to_be_bytes(),
        segment: number(parts.next()?)?,
        block: number(parts.next()?)?,
        record: number(parts.next()?)?,
        line: number(parts.next()?)?,
    };
    parts.next().is_none().then_some(place)
}

/// Digits alone: `parse` would take a sign too.
fn number<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn refused(part: &str) -> Error {
    const SHOWN: usize = 100;
    let shown: String = part.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    Error::invalid(format!(
        "'{shown}' is no cursor of this version; give what fsmon flush printed, or the cursor of a line, unchanged"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn places() -> impl Strategy<Value = Vec<Place>> {
        let place = (any::<[u8; 16]>(), any::<u32>(), any::<u64>(), any::<u32>(), any::<u32>());
        let place = place.prop_map(|(stream_id, segment, block, record, line)| Place {
            stream_id,
            segment,
            block,
            record,
            line,
        });
        vec(place, 1..5).prop_filter("other streams", |places| {
            let mut ids: Vec<_> = places.iter().map(|place| place.stream_id).collect();
            ids.sort_unstable();
            ids.windows(2).all(|two| two[0] != two[1])
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(places in places()) {
            let cursor = Cursor::new(places);
            prop_assert_eq!(cursor.to_string().parse::<Cursor>().expect("a cursor"), cursor.clone());
            prop_assert_eq!(format!(" {cursor}\n").parse::<Cursor>().expect("a cursor"), cursor);
        }

        #[test]
        fn any_text_is_a_cursor_or_refused_in_one_short_line(text in ".*") {
            if let Err(error) = text.parse::<Cursor>() {
                let line = error.to_string();
                prop_assert!(line.len() < 1500 && !line.chars().any(char::is_control), "{line}");
            }
        }

        #[test]
        fn a_cursor_with_a_character_changed_is_another_one_or_none(places in places(), at in any::<usize>(), to in any::<char>()) {
            let cursor = Cursor::new(places);
            let mut text: Vec<char> = cursor.to_string().chars().collect();
            let at = at % text.len();
            let is_same = text[at].eq_ignore_ascii_case(&to);
            text[at] = to;
            if let Ok(other) = text.iter().collect::<String>().parse::<Cursor>() {
                // A leading zero of a number can become one more digit of nothing.
                prop_assert!(is_same || other != cursor || to.is_whitespace());
            }
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let id = "000102030405060708090a0b0c0d0e0f";
        for wrong in [
            String::new(),
            ",".to_owned(),
            format!("2-{id}-0-0-0-0"),
            format!("1-{id}-0-0-0"),
            format!("1-{id}-0-0-0-0-0"),
            format!("1-{id}-+1-0-0-0"),
            format!("1-{id}--1-0-0-0"),
            format!("1-{id}-4294967296-0-0-0"),
            format!("1-{id}-0-18446744073709551616-0-0"),
            format!("1-{}-0-0-0-0", &id[1..]),
            format!("1-+{}-0-0-0-0", &id[1..]),
            format!("1-{id}-0-0-0-0,1-{id}-1-0-0-0"),
            "1-".repeat(100_000),
        ] {
            let line = wrong.parse::<Cursor>().expect_err(&wrong).to_string();
            assert!(line.contains("fsmon flush") && line.len() < 1500, "{line}");
        }
        let cursor: Cursor = format!("1-{id}-3-17-2-1").parse().expect("a cursor");
        assert_eq!((cursor.places()[0].segment, cursor.places()[0].line), (3, 1));
    }
}
