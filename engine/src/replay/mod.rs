//! Records what the kernel sends, and plays it back without the kernel, for benchmarks of each stage.
//!
//! ```text
//! fanotify ──┐                                  ┌► parser · tree · process table, each by itself
//! BPF rings ─┴► record ──► Recording ──► file ──┼► Replay: whole turns of the reader
//!                                               └► Ring, and the formats (fsmon-cli)
//! ```
//!
//! A recording has the reads of the queue and the messages about processes, turn by turn, as the reader takes them:
//! with the same group, marks, BPF programs and pace. It leaves out messages about processes that the command did not
//! start. It begins with an empty directory, so that the recorded bytes show everything that is in the directory.

mod reader;
mod record;
mod recording;
mod ring;
mod rounds;

use crate::hot::who::perf_record::Layout;
use crate::hot::who::{MessageSources, OpenExec, Processes, RingWriter, Rung, Table};
pub use reader::{Replay, Room};
pub use record::record;
pub use recording::{RecordedRead, RecordedRoot, Recording, Turn};
pub use ring::Ring;

/// A process table without sources and without processes. The caller feeds it messages.
#[must_use]
pub fn processes(images_max: usize) -> Processes {
    let table = Table::new(images_max, Rung::Bpf, true, OpenExec::None);
    let writer = RingWriter::Perf(Layout { filename: 0, cgroup: false });
    Processes::new(table, MessageSources::new(Vec::new(), writer, None, Rung::Bpf))
}
