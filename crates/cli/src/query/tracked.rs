//! The end of the pipeline of a query: lines, how many, and the cursor behind each.

use fsmon_format::kind;
use fsmon_format::record::{EventRef, Gap, Loss, NoteRef, Record};
use fsmon_present::pipeline::Output;
use fsmon_present::text::{LineFormat, Lines, json};
use fsmon_present::world::{Change, World};
use fsmon_store::cursor::{Cursor, Place};

/// Lines of events that a cursor counts: each type of a merged event by itself.
pub(super) struct Tracked<F> {
    lines: Lines<F>,
    /// Whether each line has its cursor.
    has_cursors: bool,
    /// How many more events may be shown.
    left: u64,
    events: u64,
    notes: u64,
    /// So many types of the next record are not shown.
    pub(super) skipped: u32,
    /// What is behind the next record, but for its own line.
    pub(super) cursor: Option<Cursor>,
    /// As many events as may be were shown: how many types of the last record are passed.
    stopped_at: Option<u32>,
}

impl<F: LineFormat> Tracked<F> {
    pub(super) fn new(lines: Lines<F>, has_cursors: bool, limit: Option<u64>) -> Self {
        Tracked {
            lines,
            has_cursors,
            left: limit.unwrap_or(u64::MAX),
            events: 0,
            notes: 0,
            skipped: 0,
            cursor: None,
            stopped_at: None,
        }
    }

    /// Whether lines have cursors.
    pub(super) fn has_cursors(&self) -> bool {
        self.has_cursors
    }

    /// Whether something was shown that was asked for.
    pub(super) fn has_found(&self) -> bool {
        self.events + self.notes > 0
    }

    /// Whether no more events may be shown. Then: how many types of the last record are passed.
    pub(super) fn stopped_at(&self) -> Option<u32> {
        self.stopped_at
    }

    /// Adds the cursor to the line that was appended since `begin`.
    fn add_cursor(&self, line: Option<u32>, begin: usize, out: &mut Vec<u8>) {
        let Some(cursor) = self.cursor.as_ref().filter(|_| self.has_cursors) else { return };
        if out.len() > begin {
            json::append_cursor(&behind(cursor, line).to_string(), out);
        }
    }
}

/// The cursor behind so many types of the record whose place is the last, or behind all of it.
pub(super) fn behind(cursor: &Cursor, line: Option<u32>) -> Cursor {
    let mut places = cursor.places().to_vec();
    if let Some(own) = places.last_mut() {
        *own = match line {
            Some(line) => Place { line, ..*own },
            None => Place { record: own.record.saturating_add(1), line: 0, ..*own },
        };
    }
    Cursor::new(places)
}

impl<F: LineFormat> Output for Tracked<F> {
    fn whole(part: &[u8]) -> usize {
        Lines::<F>::whole(part)
    }

    fn lines_lost_with(&self, rest: &[u8]) -> u64 {
        self.lines.lines_lost_with(rest)
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.lines.begin(out);
    }

    fn changed(&mut self, world: &World, change: Change, out: &mut Vec<u8>) {
        self.lines.changed(world, change, out);
    }

    fn event(
        &mut self,
        world: &World,
        event: &EventRef<'_>,
        types: u32,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) {
        let all = kind::in_causal_order(event.head.mask.get() & kind::EVERY);
        for (kind, line) in all.zip(1..) {
            if line <= self.skipped || types & kind.bit == 0 || self.left == 0 {
                continue;
            }
            let begin = out.len();
            self.lines.event(world, event, kind.bit, record, out);
            self.add_cursor(Some(line), begin, out);
            self.events += 1;
            self.left -= 1;
            if self.left == 0 {
                self.stopped_at = Some(line);
            }
        }
    }

    fn loss(&mut self, world: &World, loss: &Loss, record: &Record<'_>, out: &mut Vec<u8>) {
        let begin = out.len();
        self.lines.loss(world, loss, record, out);
        self.add_cursor(None, begin, out);
    }

    fn gap(&mut self, world: &World, gap: &Gap, record: &Record<'_>, out: &mut Vec<u8>) {
        let begin = out.len();
        self.lines.gap(world, gap, record, out);
        self.add_cursor(None, begin, out);
    }

    fn note(&mut self, world: &World, note: &NoteRef<'_>, record: &Record<'_>, out: &mut Vec<u8>) {
        let begin = out.len();
        self.lines.note(world, note, record, out);
        self.add_cursor(None, begin, out);
        self.notes += 1;
    }
}
