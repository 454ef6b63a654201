//! `fsmon-bench codecs FILE…`: what each codec makes of streams that were recorded, and what it costs. Blocks stay as long
//! as the recorder made them: short ones where little happened.

use crate::sys::own_cpu_ns;
use crate::table::{self, Spread, Table, show};
use clap::Args;
use fsmon_format::stream::{Codec, Item, Reader, recode};
use std::fs;
use std::path::{Path, PathBuf};

/// Stores recorded streams with every codec: bytes and CPU time for each EVENT record.
#[derive(Args)]
pub(crate) struct CodecsArgs {
    /// Streams of `fsmon -f binary`, not in segments
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How often each is written and read
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// What one codec made of one stream.
struct Made {
    name: &'static str,
    codec: Codec,
    stream: Vec<u8>,
    write_ns: Vec<u64>,
    read_ns: Vec<u64>,
}

/// Measures and prints. There is nothing to be wrong but an error.
pub(crate) fn main(args: &CodecsArgs) -> Result<bool, String> {
    let tables = args.files.iter().map(|file| measured(file, args.runs));
    table::print(&tables.collect::<Result<Vec<_>, _>>()?);
    println!(
        "{} runs each, CPU time; writing compresses what is uncompressed in memory.",
        args.runs
    );
    Ok(true)
}

fn measured(file: &Path, runs: u32) -> Result<Table, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let recorded = fs::read(file).map_err(|error| failed(&error))?;
    let mut plain = Vec::new();
    recode(&recorded[..], Codec::None, &mut plain).map_err(|error| failed(&error))?;
    let mut all = Vec::new();
    for &(name, codec) in Codec::NAMES {
        let (stream, write_ns, read_ns) = (Vec::new(), Vec::new(), Vec::new());
        all.push(Made { name, codec, stream, write_ns, read_ns });
    }
    let mut counts = (0, 0);
    // In turn, so that other work on the machine hits all alike.
    for _ in 0..runs {
        for made in &mut all {
            let written = made.write(&plain).and_then(|()| made.read());
            counts = written.map_err(|error| failed(&error))?;
        }
    }
    Ok(table(file, counts, &all))
}

fn table(file: &Path, (blocks, events): (u64, u64), all: &[Made]) -> Table {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let head = ["codec", "bytes an event", "writing, ns an event", "reading, ns an event"];
    let mut table = Table::new(&name, &head);
    let raw = all.first().map_or(0, |plain| plain.stream.len());
    table.note = Some(format!(
        "{events} EVENT records; {blocks} blocks of {:.1} KiB.",
        raw as f64 / 1024.0 / blocks as f64
    ));
    for made in all {
        let each = |times: &[u64]| Spread::of(times.iter().map(|ns| *ns as f64 / events as f64));
        table.push(vec![
            made.name.to_owned(),
            format!("{:.1}", made.stream.len() as f64 / events as f64),
            show(each(&made.write_ns), 0, ""),
            show(each(&made.read_ns), 0, ""),
        ]);
    }
    table
}

impl Made {
    fn write(&mut self, plain: &[u8]) -> Result<(), fsmon_format::error::Error> {
        self.stream.clear();
        let begun = own_cpu_ns();
        recode(plain, self.codec, &mut self.stream)?;
        self.write_ns.push(own_cpu_ns() - begun);
        Ok(())
    }

    /// Returns the number of blocks and of EVENT records.
    fn read(&mut self) -> Result<(u64, u64), fsmon_format::error::Error> {
        let begun = own_cpu_ns();
        let mut reader = Reader::new(&self.stream[..]);
        let (mut blocks, mut events) = (0, 0);
        while let Some(item) = reader.next()? {
            if let Item::Block(block) = item {
                blocks += 1;
                events += u64::from(block.events());
            }
        }
        self.read_ns.push(own_cpu_ns() - begun);
        Ok((blocks, events))
    }
}
