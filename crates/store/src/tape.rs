//! Streams for tests: a recorder whose events are written down one by one.

use fsmon_format::kind::{ONDIR, RENAME};
use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::record::{self, Build, Record, Slot, event_flag, proc_flag};
use fsmon_format::stream::{Codec, Header, Writer};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use zerocopy::FromZeros;

const CAPACITY: Capacity = Capacity { dirs: 4096, processes: 4096, strings: 8192, text: 1 << 20 };

/// ns from one event to the next.
pub(crate) const STEP: u64 = 1000;
/// 2026-01-01.
pub(crate) const NEW_YEAR: u64 = 1_767_225_600_000_000_000;

/// A stream that is being recorded into a directory.
pub(crate) struct Tape {
    mirror: Mirror,
    writer: Writer<Vec<u8>>,
    header: Header,
    build: Build,
    dirs: HashMap<Vec<u8>, u32>,
    processes: HashMap<u32, u32>,
    strings: u32,
    renames: u32,
    dir: PathBuf,
    pub(crate) time_ns: u64,
}

/// One event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said<'a> {
    pub(crate) mask: u32,
    pub(crate) path: &'a str,
    /// RENAME: the old path. With the flag VIA the other one.
    pub(crate) old: &'a str,
    pub(crate) object: u64,
    pub(crate) pid: u32,
    /// The pid of its parent, which must be known; 0: none.
    pub(crate) parent: u32,
    pub(crate) flags: u16,
}

impl Tape {
    pub(crate) fn new(dir: &Path, id: u8, boot: u8, time_ns: u64, codec: Codec) -> Self {
        let header = Header {
            minor: 1,
            stream_id: [id; 16],
            boot_id: [boot; 16],
            time_ns,
            realtime_ns: NEW_YEAR + u64::from(boot) * (1 << 40) + time_ns,
            roots: vec![b"/srv".to_vec()],
            ..Header::default()
        };
        let writer = Writer::new(Vec::new(), &header, CAPACITY).expect("memory");
        Tape {
            mirror: Mirror::new(CAPACITY),
            writer: writer.compress(codec).count_clock_steps(),
            header,
            build: Build::default(),
            dirs: HashMap::new(),
            processes: HashMap::new(),
            strings: 0,
            renames: 0,
            dir: dir.to_owned(),
            time_ns,
        }
    }

    /// The wall time of a time of this stream.
    pub(crate) fn wall_ns(&self, time_ns: u64) -> u64 {
        self.header.realtime_ns - self.header.time_ns + time_ns
    }

    fn push(&mut self, slots: &[Slot]) {
        let (record, _) = Record::split_first(slots).expect("a record");
        self.mirror.define(&record.body());
        self.writer.push(&record, &self.mirror).expect("memory");
    }

    /// The id of a directory, which is defined if it was not; 0 for what is not below `/srv`.
    fn directory(&mut self, path: &str) -> u32 {
        if path != "/srv" && !path.starts_with("/srv/") {
            return 0;
        }
        if let Some(id) = self.dirs.get(path.as_bytes()) {
            return *id;
        }
        let id = u32::try_from(self.dirs.len() + 1).expect("few");
        let mut head = record::Dir::new_zeroed();
        head.id = id.into();
        head.object = (u64::from(id) << 32).into();
        self.dirs.insert(path.into(), id);
        let name = match path {
            "/srv" => path,
            _ => {
                let (parent, name) = path.rsplit_once('/').expect("absolute");
                head.parent = self.directory(parent).into();
                name
            }
        };
        let slots = self.build.dir(head, name.as_bytes()).to_vec();
        self.push(&slots);
        id
    }

    /// A process with its `comm`, which is `p` and its pid, and the parent's pid; 0: none.
    pub(crate) fn process(&mut self, pid: u32, parent: u32) -> u32 {
        if let Some(id) = self.processes.get(&pid) {
            return *id;
        }
        let id = u32::try_from(self.processes.len() + 1).expect("few");
        self.strings += 1;
        let exe = self.strings;
        let text = self.build.str(exe, format!("/bin/p{pid}").as_bytes()).to_vec();
        self.push(&text);
        let mut image = record::Proc::new_zeroed();
        (image.id, image.pid, image.ppid) = (id.into(), pid.into(), parent.into());
        image.parent = self.processes.get(&parent).copied().unwrap_or(0).into();
        image.start_ns = (u64::from(pid) + 1).into();
        (image.exe, image.uid) = (exe.into(), (1000 + pid % 3).into());
        let comm = format!("p{pid}");
        image.comm[..comm.len()].copy_from_slice(comm.as_bytes());
        image.flags = (proc_flag::COMM | proc_flag::CRED).into();
        self.processes.insert(pid, id);
        let slots = self.build.proc(image).to_vec();
        self.push(&slots);
        id
    }

    /// An event; a step later than the last.
    pub(crate) fn event(&mut self, said: &Said<'_>) {
        self.time_ns += STEP;
        let split = |path: &str| {
            let (dir, name) = path.rsplit_once('/').unwrap_or(("", ""));
            (dir.to_owned(), name.to_owned())
        };
        let ((dir, name), (dir2, name2)) = (split(said.path), split(said.old));
        let mut head = record::Event::new_zeroed();
        head.dir = self.directory(&dir).into();
        head.dir2 = self.directory(&dir2).into();
        head.proc = if said.pid == 0 { 0 } else { self.process(said.pid, said.parent) }.into();
        let unknown = if said.pid == 0 { 3 } else { 0 };
        head.flags = (said.flags | unknown & event_flag::ATTRIBUTION).into();
        (head.mask, head.object) = (said.mask.into(), said.object.into());
        head.time_ns = self.time_ns.into();
        let name = if head.dir.get() == 0 { "" } else { &name };
        let name2 = if head.dir2.get() == 0 { "" } else { &name2 };
        let slots = self.build.event(head, name.as_bytes(), name2.as_bytes()).to_vec();
        self.push(&slots);
        if said.mask & (RENAME | ONDIR) == RENAME | ONDIR {
            self.rehang(said.old, said.path);
        }
    }

    /// A directory was renamed: its id gets the new place.
    fn rehang(&mut self, old: &str, new: &str) {
        let below = |path: &[u8]| {
            path.strip_prefix(old.as_bytes())
                .filter(|rest| rest.is_empty() || rest[0] == b'/')
                .map(|rest| [new.as_bytes(), rest].concat())
        };
        let Some(id) = self.dirs.get(old.as_bytes()).copied() else { return };
        let dirs = std::mem::take(&mut self.dirs);
        self.dirs = dirs.into_iter().map(|(path, id)| (below(&path).unwrap_or(path), id)).collect();
        let (parent, name) = new.rsplit_once('/').expect("absolute");
        if !new.starts_with("/srv/") {
            self.dirs.retain(|path, _| !path.starts_with(new.as_bytes()));
            return;
        }
        let mut head = record::Dir::new_zeroed();
        head.id = id.into();
        head.object = (u64::from(id) << 32).into();
        head.parent = self.directory(parent).into();
        self.renames += 1;
        head.generation = self.renames.into();
        let slots = self.build.dir(head, name.as_bytes()).to_vec();
        self.push(&slots);
    }

    pub(crate) fn loss(&mut self) {
        self.time_ns += STEP;
        let mut head = record::Loss::new_zeroed();
        (head.first_ns, head.last_ns) = (self.time_ns.into(), self.time_ns.into());
        head.reason = 1.into();
        let slots = self.build.loss(head).to_vec();
        self.push(&slots);
    }

    /// Nothing was recorded between these wall times.
    pub(crate) fn gap(&mut self, from_ns: u64, to_ns: u64) {
        let mut head = record::Gap::new_zeroed();
        head.time_ns = self.time_ns.into();
        (head.from_ns, head.to_ns) = (from_ns.into(), to_ns.into());
        let slots = self.build.gap(head).to_vec();
        self.push(&slots);
    }

    pub(crate) fn note(&mut self, what: record::What, path: &str) {
        let mut head = record::Note::new_zeroed();
        head.time_ns = self.time_ns.into();
        head.what = what.code().into();
        head.flags = record::note_flag::RECURSIVE.into();
        let slots = self.build.note(head, path.as_bytes(), b"").to_vec();
        self.push(&slots);
    }

    /// Ends a block here.
    pub(crate) fn flush(&mut self) {
        self.writer.flush().expect("memory");
    }

    /// The file of the segment that is being written.
    pub(crate) fn file(&self) -> String {
        let id = self.header.stream_id[0];
        format!(
            "20260101T000000Z-{id:02x}{id:02x}{id:02x}{id:02x}-{:06}.fsmon",
            self.header.segment
        )
    }

    /// Writes what there is of the segment, which goes on. Returns its file.
    pub(crate) fn save(&mut self) -> String {
        self.flush();
        std::fs::write(self.dir.join(self.file()), self.writer.get_mut()).expect("written");
        self.file()
    }

    /// Closes the segment; the next begins. Returns the file of the closed one.
    pub(crate) fn rotate(&mut self) -> String {
        self.writer.end_segment().expect("memory");
        let file = self.file();
        std::fs::write(self.dir.join(&file), std::mem::take(self.writer.get_mut()))
            .expect("written");
        self.header.realtime_ns = self.wall_ns(self.time_ns);
        self.header.time_ns = self.time_ns;
        self.writer.begin_segment(&mut self.header).expect("memory");
        file
    }
}
