//! `fsmon decode`: from a binary stream to lines, by the pipeline that serves live changes.

use crate::args::{DecodeArgs, TextFormat};
use crate::filter::{Filter, Source};
use crate::limits::BUFFER_BYTES;
use crate::pipeline::{Output, Pipeline};
use crate::sink::{Reader as Pipe, Sink, Target};
use crate::summary::counted;
use crate::tell::tell;
use crate::text::{Lines, csv, human, human::Human, json::Json};
use crate::world::World;
use fsmon_engine::Error;
use fsmon_format::kind;
use fsmon_format::stream::{self, BLOCK_CAPACITY, Fault, Gap, Item, Reader};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Prints the whole stream. What is damaged is passed over, told on standard error, and is an
/// error in the end.
///
/// # Errors
/// The stream cannot be read or is damaged, standard output cannot be written to.
pub(crate) fn run(args: &DecodeArgs) -> Result<(), Error> {
    let filter = Filter::new(&args.filter, kind::EVERY, Source::Recorded, BLOCK_CAPACITY)?;
    let target = Target::new(Path::new("-"))?;
    let is_terminal = target.is_terminal();
    let job =
        Job { source: open(&args.file)?, name: name(&args.file), sink: target.open()?, filter };
    let (chain, cmdline) = (args.chain, args.cmdline);
    match args.format {
        TextFormat::Human => {
            let human = Human::new(chain, human::wants_colours(is_terminal));
            job.run(human.with_cmdline(cmdline))
        }
        TextFormat::Json => job.run(Json::new(chain).with_cmdline(cmdline)),
        TextFormat::Csv if is_terminal => job.run(csv::Terminal::new(chain).with_cmdline(cmdline)),
        TextFormat::Csv => job.run(csv::Plain::new(chain).with_cmdline(cmdline)),
    }
}

fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { path.display().to_string() }
}

fn open(path: &Path) -> Result<Box<dyn Read>, Error> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => {
            let what = format!("cannot read {}; name a file made by fsmon -f binary", name(path));
            Err(Error::os(what, error))
        }
    }
}

struct Job {
    source: Box<dyn Read>,
    name: String,
    sink: Sink,
    filter: Filter,
}

impl Job {
    fn run<F: crate::text::Format>(self, format: F) -> Result<(), Error> {
        let world = World::recorded(BLOCK_CAPACITY);
        let mut pipeline = Pipeline::new(world, self.filter, Lines(format), None);
        let mut reader = Reader::new(self.source).salvage(true);
        let mut sink = self.sink;
        let gaps = copy(&mut reader, &mut pipeline, &self.name, |bytes| sink.write(bytes))?;
        if reader.header().is_none() && pipeline.passed().events == 0 && gaps > 0 {
            return Err(Error::new(format!(
                "{} is not an fsmon stream; make one with fsmon -f binary -o FILE",
                self.name
            )));
        }
        if gaps > 0 {
            return Err(Error::new(format!(
                "{} is damaged in {}; everything else was printed",
                self.name,
                counted(gaps, "place", "places")
            )));
        }
        Ok(())
    }
}

/// Sends every block through the pipeline and what comes of it to `write`. Returns how many gaps
/// there were.
fn copy<R: Read, O: Output>(
    reader: &mut Reader<R>,
    pipeline: &mut Pipeline<O>,
    name: &str,
    mut write: impl FnMut(&[u8]) -> Result<Pipe, Error>,
) -> Result<u64, Error> {
    let failed = |error: stream::Error| Error::new(format!("{name}: {error}"));
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    let mut gaps = 0;
    pipeline.begin(&mut buffer);
    while let Some(item) = reader.next().map_err(failed)? {
        match item {
            Item::Header(_) | Item::Pending => {}
            Item::Gap(gap) => {
                gaps += 1;
                if matches!(gap.damage.fault, Fault::NotAStream) {
                    continue;
                }
                tell(format_args!("{name}: {}", gap_line(&gap)));
            }
            Item::Block(block) => {
                pipeline.forget(&mut buffer);
                block.records().for_each(|record| pipeline.take(&record, &mut buffer));
            }
        }
        // One block's lines, and not more, so that a live stream comes through as it comes in.
        let there = write(&buffer)?;
        buffer.clear();
        if there == Pipe::Gone {
            return Ok(0);
        }
    }
    write(&buffer)?;
    Ok(gaps)
}

fn gap_line(gap: &Gap) -> String {
    let events = match gap.events {
        Some(events) => counted(events, "event is", "events are"),
        None => "an unknown number of events is".to_owned(),
    };
    format!("{}; {} passed over, {events} missing", gap.damage, counted(gap.bytes, "byte", "bytes"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::args::FilterArgs;

    /// The text of a stream; what there is of it and the number of gaps where it is damaged.
    pub(crate) fn decode<O: Output>(stream: &[u8], output: O) -> Result<String, (String, u64)> {
        let args = FilterArgs::default();
        let filter = Filter::new(&args, kind::EVERY, Source::Recorded, BLOCK_CAPACITY);
        let world = World::recorded(BLOCK_CAPACITY);
        let mut pipeline = Pipeline::new(world, filter.expect("valid"), output, None);
        let mut reader = Reader::new(stream).salvage(true);
        let mut out = Vec::new();
        let gaps = copy(&mut reader, &mut pipeline, "test", |bytes| {
            out.extend_from_slice(bytes);
            Ok(Pipe::There)
        });
        let text = String::from_utf8(out).expect("UTF-8");
        match gaps.expect("readable") {
            0 => Ok(text),
            gaps => Err((text, gaps)),
        }
    }

    #[test]
    fn what_is_no_stream_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().expect("a directory");
        for content in [&b""[..], b"hello", &[0; 8192]] {
            let file = dir.path().join("file");
            std::fs::write(&file, content).expect("written");
            let filter = FilterArgs::default();
            let args =
                DecodeArgs { file, format: TextFormat::Json, chain: false, cmdline: false, filter };
            let line = run(&args).expect_err("no stream").to_string();
            assert!(line.contains("not an fsmon stream"), "{line}");
        }
    }
}
