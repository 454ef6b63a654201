//! Merges the streams.

use super::parts::Wanted;
use super::streams::{self, File, Stream};
use super::track::{Common, State, Track};
use super::{Consumer, Lost, Said};
use crate::cursor::{Cursor, Place};
use crate::limits::TRACKS_MAX;
use fsmon_format::error::Error;
use fsmon_present::moment::Range;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

/// Whether a timeline goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more at once.
    More,
    /// There is no more for now: [`Timeline::look_again`], later or once.
    Idle,
    /// All was read.
    Over,
}

type Host = [u8; 16];
type Id = [u8; 16];

/// The records of a directory, in the order of their times.
pub struct Timeline {
    dir: PathBuf,
    range: Range,
    wanted: Wanted,
    after: Option<Cursor>,
    /// Streams that are not begun, of each host in order.
    unopened: BTreeMap<Host, VecDeque<Stream>>,
    tracks: Vec<Track>,
    /// The ends of streams that were read, as long as others are open that were begun meanwhile.
    ended: Vec<(Host, Place)>,
    /// Of each stream the number of the last segment that is known.
    known: HashMap<Id, u32>,
    /// The stream whose ids the consumer knows.
    current: Option<(Id, u64)>,
    unreadable: Vec<(String, String)>,
    said: HashSet<String>,
    oldest_ns: Option<u64>,
    has_said_too_many: bool,
}

impl Timeline {
    /// Lists a directory. `after`: what is before it is not wanted.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn open(
        dir: &Path,
        range: Range,
        wanted: Wanted,
        after: Option<Cursor>,
        consumer: &mut dyn Consumer,
    ) -> Result<Self, Error> {
        let listed = streams::list(dir, range)?;
        let mut timeline = Timeline {
            dir: dir.to_owned(),
            range,
            wanted,
            after,
            unopened: listed.hosts,
            tracks: Vec::new(),
            ended: Vec::new(),
            known: HashMap::new(),
            current: None,
            unreadable: listed.unreadable,
            said: HashSet::new(),
            oldest_ns: listed.oldest_ns,
            has_said_too_many: false,
        };
        for stream in timeline.unopened.values().flatten() {
            timeline.known.insert(stream.id, last(stream));
        }
        timeline.go_on_after_cursor(consumer);
        timeline.say_unreadable(consumer);
        Ok(timeline)
    }

    /// The wall time of the oldest record that is kept, ns since 1970; `None` if there is no segment.
    #[must_use]
    pub fn oldest_ns(&self) -> Option<u64> {
        self.oldest_ns
    }

    /// The cursor for what was not given yet.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        let open = self.tracks.iter().map(Track::place);
        let places: Vec<_> = open.chain(self.ended.iter().map(|(_, place)| *place)).collect();
        match places.is_empty() {
            true => self.after.clone(),
            false => Some(Cursor::new(places)),
        }
    }

    fn say_unreadable(&mut self, consumer: &mut dyn Consumer) {
        for (file, why) in std::mem::take(&mut self.unreadable) {
            if self.said.insert(file.clone()) {
                consumer.said(&Said::Unreadable(&file, &why));
            }
        }
    }

    /// Leaves out what is before the cursor, and says what is missing behind it.
    fn go_on_after_cursor(&mut self, consumer: &mut dyn Consumer) {
        let Some(after) = self.after.clone() else { return };
        let named: HashSet<Id> = after.places().iter().map(|place| place.stream_id).collect();
        for streams in self.unopened.values_mut() {
            // What began before a stream that is named, and is not named itself, was read.
            let last = streams.iter().rposition(|stream| named.contains(&stream.id));
            let mut index = 0;
            streams.retain(|stream| {
                index += 1;
                named.contains(&stream.id) || last.is_none_or(|last| index > last)
            });
        }
        for place in after.places() {
            let mut streams = self.unopened.values_mut().flatten();
            let begun = streams.find(|stream| stream.id == place.stream_id);
            let missing = match begun.map(|stream| begin_at(stream, place)) {
                Some(missing) => missing,
                None if self.is_kept(place) => None,
                None => Some(None),
            };
            if let Some(to_ns) = missing {
                let (stream_id, from_ns) = (place.stream_id, None);
                consumer.said(&Said::Lost(Lost { stream_id, from_ns, to_ns }));
            }
        }
        self.unopened.values_mut().for_each(|streams| {
            streams.retain(|stream| !stream.segments.is_empty());
        });
    }

    /// Whether the segment of a place is there, though nothing of its stream is wanted.
    fn is_kept(&self, place: &Place) -> bool {
        let all = Range { since: None, until: None };
        streams::list(&self.dir, all).is_ok_and(|listed| {
            let mut streams = listed.hosts.values().flatten();
            streams.any(|stream| {
                stream.id == place.stream_id
                    && stream.segments.iter().any(|file| file.segment.number >= place.segment)
            })
        })
    }

    /// Gives some records.
    ///
    /// # Errors
    /// A segment cannot be read, or is newer than this version.
    pub fn turn(&mut self, consumer: &mut dyn Consumer) -> Result<Progress, Error> {
        self.fill(consumer)?;
        while let Some(stream) = self.next_due(consumer) {
            self.begin(stream);
            self.fill(consumer)?;
        }
        let Some(at) = self.pick() else {
            let is_over = self.tracks.is_empty();
            return Ok(if is_over { Progress::Over } else { Progress::Idle });
        };
        self.give(at, consumer);
        Ok(Progress::More)
    }

    /// Has each track hold a block, and ends those that are over.
    fn fill(&mut self, consumer: &mut dyn Consumer) -> Result<(), Error> {
        let Timeline { dir, wanted, tracks, .. } = self;
        let common = Common { dir, wanted };
        for track in tracks.iter_mut().filter(|track| track.held.next().is_none()) {
            track.fill(&common, consumer)?;
        }
        let ended = self.tracks.extract_if(.., |track| track.state == State::Over);
        self.ended.extend(ended.map(|track| (track.stream.host, track.place())));
        Ok(())
    }

    /// Takes the next stream whose time has come.
    fn next_due(&mut self, consumer: &mut dyn Consumer) -> Option<Stream> {
        let hosts: Vec<Host> = self.unopened.keys().copied().collect();
        for host in hosts {
            let streams = self.unopened.get_mut(&host)?;
            let Some(first) = streams.front() else { continue };
            let own = self.tracks.iter().filter(|track| track.stream.host == host);
            let least = own.filter_map(time).min();
            if least.is_some_and(|least| (first.boot, first.begin_ns) > least) {
                continue;
            }
            if least.is_some() && self.tracks.len() >= TRACKS_MAX {
                if !std::mem::replace(&mut self.has_said_too_many, true) {
                    consumer.said(&Said::TooMany(TRACKS_MAX));
                }
                continue;
            }
            return streams.pop_front();
        }
        None
    }

    fn begin(&mut self, stream: Stream) {
        let host = stream.host;
        if self.tracks.iter().all(|track| track.stream.host != host) {
            self.ended.retain(|(other, _)| *other != host);
        }
        let after = self.after.as_ref().and_then(|after| after.of(&stream.id)).copied();
        self.tracks.push(Track::new(stream, self.range, after));
    }

    /// The track with the earliest record: of each host by its own clock, and of these by wall time.
    fn pick(&self) -> Option<usize> {
        let mut first: Option<usize> = None;
        for (index, track) in self.tracks.iter().enumerate() {
            if track.held.next().is_some()
                && first.is_none_or(|first| is_before(track, &self.tracks[first]))
            {
                first = Some(index);
            }
        }
        first
    }

    /// Gives records of a track until another one is earlier, or its block is over.
    fn give(&mut self, at: usize, consumer: &mut dyn Consumer) {
        let others: Vec<Place> = self
            .tracks
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != at)
            .map(|(_, track)| track.place())
            .chain(self.ended.iter().map(|(_, place)| *place))
            .collect();
        let own = &mut self.tracks[at];
        let block = (own.stream.id, own.held.place().block);
        if self.current.replace(block) != Some(block) {
            consumer.forget();
            own.held.define(consumer, &others);
        }
        while self.tracks[at].held.next().is_some() && !consumer.is_full() {
            self.tracks[at].held.give(consumer, &others);
            if self.tracks.len() > 1 && self.pick() != Some(at) {
                break;
            }
        }
    }

    /// Lists the directory again. Returns whether anything is new.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn look_again(&mut self, consumer: &mut dyn Consumer) -> Result<bool, Error> {
        let listed = streams::list(&self.dir, self.range)?;
        self.unreadable = listed.unreadable;
        self.say_unreadable(consumer);
        let mut is_new = false;
        for stream in listed.hosts.into_values().flatten() {
            is_new |= self.take_news(stream);
        }
        Ok(is_new)
    }

    /// Takes what is new of a stream.
    fn take_news(&mut self, mut stream: Stream) -> bool {
        let last_known = self.known.insert(stream.id, last(&stream));
        let Some(last_known) = last_known else {
            // Streams that are listed later began later, but for those of other programs: their time is past.
            self.unopened.entry(stream.host).or_default().push_back(stream);
            return true;
        };
        stream.segments.retain(|file| file.segment.number > last_known);
        if let Some(first) = stream.segments.front_mut() {
            // The one before may have been deleted after it was read.
            first.is_continued |= first.segment.number == last_known.saturating_add(1);
        }
        if stream.segments.is_empty() {
            self.known.insert(stream.id, last_known);
            return false;
        }
        let unopened = self.unopened.values_mut().flatten();
        let known = unopened.into_iter().find(|known| known.id == stream.id);
        let open = self.tracks.iter_mut().find(|track| track.stream.id == stream.id);
        let segments = match (known, open) {
            (Some(known), _) => &mut known.segments,
            (None, Some(track)) => &mut track.stream.segments,
            (None, None) => return false,
        };
        segments.extend(stream.segments);
        true
    }
}

/// The number of the last segment of a stream.
fn last(stream: &Stream) -> u32 {
    stream.segments.back().map_or(0, |file| file.segment.number)
}

/// The boot and the time of a track's next record.
fn time(track: &Track) -> Option<(u32, u64)> {
    track.held.next().map(|(time_ns, _)| (track.stream.boot, time_ns))
}

fn is_before(one: &Track, other: &Track) -> bool {
    let key = |track: &Track| (time(track), track.stream.id);
    let wall = |track: &Track| track.held.next().map(|(_, wall_ns)| wall_ns);
    match one.stream.host == other.stream.host {
        true => key(one) < key(other),
        false => wall(one) < wall(other),
    }
}

/// Leaves out the segments before a place. Returns since when something is missing behind it, if anything is.
fn begin_at(stream: &mut Stream, place: &Place) -> Option<Option<u64>> {
    stream.segments.retain(|file| file.segment.number >= place.segment);
    let first: &mut File = stream.segments.front_mut()?;
    // If it is, the segment of the place was there, but has nothing of the wanted times.
    let is_continued = std::mem::replace(&mut first.is_continued, true);
    let is_missing = first.segment.number > place.segment
        && !is_continued
        && first.segment.first_block > place.block;
    is_missing.then_some(Some(first.segment.began_ns))
}
