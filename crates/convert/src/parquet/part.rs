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
    use super::*;
    use std::fs::File;

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
