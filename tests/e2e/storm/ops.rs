//! What a process can do.

use super::names;
use super::plan::{Mode, Op};
use super::worker::{Place, Worker, entries, open_dir};
use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, openat};
use nix::sys::stat::{FchmodatFlags, Mode as Bits, fchmodat};
use std::fs::File;
use std::io::Write;
use std::rc::Rc;

/// Slots of the directories of a chain, and of the names in it that all processes use.
const CHAIN: usize = 3;
/// Directories of the longest names, one in the other: beyond PATH_MAX.
const DEEP: usize = 18;
/// The slot of the longest names.
const LONG: usize = 7;
const PLAIN: RenameFlags = RenameFlags::empty();

impl Worker {
    /// One step.
    pub(crate) fn act(&mut self, op: Op) -> nix::Result<()> {
        match op {
            Op::Mkdir => self.make_dir(),
            Op::Rmdir => {
                let place = self.place()?;
                let name = self.entry(&place, true)?;
                self.rmdir(&place, &name)
            }
            Op::Create => {
                let place = self.place()?;
                let name = names::of_file(&mut self.rng, &place.path);
                self.create(&place, &name).map(|mut file| self.maybe_write(&mut file))
            }
            Op::Write => self.write(),
            Op::Unlink => {
                let place = self.place()?;
                let name = self.entry(&place, false)?;
                self.unlink(&place, &name)
            }
            Op::Chmod => self.chmod(),
            Op::Rename => self.rename_one(false, PLAIN),
            Op::RenameDir => self.rename_one(true, PLAIN),
            Op::ToFro => self.rename_to_and_fro(false),
            Op::ToFroDir => self.rename_to_and_fro(true),
            Op::Remake => self.remake(),
            Op::Symlink => self.make_symlink(),
            Op::Link => self.make_link(),
            Op::Relink => self.relink(),
            Op::Exchange => self.exchange(),
            Op::Noreplace => self.rename_one(false, RenameFlags::RENAME_NOREPLACE),
            Op::Tmpfile => self.tmpfile(),
            Op::Out => self.out_or_in(),
            Op::Remove => {
                let place = self.place()?;
                let name = self.entry(&place, true)?;
                self.here = None;
                self.remove(&place, &name)
            }
            Op::Chain => self.chain(),
            Op::Deep => self.deep(),
        }
    }

    fn maybe_write(&mut self, file: &mut File) {
        if self.rng.chance(1, 2) {
            // A filesystem that is full would show elsewhere.
            let _ = file.write_all(b"x");
        }
    }

    fn make_dir(&mut self) -> nix::Result<()> {
        let place = self.place()?;
        // Where nobody relies on the kinds of names, a directory may take one of a file.
        let as_file = self.plan.mode != Mode::Locked && self.rng.chance(1, 8);
        let name = match as_file {
            true => names::of_file(&mut self.rng, &place.path),
            false => names::of_dir(&mut self.rng, &place.path),
        };
        self.mkdir(&place, &name)?;
        if self.rng.chance(1, 2) {
            let fd = Rc::new(open_dir(place.at(), &name)?);
            self.here = Some(Place { path: place.join(&name), fd });
        }
        Ok(())
    }

    fn write(&mut self) -> nix::Result<()> {
        let place = self.place()?;
        let name = self.entry(&place, false)?;
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let fd = openat(place.at(), &*name, flags | OFlag::O_CLOEXEC, Bits::empty())?;
        File::from(fd).write_all(b"y").map_err(|_| Errno::EIO)
    }

    fn chmod(&mut self) -> nix::Result<()> {
        let place = self.place()?;
        let is_dir = self.rng.chance(1, 2);
        let name = self.entry(&place, is_dir)?;
        // Never through a symbolic link: it may lead anywhere.
        openat(place.at(), &*name, OFlag::O_RDONLY | OFlag::O_NOFOLLOW, Bits::empty())?;
        let bits = if self.rng.chance(1, 2) { 0o755 } else { 0o700 };
        let bits = Bits::from_bits_truncate(bits);
        fchmodat(place.at(), &*name, bits, FchmodatFlags::NoFollowSymlink)
    }

    /// A place to bring something to: here, or somewhere else.
    fn target(&mut self, here: &Place) -> nix::Result<Place> {
        if self.rng.chance(1, 2) {
            return Ok(here.clone());
        }
        let before = self.here.take();
        let target = self.place();
        self.here = before;
        target
    }

    /// A name to bring something to: mostly any, at times one that is there.
    fn target_name(&mut self, place: &Place, is_dir: bool) -> nix::Result<Vec<u8>> {
        if self.rng.chance(1, 4) {
            let there: Vec<_> = entries(place.at())?
                .into_iter()
                .filter(|(name, kind)| {
                    *kind == is_dir
                        && names::is_for_dir(name) == is_dir
                        && names::says(name, &place.path) == Some(true)
                })
                .collect();
            if let Some((name, _)) = self.rng.pick(&there) {
                return Ok(name.clone());
            }
        }
        Ok(self.new_name(place, is_dir))
    }

    fn new_name(&mut self, place: &Place, is_dir: bool) -> Vec<u8> {
        match is_dir {
            true => names::of_dir(&mut self.rng, &place.path),
            false => names::of_file(&mut self.rng, &place.path),
        }
    }

    fn link_name(&mut self, place: &Place) -> Vec<u8> {
        self.links += 1;
        names::of_link(self.links, &place.path)
    }

    fn rename_one(&mut self, is_dir: bool, flags: RenameFlags) -> nix::Result<()> {
        let from = self.place()?;
        let old = self.entry(&from, is_dir)?;
        let to = self.target(&from)?;
        let new = self.target_name(&to, is_dir)?;
        if is_dir {
            self.here = None;
        }
        self.rename((&from, &old), (&to, &new), flags)
    }

    fn rename_to_and_fro(&mut self, is_dir: bool) -> nix::Result<()> {
        let from = self.place()?;
        let old = self.entry(&from, is_dir)?;
        let to = self.target(&from)?;
        let (a, b) = (self.new_name(&from, is_dir), self.new_name(&to, is_dir));
        if is_dir {
            self.here = None;
        }
        if old != a {
            self.rename((&from, &old), (&from, &a), PLAIN)?;
        }
        if is_dir && from.path.starts_with(&from.join(&a)) {
            return Err(Errno::EINVAL);
        }
        for turn in 0..2 + self.rng.below(6) {
            match turn % 2 {
                0 => self.rename((&from, &a), (&to, &b), PLAIN)?,
                _ => self.rename((&to, &b), (&from, &a), PLAIN)?,
            }
        }
        Ok(())
    }

    fn remake(&mut self) -> nix::Result<()> {
        let place = self.place()?;
        let name = names::of_file(&mut self.rng, &place.path);
        for turn in 0..1 + self.rng.below(6) {
            match turn % 2 {
                0 => drop(self.create(&place, &name)?),
                _ => self.unlink(&place, &name)?,
            }
        }
        Ok(())
    }

    fn make_symlink(&mut self) -> nix::Result<()> {
        let place = self.place()?;
        let name = names::of_file(&mut self.rng, &place.path);
        let targets: [&[u8]; 4] = [b"missing", b"..", b"/", b"/dev/null"];
        let target = targets[self.rng.below(targets.len())];
        self.symlink(target, &place, &name)
    }

    fn make_link(&mut self) -> nix::Result<()> {
        let from = self.place()?;
        let old = self.entry(&from, false)?;
        let to = self.target(&from)?;
        let new = self.link_name(&to);
        self.link((&from, &old), (&to, &new))
    }

    fn relink(&mut self) -> nix::Result<()> {
        let from = self.place()?;
        let old = self.entry(&from, false)?;
        let to = self.target(&from)?;
        let new = self.link_name(&to);
        for turn in 0..1 + self.rng.below(6) {
            match turn % 2 {
                0 => self.link((&from, &old), (&to, &new))?,
                _ => self.unlink(&to, &new)?,
            }
        }
        Ok(())
    }

    fn exchange(&mut self) -> nix::Result<()> {
        let from = self.place()?;
        let old = self.true_entry(&from)?;
        let to = self.target(&from)?;
        let new = self.true_entry(&to)?;
        self.here = None;
        for _ in 0..1 + self.rng.below(2) {
            self.rename((&from, &old), (&to, &new), RenameFlags::RENAME_EXCHANGE)?;
        }
        Ok(())
    }

    fn tmpfile(&mut self) -> nix::Result<()> {
        let place = self.place()?;
        let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(place.at(), ".", flags, Bits::S_IRWXU)?);
        self.maybe_write(&mut file);
        let name = names::of_file(&mut self.rng, &place.path);
        self.link_unnamed(&file, &place, &name)
    }

    fn out_or_in(&mut self) -> nix::Result<()> {
        let outside = self.outside.clone();
        self.here = None;
        if !self.away.is_empty() && self.rng.chance(1, 2) {
            return self.back_in();
        }
        let from = self.place()?;
        let is_dir = self.rng.chance(3, 4);
        let name = self.entry(&from, is_dir)?;
        let away = format!("away-{}-{}", self.index, self.away_count).into_bytes();
        self.here = None;
        self.rename((&from, &name), (&outside, &away), PLAIN)?;
        self.away_count += 1;
        self.away.push((away.clone(), is_dir));
        if is_dir && self.rng.chance(1, 2) {
            self.change_outside(&away)?;
        }
        if self.rng.chance(1, 2) { self.back_in() } else { Ok(()) }
    }

    /// Things change where nobody looks.
    fn change_outside(&mut self, name: &[u8]) -> nix::Result<()> {
        let outside = self.outside.clone();
        let fd = Rc::new(open_dir(outside.at(), name)?);
        let place = Place { path: outside.join(name), fd };
        self.create(&place, b"made-outside")?;
        if let Ok(file) = self.entry(&place, false) {
            self.unlink(&place, &file)?;
        }
        if let Ok(dir) = self.entry(&place, true) {
            self.rename((&place, &dir), (&place, b"renamed-outside"), PLAIN)?;
        }
        Ok(())
    }

    fn back_in(&mut self) -> nix::Result<()> {
        let outside = self.outside.clone();
        let at = self.rng.below(self.away.len());
        let (away, is_dir) = self.away[at].clone();
        let to = self.place()?;
        let name = self.target_name(&to, is_dir)?;
        self.here = None;
        self.rename((&outside, &away), (&to, &name), PLAIN)?;
        self.away.swap_remove(at);
        Ok(())
    }

    /// `rm -r`.
    fn remove(&mut self, place: &Place, name: &[u8]) -> nix::Result<()> {
        let fd = Rc::new(open_dir(place.at(), name)?);
        let below = Place { path: place.join(name), fd };
        for (entry, is_dir) in entries(below.at())? {
            // What others remove meanwhile is no matter.
            let _ = match is_dir {
                true => self.remove(&below, &entry),
                false => self.unlink(&below, &entry),
            };
        }
        self.rmdir(place, name)
    }

    /// Makes a chain of directories that all processes can work out, or uses it as soon as it is
    /// there. In home it meets nobody.
    fn chain(&mut self) -> nix::Result<()> {
        let mut at = self.open(&self.home.clone())?;
        let makes = self.rng.chance(1, 2);
        let depth = 1 + self.rng.below(6);
        for level in 0..depth {
            let name = names::of_dir_at(level % CHAIN, &at.path);
            if makes {
                match self.mkdir(&at, &name) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
            let mut tries = if makes { 1 } else { 200 };
            let fd = loop {
                tries -= 1;
                match open_dir(at.at(), &name) {
                    Ok(fd) => break Rc::new(fd),
                    Err(_) if tries > 0 => {}
                    Err(errno) => return Err(errno),
                }
            };
            at = Place { path: at.join(&name), fd };
            if !makes {
                let slot = self.rng.below(CHAIN);
                let file = names::of_file_at(slot, &at.path);
                self.create(&at, &file)?;
            }
        }
        self.here = Some(at);
        Ok(())
    }

    /// A chain of the longest names, by steps, with a file at its end; mostly removed again.
    fn deep(&mut self) -> nix::Result<()> {
        let top = self.place()?;
        let mut at = top.clone();
        for _ in 0..DEEP {
            let name = names::of_dir_at(LONG, &at.path);
            match self.mkdir(&at, &name) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            let fd = Rc::new(open_dir(at.at(), &name)?);
            at = Place { path: at.join(&name), fd };
        }
        let file = names::of_file_at(0, &at.path);
        self.create(&at, &file)?;
        if self.rng.chance(3, 4) {
            self.here = None;
            return self.remove(&top, &names::of_dir_at(LONG, &top.path));
        }
        self.here = Some(at);
        Ok(())
    }
}
