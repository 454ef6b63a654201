//! The floor: the minimum cost of getting events. It asks the kernel for the same events as fsmon, reads them every
//! millisecond, counts and drops them.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The time between two reads: fsmon's default.
const PACE: Duration = Duration::from_millis(1);
/// The most bytes of one read.
const BUFFER: usize = 256 << 10;
/// The bytes of an event's length field, and the minimum length (fanotify(7)).
const METADATA: usize = 24;

/// The counts that the floor prints at the end, in one line on standard error.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events read.
    pub(crate) events: u64,
    /// Reads that returned events.
    pub(crate) reads: u64,
    /// CPU time from the first read to the last, ns.
    pub(crate) cpu_ns: u64,
}

impl Counts {
    /// The counts in a line that [`run`] printed.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("floor: counts ")?.split(' ').map(str::parse);
        let mut next = || words.next()?.ok();
        Some(Counts { events: next()?, reads: next()?, cpu_ns: next()? })
    }
}

/// `@floor DIR [modify]`: runs until SIGINT.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    let Some(dir) = args.first() else { return ExitCode::from(2) };
    match run(Path::new(dir), args.len() > 1) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &Path, modify: bool) -> io::Result<()> {
    let mut queue = crate::sys::fanotify(dir, modify)?;
    let stop = crate::sys::StopSignal::block()?;
    let mut buffer = vec![0u8; BUFFER];
    let mut counts = Counts::default();
    eprintln!("floor: ready");
    let start = crate::sys::own_cpu_ns();
    loop {
        let stopped = stop.sleep(PACE);
        drain(&mut queue, &mut buffer, &mut counts)?;
        if stopped {
            break;
        }
    }
    counts.cpu_ns = crate::sys::own_cpu_ns() - start;
    eprintln!("floor: counts {} {} {}", counts.events, counts.reads, counts.cpu_ns);
    Ok(())
}

fn drain(queue: &mut impl Read, buffer: &mut [u8], counts: &mut Counts) -> io::Result<()> {
    loop {
        match queue.read(buffer) {
            Ok(len) => {
                counts.reads += 1;
                counts.events += events(&buffer[..len]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// The number of events in the bytes of one read.
fn events(mut bytes: &[u8]) -> u64 {
    let mut count = 0;
    while let Some(head) = bytes.first_chunk::<4>() {
        let len = u32::from_ne_bytes(*head) as usize;
        let Some(rest) = bytes.get(len.max(METADATA)..) else { break };
        bytes = rest;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_by_their_lengths() {
        let mut bytes = vec![0u8; 24 + 56];
        bytes[0] = 24;
        bytes[24] = 56;
        assert_eq!(events(&bytes), 2);
        assert_eq!(events(&bytes[..79]), 1, "one that is cut short does not count");
        assert_eq!(events(&[]), 0);
    }

    #[test]
    fn the_line_comes_back() {
        let counts = Counts { events: 7, reads: 2, cpu_ns: 12345 };
        assert_eq!(Counts::parse("floor: counts 7 2 12345"), Some(counts));
        assert_eq!(Counts::parse("floor: ready"), None);
    }
}
