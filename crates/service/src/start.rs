//! From a configuration to a daemon whose engine and recorder run.

use crate::ALWAYS_RECORDED;
use crate::clocks::Clocks;
use crate::config::{Config, State, Watch};
use crate::daemon::{Daemon, keep};
use crate::engine::Engine;
use crate::recorder::{Core, Recorder};
use crate::shared::Shared;
use crate::skip::{Rules, Skipper};
use crate::stream::{Rotate, Stream};
use crate::watches::Watches;
use fsmon_engine::limits::STRING_IDS;
use fsmon_engine::plan::Plan;
use fsmon_engine::{Config as EngineConfig, Monitor, Receiver};
use fsmon_format::error::Error;
use fsmon_format::record::Cause;
use fsmon_format::stream::Header;
use fsmon_format::stream::layout::MINOR;
use fsmon_present::binary::Binary;
use fsmon_present::filter::real;
use fsmon_present::message;
use fsmon_present::names::{self, Names};
use fsmon_present::wall::Wall;
use fsmon_present::world::World;
use fsmon_store::history::{History, How, Last};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Opens the history, starts the engine without any root, and begins a stream.
///
/// # Errors
/// Any reason why the daemon cannot begin.
pub(crate) fn start(source: &Path, config: Config) -> Result<(Daemon, Recorder), Error> {
    let boot_id = id_in("/proc/sys/kernel/random/boot_id");
    let clocks = Clocks::of_this_host(boot_id);
    let history = History::open(&config.history.dir, keep(&config), &clocks.now())?;
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
    let mut stream = Stream::begin(header.stream_id, binary, history.clone(), clocks, rotate)?;
    let names = Names::of_this_host(STRING_IDS, Box::new(fsmon_engine::cgroup_path));
    let world = World::live(capacity, wall, names);
    if let Some(last) = &last {
        stream.gap_since(&world, last, cause(last, boot_id));
        // If this daemon is killed at once, the next one's gap begins here. A full disk is the recorder's business.
        stream.end_block();
        let _ = stream.write().and_then(|()| stream.sync());
    }
    let (requests, requested) = flume::unbounded();
    let shared = Arc::<Shared>::default();
    let core = Core {
        world,
        watches: Watches::new(capacity),
        stream,
        requests: requested,
        waiting: HashMap::new(),
        shared: shared.clone(),
    };
    let daemon = Daemon::new(
        source,
        config,
        Engine::new(monitor, requests),
        (history, shared, skipper, clocks),
        capacity,
        (types, wall.moment().1),
    );
    Ok((daemon, Recorder { receiver, core }))
}

/// Why nothing was recorded since the last stream.
fn cause(last: &Last, boot_id: [u8; 16]) -> Cause {
    match last.how {
        How::Closed => Cause::Stopped,
        How::Open if last.boot_id != boot_id => Cause::Reboot,
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
