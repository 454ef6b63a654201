//! The streams of a directory, in the order in which they began, with the segments that may have something of the wanted
//! times.

use crate::history::Entry;
use crate::search::{Segment, Segments};
use fsmon_format::error::Error;
use fsmon_present::moment::Range;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;

/// A stream, or what is to be read of it.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) id: [u8; 16],
    pub(super) host: [u8; 16],
    pub(super) boot: u32,
    /// The least time of it, CLOCK_MONOTONIC ns.
    pub(super) begin_ns: u64,
    pub(super) segments: VecDeque<File>,
}

/// A segment that is to be read.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) segment: Segment,
    /// The one before it in the stream was there when the directory was listed, whether or not it is to be read.
    pub(super) is_continued: bool,
}

impl Stream {
    /// Streams of a host are opened in this order.
    pub(super) fn order(&self) -> (u32, u64, [u8; 16]) {
        (self.boot, self.begin_ns, self.id)
    }
}

/// What was found.
pub(super) struct Listed {
    /// The streams of each host, in order.
    pub(super) hosts: BTreeMap<[u8; 16], VecDeque<Stream>>,
    /// Files that do not begin like a segment, with a reason.
    pub(super) unreadable: Vec<(String, String)>,
    /// The least wall time of a record, ns since 1970; `None` if there is no segment.
    pub(super) oldest_ns: Option<u64>,
}

/// Lists a directory. What the catalogue says to be outside of `range` is left out and not opened.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn list(dir: &Path, range: Range) -> Result<Listed, Error> {
    let is_meant = |wall_ns: (u64, u64)| {
        let (least, most) = wall_ns;
        range.to_search().is_none_or(|wanted| least <= *wanted.end() && *wanted.start() <= most)
    };
    let segments = Segments::list_checked(dir, |entry: &Entry| is_meant(entry.wall_ns))?;
    let oldest_ns = segments.oldest_ns();
    // A segment that is not listed may begin with a GAP about a time long before it.
    let is_wanted = |segment: &Segment| !segment.is_listed || is_meant(segment.wall_ns);
    let mut streams: HashMap<[u8; 16], Stream> = HashMap::new();
    let mut all = segments.list;
    all.sort_by_key(|segment| (segment.stream_id, segment.number));
    let mut before: Option<([u8; 16], u32)> = None;
    for segment in all {
        let (id, number) = (segment.stream_id, segment.number);
        let is_continued = number == 0 || before == Some((id, number - 1));
        before = Some((id, number));
        let begin_ns = segment.begin_ns;
        let stream = streams.entry(id).or_insert_with(|| Stream {
            id,
            host: segment.machine_id,
            boot: segment.boot,
            begin_ns,
            segments: VecDeque::new(),
        });
        stream.begin_ns = stream.begin_ns.min(begin_ns);
        if is_wanted(&segment) {
            stream.host = segment.machine_id;
            stream.segments.push_back(File { segment, is_continued });
        }
    }
    let mut hosts: BTreeMap<[u8; 16], VecDeque<Stream>> = BTreeMap::new();
    let mut streams: Vec<_> =
        streams.into_values().filter(|stream| !stream.segments.is_empty()).collect();
    streams.sort_by_key(Stream::order);
    for stream in streams {
        hosts.entry(stream.host).or_default().push_back(stream);
    }
    Ok(Listed { hosts, unreadable: segments.unreadable, oldest_ns })
}
