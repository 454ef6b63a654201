//! Where the storms are: a filesystem of each sort, and in it a field for each run.

use super::names;
use super::plan::{self, Mode, Plan};
use super::rng::Rng;
use super::worker::{Place, entries, home, open_dir};
use fsmon_harness::{Area, is_at_least, sh};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode as Bits, mkdirat};
use nix::unistd::symlinkat;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A sort of filesystem.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sort {
    Tmpfs,
    Ext4,
    Xfs,
    Btrfs,
    /// All within a btrfs subvolume.
    Subvolume,
    /// The root is a bind mount; half of the work comes by the path below it.
    Bind,
    /// The root is merged, and half of it lies in the lower layer; there, directories may be
    /// renamed or not.
    Overlay {
        redirect: bool,
    },
}

impl Sort {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Sort::Tmpfs => "tmpfs",
            Sort::Ext4 => "ext4",
            Sort::Xfs => "xfs",
            Sort::Btrfs => "btrfs",
            Sort::Subvolume => "btrfs_subvolume",
            Sort::Bind => "bind_mount",
            Sort::Overlay { redirect: false } => "overlay",
            Sort::Overlay { redirect: true } => "overlay_redirect",
        }
    }

    /// The operations that are left out as a rule.
    pub(crate) fn left_out(self) -> &'static str {
        match self {
            Sort::Overlay { .. } => plan::LEFT_OUT_MARKED,
            _ => plan::LEFT_OUT,
        }
    }
}

pub(crate) struct Ground {
    area: Area,
    sort: Sort,
    /// A directory on the filesystem, for one directory a run.
    top: PathBuf,
}

/// The directories of a run; gone when it is dropped.
pub(crate) struct Field {
    /// The ways to the root; the first is the one to be watched.
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) outside: PathBuf,
    pub(crate) lock: PathBuf,
    base: PathBuf,
}

impl Ground {
    /// Makes the filesystem; `None`, said aloud, where it cannot be.
    pub(crate) fn new(sort: Sort) -> Option<Self> {
        let mut area = Area::new();
        let top = match sort {
            Sort::Tmpfs | Sort::Bind => Some(area.tmpfs("ground", "size=256m")),
            Sort::Ext4 => area.image("ext4"),
            Sort::Xfs => area.image("xfs"),
            Sort::Btrfs => area.image("btrfs"),
            Sort::Subvolume => area.image("btrfs").map(|top| {
                sh(&top, "btrfs -q subvolume create volume");
                top.join("volume")
            }),
            Sort::Overlay { .. } if !is_at_least(6, 5) => {
                // That it is refused there is held in tests/e2e/backends.rs.
                let _ = writeln!(std::io::stderr(), "SKIP: overlayfs has handles from Linux 6.5");
                None
            }
            Sort::Overlay { .. } => Some(area.tmpfs("ground", "size=256m")),
        }?;
        Some(Ground { area, sort, top })
    }

    /// The directories of a run, with something in them.
    pub(crate) fn field(&mut self, seed: u64, plan: &Plan) -> Option<Field> {
        let base = self.top.join(format!("run-{seed}"));
        let mut rng = Rng::new(seed, u64::MAX - 1);
        let dir = |path: PathBuf| {
            fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            path
        };
        dir(base.clone());
        let lock = self.area.path("lock");
        File::create(&lock).expect("a file to lock");
        let merged = match self.sort {
            Sort::Overlay { redirect } => {
                let lower = dir(base.join("lower"));
                grow(&dir(lower.join("watched")), plan, &mut rng);
                let options = if redirect { "redirect_dir=on" } else { "redirect_dir=off" };
                self.area.overlay(&format!("merged-{seed}"), &lower, &base, options)?
            }
            _ => base.clone(),
        };
        let (root, outside) = (dir(merged.join("watched")), dir(merged.join("outside")));
        grow(&root, plan, &mut rng);
        let mut roots = vec![root.clone()];
        if self.sort == Sort::Bind {
            let source = root.to_str().expect("UTF-8").to_owned();
            roots.insert(0, self.area.mount(&format!("bind-{seed}"), &["--bind", &source]));
        }
        Some(Field { roots, outside, lock, base })
    }

    /// Done with a run.
    pub(crate) fn clear(&mut self, field: &Field) {
        self.area.unmount(&field.roots[0]);
        self.area.unmount(field.roots[0].parent().expect("it is below something"));
        fs::remove_dir_all(&field.base).expect("removed");
    }
}

/// Lets a tree grow, with the directory of each process that has one.
fn grow(root: &Path, plan: &Plan, rng: &mut Rng) {
    let fd = Rc::new(OwnedFd::from(File::open(root).expect("a directory")));
    let top = Place { path: Vec::new(), fd };
    let mut homes = vec![];
    for index in 0..plan.workers {
        if plan.mode == Mode::Own {
            let _ = mkdirat(top.at(), &*home(index), Bits::S_IRWXU);
            homes.push(below(&top, &home(index)));
        }
    }
    for _ in 0..plan.entries {
        let mut at = rng.pick(&homes).unwrap_or(&top).clone();
        while rng.chance(3, 4) {
            let dirs: Vec<_> =
                entries(at.at()).expect("read").into_iter().filter(|(_, is_dir)| *is_dir).collect();
            let Some((name, _)) = rng.pick(&dirs) else { break };
            at = below(&at, name);
        }
        // What is there already may stay.
        match rng.below(6) {
            0..3 => drop(mkdirat(at.at(), &*names::of_dir(rng, &at.path), Bits::S_IRWXU)),
            3 => drop(symlinkat("..", at.at(), &*names::of_file(rng, &at.path))),
            _ => {
                let flags = OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
                let name = names::of_file(rng, &at.path);
                drop(openat(at.at(), &*name, flags, Bits::S_IRWXU));
            }
        }
    }
}

fn below(place: &Place, name: &[u8]) -> Place {
    let fd = Rc::new(open_dir(place.at(), name).expect("opened"));
    Place { path: place.join(name), fd }
}
