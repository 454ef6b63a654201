//! One Parquet file.

use super::rows::Rows;
use super::schema::{properties, schema};
use crate::error::{Error, Result};
use crate::output::Out;
use fsmon_format::stream::Header;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The metadata key for the streams that a file's rows come from.
const STREAMS_KEY: &str = "fsmon.streams";

/// A file that rows are written to.
pub(super) struct Part {
    /// Unique among the parts of this run.
    pub(super) serial: u64,
    /// The directory, by the day and the host of its rows.
    pub(super) dir: PathBuf,
    pub(super) rows: Rows,
    file: SerializedFileWriter<Shared>,
    out: Shared,
    name: String,
    streams: Vec<Arc<Header>>,
    with_host: bool,
}

impl Part {
    pub(super) fn new(out: Out, dir: PathBuf, serial: u64, with_host: bool) -> Result<Self> {
        let name = out.name();
        let out = Shared(Arc::new(Mutex::new(out)));
        let file = SerializedFileWriter::new(out.clone(), schema(with_host)?, properties()?);
        let file = file.map_err(|error| failed(&name, error))?;
        let (rows, streams) = (Rows::default(), Vec::new());
        Ok(Part { serial, dir, rows, file, out, name, streams, with_host })
    }

    /// Rows of this stream follow.
    pub(super) fn stream(&mut self, header: &Arc<Header>) {
        if self.streams.last().is_none_or(|last| !Arc::ptr_eq(last, header)) {
            self.streams.push(Arc::clone(header));
        }
    }

    /// Writes a row group if there are enough rows.
    pub(super) fn write_if_full(&mut self) -> Result<()> {
        if self.rows.is_full() { self.write() } else { Ok(()) }
    }

    /// Writes the rest. The file is whole, but does not have its name yet.
    pub(super) fn close(mut self) -> Result<Out> {
        self.write()?;
        let streams = KeyValue::new(STREAMS_KEY.to_owned(), streams(&self.streams).to_string());
        self.file.append_key_value_metadata(streams);
        self.file.finish().map_err(|error| failed(&self.name, error))?;
        drop(self.file);
        let out = Arc::into_inner(self.out.0).expect("the writer had the other one");
        Ok(out.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let written = self.rows.write(&mut self.file, self.with_host);
        written.map_err(|error| failed(&self.name, error))
    }
}

/// The output, which outlives the writer. The writer's own `into_inner()` turns an error into text, which hides that
/// a pipe was closed.
#[derive(Clone)]
struct Shared(Arc<Mutex<Out>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Out> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().flush()
    }
}

fn failed(name: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => Error::writing(name, &error),
            Err(error) => Error::new(format!("cannot write {name}: {error}")),
        },
        error => Error::new(format!("cannot write {name}: {error}")),
    }
}

/// One object for each stream, with all its segments.
fn streams(headers: &[Arc<Header>]) -> Value {
    let mut all: Vec<Value> = Vec::new();
    for header in headers {
        let id = hex(&header.stream_id);
        let known = all.iter_mut().find(|stream| stream["stream_id"] == id.as_str());
        match known.and_then(|stream| stream["segments"].as_array_mut()) {
            Some(segments) => segments.push(header.segment.into()),
            None => all.push(stream(header, &id)),
        }
    }
    Value::Array(all)
}

fn stream(header: &Header, id: &str) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let roots: Vec<_> = header.roots.iter().map(|root| text(root)).collect();
    json!({
        "stream_id": id,
        "segments": [header.segment],
        "host": text(&header.host),
        "boot_id": hex(&header.boot_id),
        "machine_id": hex(&header.machine_id),
        "fsmon": text(&header.version),
        "kernel": text(&header.kernel),
        "roots": roots,
    })
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::super::rows::{Image, Origin};
    use super::*;
    use crate::limits::GROUP_TEXT_BYTES;
    use crate::world::{Change, World};
    use fsmon_format::kind;
    use fsmon_format::mirror::{Capacity, Mirror};
    use fsmon_format::record::{self, Body, Event, EventRef, Proc, Str};
    use std::fs::File;
    use zerocopy::FromZeros;
    use zerocopy::little_endian::U32;

    /// A part in a file that nobody sees.
    fn part() -> Part {
        let file = tempfile::tempfile().expect("a file");
        let part = Part::new(Out::of(file, "it".into()), PathBuf::new(), 1, false);
        part.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Adds rows, each with other texts of `bytes` bytes in one column, until there must be two row groups.
    fn assert_fills_groups(bytes: usize, add: impl Fn(&mut Rows, &[u8])) {
        let mut part = part();
        for letter in (b'a'..=b'b').cycle().take(2 * GROUP_TEXT_BYTES.div_ceil(bytes)) {
            add(&mut part.rows, &vec![letter; bytes]);
            part.write_if_full().unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(part.rows.group, 2);
    }

    /// A row with these paths: the path, the old path, and the one through which a file was changed.
    fn add_row(rows: &mut Rows, image: &Image, [path, old_path, via]: [Option<&[u8]>; 3]) {
        let head = Event::new_zeroed();
        let event = &EventRef { head: &head, name: b"", name2: b"" };
        let kind = kind::in_causal_order(kind::CREATE).next().expect("a kind");
        let change = Change { kind, path, old_path, via, event, number: 0 };
        rows.change(&Origin::default(), &World::new(), &change, image);
    }

    #[test]
    fn long_paths_fill_row_groups() {
        for column in 0..3 {
            assert_fills_groups(1 << 20, |rows, text| {
                let mut paths = [None; 3];
                paths[column] = Some(text);
                add_row(rows, &Image::default(), paths);
            });
        }
    }

    #[test]
    fn long_texts_of_processes_fill_row_groups() {
        let fields: [fn(&mut Proc) -> &mut U32; 5] = [
            |image| &mut image.exe,
            |image| &mut image.exec,
            |image| &mut image.cmdline,
            |image| &mut image.user,
            |image| &mut image.cgroup,
        ];
        for field in fields {
            let capacity = Capacity { dirs: 1, processes: 1, strings: 1, text: 1 << 16 };
            assert_fills_groups(record::TEXT_MAX, |rows, text| {
                let mut mirror = Mirror::new(capacity);
                let mut head = Str::new_zeroed();
                head.id = 1.into();
                mirror.define(&Body::Str(&head, text));
                let mut image = Proc::new_zeroed();
                *field(&mut image) = 1.into();
                let image = rows.image(&mirror, &image);
                add_row(rows, &image, [None; 3]);
            });
        }
    }

    #[test]
    fn a_reader_that_goes_before_the_end_is_no_failure() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let out = Out::of(File::from(std::os::fd::OwnedFd::from(writer)), "it".into());
        let part =
            Part::new(out, PathBuf::new(), 1, false).unwrap_or_else(|error| panic!("{error}"));
        drop(reader);
        assert!(matches!(part.close(), Err(Error::ClosedPipe)));
    }
}
