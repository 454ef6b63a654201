//! From records to output: definitions, filters, counting. Live and recorded events take the same path.

use crate::filter::{Filter, Roots};
use crate::limits::GATHER;
use crate::world::{Change, World};
use fsmon_format::error::Error;
use fsmon_format::kind;
use fsmon_format::record::{Body, EventRef, Gap, Loss, NoteRef, Record};
use std::time::{Duration, Instant};

/// How long events may be held back before they are written; whichever limit is reached first.
#[derive(Clone, Copy, Default)]
pub struct Patience {
    /// Since the first of them came.
    pub first: Duration,
    /// Since the last of them came.
    pub last: Duration,
}

/// The end of a pipeline: turns records into bytes. All methods append to `out`.
pub trait Output {
    /// In a storm, how long the pipeline waits for more batches before it takes them.
    const GATHER: Duration = GATHER;

    /// Whether the output consists of lines.
    const IS_TEXT: bool = true;

    /// How many bytes of `part`, the beginning of what was appended, are whole lines or blocks.
    fn whole(part: &[u8]) -> usize
    where
        Self: Sized;
    /// How many lines are lost if `rest`, the end of what was appended, is never written: those in `rest`
    /// and those held back.
    fn lines_lost_with(&self, rest: &[u8]) -> u64;
    /// Appends the header, if the format has one.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// A definition changed what an id stands for.
    fn changed(&mut self, world: &World, change: Change, out: &mut Vec<u8>);
    /// An event. `types` are those to be shown, at least one; `record` is the whole record.
    fn event(
        &mut self,
        world: &World,
        event: &EventRef<'_>,
        types: u32,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    );
    /// Something was lost.
    fn loss(&mut self, world: &World, loss: &Loss, record: &Record<'_>, out: &mut Vec<u8>);
    /// For a time nothing was recorded.
    fn gap(&mut self, world: &World, gap: &Gap, record: &Record<'_>, out: &mut Vec<u8>);
    /// What is watched, or what the recorder did.
    fn note(&mut self, world: &World, note: &NoteRef<'_>, record: &Record<'_>, out: &mut Vec<u8>);
    /// A record that is none of these and no definition.
    fn other(&mut self, _world: &World, _record: &Record<'_>, _out: &mut Vec<u8>) {}
    /// Whether [`Output::flush`] would append anything.
    fn holds_back(&self) -> bool {
        false
    }
    /// How long held back events may wait for more, depending on whether the output is a file.
    fn patience(&self, _to_file: bool) -> Patience {
        Patience::default()
    }
    /// Appends what was held back.
    fn flush(&mut self, _out: &mut Vec<u8>) {}
    /// Ends the current file; the output goes on in another.
    fn end_file(&mut self, _out: &mut Vec<u8>) {}
    /// Begins the next file, after the one that `end_file` ended.
    fn begin_file(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
    }
    /// Somebody truncated the open file. Inserts the header before `carried`, the whole lines or blocks that are
    /// about to be written.
    fn begin_again(&mut self, carried: &mut Vec<u8>) {
        let mut all = Vec::new();
        self.begin(&mut all);
        carried.splice(0..0, all);
    }
    /// No more records come: appends what closes the output.
    fn end(&mut self, _world: &World, _out: &mut Vec<u8>) {}
}

/// World, filter and output in a row.
pub struct Pipeline<O> {
    world: World,
    filter: Filter,
    output: O,
    /// How many more events may be shown.
    left: u64,
    shown: u64,
    losses: u64,
    gaps: u64,
    notes: u64,
    malformed: u64,
}

/// What went through a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Events shown, each type of a merged one by itself.
    pub events: u64,
    /// Losses shown.
    pub losses: u64,
    /// Times shown for which nothing was recorded.
    pub gaps: u64,
    /// Notes shown.
    pub notes: u64,
    /// Records that could not be read, or definitions without room.
    pub refused: u64,
}

impl Passed {
    /// Lines of all that is shown.
    pub fn lines(&self) -> u64 {
        self.events + self.losses + self.gaps + self.notes
    }
}

impl<O: Output> Pipeline<O> {
    /// Shows at most `count` events.
    pub fn new(world: World, filter: Filter, output: O, count: Option<u64>) -> Self {
        let left = count.unwrap_or(u64::MAX);
        let (shown, losses, gaps, notes, malformed) = (0, 0, 0, 0, 0);
        Pipeline { world, filter, output, left, shown, losses, gaps, notes, malformed }
    }

    /// What the records so far have defined.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The end of the pipeline.
    pub fn output_mut(&mut self) -> &mut O {
        &mut self.output
    }

    /// Appends the header, if the format has one.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        self.output.begin(out);
    }

    /// All records from here on were recorded below these roots.
    ///
    /// # Errors
    /// A pattern can match nothing below them.
    pub fn set_roots(&mut self, roots: &Roots) -> Result<(), Error> {
        self.filter.set_roots(roots)
    }

    /// Takes one record and appends its output to `out`.
    #[inline]
    pub fn take(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        match record.body() {
            Body::Event(event) => self.take_event(&event, record, out),
            Body::Loss(loss) if !self.filter.is_in_time(&self.world, loss.last_ns.get()) => {}
            Body::Loss(loss) => {
                self.losses += 1;
                self.output.loss(&self.world, loss, record, out);
            }
            Body::Malformed => self.malformed += 1,
            Body::Gap(gap) => self.take_gap(gap, record, out),
            Body::Note(note) => self.take_note(&note, record, out),
            Body::Answer(_) | Body::Skip => {}
            body => self.take_definition(&body, record, out),
        }
    }

    #[inline]
    fn take_event(&mut self, event: &EventRef<'_>, record: &Record<'_>, out: &mut Vec<u8>) {
        let mut types = self.filter.wanted(&self.world, event);
        if types == 0 || self.left == 0 {
            return;
        }
        if self.world.look_again(event.head.proc.get()) {
            self.side_changes(out);
        }
        let count = u64::from(types.count_ones());
        if count > self.left {
            types = first_types(types, self.left);
        }
        let count = count.min(self.left);
        self.left -= count;
        self.shown += count;
        self.world.late_size = self.filter.late_size();
        self.output.event(&self.world, event, types, record, out);
    }

    #[cold]
    fn take_gap(&mut self, gap: &Gap, record: &Record<'_>, out: &mut Vec<u8>) {
        if self.filter.meets((gap.from_ns.get(), gap.to_ns.get())) {
            self.gaps += 1;
            self.output.gap(&self.world, gap, record, out);
        }
    }

    #[cold]
    fn take_note(&mut self, note: &NoteRef<'_>, record: &Record<'_>, out: &mut Vec<u8>) {
        if self.filter.shows_notes() && self.filter.is_in_time(&self.world, note.head.time_ns.get())
        {
            self.notes += 1;
            self.output.note(&self.world, note, record, out);
        }
    }

    fn take_definition(&mut self, body: &Body<'_>, record: &Record<'_>, out: &mut Vec<u8>) {
        match self.world.take(body) {
            Change::Nothing => {}
            change => {
                if let Change::Proc(_) = change {
                    self.side_changes(out);
                }
                self.filter.changed(&self.world, change);
                self.output.changed(&self.world, change, out);
            }
        }
        if matches!(body, Body::Stats(_) | Body::End(_) | Body::Clock(_)) {
            self.output.other(&self.world, record, out);
        }
    }

    /// Passes on what an image changed besides itself.
    #[cold]
    fn side_changes(&mut self, out: &mut Vec<u8>) {
        for change in self.world.side_changes() {
            self.filter.changed(&self.world, *change);
            self.output.changed(&self.world, *change, out);
        }
    }

    /// Call regularly: names that may have changed are looked up again.
    pub fn tick(&mut self, now: Instant) {
        self.world.tick(now);
    }

    /// Whether as many events as `count` were shown.
    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Forgets all ids; clocks and counts stay.
    pub fn forget(&mut self, out: &mut Vec<u8>) {
        self.world.forget();
        self.filter.changed(&self.world, Change::Everything);
        self.output.changed(&self.world, Change::Everything, out);
    }

    /// Whether [`Pipeline::flush`] would append anything.
    pub fn holds_back(&self) -> bool {
        self.output.holds_back()
    }

    /// How long held back events may wait for more, depending on whether the output is a file.
    pub fn patience(&self, to_file: bool) -> Patience {
        self.output.patience(to_file)
    }

    /// Appends what was held back.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.output.flush(out);
    }

    /// Ends the current file; the output goes on in another.
    pub fn end_file(&mut self, out: &mut Vec<u8>) {
        self.output.end_file(out);
    }

    /// Begins the next file, after the one that `end_file` ended.
    pub fn begin_file(&mut self, out: &mut Vec<u8>) {
        self.output.begin_file(out);
    }

    /// The open file was truncated: inserts the header before `carried`, the whole lines or blocks that are
    /// about to be written.
    pub fn begin_again(&mut self, carried: &mut Vec<u8>) {
        self.output.begin_again(carried);
    }

    /// How many lines are lost if `rest`, the end of what was appended, is never written.
    pub fn lines_lost_with(&self, rest: &[u8]) -> u64 {
        self.output.lines_lost_with(rest)
    }

    /// No more records come: appends what closes the output.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.output.end(&self.world, out);
    }

    /// What has gone through so far.
    pub fn passed(&self) -> Passed {
        let refused = self.malformed + self.world.refused();
        let (events, losses, gaps, notes) = (self.shown, self.losses, self.gaps, self.notes);
        Passed { events, losses, gaps, notes, refused }
    }
}

#[cfg(test)]
impl<O: Output> Pipeline<O> {
    /// The same with notes shown.
    pub(crate) fn with_notes(self) -> Self {
        Pipeline { filter: self.filter.with_notes(true), ..self }
    }
}

/// The first `count` of `types` in causal order.
fn first_types(types: u32, count: u64) -> u32 {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    kind::in_causal_order(types).take(count).fold(0, |first, kind| first | kind.bit)
}

#[cfg(test)]
mod tests {
    use crate::filter::{Criteria, Filter, Source};
    use crate::moment::Range;
    use crate::size::Size;
    use crate::text::fixture::{Bench, capacity, event};
    use crate::text::{LineFormat, Lines, csv, human::Human, json::Json};
    use fsmon_format::kind;
    use fsmon_format::record::What;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    #[test]
    fn the_count_is_exact_in_the_middle_of_a_merged_event() {
        let merged = kind::CREATE | kind::MODIFY | kind::CLOSE_WRITE;
        for count in 1..=7 {
            let json = Lines(Json::new(false));
            let mut bench = Bench::new(json, &Criteria::default(), Some(count));
            bench.furnish();
            for _ in 0..3 {
                assert!(!bench.pipeline.is_full() || bench.pipeline.passed().events == count);
                bench.event(event(merged, 1, 3), b"f", b"");
            }
            bench.loss(1, 1);
            assert_eq!(bench.text().matches("\"path\"").count() as u64, count);
            assert_eq!(
                (bench.pipeline.passed().events, bench.pipeline.passed().losses),
                (count, 1)
            );
            assert!(bench.pipeline.is_full());
        }
    }

    #[test]
    fn a_count_is_one_of_events_alone() {
        let json = Lines(Json::new(false));
        let mut bench = Bench::new(json, &Criteria::default(), Some(1));
        bench.furnish();
        for _ in 0..3 {
            bench.gap(0, 1, 2);
            bench.event(event(kind::CREATE, 1, 3), b"f", b"");
        }
        let passed = bench.pipeline.passed();
        assert_eq!((passed.events, passed.gaps, passed.lines()), (1, 3, 4));
        assert_eq!(bench.text().matches("GAP").count(), 3);
    }

    #[test]
    fn gaps_are_shown_where_they_overlap_the_wanted_times() {
        let bench = |since, until| {
            let mut bench = Bench::lines(Json::new(false));
            let filter =
                Filter::new(&Criteria::default(), kind::EVERY, Source::Recorded, capacity());
            bench.pipeline.filter = filter.expect("valid").within(Range { since, until });
            bench
        };
        let is_shown = |since, until, (from, to)| {
            let mut bench = bench(since, until);
            bench.gap(1, from, to);
            let shown = bench.text().contains("GAP");
            assert_eq!(bench.pipeline.passed().gaps, u64::from(shown));
            shown
        };
        // The wall clock may have been set back between both.
        for gap in [(100, 200), (200, 100)] {
            for (since, until) in [(None, None), (Some(150), Some(160)), (Some(200), None)] {
                assert!(is_shown(since, until, gap), "{since:?} {until:?} {gap:?}");
            }
            assert!(is_shown(None, Some(100), gap) && is_shown(Some(0), Some(999), gap));
            assert!(!is_shown(Some(201), None, gap) && !is_shown(None, Some(99), gap));
        }
    }

    #[test]
    fn notes_are_shown_on_request_and_in_time() {
        for (is_wanted, since, expected) in
            [(false, None, 0), (true, None, 1), (true, Some(42), 1), (true, Some(43), 0)]
        {
            let mut bench = Bench::lines(Json::new(false));
            let filter =
                Filter::new(&Criteria::default(), kind::EVERY, Source::Recorded, capacity());
            let filter = filter.expect("valid").within(Range { since, until: None });
            bench.pipeline.filter = filter.with_notes(is_wanted);
            bench.clock(2, 42);
            bench.note(What::WatchBegan, 2, b"/srv", b"");
            assert_eq!(bench.text().matches("NOTE").count(), expected, "{is_wanted} {since:?}");
            assert_eq!(bench.pipeline.passed().notes, expected as u64);
        }
    }

    /// What `format` shows of changes in the directory `at`, of which it is asked after them, with this condition.
    fn with_sizes<F: LineFormat>(format: F, at: &Path, size: &str) -> String {
        let size: Size = size.parse().expect("a condition");
        let criteria = Criteria { size: Some(size), ..Criteria::default() };
        let mut bench = Bench::lines(format);
        let filter = Filter::new(&criteria, kind::EVERY, Source::Live, capacity());
        bench.pipeline.filter = filter.expect("valid");
        bench.pipeline.begin(&mut bench.out);
        bench.clock(1, 1);
        bench.dir(1, 0, at.as_os_str().as_bytes());
        bench.event(event(kind::CREATE | kind::CLOSE_WRITE, 1, 0), b"small", b"");
        bench.event(event(kind::CLOSE_WRITE, 1, 0), b"big", b"");
        bench.event(event(kind::MODIFY | kind::DELETE, 1, 0), b"big", b"");
        bench.event(event(kind::CLOSE_WRITE, 1, 0), b"gone", b"");
        bench.event(event(kind::ATTRIB, 1, 0), b"dir", b"");
        bench.event(event(kind::ATTRIB, 1, 0), b"", b"");
        bench.event(event(kind::CLOSE_WRITE, 0, 0), b"", b"");
        bench.loss(1, 1);
        bench.gap(0, 1, 2);
        bench.text()
    }

    #[test]
    fn sizes_are_those_of_the_files_that_are_there_and_what_has_none_passes() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path();
        std::fs::write(at.join("small"), "12345").expect("written");
        std::fs::write(at.join("big"), [0; 2048]).expect("written");
        std::fs::create_dir(at.join("dir")).expect("made");
        let shown = |size| {
            let lines = with_sizes(Json::new(false), at, size);
            let events: Vec<_> = lines
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
                .filter(|line| line["from"].is_null() && line["reason"].is_null())
                .collect();
            let brief = |event: &serde_json::Value| {
                assert_eq!(event["size"].is_null(), event["size_late"].is_null());
                let name = event["path"].as_str().and_then(|path| path.rsplit('/').next());
                let size = event["size"].as_u64().map(|size| format!(" {size}"));
                let kind = event["event_type"].as_str().expect("a type");
                format!("{kind} {}{}", name.unwrap_or("?"), size.unwrap_or_default())
            };
            let root = at.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
            events.iter().map(|event| brief(event).replace(&root, "/")).collect::<Vec<_>>()
        };
        let rest =
            ["CLOSE_WRITE gone", "ATTRIB dir", "ATTRIB /", "CLOSE_WRITE ?"].map(str::to_owned);
        let small = ["CREATE small 5", "CLOSE_WRITE small 5", "DELETE big"].map(str::to_owned);
        assert_eq!(shown("<1K"), [&small[..], &rest].concat());
        let big = ["CLOSE_WRITE big 2048", "MODIFY big 2048", "DELETE big"].map(str::to_owned);
        assert_eq!(shown(">=1K"), [&big[..], &rest].concat());

        let lines = with_sizes(Human::new(false, false), at, ">=1K");
        assert_eq!(lines.matches("/big  (size 2048, late)\n").count(), 2, "{lines}");
        assert_eq!(lines.matches("(size ").count(), 2, "{lines}");

        for (csv, extra) in [
            (csv::Plain::new(false).with_size(true), ""),
            (csv::Plain::new(false).with_size(true).with_cmdline(true), ",,,,"),
        ] {
            let lines = with_sizes(csv, at, "<1K");
            let columns = |line: &str| line.matches(',').count();
            let header = lines.lines().next().expect("a header");
            assert!(header.contains(",note,size,size_late"), "{header}");
            for line in lines.lines() {
                assert_eq!(columns(line), columns(header), "{line}");
            }
            assert!(lines.contains(&format!(",,,,,5,true{extra}\r\n")), "{lines}");
        }
        // Of a stream nobody can ask: it may come from another host.
        let criteria = Criteria { size: "=1".parse().ok(), ..Criteria::default() };
        let mut bench = Bench::new(Lines(Json::new(false)), &criteria, None);
        bench.dir(1, 0, at.as_os_str().as_bytes());
        bench.event(event(kind::CLOSE_WRITE, 1, 0), b"big", b"");
        assert!(!bench.text().contains("size"), "{}", bench.text());
        assert_eq!(bench.pipeline.passed().events, 1);
    }

    #[test]
    fn definitions_without_room_are_counted() {
        let mut bench = Bench::lines(Json::new(false));
        bench.dir(1 << 30, 0, b"/too/many");
        assert_eq!(bench.pipeline.passed().refused, 1);
    }
}
