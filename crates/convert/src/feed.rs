//! Reads inputs block by block, past damage, and passes them to an output.

use crate::error::{Error, Result};
use crate::inputs::Input;
use fsmon_format::record::End;
use fsmon_format::stream::{Block, Fault, Gap, Header, Item, Reader};
use fsmon_present::message;
use std::io::Read;

/// Takes the content of the streams.
pub(crate) trait Output {
    /// A file header: the following blocks belong to this stream.
    fn header(&mut self, header: &Header) -> Result<()>;
    /// A block of that stream.
    fn block(&mut self, block: &Block<'_>) -> Result<()>;
    /// A gap: something is missing here.
    fn gap(&mut self, gap: &Gap) -> Result<()>;
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fed {
    /// File headers and blocks.
    pub(crate) sound: u64,
    /// Gaps.
    pub(crate) gaps: u64,
}

/// Passes the content of all inputs to `output`. With `loud`, reports damage on standard error.
///
/// # Errors
/// The output fails; an input cannot be read, or needs a newer version; no input is a stream.
pub(crate) fn feed(inputs: &[Input], output: &mut dyn Output, loud: bool) -> Result<Fed> {
    let mut all = Fed::default();
    let mut reader: Option<Reader<Box<dyn Read>>> = None;
    for input in inputs {
        let source = input.open()?;
        match &mut reader {
            Some(reader) => drop(reader.continue_with(source)),
            None => reader = Some(Reader::new(source).salvage(true)),
        }
        let Some(reader) = &mut reader else { continue };
        reader.set_follow(input.is_growing());
        let fed = one(reader, &input.name(), output, loud)?;
        if loud && fed.sound == 0 && inputs.len() > 1 {
            message::print(format_args!("{}: not an fsmon stream; skipped", input.name()));
        }
        all = Fed { sound: all.sound + fed.sound, gaps: all.gaps + fed.gaps };
    }
    match (all.sound, inputs) {
        (0, [input, ..]) => Err(Error::new(format!(
            "{} is not an fsmon stream; make one with fsmon -f binary -o FILE",
            input.name()
        ))),
        _ => Ok(all),
    }
}

fn one<R: Read>(
    reader: &mut Reader<R>,
    name: &str,
    output: &mut dyn Output,
    loud: bool,
) -> Result<Fed> {
    let failed = |error| Error::new(format!("{name}: {error}"));
    let mut fed = Fed::default();
    while let Some(item) = reader.next().map_err(failed)? {
        match item {
            Item::Header(header) => output.header(header)?,
            Item::Block(block) => {
                if loud && block.end().is_some_and(End::is_incomplete) {
                    message::print(format_args!(
                        "{name}: the recording was NOT complete when it ended"
                    ));
                }
                output.block(&block)?;
            }
            Item::Gap(gap) => {
                fed.gaps += 1;
                // An input that is no stream has no gaps.
                if matches!(gap.damage.fault, Fault::NotAStream) {
                    continue;
                }
                if loud {
                    message::print(format_args!("{name}: {gap}"));
                }
                output.gap(&gap)?;
                continue;
            }
            Item::Pending => {
                if loud {
                    message::print(format_args!(
                        "{name} is still being written; its content so far was read"
                    ));
                }
                break;
            }
        }
        fed.sound += 1;
    }
    Ok(fed)
}
