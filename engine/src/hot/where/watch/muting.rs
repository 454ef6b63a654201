//! Directories outside the tree of which the kernel reports nothing, or not everything.

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
    /// The types that a muted directory does not report. Not among them: types that are not about a directory or
    /// its entries by name, types that are needed for attribution, and renames of directories, which may move one
    /// into the tree.
    fn muted_mask(&self, how: Muting) -> u64 {
        let entries = self.mask
            & !u64::from(kind::RENAME | kind::DELETE_SELF | kind::MOVE_SELF | kind::OPEN_EXEC);
        match how {
            Muting::Entries => entries,
            // A mark has one such flag, for all types that it ignores.
            Muting::Renames => {
                (entries | u64::from(kind::RENAME | SIDES)) & !u64::from(kind::ONDIR)
            }
            Muting::No => entries | u64::from(kind::RENAME | SIDES),
        }
    }

    /// Mutes a directory outside the tree, or unmutes it.
    ///
    /// # Errors
    /// ESTALE if it is gone, NotFound if no root is on its filesystem, or the errors of
    /// [`Group::mute`] and [`open_handle`].
    #[cold]
    pub(crate) fn mute(&mut self, tree: &Tree, dir: Key<'_>, how: Muting) -> io::Result<()> {
        let beside = self.roots.iter_mut().find(|root| root.is_beside(tree, dir));
        let fd = match (beside, self.layers.beside(dir.fsid)) {
            (Some(root), _) => self.disk.open_handle(&root.open(&self.disk, tree)?, dir.handle)?,
            (None, Some(beside)) => self.disk.open_handle(beside, dir.handle)?,
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        // A mark that ignores more than `how` is removed first.
        self.disk.unmute(self.muted_mask(Muting::No), &fd);
        if how != Muting::No {
            self.disk.mute(self.muted_mask(how), &fd)?;
            self.mutes = true;
        }
        Ok(())
    }

    /// Unmutes a directory. Returns whether it was muted.
    pub(super) fn unmute(&self, tree: &Tree, id: u32, fd: &D::Dir) -> bool {
        let mask = self.muted_mask(Muting::No);
        let mut room = [0; KEY_MAX];
        match self.layers.upper_of(tree, id, &mut room) {
            // The upper directory was muted.
            Some((beside, key)) if self.layers.is_heard(tree, id) => {
                let upper = self.disk.open_handle(beside, key);
                upper.is_ok_and(|upper| self.disk.unmute(mask, &upper))
            }
            _ => self.disk.unmute(mask, fd),
        }
    }

    /// Turns reports of the two sides of each rename on or off, on all watched filesystems.
    ///
    /// # Errors
    /// Unsupported if directories have a mark each, NotFound if a root does not exist, or the errors of
    /// [`Group::mark_filesystem`]; the last of several. The others are done all the same.
    #[cold]
    pub(crate) fn set_sides(&mut self, tree: &Tree, above: &Above, on: bool) -> io::Result<()> {
        let mut result = Ok(());
        let roots = self.roots.iter_mut().enumerate();
        for (_, root) in roots.filter(|(at, _)| !above.is_given_up(*at)) {
            let done = root.set_sides(&self.disk, tree, on);
            if done.is_err() {
                result = done;
            }
        }
        result
    }
}
