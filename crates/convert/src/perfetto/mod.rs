//! Perfetto: a track for each process below its parent's, with its images as slices and its changes of files as
//! instants. Losses, and times for which nothing was recorded, have a separate track.
//!
//! It reads the streams twice. Only the end of the first reading shows how long each image existed and the parents of
//! processes; the second reading writes the trace.

mod census;
mod proto;
mod streams;
mod trace;
mod tracks;

use crate::args::Args;
use crate::error::Result;
use crate::feed::{Fed, Output, feed};
use crate::inputs::{Input, spool};
use crate::output::Out;
use crate::world::{Change, Content, Paths, World};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use census::Census;
use fsmon_format::number::to_usize;
use fsmon_format::record::{self, COUNT_UNKNOWN, Cause, Reason};
use fsmon_format::stream::{Block, Gap, Header};
use fsmon_present::wall::Utc;
use proto::INSTANT;
use streams::{Moments, Streams};
use trace::{Facts, Trace, Value};
use tracks::Tracks;

/// Converts all inputs.
///
/// # Errors
/// Those of reading and writing.
pub(crate) fn convert(args: &Args, mut inputs: Vec<Input>) -> Result<Fed> {
    let out = Out::new(&args.output, true)?;
    let _copies = spool(&mut inputs)?;
    let mut census = Census::new();
    feed(&inputs, &mut census, true)?;
    let mut drawing = Drawing {
        world: World::new(),
        streams: Streams::default(),
        paths: Paths::default(),
        trace: Trace::new(out),
        tracks: Tracks::new(&census),
        census,
        moments: Moments::default(),
        ahead: None,
        clock_ns: 0,
        last_ns: 0,
    };
    let fed = feed(&inputs, &mut drawing, false)?;
    drawing.trace.finish()?;
    Ok(fed)
}

/// The second reading.
struct Drawing {
    world: World,
    streams: Streams,
    paths: Paths,
    trace: Trace,
    census: Census,
    tracks: Tracks,
    moments: Moments,
    /// How far wall time was ahead of the trace's at the last clock packet; `None` before the first.
    ahead: Option<u64>,
    clock_ns: u64,
    /// The time of the last event, used for damage, whose time is not known.
    last_ns: u64,
}

impl Output for Drawing {
    fn header(&mut self, header: &Header) -> Result<()> {
        self.world.header(header);
        self.streams.header(header);
        self.last_ns = self.streams.time(header.time_ns);
        self.clock()
    }

    fn block(&mut self, block: &Block<'_>) -> Result<()> {
        self.world.begin(block);
        self.streams.block(block);
        for record in block.records() {
            match self.world.take(&record) {
                Content::Event(event, number) => {
                    let ids = block.stream_ids(event.head.proc.get());
                    let process =
                        ids.and_then(|ids| self.census.process(self.streams.scope(), ids.id));
                    let track = self.tracks.of(process, self.streams.current());
                    self.last_ns = self.streams.time(event.head.time_ns.get());
                    let (trace, moments, ns) = (&mut self.trace, &mut self.moments, self.last_ns);
                    self.world.each_change(&event, number, &mut self.paths, |change| {
                        draw(trace, (track, moments.next(to_usize(track), ns)), change)
                    })?;
                }
                Content::Loss(loss) => {
                    let count = (loss.count.get() != COUNT_UNKNOWN).then_some(loss.count.get());
                    let ns = self.streams.time(loss.last_ns.get());
                    self.loss(ns, Reason::from_code(loss.reason.get()).name(), count)?;
                }
                Content::Gap(gap) => self.pause(gap)?,
                Content::Nothing => self.clock()?,
                Content::Image(_) => {}
            }
        }
        Ok(())
    }

    fn gap(&mut self, gap: &Gap) -> Result<()> {
        self.loss(self.last_ns, "damaged_file", gap.events)
    }
}

impl Drawing {
    /// Writes the clocks if their difference changed; the first time also all tracks.
    fn clock(&mut self) -> Result<()> {
        let stream = self.streams.all.get(self.streams.current());
        let ahead = self.world.ahead();
        if self.ahead == Some(ahead) || stream.is_none_or(|stream| !stream.sets_time) {
            return Ok(());
        }
        // Perfetto refuses clocks that go back, as in another stream: write the latest time so far.
        let first = self.ahead.replace(ahead).is_none();
        self.clock_ns = self.clock_ns.max(self.world.clock_ns());
        self.trace.clock(self.clock_ns, self.clock_ns.wrapping_add(ahead))?;
        if first { self.tracks.write(&self.census, &mut self.trace) } else { Ok(()) }
    }

    fn loss(&mut self, ns: u64, reason: &'static str, lost: Option<u64>) -> Result<()> {
        let mut facts: Facts<'_> = vec![("reason", Value::Text(reason))];
        facts.extend(lost.map(|lost| ("lost", Value::Number(lost))));
        self.missing(ns, &format!("LOSS {reason}"), facts)
    }

    /// For a time nothing was recorded: an instant at its end.
    fn pause(&mut self, gap: &record::Gap) -> Result<()> {
        let cause = Cause::from_code(gap.cause.get()).name();
        let from = String::from_utf8_lossy(Utc::utc().text(gap.from_ns.get())).into_owned();
        let mut facts: Facts<'_> = vec![("cause", Value::Text(cause)), ("from", Value::Once(from))];
        facts.extend(gap.events_before().map(|events| ("events", Value::Number(events))));
        let ns = self.streams.time(gap.time_ns.get());
        self.missing(ns, &format!("GAP {cause}"), facts)
    }

    fn missing(&mut self, ns: u64, name: &str, facts: Facts<'_>) -> Result<()> {
        let track = self.tracks.losses(self.streams.current());
        let moment = self.moments.next(to_usize(track), ns);
        self.trace.event((INSTANT, Some(name)), (track, moment), facts)
    }
}

/// An instant for one type of an event.
fn draw(trace: &mut Trace, at: (u64, u64), change: &Change<'_>) -> Result<()> {
    let event = change.event;
    let (path, old) =
        (change.path.map(String::from_utf8_lossy), change.old_path.map(String::from_utf8_lossy));
    let mut facts: Facts<'_> = Vec::with_capacity(4);
    facts.extend(path.as_deref().map(|path| ("path", Value::Text(path))));
    facts.extend(old.as_deref().map(|path| ("old_path", Value::Text(path))));
    let via = change.via.map(String::from_utf8_lossy);
    facts.extend(via.as_deref().map(|path| ("via", Value::Text(path))));
    facts.extend(exact("path_b64", change.path));
    facts.extend(exact("old_path_b64", change.old_path));
    facts.extend(exact("via_b64", change.via));
    for (name, on) in [
        ("is_dir", event.is_dir()),
        ("found", event.found()),
        ("exchange", event.exchange()),
        ("unsure", event.unsure()),
    ] {
        facts.extend(on.then_some((name, Value::Flag(true))));
    }
    if change.attribution() != "exact" {
        facts.push(("attribution", Value::Text(change.attribution())));
    }
    if let Some((error, count)) = change.fs_error() {
        facts.push(("error", Value::Number(error.into())));
        facts.push(("error_count", Value::Number(count.into())));
    }
    facts.push(("event", Value::Number(change.number)));
    trace.event((INSTANT, Some(change.kind.name)), at, facts)
}

/// The bytes of a path that is not UTF-8, as an annotation.
fn exact(name: &'static str, path: Option<&[u8]>) -> Option<(&'static str, Value<'static>)> {
    let path = path.filter(|path| std::str::from_utf8(path).is_err())?;
    Some((name, Value::Once(BASE64_STANDARD.encode(path))))
}
