//! Records what the reader would read while a command runs.

use super::recording::{RecordedRead, RecordedRoot, Recording, Turn};
use crate::cold::{marks, mounts, roots, who};
use crate::hot::who::RingWriter;
use crate::hot::who::bpf_record;
use crate::hot::who::message::{Kind, Parsed};
use crate::limits::reader::{FILES_BUFFER_BYTES, FILES_BUFFERS};
use crate::limits::sys::EVENT_LEN_MAX;
use crate::plan::MarkKind;
use crate::sys::buffers::Buffers;
use crate::sys::fd::eventfd;
use crate::sys::perf::{Ring, Scratch};
use crate::sys::poll::{Descriptors, Done, Poll};
use crate::sys::{clock, thread};
use crate::{Error, ErrorKind};
use fsmon_format::kind;
use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The batch window: the reader's default.
const WINDOW: Duration = Duration::from_millis(1);
/// The longest wait, after which the recorder checks whether the command has ended.
const REST: Duration = Duration::from_millis(20);

/// Records what `command` does in `dir`. The directory must be empty, and no other process may change its filesystem.
///
/// # Errors
/// fanotify or the BPF programs are not available, the command fails, or messages were lost.
pub fn record(dir: &Path, command: &mut Command) -> Result<Recording, Error> {
    let mut root = roots::open(dir, &mounts::reachable())?;
    let group = marks::group(false)?;
    let mut opened = who::open_bpf(Some(group.as_fd()), false)?;
    let mask = marks::mask_for(kind::DEFAULT);
    let (mark, why) = marks::mark(&group, &mut root, mask)?;
    if mark != MarkKind::Filesystem {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("record on a filesystem with a mark of its own: {why}"),
        ));
    }
    let RingWriter::Bpf(counted) = &mut opened.writer else { unreachable!("what was opened") };
    let no_kernel = |error| Error::os("cannot record", error);
    let files = Buffers::new(FILES_BUFFERS, FILES_BUFFER_BYTES).map_err(no_kernel)?;
    let wake = eventfd().map_err(no_kernel)?;
    let sources = Descriptors {
        files: group.as_fd(),
        connector: opened.socket.as_ref().map(AsFd::as_fd),
        wake: wake.as_fd(),
        messages: opened.rings.iter().map(Ring::raw_fd).collect(),
    };
    let poll = Poll::new(&sources, &files, counted.gauge());
    let start_ns = clock::monotonic_ns();
    let recorder = Recorder { poll, rings: &mut opened.rings, files, turns: Vec::new() };
    let (turns, first) = recorder.run_beside(command).map_err(no_kernel)?;
    if counted.take_lost() + counted.misses() > 0 {
        return Err(Error::new(ErrorKind::Busy, "process messages were lost: record once more"));
    }
    let path = root.path.as_os_str().as_bytes().to_vec();
    let root = RecordedRoot { path, fsid: root.fsid, handle: root.handle.key().to_vec() };
    let mut recording = Recording { root, start_ns, turns };
    leave_out_others(&mut recording, first);
    Ok(recording)
}

struct Recorder<'a> {
    poll: Poll,
    rings: &'a mut [Ring],
    files: Buffers,
    turns: Vec<Turn>,
}

impl Recorder<'_> {
    /// Runs the command. Returns the turns, and the pid of the command.
    fn run_beside(mut self, command: &mut Command) -> io::Result<(Vec<Turn>, u32)> {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let recorder = scope.spawn(|| {
                // A real-time thread like the reader: if it is interrupted during a read, the positions of messages are
                // not known exactly.
                thread::hurry();
                self.run(&is_over)
            });
            let ended = command.spawn().and_then(|mut child| Ok((child.id(), child.wait()?)));
            is_over.store(true, Ordering::Release);
            let turns = recorder.join().expect("the recorder does not panic")?;
            match ended? {
                (pid, status) if status.success() => Ok((turns, pid)),
                (_, status) => Err(io::Error::other(format!("the command: {status}"))),
            }
        })
    }

    fn run(&mut self, is_over: &AtomicBool) -> io::Result<Vec<Turn>> {
        let mut scratch = Scratch::default();
        loop {
            let is_last = is_over.load(Ordering::Acquire);
            let turn = self.turn(&mut scratch)?;
            let is_empty = turn.reads.is_empty() && turn.messages.is_empty();
            if !is_empty {
                self.turns.push(turn);
            } else if is_last {
                return Ok(std::mem::take(&mut self.turns));
            }
        }
    }

    /// The first steps of the reader's turn: wait, read, take the clock, take in process messages.
    fn turn(&mut self, scratch: &mut Scratch) -> io::Result<Turn> {
        self.poll.wait(WINDOW, REST)?;
        let start_ns = clock::monotonic_ns();
        let mut turn = Turn::default();
        while let Some(done) = self.poll.next(&self.files)? {
            let Done::Files(taken, number) = done else { continue };
            turn.empty_ns = taken.had_room(&self.files, EVENT_LEN_MAX).then_some(start_ns);
            let bytes = self.files.bytes(&taken).to_vec();
            turn.reads.push(RecordedRead { number, turn: self.poll.gauge().last(), bytes });
            self.poll.give_back_files(taken);
        }
        turn.until_ns = clock::monotonic_ns();
        for ring in self.rings.iter_mut() {
            ring.drain(scratch, |record| {
                turn.messages.push(record.to_vec());
                true
            });
        }
        Ok(turn)
    }
}

/// Removes messages about processes that are neither `first` nor its descendants, and turns that are then empty.
fn leave_out_others(recording: &mut Recording, first: u32) {
    let parse = |record: &[u8]| match bpf_record::parse(record) {
        Parsed::Message(message, _) => Some(message),
        _ => None,
    };
    let mut forks: Vec<_> = recording.messages().filter_map(parse).collect();
    forks.retain(|message| message.kind == Kind::Fork);
    forks.sort_by_key(|fork| fork.time_ns);
    let mut ours = HashSet::from([first]);
    for fork in forks {
        if ours.contains(&fork.caller) || ours.contains(&fork.parent) {
            ours.insert(fork.pid);
        }
    }
    for turn in &mut recording.turns {
        turn.messages
            .retain(|record| parse(record).is_some_and(|message| ours.contains(&message.pid)));
    }
    recording.turns.retain(|turn| !turn.reads.is_empty() || !turn.messages.is_empty());
}
