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
use std::path::PathBuf;
use std::sync::Arc;

/// The key under which a file says which streams its rows are of.
const STREAMS_KEY: &str = "fsmon.streams";

/// A file that rows are written to.
pub(super) struct Part {
    /// Tells it from other parts of this run.
    pub(super) serial: u64,
    /// What its rows have in common: the day and the host.
    pub(super) dir: PathBuf,
    pub(super) rows: Rows,
    file: SerializedFileWriter<Out>,
    name: String,
    streams: Vec<Arc<Header>>,
    with_host: bool,
}

impl Part {
    pub(super) fn new(out: Out, dir: PathBuf, serial: u64, with_host: bool) -> Result<Self> {
        let name = out.name();
        let file = SerializedFileWriter::new(out, schema(with_host)?, properties()?);
        let file = file.map_err(|error| failed(&name, error))?;
        Ok(Part { serial, dir, rows: Rows::default(), file, name, streams: Vec::new(), with_host })
    }

    /// Rows of that stream follow.
    pub(super) fn stream(&mut self, header: &Arc<Header>) {
        if self.streams.last().is_none_or(|last| !Arc::ptr_eq(last, header)) {
            self.streams.push(Arc::clone(header));
        }
    }

    /// Writes a row group where there are rows enough.
    pub(super) fn write_if_full(&mut self) -> Result<()> {
        if self.rows.is_full() { self.write() } else { Ok(()) }
    }

    /// Writes the rest. The file is whole, but not in its place yet.
    pub(super) fn close(mut self) -> Result<Out> {
        self.write()?;
        let streams = KeyValue::new(STREAMS_KEY.to_owned(), streams(&self.streams).to_string());
        self.file.append_key_value_metadata(streams);
        self.file.into_inner().map_err(|error| failed(&self.name, error))
    }

    fn write(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let written = self.rows.write(&mut self.file, self.with_host);
        written.map_err(|error| failed(&self.name, error))
    }
}

fn failed(name: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(error) => Error::writing(name, &error),
            Err(error) => Error::new(format!("cannot write {name}: {error}")),
        },
        error => Error::new(format!("cannot write {name}: {error}")),
    }
}

/// One object for each stream, whatever number of its segments there are.
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
