//! CSV and JSON: the lines of `fsmon decode`, by its own pipeline.

use crate::error::{Error, Result};
use crate::feed::Output;
use crate::output::Out;
use fsmon_cli::formats::{Format, Formats};
use fsmon_format::stream::{Block, Gap, Header};
use std::io::Write;

/// Bytes after which what was gathered is written.
const WRITE_BYTES: usize = 256 << 10;

/// Writes lines.
pub(crate) struct Text {
    lines: Formats,
    buffer: Vec<u8>,
    out: Out,
}

impl Text {
    /// Lines of that format, to `out`.
    ///
    /// # Errors
    /// A format without lines.
    pub(crate) fn new(format: Format, out: Out) -> Result<Self> {
        let lines = Formats::recorded(format).map_err(|error| Error::new(error.to_string()))?;
        let mut lines = lines.ok_or_else(|| Error::new("a format without lines"))?;
        let mut buffer = Vec::with_capacity(2 * WRITE_BYTES);
        lines.begin(&mut buffer);
        Ok(Text { lines, buffer, out })
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.write()?;
        self.out.finish()
    }

    fn write(&mut self) -> Result<()> {
        let written = self.out.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|error| Error::writing(&self.out.name(), &error))
    }
}

impl Output for Text {
    fn header(&mut self, _: &Header) -> Result<()> {
        Ok(())
    }

    fn block(&mut self, block: &Block<'_>) -> Result<()> {
        self.lines.forget(&mut self.buffer);
        self.lines.take(block.slots(), &mut self.buffer);
        if self.buffer.len() < WRITE_BYTES { Ok(()) } else { self.write() }
    }

    fn gap(&mut self, _: &Gap) -> Result<()> {
        Ok(())
    }
}
