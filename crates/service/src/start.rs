//! From a configuration to a daemon whose engine and recorder run.

use crate::ALWAYS_RECORDED;
use crate::clocks::Clocks;
use crate::config::{Config, State, Watch};
use crate::daemon::{Daemon, keep};
use crate::engine::Engine;
use crate::handover::Handover;
use crate::limits::{LOCK_PATIENCE, LOCK_RETRY};
use crate::recorder::{Core, Recorder};
use crate::shared::Shared;
use crate::shed::Limit;
use crate::skip::{Rules, Skipper};
use crate::stream::{Rotate, Stream};
use crate::watches::Watches;
use crate::writer::{Files, Writer, is_of_disk};
use fsmon_engine::limits::STRING_IDS;
use fsmon_engine::plan::Plan;
use fsmon_engine::{Config as EngineConfig, Monitor, Receiver};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::record::Cause;
use fsmon_format::stream::Header;
use fsmon_format::stream::layout::MINOR;
use fsmon_present::binary::Binary;
use fsmon_present::filter::real;
use fsmon_present::message;
use fsmon_present::names::{self, Names};
use fsmon_present::redact::Redactor;
use fsmon_present::wall::Wall;
use fsmon_present::world::World;
use fsmon_store::history::{History, How, Last};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// Opens the history, starts the engine without any root, and begins a stream.
///
/// # Errors
/// Any reason why the daemon cannot begin.
pub(crate) fn start(source: &Path, config: Config) -> Result<(Daemon, Recorder), Error> {
    let boot_id = id_in("/proc/sys/kernel/random/boot_id");
    let clocks = Clocks::of_this_host(boot_id);
    let history = open_history(&config, clocks)?;
    let (last, object_key) = (history.last(), *history.key());
    let history = Arc::new(Mutex::new(history));
    let skipper = Skipper::default();
    skipper.set(Rules::new(&real(&config.history.dir), Vec::new()));
    let state = State::load(&config.state.file).unwrap_or_default();
    let watches = config.with_state(&state);
    let mut engine_config = engine_config(&config, &watches, &skipper);
    engine_config.object_key = Some(object_key);
    let (types, capacity) = (engine_config.types, names::room(engine_config.capacity()));
    let (monitor, receiver): (Monitor, Receiver) = fsmon_engine::start(engine_config)?;
    announce(monitor.plan());
    let wall = Wall::of_this_host();
    let header = header(monitor.plan(), &config, boot_id, wall)?;
    let binary = Binary::new(header.clone(), config.history.compress, capacity)?;
    let rotate = Rotate { size: config.history.rotate.size, age: config.history.rotate.age };
    let mut stream = Stream::begin(header.stream_id, binary, rotate);
    let names = Names::of_this_host(STRING_IDS, Box::new(fsmon_engine::cgroup_path));
    let redactor = Redactor::new(&config.engine.redact)?;
    let world = World::live(capacity, wall, names).redacted_by(redactor);
    if let Some(last) = &last {
        stream.gap_since(&world, last, cause(last, boot_id));
        stream.end_block();
    }
    let (handover, shared) = (Arc::<Handover>::default(), Arc::<Shared>::default());
    let mut files = Files::new(history.clone(), clocks, wall.moment().1);
    begin(&mut files, &mut stream, &world, &handover)?;
    let (requests, requested) = flume::unbounded();
    let queue = monitor.queue();
    let core = Core {
        world,
        watches: Watches::new(capacity),
        stream,
        handover: handover.clone(),
        limit: Limit { bytes: Box::new(move || queue.bytes()), max_bytes: config.queue.max_bytes },
        shed: None,
        build: Box::default(),
        said: None,
        requests: requested,
        waiting: HashMap::new(),
        shared: shared.clone(),
    };
    let writer = Writer { files, handover, shared: shared.clone() };
    let daemon = Daemon::new(
        source,
        config,
        Engine::new(monitor, requests),
        (history, shared, skipper, clocks),
        capacity,
        (types, wall.moment().1),
    );
    Ok((daemon, Recorder { receiver, writer, core }))
}

/// Writes the beginning of a stream, durably: if this daemon is killed at once, the next one's gap begins here. On a full
/// disk the writer pauses with it, and goes on once it can.
///
/// # Errors
/// It cannot be written, for another reason.
fn begin(
    files: &mut Files,
    stream: &mut Stream,
    world: &World,
    handover: &Handover,
) -> Result<(), Error> {
    let mut piece = stream.piece(world, Vec::new());
    match files.write(&mut piece) {
        // What fails here, the next sync says.
        Ok(()) => _ = files.sync(),
        Err(error) if is_of_disk(&error) => handover.put(piece),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Opens the history. A daemon that was just killed may still hold it for a moment.
fn open_history(config: &Config, clocks: Clocks) -> Result<History, Error> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match History::open(&config.history.dir, keep(config), &clocks.now()) {
            Err(error) if error.kind() == ErrorKind::Busy && Instant::now() < deadline => {
                thread::sleep(LOCK_RETRY);
            }
            opened => return opened,
        }
    }
}

/// Why nothing was recorded since the last stream. A reboot stops the daemon first: it is the reason all the same.
fn cause(last: &Last, boot_id: [u8; 16]) -> Cause {
    match last.how {
        _ if last.boot_id != boot_id => Cause::Reboot,
        How::Closed => Cause::Stopped,
        How::Open => Cause::Killed,
    }
}

fn engine_config(config: &Config, watches: &[Watch], skipper: &Skipper) -> EngineConfig {
    let mut engine = EngineConfig::new(Vec::new());
    let types = watches.iter().map(Watch::types);
    engine.types = types.fold(ALWAYS_RECORDED, |all, one| all | one);
    engine.hard_links = watches.iter().any(|watch| watch.hard_links);
    engine.follow_mounts = watches.iter().any(|watch| watch.follow_mounts);
    engine.cmdline = watches.iter().any(|watch| watch.cmdline);
    engine.skip_dir = Some(skipper.skip_dir());
    engine.skip_mount = Some(skipper.skips());
    engine.notice = Some(Box::new(message::print));
    engine.cpu = config.engine.cpu;
    engine.batch_window = config.engine.batch_window;
    engine.dirs_max = config.engine.max_dirs;
    engine.processes_max = config.engine.max_processes;
    engine
}

fn announce(plan: &Plan) {
    for line in plan.losses.iter().map(ToString::to_string) {
        message::print(line);
    }
    for note in &plan.notes {
        message::print(note);
    }
}

fn header(plan: &Plan, config: &Config, boot_id: [u8; 16], wall: Wall) -> Result<Header, Error> {
    let (time_ns, realtime_ns) = wall.moment();
    let types = config.watches.iter().map(Watch::types);
    Ok(Header {
        minor: MINOR,
        stream_id: random_id()?,
        boot_id,
        machine_id: id_in("/etc/machine-id"),
        time_ns,
        realtime_ns,
        version: env!("CARGO_PKG_VERSION").into(),
        kernel: plan.kernel.clone().into_bytes(),
        host: std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default().trim_ascii().into(),
        types: types.fold(ALWAYS_RECORDED, |all, one| all | one),
        roots: config
            .watches
            .iter()
            .map(|watch| watch.path.as_os_str().as_bytes().to_vec())
            .collect(),
        ..Header::default()
    })
}

/// A random id for a stream.
fn random_id() -> Result<[u8; 16], Error> {
    let mut id = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut id))
        .map_err(|error| Error::os("cannot read /dev/urandom", error))?;
    Ok(id)
}

/// The id in a file: 32 hexadecimal digits, with or without dashes; zeros if it has none.
fn id_in(path: &str) -> [u8; 16] {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reboot_is_the_cause_whether_or_not_the_daemon_was_stopped_for_it() {
        let (stream_id, events, last_wall_ns) = ([7; 16], 1, 1);
        let last = |how| Last { stream_id, events, last_wall_ns, boot_id: [1; 16], how };
        for (how, within_a_boot) in [(How::Closed, Cause::Stopped), (How::Open, Cause::Killed)] {
            assert_eq!(cause(&last(how), [1; 16]), within_a_boot);
            assert_eq!(cause(&last(how), [2; 16]), Cause::Reboot);
        }
    }
}
