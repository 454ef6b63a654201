//! Processes that changed something, each kept once.

use super::names::{Name, Names};
use crate::limits::PROCESSES_SWEPT_LEAST;
use fsmon_format::mirror::Mirror;
use fsmon_format::number::{to_u32, to_usize};
use fsmon_format::record::{Body, Build, Proc, Record};
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hash, RandomState};
use zerocopy::FromZeros;

/// A process image; the default is none that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Who(u32);

/// What lines say of a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Image {
    flags: u16,
    pid: u32,
    ppid: u32,
    uid: u32,
    gid: u32,
    comm: [u8; 16],
    cgroup_id: u64,
    exe_root: u32,
    exe: Name,
    exec: Name,
    user: Name,
    cgroup: Name,
}

impl Image {
    fn names(&self) -> [Name; 4] {
        [self.exe, self.exec, self.user, self.cgroup]
    }
}

/// The processes.
pub(super) struct Table {
    /// Of `Who`, minus 1; `None` is free.
    images: Vec<Option<Image>>,
    free: Vec<u32>,
    table: HashTable<u32>,
    hasher: RandomState,
    sweep_at: usize,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            images: Vec::new(),
            free: Vec::new(),
            table: HashTable::new(),
            hasher: RandomState::new(),
            sweep_at: PROCESSES_SWEPT_LEAST,
        }
    }
}

impl Table {
    /// The process that an id of a block stands for.
    pub(super) fn put(&mut self, mirror: &Mirror, id: u32, names: &mut Names) -> Who {
        let Some(image) = mirror.proc(id) else { return Who::default() };
        let mut text = |id: u32| mirror.string(id).map_or(Name::EMPTY, |text| names.put(text));
        let image = Image {
            flags: image.flags.get(),
            pid: image.pid.get(),
            ppid: image.ppid.get(),
            uid: image.uid.get(),
            gid: image.gid.get(),
            comm: image.comm,
            cgroup_id: image.cgroup_id.get(),
            exe_root: image.exe_root.get(),
            exe: text(image.exe.get()),
            exec: text(image.exec.get()),
            user: text(image.user.get()),
            cgroup: text(image.cgroup.get()),
        };
        let hash = self.hasher.hash_one(image);
        let Table { images, free, table, hasher, .. } = self;
        let of = |images: &[Option<Image>], at: u32| images[to_usize(at.into())];
        if let Some(at) = table.find(hash, |at| of(images, *at) == Some(image)) {
            return Who(at + 1);
        }
        let at = free.pop().unwrap_or_else(|| {
            images.push(None);
            to_u32(images.len() - 1)
        });
        images[to_usize(at.into())] = Some(image);
        table.insert_unique(hash, at, |at| hasher.hash_one(of(images, *at).expect("it is used")));
        Who(at + 1)
    }

    /// Whether so many came that it is worth dropping those without use.
    pub(super) fn is_full(&self) -> bool {
        self.images.len() - self.free.len() >= self.sweep_at
    }

    /// Drops all processes but those in `used`.
    pub(super) fn sweep(&mut self, used: impl Iterator<Item = Who>) {
        let mut is_used = vec![false; self.images.len() + 1];
        for who in used {
            is_used[to_usize(who.0.into())] = true;
        }
        for (at, image) in self.images.iter_mut().enumerate() {
            if image.is_some() && !is_used[at + 1] {
                *image = None;
                self.free.push(to_u32(at));
            }
        }
        let (images, hasher) = (&self.images, &self.hasher);
        self.table.retain(|at| images[to_usize((*at).into())].is_some());
        self.table.shrink_to(0, |at| {
            hasher.hash_one(images[to_usize((*at).into())].expect("it is used"))
        });
        self.sweep_at = PROCESSES_SWEPT_LEAST.max(2 * (self.images.len() - self.free.len()));
    }

    /// The names that are used.
    pub(super) fn names(&self) -> impl Iterator<Item = Name> + use<'_> {
        self.images.iter().flatten().flat_map(Image::names)
    }

    /// Defines a process and its strings in `mirror`, of which all else is forgotten. Returns its id there; 0: it is not
    /// known.
    pub(super) fn define(&self, who: Who, names: &Names, mirror: &mut Mirror) -> u32 {
        mirror.clear();
        let Some(at) = who.0.checked_sub(1) else { return 0 };
        let Some(image) = self.images[to_usize(at.into())] else { return 0 };
        let mut build = Build::default();
        let mut ids = [0u32; 4];
        for (number, (name, id)) in image.names().into_iter().zip(&mut ids).enumerate() {
            if name != Name::EMPTY {
                *id = to_u32(number + 1);
                define(build.str(*id, names.get(name)), mirror);
            }
        }
        let mut head = Proc::new_zeroed();
        (head.id, head.pid, head.ppid) = (1.into(), image.pid.into(), image.ppid.into());
        (head.flags, head.uid, head.gid) = (image.flags.into(), image.uid.into(), image.gid.into());
        (head.comm, head.cgroup_id, head.exe_root) =
            (image.comm, image.cgroup_id.into(), image.exe_root.into());
        let [exe, exec, user, cgroup] = ids.map(Into::into);
        (head.exe, head.exec, head.user, head.cgroup) = (exe, exec, user, cgroup);
        define(build.proc(head), mirror);
        1
    }
}

fn define(slots: &[fsmon_format::record::Slot], mirror: &mut Mirror) {
    if let Some((record, _)) = Record::split_first(slots) {
        let body: Body<'_> = record.body();
        mirror.define(&body);
    }
}
