//! Takes the records of a history, and makes lines of those that are asked for.

use super::judge::Judge;
use super::tracked::Tracked;
use fsmon_engine::Error;
use fsmon_format::record::{Build, Record};
use fsmon_format::stream::Header;
use fsmon_present::filter::Roots;
use fsmon_present::message;
use fsmon_present::pipeline::Pipeline;
use fsmon_present::text::LineFormat;
use fsmon_store::cursor::Cursor;
use fsmon_store::timeline::{At, Consumer, Lost, Said};

/// The pipeline, and what is said beside it.
pub(super) struct Printer<F> {
    pub(super) pipeline: Pipeline<Tracked<F>>,
    pub(super) judge: Judge,
    roots: Roots,
    /// Lines that are not written yet.
    pub(super) buffer: Vec<u8>,
    /// Places that are damaged.
    pub(super) damaged: u64,
    /// The cursor behind the last event that may be shown.
    pub(super) stopped: Option<Cursor>,
}

impl<F: LineFormat> Printer<F> {
    pub(super) fn new(pipeline: Pipeline<Tracked<F>>, judge: Judge, buffer: Vec<u8>) -> Self {
        let (roots, damaged, stopped) = (Roots::default(), 0, None);
        Printer { pipeline, judge, roots, buffer, damaged, stopped }
    }

    /// Segments are gone: a GAP line where it is known from when to when, else a line on standard error.
    fn lost(&mut self, lost: &Lost) {
        self.judge.set_incomplete();
        let stream = u128::from_be_bytes(lost.stream_id);
        let Some(gap) = lost.gap() else {
            message::print(format_args!(
                "what comes next in stream {stream:032x} was deleted before it was read; going on with the oldest that is kept"
            ));
            return;
        };
        let mut build = Build::default();
        if let Some((record, _)) = Record::split_first(build.gap(gap)) {
            self.pipeline.output_mut().cursor = None;
            self.pipeline.take(&record, &mut self.buffer);
        }
    }
}

impl<F: LineFormat> Consumer for Printer<F> {
    fn header(&mut self, header: &Header) -> Result<(), Error> {
        self.judge.header(header);
        if self.roots.add(&header.roots, header.left_out > 0) {
            self.pipeline.set_roots(&self.roots)?;
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.pipeline.forget(&mut self.buffer);
    }

    fn record(&mut self, record: &Record<'_>, at: &At<'_>) {
        let output = self.pipeline.output_mut();
        output.skipped = at.place.line;
        if output.has_cursors() {
            output.cursor = Some(at.cursor());
        }
        self.pipeline.take(record, &mut self.buffer);
        self.judge.take(record, self.pipeline.world());
        if self.stopped.is_none()
            && let Some(line) = self.pipeline.output_mut().stopped_at()
        {
            self.stopped = Some(super::tracked::behind(&at.cursor(), Some(line)));
        }
    }

    fn said(&mut self, said: &Said<'_>) {
        match said {
            Said::Damaged(file, gap) => {
                self.damaged += 1;
                message::print(format_args!("{file}: {gap}"));
            }
            Said::Unreadable(file, why) => {
                self.damaged += 1;
                message::print(format_args!("{file} is left out: {why}"));
            }
            Said::CutOff(file) => {
                self.judge.set_incomplete();
                message::print(format_args!(
                    "{file} was cut off: its recorder was killed, and what it had not written is missing"
                ));
            }
            Said::Lost(lost) => self.lost(lost),
            Said::TooMany(most) => message::print(format_args!(
                "more than {most} streams were written at the same time; events of the others are not in order with these"
            )),
        }
    }

    fn is_full(&self) -> bool {
        self.stopped.is_some()
    }
}
