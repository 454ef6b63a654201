//! The binary stream as the end of a pipeline, and what its header says about this host.

use crate::limits::{BLOCK, BLOCK_EVENTS, GATHER_BLOCK, SMALL_BLOCK};
use crate::pipeline::{Output, Patience};
use crate::wall::Wall;
use crate::world::{Change, World};
use fsmon_engine::Error;
use fsmon_engine::plan::Plan;
use fsmon_format::mirror::Capacity;
use fsmon_format::record::{Body, Build, Dir, EventRef, Loss, Record, Slot};
use fsmon_format::stream::{Codec, Header, Writer};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use zerocopy::FromZeros;

/// Writes blocks.
pub(crate) struct Binary {
    /// Taken away when the stream ends.
    writer: Option<Writer<Vec<u8>>>,
    /// Of the file at hand.
    header: Header,
    build: Box<Build>,
    /// Events that a reader waits for. A loss counts as many.
    held: u32,
}

impl Binary {
    /// A writer whose header is still to be delivered. `capacity` is that of the world.
    ///
    /// # Errors
    /// None that can happen with a buffer in memory.
    pub(crate) fn new(header: Header, codec: Codec, capacity: Capacity) -> Result<Self, Error> {
        let buffer = Vec::with_capacity(crate::limits::BUFFER_BYTES);
        let writer = Writer::new(buffer, &header, capacity)
            .map_err(|error| Error::os("cannot begin the stream", error))?
            .compress(codec);
        Ok(Binary { writer: Some(writer), header, build: Box::default(), held: 0 })
    }

    /// What a stream of this host says about itself.
    pub(crate) fn header(plan: &Plan, types: u32, wall: Wall, stream_id: [u8; 16]) -> Header {
        let (time_ns, realtime_ns) = wall.moment();
        Header {
            stream_id,
            boot_id: id_in("/proc/sys/kernel/random/boot_id"),
            machine_id: id_in("/etc/machine-id"),
            time_ns,
            realtime_ns,
            version: env!("CARGO_PKG_VERSION").into(),
            kernel: plan.kernel.clone().into_bytes(),
            host: std::fs::read("/proc/sys/kernel/hostname")
                .unwrap_or_default()
                .trim_ascii()
                .into(),
            types,
            roots: plan.roots.iter().map(|root| root.path.as_os_str().as_bytes().into()).collect(),
            ..Header::default()
        }
    }

    fn push(&mut self, record: &Record<'_>, world: &World, out: &mut Vec<u8>) {
        push(self.writer.as_mut(), record, world, out);
    }
}

impl Output for Binary {
    const GATHER: Duration = GATHER_BLOCK;

    fn begin(&mut self, out: &mut Vec<u8>) {
        deliver(self.writer.as_mut(), out);
    }

    fn changed(&mut self, world: &World, change: Change, out: &mut Vec<u8>) {
        let slots = match change {
            Change::Dir(id) | Change::Renamed(id) => {
                let mut head = Dir::new_zeroed();
                head.id = id.into();
                head.object = world.mirror.dir(id).map_or(0, |dir| dir.object).into();
                self.build.dir(head, b"")
            }
            Change::Proc(id) => match world.mirror.proc(id) {
                Some(image) => self.build.proc(*image),
                None => return,
            },
            Change::Str(id) => self.build.str(id, b""),
            Change::Nothing | Change::Everything => return,
        };
        push_slots(self.writer.as_mut(), slots, world, out);
    }

    #[inline]
    fn event(
        &mut self,
        world: &World,
        event: &EventRef<'_>,
        types: u32,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) {
        self.held = self.held.saturating_add(1);
        let mask = event.head.mask.get() & !fsmon_format::kind::EVERY | types;
        if mask == event.head.mask.get() {
            return self.push(record, world, out);
        }
        let mut head = *event.head;
        head.mask = mask.into();
        let slots = self.build.event(head, event.name, event.name2);
        push_slots(self.writer.as_mut(), slots, world, out);
    }

    fn loss(&mut self, world: &World, _: &Loss, record: &Record<'_>, out: &mut Vec<u8>) {
        self.held = BLOCK_EVENTS;
        self.push(record, world, out);
    }

    fn other(&mut self, world: &World, record: &Record<'_>, out: &mut Vec<u8>) {
        self.push(record, world, out);
        // Readers go by CLOCK records only, and each block repeats the last one: times come out
        // the same live and decoded.
        if let Body::Stats(stats) = record.body() {
            let slots = self.build.clock(stats.time_ns.get(), stats.realtime_ns.get());
            push_slots(self.writer.as_mut(), slots, world, out);
        }
    }

    fn holds_back(&self) -> bool {
        self.held > 0
    }

    fn patience(&self, to_file: bool) -> Patience {
        if to_file && self.held < BLOCK_EVENTS { SMALL_BLOCK } else { BLOCK }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if let Some(writer) = &mut self.writer {
            in_memory(writer.flush());
        }
        self.held = 0;
        deliver(self.writer.as_mut(), out);
    }

    fn end_file(&mut self, out: &mut Vec<u8>) {
        if let Some(writer) = &mut self.writer {
            in_memory(writer.end_segment());
        }
        self.held = 0;
        deliver(self.writer.as_mut(), out);
    }

    fn begin_file(&mut self, out: &mut Vec<u8>) {
        (self.header.time_ns, self.header.realtime_ns) = Wall::of_this_host().moment();
        if let Some(writer) = &mut self.writer {
            in_memory(writer.begin_segment(&mut self.header));
        }
        deliver(self.writer.as_mut(), out);
    }

    fn end(&mut self, _: &World, out: &mut Vec<u8>) {
        if let Some(writer) = self.writer.take() {
            let rest = writer.finish();
            out.append(&mut rest.expect("a buffer in memory takes everything"));
        }
    }
}

fn push_slots(
    writer: Option<&mut Writer<Vec<u8>>>,
    slots: &[Slot],
    world: &World,
    out: &mut Vec<u8>,
) {
    if let Some((record, _)) = Record::split_first(slots) {
        push(writer, &record, world, out);
    }
}

#[inline]
fn push(
    writer: Option<&mut Writer<Vec<u8>>>,
    record: &Record<'_>,
    world: &World,
    out: &mut Vec<u8>,
) {
    let Some(writer) = writer else { return };
    in_memory(writer.push(record, &world.mirror));
    if !writer.get_mut().is_empty() {
        deliver(Some(writer), out);
    }
}

fn deliver(writer: Option<&mut Writer<Vec<u8>>>, out: &mut Vec<u8>) {
    if let Some(writer) = writer {
        let block = writer.get_mut();
        out.extend_from_slice(block);
        block.clear();
    }
}

/// Malformed records do not come this far, and a buffer takes everything.
fn in_memory(result: std::io::Result<()>) {
    result.expect("a well-formed record and a buffer in memory");
}

/// Names a stream.
///
/// # Errors
/// The kernel gives no random number.
pub(crate) fn stream_id() -> Result<[u8; 16], Error> {
    let mut id = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut id))
        .map_err(|error| Error::os("cannot read /dev/urandom", error))?;
    Ok(id)
}

/// 32 hexadecimal digits, with dashes or without; zeros where there are none.
fn id_in(path: &str) -> [u8; 16] {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::FilterArgs;
    use crate::decode::tests::decode;
    use crate::text::fixture::{Bench, capacity, event, image};
    use crate::text::{Lines, json::Json};
    use fsmon_format::kind;

    fn binary(args: &FilterArgs, count: Option<u64>) -> Bench<Binary> {
        let output = Binary::new(Header::default(), Codec::None, capacity()).expect("a writer");
        Bench::new(output, args, count)
    }

    fn stream(mut bench: Bench<Binary>, play: impl FnOnce(&mut Bench<Binary>)) -> Vec<u8> {
        bench.pipeline.begin(&mut bench.out);
        play(&mut bench);
        bench.pipeline.end(&mut bench.out);
        bench.out
    }

    #[test]
    fn decoded_lines_are_those_that_were_live() {
        let mut live = Bench::lines(Json::new(true));
        live.play();
        let stream = stream(binary(&FilterArgs::default(), None), Bench::play);
        assert_eq!(decode(&stream, Lines(Json::new(true))).expect("sound"), live.text());
    }

    #[test]
    fn so_are_they_across_blocks_clock_steps_and_ids_used_again() {
        fn play<O: Output>(bench: &mut Bench<O>) {
            bench.furnish();
            for step in 0..3000u32 {
                bench.event(event(kind::CREATE, 2, 3), step.to_string().as_bytes(), b"");
                match step % 500 {
                    100 => bench.image(image(3, 1000 + step, "again")),
                    200 => bench.dir_again(1, 0, step, 1, step.to_string().as_bytes()),
                    300 => bench.dir_again(2, 1, 0, step.into(), b"reused"),
                    400 => bench.stats(1_000_000_000, 1_700_000_000_000_000_000 + u64::from(step)),
                    _ => {}
                }
            }
        }
        let mut live = Bench::lines(Json::new(true));
        play(&mut live);
        let stream = stream(binary(&FilterArgs::default(), None), play);
        assert!(stream.len() > 2 * fsmon_format::stream::layout::BLOCK_MAX);
        assert_eq!(decode(&stream, Lines(Json::new(true))).expect("sound"), live.text());
    }

    #[test]
    fn filters_and_the_count_hold_for_the_stream() {
        let args = FilterArgs {
            types: vec!["create".into(), "modify".into(), "close_write".into()],
            ..FilterArgs::default()
        };
        let stream = stream(binary(&args, Some(2)), |bench| {
            bench.furnish();
            let merged = kind::CREATE | kind::ATTRIB | kind::MODIFY | kind::CLOSE_WRITE;
            bench.event(event(merged, 1, 3), b"f", b"");
            bench.event(event(merged, 1, 3), b"g", b"");
        });
        let text = decode(&stream, Lines(Json::new(false))).expect("sound");
        let types: Vec<_> = text.lines().filter_map(|line| line.split('"').nth(7)).collect();
        assert_eq!(types, ["CREATE", "MODIFY"]);
    }

    #[test]
    fn a_flushed_block_can_be_read_at_once() {
        let mut bench = binary(&FilterArgs::default(), None);
        bench.pipeline.begin(&mut bench.out);
        bench.furnish();
        assert!(!bench.pipeline.holds_back());
        bench.event(event(kind::CREATE, 1, 3), b"f", b"");
        assert!(bench.pipeline.holds_back());
        bench.pipeline.flush(&mut bench.out);
        assert!(!bench.pipeline.holds_back());
        let error = decode(&bench.out, Lines(Json::new(false))).expect_err("no end yet");
        assert!(error.0.contains("/srv/b/f"), "{}", error.0);
    }
}
