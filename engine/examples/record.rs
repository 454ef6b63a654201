//! Records what the kernel sends while a command runs, for the benchmarks of each stage.
//!
//! ```sh
//! cargo run --release -p fsmon-engine --features internals --example record -- FILE DIR COMMAND [ARGUMENT]...
//! ```
//!
//! The command runs in DIR. DIR must be empty, and no other process may change its filesystem.
//! `benches/recorded/record` makes the recording of this repository in this way.

use fsmon_engine::Error;
use fsmon_engine::hot::event::Events;
use fsmon_engine::replay::record;
use std::path::PathBuf;
use std::process::Command;

fn main() -> Result<(), Error> {
    let mut args = std::env::args_os().skip(1);
    let (Some(file), Some(dir), Some(program)) = (args.next(), args.next(), args.next()) else {
        return Err(Error::invalid("record FILE DIR COMMAND [ARGUMENT]..."));
    };
    let (file, dir) = (PathBuf::from(file), PathBuf::from(dir));
    let recording = record(&dir, Command::new(program).args(args).current_dir(&dir))?;
    let bytes = recording.to_bytes();
    let events: usize = recording.reads().map(|read| Events(&read.bytes).count()).sum();
    println!(
        "{events} events in {} reads, {} messages of processes, {} turns, {} bytes",
        recording.reads().count(),
        recording.messages().count(),
        recording.turns.len(),
        bytes.len()
    );
    std::fs::write(&file, bytes).map_err(|error| Error::os(file.display().to_string(), error))
}
