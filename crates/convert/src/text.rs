//! CSV and JSON: the lines of `fsmon decode`, made by the same pipeline.

use crate::error::{Error, Result};
use crate::feed::Output;
use crate::limits::WRITE_BYTES;
use crate::output::Out;
use fsmon_format::stream::{Block, Gap, Header};
use fsmon_present::Format;
use fsmon_present::formats::Formats;
use std::io::{self, Write};

/// Writes lines.
pub(crate) struct Text {
    lines: Formats,
    buffer: Vec<u8>,
    out: Out,
}

impl Text {
    /// Lines of `format`, written to `out`.
    ///
    /// # Errors
    /// The format has no lines.
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
        let (mut done, all) = (0, self.buffer.len());
        while done < all {
            match self.out.write(&self.buffer[done..]) {
                Ok(0) => return Err(self.broken(done, &io::ErrorKind::WriteZero.into())),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(done, &error)),
            }
        }
        self.buffer.clear();
        Ok(())
    }

    /// Only `done` bytes of the buffer were written: makes a file end at a whole line.
    fn broken(&mut self, done: usize, error: &io::Error) -> Error {
        self.out.cut_back(done - self.lines.whole(&self.buffer[..done]));
        Error::writing(&self.out.name(), error)
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
