//! Directories outside of which the kernel is to tell nothing, or only some things.

use super::{SIDES, Watch};
use crate::hot::event::Key;
use crate::hot::r#where::above::Above;
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::mute::busy::Muting;
use crate::hot::r#where::tree::Tree;
use crate::sys::handle::KEY_MAX;
use fsmon_format::kind;
use std::io;

impl<D: Disk> Watch<D> {
    /// What is not told of a directory that is muted. Never what is not of a directory or its entries by
    /// name, or is wanted for the sake of processes; nor renames of directories, which may bring it in.
    fn muted_mask(&self, how: Muting) -> u64 {
        let entries = self.mask
            & !u64::from(kind::RENAME | kind::DELETE_SELF | kind::MOVE_SELF | kind::OPEN_EXEC);
        match how {
            Muting::Entries => entries,
            // One mark has one such flag, for all that it ignores.
            Muting::Renames => {
                (entries | u64::from(kind::RENAME | SIDES)) & !u64::from(kind::ONDIR)
            }
            Muting::Heard => entries | u64::from(kind::RENAME | SIDES),
        }
    }

    /// Tells the kernel to be silent of a directory outside the tree; or not any more.
    ///
    /// # Errors
    /// ESTALE where it is gone, NotFound where no root is on its filesystem; else those of
    /// [`Group::mute`] and [`open_handle`].
    #[cold]
    pub(crate) fn mute(&mut self, tree: &Tree, dir: Key<'_>, how: Muting) -> io::Result<()> {
        let beside = self.roots.iter_mut().find(|root| root.is_beside(tree, dir));
        let fd = match (beside, self.layers.beside(dir.fsid)) {
            (Some(root), _) => self.disk.open_handle(&root.open(&self.disk, tree)?, dir.handle)?,
            (None, Some(beside)) => self.disk.open_handle(beside, dir.handle)?,
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        // A mark that ignores more than is to be ignored now goes first.
        self.disk.unmute(self.muted_mask(Muting::Heard), &fd);
        if how != Muting::Heard {
            self.disk.mute(self.muted_mask(how), &fd)?;
            self.mutes = true;
        }
        Ok(())
    }

    /// A directory is heard again. Whether it was not until now.
    pub(super) fn unmute(&self, tree: &Tree, id: u32, fd: &D::Dir) -> bool {
        let mask = self.muted_mask(Muting::Heard);
        let mut room = [0; KEY_MAX];
        match self.layers.upper_of(tree, id, &mut room) {
            // What was muted is the upper directory.
            Some((beside, key)) if self.layers.is_heard(tree, id) => {
                let upper = self.disk.open_handle(beside, key);
                upper.is_ok_and(|upper| self.disk.unmute(mask, &upper))
            }
            _ => self.disk.unmute(mask, fd),
        }
    }

    /// Asks the kernel to tell the two sides of each rename as well, on all filesystems that are watched;
    /// or not any more.
    ///
    /// # Errors
    /// Unsupported where directories are marked each, NotFound where a root does not exist, or those of
    /// [`Group::mark_filesystem`]; the last of several. The others are done all the same.
    #[cold]
    pub(crate) fn tell_sides(&mut self, tree: &Tree, above: &Above, tell: bool) -> io::Result<()> {
        let mut result = Ok(());
        let roots = self.roots.iter_mut().enumerate();
        for (_, root) in roots.filter(|(at, _)| !above.is_given_up(*at)) {
            let done = root.tell_sides(&self.disk, tree, tell);
            if done.is_err() {
                result = done;
            }
        }
        result
    }
}
