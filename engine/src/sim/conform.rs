//! Compares the model with the real kernel: the same history on both must leave the same queue.

use super::files::{Files, Reuse};
use super::history::{Act, History, Mix, OUTSIDE, Op, Step, WATCHED, first, make};
use super::queue::{Queue, Queued};
use crate::hot::event::{Event, Events, Key, Location};
use crate::hot::r#where::watch::SIDES;
use crate::sys::fanotify::Group;
use crate::sys::fd::is_readable;
use fsmon_format::kind;
use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Number of histories that run on both.
const HISTORIES: u64 = 300;

/// A tmpfs that is mounted for this test.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let done = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(dir.path()).status();
        done.is_ok_and(|status| status.success()).then_some(Mount(dir))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Runs operations on the real kernel, below a directory.
struct Real<'a> {
    top: &'a Path,
    slots: HashMap<u8, File>,
}

impl Real<'_> {
    fn at(&self, path: &str) -> PathBuf {
        self.top.join(path.trim_start_matches('/'))
    }

    /// Performs the operation. Returns whether it succeeded.
    fn act(&mut self, op: &Op) -> bool {
        match op {
            Op::Create(path) => File::create_new(self.at(path)).is_ok(),
            Op::Symlink(path) => symlink("x", self.at(path)).is_ok(),
            Op::Mkdir(path) => fs::create_dir(self.at(path)).is_ok(),
            Op::Remove(path) => {
                let path = self.at(path);
                fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).is_ok()
            }
            Op::Rename(old, new) => {
                let (old, new) = (self.at(old), self.at(new));
                // If both names are of one file, rename(2) succeeds and does nothing.
                let id = |path: &Path| handle_id(path);
                let is_one = id(&old).is_some() && id(&old) == id(&new);
                !is_one && fs::rename(old, new).is_ok()
            }
            Op::Exchange(a, b) => {
                let (a, b) = (self.at(a), self.at(b));
                let is_one = handle_id(&a).is_some() && handle_id(&a) == handle_id(&b);
                let how = RenameFlags::RENAME_EXCHANGE;
                !is_one && renameat2(AT_FDCWD, &a, AT_FDCWD, &b, how).is_ok()
            }
            Op::Link(old, new) => fs::hard_link(self.at(old), self.at(new)).is_ok(),
            Op::Open(slot, path) => self.open(*slot, path),
            Op::Tmpfile(slot, dir) => {
                let mut how = OpenOptions::new();
                how.write(true).custom_flags(libc::O_TMPFILE);
                !self.slots.contains_key(slot) && self.keep(*slot, how.open(self.at(dir)))
            }
            Op::LinkSlot(slot, path) => self.slots.get(slot).is_some_and(|file| {
                let old = format!("/proc/self/fd/{}", file.as_raw_fd());
                let how = AtFlags::AT_SYMLINK_FOLLOW;
                nix::unistd::linkat(AT_FDCWD, &*old, AT_FDCWD, &self.at(path), how).is_ok()
            }),
            Op::Close(slot) => self.slots.remove(slot).is_some(),
            Op::Chmod(path) => {
                let path = self.at(path);
                let is_link = path.is_symlink();
                !is_link && fs::set_permissions(path, Permissions::from_mode(0o755)).is_ok()
            }
            Op::Snapshot(..) | Op::Twin(..) => false,
        }
    }

    fn open(&mut self, slot: u8, path: &str) -> bool {
        let path = self.at(path);
        // In a history, a symbolic link is a file that no process opens.
        if self.slots.contains_key(&slot) || path.is_symlink() {
            return false;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        self.keep(slot, file)
    }

    fn keep(&mut self, slot: u8, file: std::io::Result<File>) -> bool {
        file.map(|file| self.slots.insert(slot, file)).is_ok()
    }
}

fn handle_id(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).ok().map(|found| found.ino())
}

/// Numbers handles in the order in which they appear. So the numbers are the same on the model and on the kernel,
/// although the bytes of the handles differ.
#[derive(Default)]
struct Ids(HashMap<Vec<u8>, usize>);

impl Ids {
    fn of(&mut self, handle: &[u8]) -> usize {
        let next = self.0.len();
        *self.0.entry(handle.to_vec()).or_insert(next)
    }

    fn spot(&mut self, handle: &[u8], name: &[u8]) -> String {
        // `.` is the directory itself. `#123` is an open file without a name: the kernel names it by its inode
        // number, which differs from the model's.
        let name = match name {
            b"." => "".into(),
            [b'#', ..] => "#".into(),
            name => String::from_utf8_lossy(name),
        };
        format!("{}/{name}", self.of(handle))
    }

    fn model(&mut self, event: &Queued) -> String {
        let spot = |ids: &mut Ids, spot: &Option<(Vec<u8>, String)>| {
            spot.as_ref().map(|(dir, name)| ids.spot(dir, name.as_bytes()))
        };
        let (old, new) = (spot(self, &event.old), spot(self, &event.location));
        let object = event.object.as_ref().map(|object| self.of(object));
        format!("{:x} {old:?} {new:?} {object:?}", event.mask)
    }

    fn real(&mut self, event: &Event<'_>) -> String {
        let spot = |ids: &mut Ids, location: Option<Location<'_>>| {
            location.map(|Location { dir, name }| ids.spot(dir.handle, name))
        };
        let (old, new) = (spot(self, event.old), spot(self, event.location));
        let object = event.object.map(|Key { handle, .. }| self.of(handle));
        format!("{:x} {old:?} {new:?} {object:?}", event.mask)
    }
}

/// Which marks the group of the kernel and the queue of the model get.
#[derive(Clone, Copy, Debug)]
enum Marks {
    Filesystem(u32),
    EachDir,
    /// A mark on the filesystem; the directories outside the watched one are muted.
    Muted,
}

fn mark(marks: Marks, group: &Group, queue: &mut Queue, top: &Path, files: &Files) {
    let open = |path: &str| File::open(top.join(path.trim_start_matches('/'))).expect("opened");
    let both = |queue: &mut Queue, path: &str, mask: u64| {
        group.mark_dir(mask, open(path).as_fd(), c".").expect("marked");
        let mask = mask | crate::sys::fanotify::flag::EVENT_ON_CHILD;
        queue.mark_dir(mask, files.at(path).expect("there"));
    };
    let mask = u64::from(kind::DEFAULT | kind::ONDIR);
    match marks {
        Marks::EachDir => {
            for path in ["/r/w", "/r/w/d", "/r/w/d/e", "/r/w/e", "/o"] {
                both(queue, path, mask);
            }
        }
        Marks::Filesystem(more) => {
            let mask = mask | u64::from(more);
            group.mark_filesystem(mask, open("/").as_fd(), c".").expect("marked");
            queue.mark_filesystem(mask);
        }
        Marks::Muted => {
            let mask = mask | u64::from(SIDES);
            group.mark_filesystem(mask, open("/").as_fd(), c".").expect("marked");
            queue.mark_filesystem(mask);
            for (path, mask) in [("/o", mask & !u64::from(kind::ONDIR)), ("/o/d", mask)] {
                group.mute(mask, open(path).as_fd()).expect("muted");
                let mask = mask | crate::sys::fanotify::flag::EVENT_ON_CHILD;
                queue.ignore(mask, files.at(path).expect("there"));
            }
        }
    }
}

/// Runs a history on both. Returns the events that wait in the kernel's queue, and in the model's.
fn queues(history: &History, marks: Marks, mount: &Mount) -> (Vec<String>, Vec<String>) {
    let top = mount.0.path();
    for entry in fs::read_dir(top).expect("listed") {
        fs::remove_dir_all(entry.expect("an entry").path()).expect("removed");
    }
    let (mut files, mut queue) = (Files::new(Reuse::Never), Queue::default());
    let mut real = Real { top, slots: HashMap::new() };
    for op in first(history.mix) {
        // `first` makes symbolic links, which the real kernel would not open. So files replace them here.
        let op = if let Op::Symlink(path) = op { Op::Create(path) } else { op };
        assert!(real.act(&op) && op.apply(&mut files).is_some(), "{op:?}");
    }
    let group = Group::new(false).expect("a group");
    mark(marks, &group, &mut queue, top, &files);
    for step in &history.steps {
        let Step::Act(Act { op, .. }) = step else { continue };
        let is_refused = |path: &str| top.join(path.trim_start_matches('/')).is_symlink();
        if matches!(op, Op::Open(_, path) | Op::Chmod(path) if is_refused(path)) {
            continue;
        }
        let notices = op.apply(&mut files);
        assert_eq!(real.act(op), notices.is_some(), "{op:?} in {history:?}");
        for notice in notices.iter().flatten() {
            queue.notify(&files, std::process::id(), notice);
        }
    }
    let (mut ids, mut reported) = (Ids::default(), Vec::new());
    let mut buffer = vec![0; 1 << 16];
    while is_readable(group.as_fd().as_raw_fd()) {
        let mut file = File::from(group.as_fd().try_clone_to_owned().expect("a copy"));
        let len = file.read(&mut buffer).expect("read");
        reported.extend(Events(&buffer[..len]).map(|event| ids.real(&event)));
    }
    let mut ids = Ids::default();
    let model = queue.take(usize::MAX).iter().map(|event| ids.model(event)).collect();
    (reported, model)
}

#[test]
fn the_model_queues_what_the_kernel_queues() {
    assert_eq!((WATCHED, OUTSIDE), ("/r/w", "/o"), "`mark` has the paths below these");
    let Some(mount) = Group::new(false).ok().and_then(|_| Mount::new()) else {
        eprintln!("SKIP: needs root, fanotify and a tmpfs");
        assert!(std::env::var_os("CI").is_none(), "not skipped in CI");
        return;
    };
    let mixes = [Mix::Plain, Mix::Links, Mix::Exchanges, Mix::Nameless, Mix::Muted];
    let all = [Marks::Filesystem(0), Marks::Filesystem(SIDES), Marks::EachDir, Marks::Muted];
    for seed in 0..HISTORIES {
        let mix = mixes[seed as usize % mixes.len()];
        let marks = all[seed as usize / mixes.len() % all.len()];
        let history = make(mix, seed);
        let (real, model) = queues(&history, marks, &mount);
        let steps: Vec<_> = history.steps.iter().map(|step| format!("{step:?}")).collect();
        let steps = steps.join("\n");
        assert_eq!(real, model, "{mix:?} {marks:?} seed {seed}:\n{steps}");
    }
}
