//! The segments of a directory, with their times: what a search goes through.

use crate::history::{Catalogue, Entry, header_of, open_file};
use fsmon_format::error::Error;
use fsmon_format::number::to_u32;
use fsmon_format::stream::Header;
use fsmon_format::stream::layout::FileHeader;
use fsmon_present::Format;
use fsmon_present::message::shown;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use zerocopy::{FromZeros, IntoBytes};

/// How much earlier than its header the first record of a segment can be: events that were read before the header was
/// written.
const HEADER_SLACK_NS: u64 = 2_000_000_000;

/// A segment of a directory.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its file name.
    pub name: String,
    /// Bytes of it when the directory was listed.
    pub bytes: u64,
    /// `crc` of its header.
    pub(crate) crc: u32,
    /// As in its header.
    pub(crate) stream_id: [u8; 16],
    /// Wall time of its header, or before it; where it begins with a GAP perhaps that of the last record before.
    pub(crate) began_ns: u64,
    /// Its stream, by the order in which these are met.
    pub(crate) stream: u32,
    /// Its boot, in the order of these.
    pub(crate) boot: u32,
    /// Its number in the stream.
    pub(crate) number: u32,
    /// Whether the catalogue has it.
    pub(crate) is_listed: bool,
    /// Of its header; 0 where only the catalogue was read.
    pub(crate) machine_id: [u8; 16],
    /// Of its header: blocks of the stream before it.
    pub(crate) first_block: u64,
    /// When it began, of the clock of its boot.
    pub(crate) begin_ns: u64,
    /// The least and the greatest time of a record, of the clock of its boot. Where it is not listed, the least is one that
    /// no record is before.
    pub(crate) monotonic_ns: (u64, u64),
    /// The least and the greatest wall time, ns since 1970.
    pub wall_ns: (u64, u64),
}

impl Segment {
    /// Its boot, and the greatest time in it.
    pub(super) fn end(&self) -> (u32, u64) {
        (self.boot, self.monotonic_ns.1)
    }
}

/// What was found in a directory.
#[derive(Debug, Default)]
pub struct Segments {
    /// Those that end last come last.
    pub list: Vec<Segment>,
    /// Files that do not begin like a segment, with a reason for people.
    pub unreadable: Vec<(String, String)>,
}

struct Known {
    name: String,
    bytes: u64,
    crc: u32,
    header: Header,
    entry: Option<Entry>,
}

impl Segments {
    /// Lists a directory. Its catalogue is believed about segments of the length that it says; the headers of the others
    /// are read.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(dir: &Path) -> Result<Self, Error> {
        Segments::list_checked(dir, |_| false)
    }

    /// The same. Where `must_check` says so of an entry, the catalogue is believed only if the segment has the header that it
    /// says.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn list_checked(
        dir: &Path,
        must_check: impl Fn(&Entry) -> bool,
    ) -> Result<Self, Error> {
        let failed = |error| Error::os(format!("cannot read {}", shown(dir)), error);
        // A damaged catalogue is no catalogue: headers say the same.
        let catalogue = Catalogue::read(dir).ok().flatten().unwrap_or_default();
        let entries: HashMap<&str, &Entry> =
            catalogue.entries().iter().map(|entry| (&*entry.file, entry)).collect();
        let (mut known, mut unreadable) = (Vec::new(), Vec::new());
        for (name, bytes) in files(dir).map_err(failed)? {
            let entry = entries.get(&*name).filter(|entry| entry.bytes == bytes);
            let listed = entry.and_then(|entry| match must_check(entry) {
                true => checked(dir, entry),
                false => Some(of_entry(entry)),
            });
            match listed {
                Some(segment) => known.push(segment),
                None => match read(dir, &name, bytes) {
                    Ok(Some(segment)) => known.push(segment),
                    // Deleted meanwhile.
                    Ok(None) => {}
                    Err(why) => unreadable.push((name, why)),
                },
            }
        }
        Ok(Segments { list: dated(known), unreadable })
    }

    /// The wall time of the oldest record that is kept, ns since 1970; `None` if there is no segment.
    #[must_use]
    pub fn oldest_ns(&self) -> Option<u64> {
        self.list.iter().map(|segment| segment.wall_ns.0).min()
    }
}

/// The regular files with the extension of a stream, and their lengths.
fn files(dir: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for entry in dir.read_dir()? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let extension = Path::new(&name).extension();
        if extension.is_none_or(|extension| extension != Format::Binary.extension()) {
            continue;
        }
        match entry.metadata() {
            Ok(data) if data.is_file() => found.push((name, data.len())),
            _ => {}
        }
    }
    Ok(found)
}

fn of_entry(entry: &Entry) -> Known {
    let header = Header {
        stream_id: entry.stream_id,
        boot_id: entry.boot_id,
        segment: entry.segment,
        first_block: entry.first_block,
        time_ns: entry.monotonic_ns.0,
        realtime_ns: entry.wall_ns.0,
        ..Header::default()
    };
    let (name, bytes, crc) = (entry.file.clone(), entry.bytes, entry.header_crc);
    Known { name, bytes, crc, header, entry: Some(entry.clone()) }
}

/// `None`: the header of the file is another than the entry says.
fn checked(dir: &Path, entry: &Entry) -> Option<Known> {
    let mut fixed = FileHeader::new_zeroed();
    open_file(&dir.join(&entry.file)).ok()?.read_exact_at(fixed.as_mut_bytes(), 0).ok()?;
    let is_it = fixed.crc.get() == entry.header_crc
        && fixed.stream_id == entry.stream_id
        && fixed.boot_id == entry.boot_id
        && fixed.segment.get() == entry.segment;
    let mut known = of_entry(entry);
    known.header.machine_id = fixed.machine_id;
    is_it.then_some(known)
}

/// Reads the header of a file; `None` if the file is gone.
fn read(dir: &Path, name: &str, bytes: u64) -> Result<Option<Known>, String> {
    let source = match open_file(&dir.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| error.to_string())?,
    };
    match header_of(source).map_err(|error| error.to_string())? {
        Some((header, crc)) => {
            Ok(Some(Known { name: name.to_owned(), bytes, crc, header, entry: None }))
        }
        // The recorder has made it, and not written its header yet; or a loss of power left it.
        None if bytes == 0 => Ok(None),
        None => Err("it does not begin like a stream".to_owned()),
    }
}

/// Gives each segment its place in time.
fn dated(mut known: Vec<Known>) -> Vec<Segment> {
    let mut boots: HashMap<[u8; 16], u64> = HashMap::new();
    for segment in &known {
        let began = boots.entry(segment.header.boot_id).or_insert(u64::MAX);
        *began = (*began).min(segment.header.realtime_ns);
    }
    let mut order: Vec<_> = boots.into_iter().map(|(boot, began)| (began, boot)).collect();
    order.sort_unstable();
    let boots: HashMap<_, _> =
        order.iter().enumerate().map(|(rank, (_, boot))| (*boot, to_u32(rank))).collect();
    known.sort_by_key(|segment| (segment.header.stream_id, segment.header.segment));
    let (mut streams, mut list) = (0, Vec::<Segment>::new());
    for (index, segment) in known.iter().enumerate() {
        let next = known.get(index + 1);
        let next = next.filter(|next| next.header.stream_id == segment.header.stream_id);
        list.push(place(segment, next, streams, boots[&segment.header.boot_id]));
        streams += u32::from(next.is_none());
    }
    list.sort_by_key(|segment| (segment.boot, segment.monotonic_ns.1, segment.number));
    list
}

fn place(segment: &Known, next: Option<&Known>, stream: u32, boot: u32) -> Segment {
    let (header, entry) = (&segment.header, segment.entry.as_ref());
    // The end of a segment that is not listed is not known without reading it.
    let end = |next: Option<u64>| next.unwrap_or(u64::MAX);
    let of_header = |begin: u64, next| (begin.saturating_sub(HEADER_SLACK_NS), end(next));
    Segment {
        name: segment.name.clone(),
        bytes: segment.bytes,
        crc: segment.crc,
        stream_id: header.stream_id,
        began_ns: header.realtime_ns,
        stream,
        boot,
        number: header.segment,
        is_listed: entry.is_some(),
        machine_id: header.machine_id,
        first_block: header.first_block,
        begin_ns: header.time_ns,
        monotonic_ns: entry.map_or_else(
            || of_header(header.time_ns, next.map(|next| next.header.time_ns)),
            |entry| entry.monotonic_ns,
        ),
        wall_ns: entry.map_or_else(|| of_header(header.realtime_ns, None), |entry| entry.wall_ns),
    }
}
