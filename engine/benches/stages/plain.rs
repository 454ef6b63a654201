//! What the recording says, by the plainest means: one field at a time, lists, and maps of owned bytes.
//! The answers that each stage is held against.

use fsmon_engine::hot::who::bpf_record as message;
use fsmon_engine::replay::Recording;
use fsmon_format::kind;
use std::collections::HashMap;

/// An object: its filesystem's id and its handle, as they lie in the event.
type Key = Vec<u8>;

/// An event of the queue.
pub(crate) struct Event {
    pub(crate) mask: u64,
    pub(crate) pid: u32,
    pub(crate) location: Option<(Key, Vec<u8>)>,
    pub(crate) old: Option<(Key, Vec<u8>)>,
    pub(crate) object: Option<Key>,
}

/// What the reader must report of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) mask: u32,
    pub(crate) path: Vec<u8>,
    /// Of a rename.
    pub(crate) old: Vec<u8>,
    pub(crate) pid: u32,
    pub(crate) comm: Vec<u8>,
    /// The name given to exec; empty where the process ran before.
    pub(crate) exec: Vec<u8>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|byte| *byte != 0).collect()
}

/// The events of all reads.
pub(crate) fn events(recording: &Recording) -> Vec<Event> {
    let mut events = Vec::new();
    for read in recording.reads() {
        let mut rest = &read.bytes[..];
        while !rest.is_empty() {
            let (bytes, after) = rest.split_at(u32_at(rest, 0) as usize);
            events.push(event(bytes));
            rest = after;
        }
    }
    events
}

fn event(bytes: &[u8]) -> Event {
    let (mask, pid) = (u64_at(bytes, 8), u32_at(bytes, 20));
    let mut event = Event { mask, pid, location: None, old: None, object: None };
    let mut at = 24;
    while at < bytes.len() {
        let len = usize::from(bytes[at + 2]) + (usize::from(bytes[at + 3]) << 8);
        let info = &bytes[at..at + len];
        let end = 20 + u32_at(info, 12) as usize;
        let key = [&info[4..12], &info[16..end]].concat();
        let name = until_nul(&info[end..]);
        let name = if name == b"." { Vec::new() } else { name };
        match info[0] {
            1 => event.object = Some(key),
            2 | 12 => event.location = Some((key, name)),
            10 => event.old = Some((key, name)),
            kind => panic!("an info record of a kind that was not asked for: {kind}"),
        }
        at += len;
    }
    event
}

/// Where directories are, by what hangs on what.
pub(crate) struct Dirs {
    /// Of each the directory it is in, and its name; of the root its path.
    dirs: HashMap<Key, (Key, Vec<u8>)>,
}

impl Dirs {
    /// The root alone.
    pub(crate) fn new(recording: &Recording) -> Self {
        let root = &recording.root;
        let key = [&root.fsid.to_ne_bytes()[..], &root.handle].concat();
        Dirs { dirs: HashMap::from([(key, (Key::new(), root.path.clone()))]) }
    }

    /// The path of a directory, or of an entry of it.
    pub(crate) fn path(&self, (dir, name): &(Key, Vec<u8>)) -> Vec<u8> {
        let (parent, own) = &self.dirs[dir];
        let mut path = own.clone();
        if !parent.is_empty() {
            path = self.path(&(parent.clone(), path));
        }
        if !name.is_empty() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        path
    }

    /// Directories come and move; those that are gone stay known.
    pub(crate) fn follow(&mut self, event: &Event) {
        let changes = u64::from(kind::CREATE | kind::RENAME);
        if event.mask & u64::from(kind::ONDIR) != 0 && event.mask & changes != 0 {
            self.dirs.insert(event.object.clone().unwrap(), event.location.clone().unwrap());
        }
    }
}

/// What a process was from some number of events queued on.
#[derive(Clone, Default)]
pub(crate) struct Image {
    position: u64,
    pub(crate) comm: Vec<u8>,
    pub(crate) exec: Vec<u8>,
}

/// What each process was, oldest first.
pub(crate) struct Images(HashMap<u32, Vec<Image>>);

impl Images {
    pub(crate) fn new(recording: &Recording) -> Self {
        let (before, first) = (before_each_read(recording), recording.reads().next().unwrap());
        let mut messages: Vec<&[u8]> = recording.messages().map(|record| &record[12..]).collect();
        messages.sort_by_key(|raw| u64_at(raw, message::TIME));
        let mut images = Images(HashMap::new());
        for raw in messages {
            let reads = u32_at(raw, message::READS) - first.number;
            let position = before[reads as usize] + u64::from(u32_at(raw, message::LENGTH));
            let comm = until_nul(&raw[message::COMM..message::COMM + message::COMM_LEN]);
            let exec = match u32_at(raw, message::KIND) {
                message::kind::EXEC => until_nul(&raw[message::EXE..]),
                message::kind::FORK => images.latest(u32_at(raw, message::CALLER)).exec,
                _ => images.latest(u32_at(raw, message::PID)).exec,
            };
            let all = images.0.entry(u32_at(raw, message::PID)).or_default();
            all.push(Image { position, comm, exec });
        }
        images
    }

    fn latest(&self, pid: u32) -> Image {
        self.0.get(&pid).and_then(|all| all.last().cloned()).unwrap_or_default()
    }

    /// What the process was when the event of that number was queued.
    pub(crate) fn at(&self, pid: u32, index: u64) -> &Image {
        let all = &self.0[&pid];
        let last = all.iter().rev().find(|image| image.position <= index);
        last.unwrap_or(&all[0])
    }
}

/// How many events had been read before each read, and in all.
fn before_each_read(recording: &Recording) -> Vec<u64> {
    let mut before = vec![0];
    for read in recording.reads() {
        let (mut at, mut count) = (0, 0);
        while at < read.bytes.len() {
            at += u32_at(&read.bytes, at) as usize;
            count += 1;
        }
        before.push(before[before.len() - 1] + count);
    }
    before
}

/// What the reader must report, event by event.
pub(crate) fn reported(recording: &Recording) -> Vec<Reported> {
    let (mut dirs, images) = (Dirs::new(recording), Images::new(recording));
    let mut reported = Vec::new();
    for (index, event) in events(recording).iter().enumerate() {
        dirs.follow(event);
        let types = event.mask as u32 & kind::DEFAULT;
        let Some(at) = event.location.as_ref().filter(|_| types != 0) else { continue };
        let image = images.at(event.pid, index as u64).clone();
        reported.push(Reported {
            mask: event.mask as u32 & (kind::DEFAULT | kind::ONDIR),
            path: dirs.path(at),
            old: event.old.as_ref().map_or(Vec::new(), |old| dirs.path(old)),
            pid: event.pid,
            comm: image.comm,
            exec: image.exec,
        });
    }
    reported
}
