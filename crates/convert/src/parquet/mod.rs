//! Parquet: a row for each type of an event, for each loss, and for each time for which nothing was recorded.

mod columns;
mod part;
mod partition;
mod rows;
mod schema;

use crate::args::Args;
use crate::error::Result;
use crate::feed::{Fed, Output, feed};
use crate::inputs::Input;
use crate::world::{Content, Paths, World};
use fsmon_format::record::{COUNT_UNKNOWN, Cause, Reason};
use fsmon_format::stream::{BLOCK_CAPACITY, Block, Gap, Header};
use part::Part;
use partition::Parts;
use rows::{Image, Missing, Origin};
use std::sync::Arc;

/// Converts all inputs.
///
/// # Errors
/// Those of reading and writing.
pub(crate) fn convert(args: &Args, inputs: &[Input]) -> Result<Fed> {
    let mut table = Table::new(Parts::new(&args.output, &args.partition)?);
    let fed = feed(inputs, &mut table, true)?;
    table.parts.finish()?;
    Ok(fed)
}

struct Table {
    world: World,
    paths: Paths,
    parts: Parts,
    images: Images,
    origin: Origin,
    /// Wall time of the last row, used for damage, whose time is not known.
    last_ns: u64,
}

impl Table {
    fn new(parts: Parts) -> Self {
        Table {
            world: World::new(),
            paths: Paths::default(),
            parts,
            images: Images::new(),
            origin: Origin::default(),
            last_ns: 0,
        }
    }
}

impl Output for Table {
    fn header(&mut self, header: &Header) -> Result<()> {
        self.world.header(header);
        self.origin = Origin::of(header);
        self.parts.header(Arc::new(header.clone()));
        self.last_ns = header.realtime_ns;
        Ok(())
    }

    fn block(&mut self, block: &Block<'_>) -> Result<()> {
        let Table { world, paths, parts, images, origin, last_ns } = self;
        world.begin(block);
        images.forget();
        for record in block.records() {
            match world.take(&record) {
                Content::Event(event, number) => {
                    *last_ns = world.wall(event.head.time_ns.get());
                    let part = parts.at(*last_ns, number)?;
                    world.each_change(&event, number, paths, |change| {
                        // Within: texts of an image are kept for a row only.
                        let image = images.get(part, world, event.head.proc.get());
                        part.rows.change(origin, world, change, &image);
                        Ok::<_, crate::error::Error>(())
                    })?;
                    part.write_if_full()?;
                }
                Content::Loss(loss) => {
                    let count = loss.count.get();
                    let loss = Missing {
                        time_ns: world.wall(loss.last_ns.get()),
                        reason: Reason::from_code(loss.reason.get()).name(),
                        lost: (count != COUNT_UNKNOWN).then_some(count),
                        since_ns: None,
                    };
                    let part = parts.at(loss.time_ns, world.events())?;
                    part.rows.missing(origin, &loss);
                    part.write_if_full()?;
                }
                Content::Gap(gap) => {
                    let missing = Missing {
                        time_ns: gap.to_ns.get(),
                        reason: Cause::from_code(gap.cause.get()).name(),
                        lost: None,
                        since_ns: Some(gap.from_ns.get()),
                    };
                    let part = parts.at(missing.time_ns, world.events())?;
                    part.rows.missing(origin, &missing);
                    part.write_if_full()?;
                }
                Content::Image(_) | Content::Nothing => {}
            }
        }
        Ok(())
    }

    fn gap(&mut self, gap: &Gap) -> Result<()> {
        let (time_ns, reason) = (self.last_ns, "damaged_file");
        let loss = Missing { time_ns, reason, lost: gap.events, since_ns: None };
        let part = self.parts.at(time_ns, self.world.events())?;
        part.rows.missing(&self.origin, &loss);
        part.write_if_full()
    }
}

impl Origin {
    fn of(header: &Header) -> Self {
        Origin {
            host: String::from_utf8_lossy(&header.host).into_owned(),
            boot_id: part::hex(&header.boot_id),
            stream_id: part::hex(&header.stream_id),
            segment: header.segment,
        }
    }
}

/// The row fields of a block's process images, by their ids in the block.
struct Images {
    kept: Vec<Option<Image>>,
    /// The part and the row group that contain the texts.
    within: (u64, u64),
}

impl Images {
    fn new() -> Self {
        Images { kept: vec![None; BLOCK_CAPACITY.processes + 1], within: (0, 0) }
    }

    fn forget(&mut self) {
        self.kept.fill(None);
    }

    fn get(&mut self, part: &mut Part, world: &World, id: u32) -> Image {
        let Some(image) = world.mirror.proc(id) else { return Image::default() };
        let within = (part.serial, part.rows.group);
        if self.within != within {
            self.within = within;
            self.forget();
        }
        match self.kept.get_mut(id as usize) {
            Some(kept) => *kept.get_or_insert_with(|| part.rows.image(&world.mirror, image)),
            None => part.rows.image(&world.mirror, image),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::GROUP_ROWS;
    use fsmon_format::mirror::{Capacity, Mirror};
    use fsmon_format::record::{self, Build, Record};
    use fsmon_format::stream::{Damage, Fault, Item, Reader, Writer};
    use std::path::Path;
    use zerocopy::FromZeros;

    /// A table that goes to a file in `dir`.
    fn table(dir: &Path) -> Table {
        let parts = Parts::new(&dir.join("table.parquet"), &[]);
        Table::new(parts.unwrap_or_else(|error| panic!("{error}")))
    }

    fn groups(table: &mut Table) -> u64 {
        table.parts.at(0, 0).unwrap_or_else(|error| panic!("{error}")).rows.group
    }

    /// A stream of losses alone.
    fn losses(count: usize) -> Vec<u8> {
        let capacity = Capacity { dirs: 1, processes: 1, strings: 1, text: 1 };
        let mut writer = Writer::new(Vec::new(), &Header::default(), capacity).expect("room");
        let mirror = Mirror::new(capacity);
        let mut build = Build::default();
        let (loss, _) =
            Record::split_first(build.loss(record::Loss::new_zeroed())).expect("a record");
        for _ in 0..count {
            writer.push(&loss, &mirror).expect("room");
        }
        writer.finish().expect("room")
    }

    #[test]
    fn losses_alone_are_written_in_groups() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut table = table(dir.path());
        let stream = losses(2 * GROUP_ROWS);
        let mut reader = Reader::new(&stream[..]);
        while let Some(item) = reader.next().expect("a stream") {
            let Item::Block(block) = item else { continue };
            table.block(&block).unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(groups(&mut table), 2);
    }

    #[test]
    fn gaps_alone_are_written_in_groups() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut table = table(dir.path());
        let damage = Damage { offset: 0, block: None, fault: Fault::Payload };
        let gap = Gap { damage, bytes: 1, blocks: None, events: None };
        for _ in 0..2 * GROUP_ROWS {
            table.gap(&gap).unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(groups(&mut table), 2);
    }
}
