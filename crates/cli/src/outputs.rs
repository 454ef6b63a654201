//! The output of each reader.

use crate::args::{Compress, WatchArgs};
use crate::sink::Sink;
use crate::target::Target;
use fsmon_engine::Error;
use fsmon_present::Format;
use fsmon_present::message::shown;
use fsmon_store::segments::{Keep, Rotate, Segments};
use std::os::unix::ffi::OsStrExt;

/// A stream's identity.
pub(crate) type StreamId = [u8; 16];

/// One target for all readers, or files in a directory for each. Checks that the options fit together.
///
/// # Errors
/// The options contradict each other, or the target cannot be written to.
pub(crate) fn targets(args: &WatchArgs, streams: &[StreamId]) -> Result<Vec<Target>, Error> {
    if args.compress != Compress::None && args.format != Format::Binary {
        return Err(Error::invalid(
            "--compress is for -f binary; pipe other formats through a compressor",
        ));
    }
    if args.output.as_os_str().as_bytes().ends_with(b"/") {
        return streams.iter().map(|stream| in_directory(args, stream)).collect();
    }
    if args.output.is_dir() {
        let name = shown(&args.output);
        return Err(Error::invalid(format!(
            "{name} is a directory; write {name}/ for new files in it"
        )));
    }
    if args.rotate.is_some() || args.keep.is_some() {
        return Err(Error::invalid(
            "--rotate and --keep are for files in a directory; write -o DIR/",
        ));
    }
    if args.format == Format::Binary && streams.len() > 1 {
        return Err(Error::invalid(
            "each of several readers writes its own binary stream; write them to a directory with -o DIR/ and \
             read them with fsmon decode DIR",
        ));
    }
    let target = Target::new(&args.output)?;
    if args.format == Format::Binary && target.is_terminal() {
        return Err(Error::invalid(
            "a terminal cannot show a binary stream; write it to a file with -o FILE, or pipe it into \
             fsmon decode -",
        ));
    }
    Ok(vec![target])
}

fn in_directory(args: &WatchArgs, stream: &StreamId) -> Result<Target, Error> {
    if let (Some(Rotate::Bytes(file)), Some(Keep::Bytes(all))) = (args.rotate, args.keep)
        && all < file
    {
        return Err(Error::invalid(
            "--keep is less than one file of --rotate; keep more, or rotate sooner",
        ));
    }
    let extension = args.format.extension();
    let [a, b, c, d, ..] = *stream;
    let tag = [a, b, c, d];
    Target::segments(Segments::new(&args.output, extension, args.rotate, args.keep, tag))
}

/// Opens the targets: one sink for each reader.
///
/// # Errors
/// Those of [`Target::open`].
pub(crate) fn open(targets: Vec<Target>, readers: usize) -> Result<Vec<Sink>, Error> {
    let mut sinks = targets.into_iter().map(Target::open).collect::<Result<Vec<_>, _>>()?;
    while sinks.len() < readers {
        let another = sinks[0].share()?;
        sinks.push(another);
    }
    Ok(sinks)
}
