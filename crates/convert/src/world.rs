//! The definitions so far, and the meaning of records.

use fsmon_format::kind::{self, Kind};
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Attribution, Body, EventRef, Gap, Loss, Proc, Record, proc_flag};
use fsmon_format::stream::{BLOCK_CAPACITY, Block, Header};

/// The definitions in force, the clock, and the number of events so far.
pub(crate) struct World {
    pub(crate) mirror: Mirror,
    /// Monotonic time and wall time at one moment.
    clock: (u64, u64),
    /// The number of the next event in its stream.
    next_event: u64,
}

/// The content of a record that conversions use. An event comes with its number in the stream.
pub(crate) enum Content<'a> {
    Event(EventRef<'a>, u64),
    Image(&'a Proc),
    Loss(&'a Loss),
    Gap(&'a Gap),
    Nothing,
}

/// One type of an event, with its paths: the content of one line or row.
pub(crate) struct Change<'a> {
    pub(crate) kind: Kind,
    /// The path; of a rename the new one.
    pub(crate) path: Option<&'a [u8]>,
    /// The old path of a RENAME.
    pub(crate) old_path: Option<&'a [u8]>,
    /// The path through which the file was changed, if that is not watched.
    pub(crate) via: Option<&'a [u8]>,
    pub(crate) event: &'a EventRef<'a>,
    /// The event's number in its stream.
    pub(crate) number: u64,
}

impl Change<'_> {
    /// The errno that the filesystem reported, and how often; `None` for other events.
    pub(crate) fn fs_error(&self) -> Option<(u32, u32)> {
        (self.kind.bit == kind::FS_ERROR).then(|| self.event.errno_and_count())
    }

    /// The hash of the object's handle, if known.
    pub(crate) fn object(&self) -> Option<u64> {
        let object = self.event.head.object.get();
        (object != 0 && self.kind.bit != kind::FS_ERROR).then_some(object)
    }

    /// How certain the process is, as a word.
    pub(crate) fn attribution(&self) -> &'static str {
        match self.event.attribution() {
            Attribution::Exact => "exact",
            Attribution::Ambiguous => "ambiguous",
            Attribution::Late => "late",
            Attribution::Unknown => "unknown",
        }
    }
}

/// Buffers for the two paths of an event.
#[derive(Default)]
pub(crate) struct Paths {
    new: Vec<u8>,
    old: Vec<u8>,
}

impl World {
    pub(crate) fn new() -> Self {
        World { mirror: Mirror::new(BLOCK_CAPACITY), clock: (0, 0), next_event: 0 }
    }

    pub(crate) fn header(&mut self, header: &Header) {
        self.clock = (header.time_ns, header.realtime_ns);
        self.next_event = header.first_event;
    }

    /// Begins a block: definitions are valid within one block.
    pub(crate) fn begin(&mut self, block: &Block<'_>) {
        self.mirror.clear();
        self.next_event = block.first_event();
    }

    /// ns since 1970 at `mono_ns`, by the last clock.
    pub(crate) fn wall(&self, mono_ns: u64) -> u64 {
        self.clock.1.wrapping_add(mono_ns.wrapping_sub(self.clock.0))
    }

    /// How far wall time is ahead of the monotonic clock, ns.
    pub(crate) fn ahead(&self) -> u64 {
        self.clock.1.wrapping_sub(self.clock.0)
    }

    /// The monotonic time of the last clock.
    pub(crate) fn clock_ns(&self) -> u64 {
        self.clock.0
    }

    /// Events of the stream so far.
    pub(crate) fn events(&self) -> u64 {
        self.next_event
    }

    /// Takes a record.
    pub(crate) fn take<'a>(&mut self, record: &Record<'a>) -> Content<'a> {
        let body = record.body();
        self.mirror.define(&body);
        match body {
            Body::Event(event) => {
                self.next_event += 1;
                return Content::Event(event, self.next_event - 1);
            }
            Body::Proc(image) => return Content::Image(image),
            Body::Loss(loss) => return Content::Loss(loss),
            Body::Gap(gap) => return Content::Gap(gap),
            Body::Clock(clock) => self.clock = (clock.time_ns.get(), clock.realtime_ns.get()),
            Body::Stats(stats) => self.clock = (stats.time_ns.get(), stats.realtime_ns.get()),
            _ => {}
        }
        Content::Nothing
    }

    /// The types of an event in causal order, each with its paths.
    pub(crate) fn each_change<E>(
        &self,
        event: &EventRef<'_>,
        number: u64,
        paths: &mut Paths,
        mut take: impl FnMut(&Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let new = self.path(event.head.dir.get(), event.name, &mut paths.new);
        let old = self.path(event.head.dir2.get(), event.name2, &mut paths.old);
        for kind in kind::in_causal_order(event.head.mask.get()) {
            let (path, old_path, via) = match kind.bit {
                kind::RENAME => (new, old, None),
                kind::MOVED_FROM => (old, None, None),
                _ => (new, None, old.filter(|_| event.is_via())),
            };
            take(&Change { kind, path, old_path, via, event, number })?;
        }
        Ok(())
    }

    fn path<'a>(&self, dir: u32, name: &[u8], out: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        out.clear();
        if dir == 0 || !self.mirror.append_dir_path(dir, out) {
            return None;
        }
        if !name.is_empty() {
            if out.last() != Some(&b'/') {
                out.push(b'/');
            }
            out.extend_from_slice(name);
        }
        Some(out)
    }
}

/// The kernel's name of a process, without its padding; `None` if unknown.
pub(crate) fn comm(image: &Proc) -> Option<&[u8]> {
    let known = image.flags.get() & proc_flag::COMM != 0;
    known.then(|| image.comm.split(|byte| *byte == 0).next().unwrap_or_default())
}

/// A control group's path, or `id:` and its number if the path is not known.
pub(crate) fn cgroup(mirror: &Mirror, image: &Proc) -> Option<Vec<u8>> {
    match (mirror.string(image.cgroup.get()), image.cgroup_id.get()) {
        (Some(path), _) => Some(path.to_vec()),
        (None, 0) => None,
        (None, id) => Some(format!("id:{id}").into_bytes()),
    }
}

/// The mount namespace in which `exe` is valid, as /proc/PID/ns/mnt shows it; `None` for fsmon's.
pub(crate) fn exe_root(image: &Proc) -> Option<String> {
    let namespace = image.exe_root.get();
    (namespace != 0).then(|| format!("mnt:[{namespace}]"))
}

/// uid and gid, if known.
pub(crate) fn ids(image: &Proc) -> Option<(u32, u32)> {
    let known = image.flags.get() & proc_flag::CRED != 0;
    known.then(|| (image.uid.get(), image.gid.get()))
}
