//! The values of one column until its row group is written.

use bytes::Bytes;
use fsmon_format::number::to_u32;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::writer::SerializedColumnWriter;

/// A column of any type.
pub(super) trait Column {
    /// Writes the values and forgets them.
    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<()>;

    /// Bytes of the texts that wait to be written.
    fn text_bytes(&self) -> usize {
        0
    }
}

/// Numbers and flags that every row has.
pub(super) struct Required<T: DataType>(Vec<T::T>);

/// Numbers that a row may lack.
pub(super) struct Optional<T: DataType> {
    values: Vec<T::T>,
    /// For each row, 1 if it has a value, else 0.
    levels: Vec<i16>,
}

pub(super) type Flag = Required<BoolType>;
pub(super) type Int = Required<Int32Type>;
pub(super) type Long = Required<Int64Type>;
pub(super) type LongOrNull = Optional<Int64Type>;
pub(super) type IntOrNull = Optional<Int32Type>;

// Deriving `Default` would require it of `T`, too.
impl<T: DataType> Default for Required<T> {
    fn default() -> Self {
        Required(Vec::new())
    }
}

impl<T: DataType> Default for Optional<T> {
    fn default() -> Self {
        Optional { values: Vec::new(), levels: Vec::new() }
    }
}

impl<T: DataType> Required<T> {
    pub(super) fn push(&mut self, value: T::T) {
        self.0.push(value);
    }
}

impl<T: DataType> Optional<T> {
    pub(super) fn push(&mut self, value: Option<T::T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }
}

impl<T: DataType> Column for Required<T> {
    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<()> {
        writer.typed::<T>().write_batch(&self.0, None, None)?;
        self.0.clear();
        Ok(())
    }
}

impl<T: DataType> Column for Optional<T> {
    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<()> {
        writer.typed::<T>().write_batch(&self.values, Some(&self.levels), None)?;
        self.values.clear();
        self.levels.clear();
        Ok(())
    }
}

/// The position of a text in a [`Text`] column.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

/// Texts or bytes that a row may lack. A text that many rows share is stored once.
#[derive(Default)]
pub(super) struct Text {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    levels: Vec<i16>,
}

impl Text {
    /// Stores a text for rows to come.
    pub(super) fn keep(&mut self, text: &[u8]) -> Span {
        let span = Span { start: to_u32(self.bytes.len()), len: to_u32(text.len()) };
        self.bytes.extend_from_slice(text);
        span
    }

    /// Adds a row with a text that was stored in this group.
    pub(super) fn push_kept(&mut self, span: Option<Span>) {
        self.levels.push(i16::from(span.is_some()));
        self.spans.extend(span);
    }

    /// Adds a row.
    pub(super) fn push(&mut self, text: Option<&[u8]>) {
        let span = text.map(|text| match self.spans.last() {
            Some(last) if self.get(*last) == text => *last,
            _ => self.keep(text),
        });
        self.push_kept(span);
    }

    fn get(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..][..span.len as usize]
    }
}

impl Column for Text {
    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<()> {
        let room = self.bytes.len();
        let bytes = Bytes::from(std::mem::replace(&mut self.bytes, Vec::with_capacity(room)));
        let value = |span: Span| {
            let start = span.start as usize;
            ByteArray::from(bytes.slice(start..start + span.len as usize))
        };
        let values: Vec<_> = self.spans.drain(..).map(value).collect();
        writer.typed::<ByteArrayType>().write_batch(&values, Some(&self.levels), None)?;
        self.levels.clear();
        Ok(())
    }

    fn text_bytes(&self) -> usize {
        self.bytes.len()
    }
}
