//! Parquet: a row for each type of an event, and for each loss.

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
use fsmon_format::record::{COUNT_UNKNOWN, Reason};
use fsmon_format::stream::{BLOCK_CAPACITY, Block, Gap, Header};
use part::Part;
use partition::Parts;
use rows::{Image, Loss, Origin};
use std::sync::Arc;

/// Converts all inputs.
///
/// # Errors
/// Those of reading and writing.
pub(crate) fn convert(args: &Args, inputs: &[Input]) -> Result<Fed> {
    let mut table = Table {
        world: World::new(),
        paths: Paths::default(),
        parts: Parts::new(&args.output, &args.partition)?,
        images: Images::new(),
        origin: Origin::default(),
        last_ns: 0,
    };
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
                    let image = images.get(part, world, event.head.proc.get());
                    world.each_change(&event, number, paths, |change| {
                        part.rows.change(origin, world, change, &image);
                        Ok::<_, crate::error::Error>(())
                    })?;
                    part.write_if_full()?;
                }
                Content::Loss(loss) => {
                    let count = loss.count.get();
                    let loss = Loss {
                        time_ns: world.wall(loss.last_ns.get()),
                        reason: Reason::from_code(loss.reason.get()).name(),
                        lost: (count != COUNT_UNKNOWN).then_some(count),
                    };
                    parts.at(loss.time_ns, world.events())?.rows.loss(origin, &loss);
                }
                Content::Image(_) | Content::Nothing => {}
            }
        }
        Ok(())
    }

    fn gap(&mut self, gap: &Gap) -> Result<()> {
        let loss = Loss { time_ns: self.last_ns, reason: "damaged_file", lost: gap.events };
        self.parts.at(loss.time_ns, self.world.events())?.rows.loss(&self.origin, &loss);
        Ok(())
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
