//! Reads the part of a history that is asked for, its streams together in order.

use super::backwards::{Backwards, Then};
use super::paths::Paths;
use super::span::{Cursor, Since, Span};
use super::track::{Met, Track};
use super::trouble::{Trouble, Watched};
use super::{Asked, Changes, Event};
use crate::limits::NOTES_PIECES;
use crate::search::{Segment, Segments};
use fsmon_format::error::Error;
use fsmon_format::kind::RENAME;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Body, Cause, EventRef, Gap, Loss, NoteRef, Reason, What};
use fsmon_format::stream::{CLOCK_STEP_NS, Header};
use fsmon_present::moment::Range;
use fsmon_present::wall::Wall;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A part of a history, read.
pub struct Reading {
    /// What is different.
    pub changes: Changes,
    /// What is not known of the time asked for, in the order in which it was met.
    pub troubles: Vec<Trouble>,
    /// What is damaged, in words.
    pub damage: Vec<String>,
    /// The roots that were watched at some time, absolute.
    pub roots: Vec<Vec<u8>>,
}

/// What is under way.
struct Reader<'a> {
    dir: PathBuf,
    span: &'a Span,
    asked: Vec<Vec<u8>>,
    reading: Reading,
    watched: Watched,
    /// Wall time minus monotonic time of each boot, ns.
    boots: HashMap<[u8; 16], u64>,
    /// The last directory that a path was made of.
    path: Paths,
}

/// Reads what happened in `span`.
///
/// # Errors
/// The directory or a segment cannot be read, or is newer than this version. What is damaged is no error.
pub fn read(dir: &Path, asked: Asked, span: &Span) -> Result<Reading, Error> {
    let segments = Segments::list(dir)?;
    let changes = Changes::new(asked);
    let asked = changes.asked.paths.clone();
    let damage = segments.unreadable.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    let mut reader = Reader {
        dir: dir.to_owned(),
        span,
        asked,
        reading: Reading { changes, troubles: Vec::new(), damage, roots: Vec::new() },
        watched: Watched::default(),
        boots: HashMap::new(),
        path: Paths::default(),
    };
    reader.check_beginning(&segments);
    let tracks = reader.tracks(segments.list);
    reader.run(tracks)?;
    reader.look_before()?;
    let unwatched = reader.asked.iter().filter(|path| !reader.watched.was_ever(path));
    let unwatched: Vec<_> = unwatched.cloned().map(Trouble::Unwatched).collect();
    let roots = reader.watched.all().to_vec();
    let mut reading = Reading { roots, ..reader.reading };
    for trouble in unwatched {
        note(&mut reading.troubles, trouble);
    }
    Ok(reading)
}

/// The roots of all streams of a history, as the headers of its segments name them.
///
/// # Errors
/// The directory cannot be read.
pub fn roots(dir: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let mut roots = Vec::new();
    for header in crate::files::list(dir)?.into_iter().filter_map(|file| file.header) {
        for root in header.roots.into_iter().map(super::without_slash) {
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
    }
    Ok(roots)
}

fn note(troubles: &mut Vec<Trouble>, trouble: Trouble) {
    if !troubles.contains(&trouble) {
        troubles.push(trouble);
    }
}

impl Reader<'_> {
    /// Whether the history goes back as far as is asked.
    fn check_beginning(&mut self, segments: &Segments) {
        let oldest = segments.oldest_ns();
        match &self.span.since {
            Since::Beginning => {}
            Since::Moment(since) => {
                if let Some(oldest) = oldest.filter(|oldest| oldest > since) {
                    self.trouble(Trouble::BeginsLate(oldest));
                }
            }
            Since::Cursor(cursors) => {
                let has = |cursor: &Cursor| {
                    segments.list.iter().any(|segment| {
                        segment.stream_id == cursor.stream && segment.number == cursor.segment
                    })
                };
                if !cursors.iter().all(has) {
                    self.trouble(Trouble::Deleted);
                }
            }
        }
    }

    fn trouble(&mut self, trouble: Trouble) {
        if trouble.concerns(&self.asked) {
            note(&mut self.reading.troubles, trouble);
        }
    }

    /// The streams with something in the span, those that begin last first.
    fn tracks(&self, segments: Vec<Segment>) -> Vec<Track> {
        let mut streams: HashMap<u32, Vec<Segment>> = HashMap::new();
        let later = self.span.later_streams(&segments);
        for segment in segments {
            streams.entry(segment.stream).or_default().push(segment);
        }
        let mut tracks = Vec::new();
        for (_, mut files) in streams {
            files.sort_by_key(|segment| segment.number);
            let cursor = files.first().and_then(|file| self.span.cursor(&file.stream_id));
            files.retain(|segment| match (cursor, &self.span.since) {
                (Some(cursor), _) => segment.number >= cursor.segment,
                (None, Since::Cursor(_)) => later.contains(&segment.stream),
                (None, _) => self.is_in_time(segment),
            });
            if !files.is_empty() {
                tracks.push(Track::new(&self.dir, files, self.span, cursor));
            }
        }
        tracks.sort_by_key(|track| std::cmp::Reverse(track.begins_ns()));
        tracks
    }

    fn is_in_time(&self, segment: &Segment) -> bool {
        let slack = 2 * CLOCK_STEP_NS;
        segment.wall_ns.1.saturating_add(slack) >= self.span.since_ns()
            && segment.wall_ns.0.saturating_sub(slack) <= self.span.last_ns()
    }

    /// Reads the streams; an event of the one that is behind comes first.
    fn run(&mut self, mut unopened: Vec<Track>) -> Result<(), Error> {
        let mut open: Vec<Track> = Vec::new();
        loop {
            let behind = open.iter().map(|track| track.next_ns).min();
            let must_open = unopened
                .last()
                .is_some_and(|track| behind.is_none_or(|behind| track.begins_ns() <= behind));
            if must_open {
                let mut track = unopened.pop().expect("one is last");
                if self.advance(&mut track)? {
                    open.push(track);
                }
                continue;
            }
            open.sort_by_key(|track| std::cmp::Reverse(track.next_ns));
            let Some(mut track) = open.pop() else { return Ok(()) };
            let next = open.iter().map(|track| track.next_ns);
            let until = next.chain(unopened.last().map(Track::begins_ns)).min();
            let is_over = self.take_until(&mut track, until.unwrap_or(u64::MAX));
            if !is_over || self.advance(&mut track)? {
                open.push(track);
            }
        }
    }

    /// Goes on to the next block of a stream. Returns false at its end.
    fn advance(&mut self, track: &mut Track) -> Result<bool, Error> {
        loop {
            match track.advance()? {
                Met::Block => {
                    self.path.forget();
                    self.reading.changes.sweep();
                    return Ok(true);
                }
                Met::End => return Ok(false),
                Met::Deleted => self.missing(),
                Met::Header(header, is_cut_off) => self.header(track, &header, is_cut_off),
                Met::Damage(words) => {
                    self.reading.damage.push(words);
                    self.reading.changes.interrupt();
                }
            }
        }
    }

    /// A segment is not there.
    fn missing(&mut self) {
        self.trouble(Trouble::Deleted);
        self.reading.changes.interrupt();
    }

    fn header(&mut self, track: &mut Track, header: &Header, is_cut_off: bool) {
        let ahead_ns = header.realtime_ns.wrapping_sub(header.time_ns);
        track.ahead_ns = *self.boots.entry(header.boot_id).or_insert(ahead_ns);
        if is_cut_off {
            self.missing();
        }
        for root in self.watched.begin(&header.roots) {
            self.unwatched(root);
        }
    }

    /// A path was not watched before, or is not any more.
    fn unwatched(&mut self, root: Vec<u8>) {
        // Since the beginning of the history what is watched is all that is asked for.
        if self.span.since != Since::Beginning || !self.asked.is_empty() {
            self.trouble(Trouble::Unwatched(root));
        }
    }

    /// Looks for the notes of watches that began before the time asked for, if the headers do not name what is asked for:
    /// those that were added while the daemon ran.
    fn look_before(&mut self) -> Result<(), Error> {
        if self.asked.iter().all(|path| self.watched.was_ever(path)) {
            return Ok(());
        }
        let mut say = |body: &Body<'_>, _: &Mirror, said: &mut Vec<(What, Vec<u8>)>| {
            if let Body::Note(note) = body {
                said.push((note.what(), super::without_slash(note.path.to_vec())));
            }
        };
        let (asked, watched) = (&self.asked, &mut self.watched);
        let mut ended = Vec::new();
        let before = Backwards::new(&self.dir, self.span, NOTES_PIECES)?;
        before.each(
            &mut say,
            || (What::Other(0), Vec::new()),
            |(what, root)| {
                match what {
                    What::WatchEnded | What::WatchFailed => ended.push(root),
                    What::WatchBegan | What::WatchPending if !ended.contains(&root) => {
                        watched.add(root);
                    }
                    _ => {}
                }
                match asked.iter().all(|path| watched.was_ever(path)) {
                    true => Then::Stop,
                    false => Then::GoOn,
                }
            },
        );
        Ok(())
    }

    /// Takes the records of a block up to those at a time. Returns whether none are left.
    fn take_until(&mut self, track: &mut Track, until: u64) -> bool {
        let mut is_one = false;
        while !is_one || track.next_ns <= until {
            let Some((record, mirror, wall)) = track.next() else { return true };
            let body = record.body();
            if matches!(body, Body::Dir(..)) {
                self.path.forget();
            }
            let is_event = matches!(body, Body::Event(_));
            self.record(&body, mirror, wall);
            if is_event {
                track.find_next();
                is_one = true;
            }
        }
        false
    }

    fn record(&mut self, body: &Body<'_>, mirror: &Mirror, wall: &Wall) {
        match body {
            Body::Event(event) => {
                let time_ns = wall.real_ns(event.head.time_ns.get());
                if self.is_asked_for(time_ns) {
                    self.event(event, time_ns, mirror);
                }
            }
            Body::Loss(loss) => {
                let times = (loss.first_ns.get(), loss.last_ns.get());
                if self.range().meets((wall.real_ns(times.0), wall.real_ns(times.1))) {
                    self.loss(loss, mirror);
                }
            }
            Body::Gap(gap) => self.gap(gap),
            Body::Note(said) => self.note(said, wall.real_ns(said.head.time_ns.get())),
            _ => {}
        }
    }

    fn range(&self) -> Range {
        let since = self.span.since_ns();
        Range { since: (since > 0).then_some(since), until: self.span.until_ns }
    }

    fn is_asked_for(&self, time_ns: u64) -> bool {
        self.range().has(time_ns)
    }

    fn event(&mut self, event: &EventRef<'_>, time_ns: u64, mirror: &Mirror) {
        let head = event.head;
        let is_rename = head.mask.get() & RENAME != 0;
        let old = if is_rename && !event.is_via() { head.dir2.get() } else { 0 };
        let Paths { new, old: old_path } = &mut self.path;
        let changes = &mut self.reading.changes;
        let who = changes.process(mirror, head.proc.get());
        changes.take(&Event {
            types: head.mask.get(),
            flags: head.flags.get(),
            is_dir: event.is_dir(),
            object: head.object.get(),
            path: new.of(mirror, head.dir.get(), event.name),
            old: old_path.of(mirror, old, event.name2),
            time_ns,
            who,
        });
    }

    fn loss(&mut self, loss: &Loss, mirror: &Mirror) {
        let mut dir = Vec::new();
        let is_known = loss.dir.get() != 0 && mirror.append_dir_path(loss.dir.get(), &mut dir);
        let reason = Reason::from_code(loss.reason.get());
        self.trouble(Trouble::Loss(reason, is_known.then_some(dir)));
        self.reading.changes.interrupt();
    }

    fn gap(&mut self, gap: &Gap) {
        let (from_ns, to_ns) = (gap.from_ns.get(), gap.to_ns.get());
        // The ends are recorded. Where the clock was set back, `from` is the later one.
        let (first_ns, last_ns) = (from_ns.min(to_ns), from_ns.max(to_ns));
        if first_ns < self.span.last_ns() && self.span.since_ns() < last_ns {
            let cause = Cause::from_code(gap.cause.get());
            self.trouble(Trouble::Gap(cause, from_ns, to_ns));
            self.reading.changes.interrupt();
        }
    }

    fn note(&mut self, said: &NoteRef<'_>, time_ns: u64) {
        let root = super::without_slash(said.path.to_vec());
        // The notes at the beginning of a stream tell what is watched, also if all that is earlier than what is asked for.
        let is_in_time = self.is_asked_for(time_ns);
        match said.what() {
            What::WatchBegan | What::WatchPending => {
                for root in self.watched.begin(&[root]) {
                    if is_in_time {
                        self.unwatched(root);
                    }
                }
            }
            What::WatchEnded | What::WatchFailed if time_ns <= self.span.last_ns() => {
                self.watched.end(&root);
                self.trouble(Trouble::Unwatched(root));
            }
            _ => {}
        }
    }
}
