//! Handles of overlayfs, and the handles from which overlayfs makes them.

use super::handle::{Handle, KEY_MAX, TYPE_LEN, open_any_handle};
use super::procdir;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The type of overlayfs handles (`OVL_FILEID_V1`, fs/overlayfs/overlayfs.h).
const TYPE: [u8; TYPE_LEN] = [0xf8, 0, 0, 0];
/// Where `struct ovl_fb` begins in a key: after the type, and three bytes for alignment. Its fields are version, magic
/// number, length, flags, the type of the wrapped handle, the id of the layer's filesystem, and the wrapped handle.
const FB_AT: usize = TYPE_LEN + 3;
const LEN_AT: usize = FB_AT + 2;
const FLAGS_AT: usize = FB_AT + 3;
const KIND_AT: usize = FB_AT + 4;
const HEAD_LEN: usize = FB_AT + FB_LEN;
/// Bytes of `struct ovl_fb` before the wrapped handle.
const FB_LEN: usize = 21;
/// The flag of a wrapped handle of the upper layer (`OVL_FH_FLAG_PATH_UPPER`).
const UPPER: u8 = 1 << 2;

/// Converts between the handles of an overlay and those of its upper layer. An overlay makes a handle by wrapping that
/// of the upper layer (`ovl_encode_real_fh()` in fs/overlayfs/copy_up.c) for objects that have no lower layer, and for
/// its root (`ovl_check_encode_origin()` in fs/overlayfs/export.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrapping {
    /// The beginning of each key, with 0 for the length and for the type of the wrapped handle.
    head: [u8; HEAD_LEN],
}

impl Wrapping {
    /// From the handles of the overlay's root and of its upper directory. `None` if the first does not wrap the second.
    pub(crate) fn of_root(root: &Handle, upper: &Handle) -> Option<Self> {
        let mut head = *root.key().first_chunk()?;
        head[LEN_AT] = 0;
        head[KIND_AT] = 0;
        let wrapping = Wrapping { head };
        let is_upper = is_overlay(root.key()) && head[FLAGS_AT] & UPPER != 0;
        let mut room = [0; KEY_MAX];
        let is_it = is_upper && wrapping.wrap(upper.key(), &mut room) == Some(root.key());
        is_it.then_some(wrapping)
    }

    /// The key on the overlay of an object that the upper layer knows by `key`, if the object has no lower layer.
    /// `None` if `key` is too long to be wrapped.
    #[inline]
    pub(crate) fn wrap<'a>(&self, key: &[u8], room: &'a mut [u8; KEY_MAX]) -> Option<&'a [u8]> {
        let (kind, handle) = key.split_first_chunk::<TYPE_LEN>()?;
        let [kind, 0, 0, 0] = *kind else { return None };
        let out = room.get_mut(..HEAD_LEN + handle.len())?;
        let (head, wrapped) = out.split_at_mut(HEAD_LEN);
        head.copy_from_slice(&self.head);
        head[LEN_AT] = u8::try_from(FB_LEN + handle.len()).ok()?;
        head[KIND_AT] = kind;
        wrapped.copy_from_slice(handle);
        Some(out)
    }

    /// The key in the upper layer that is wrapped in `key`. `None` for a key of a lower layer, or of another overlay.
    #[inline]
    pub(crate) fn unwrap<'a>(&self, key: &[u8], room: &'a mut [u8; KEY_MAX]) -> Option<&'a [u8]> {
        let handle = self.wrapped(key)?;
        let out = room.get_mut(..TYPE_LEN + handle.len())?;
        out[..TYPE_LEN].copy_from_slice(&[key[KIND_AT], 0, 0, 0]);
        out[TYPE_LEN..].copy_from_slice(handle);
        Some(out)
    }

    /// Whether a key of the overlay is of the upper layer.
    #[inline]
    pub(crate) fn is_upper(&self, key: &[u8]) -> bool {
        self.wrapped(key).is_some()
    }

    #[inline]
    fn wrapped<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        let (head, handle) = key.split_first_chunk::<HEAD_LEN>()?;
        let mut head = *head;
        head[LEN_AT] = 0;
        head[KIND_AT] = 0;
        (head == self.head).then_some(handle)
    }
}

/// Whether a key is of an overlay.
#[inline]
pub(crate) fn is_overlay(key: &[u8]) -> bool {
    key.starts_with(&TYPE)
}

/// The extended attribute in which overlayfs stores the handle of the original, for a copy in the upper layer
/// (`ovl_xattr_table` in fs/overlayfs/super.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `trusted.overlay.origin`, which only privileged processes can set.
    Trusted,
    /// `user.overlay.origin`, on mounts with `userxattr`. On other mounts users can set this attribute to anything.
    User,
}

/// The first bytes of `struct ovl_fb`: version and magic number (`OVL_FH_VERSION`, `OVL_FH_MAGIC`).
const VERSION_AND_MAGIC: [u8; 2] = [0, 0xfb];

/// The handle on the overlay of a copy in the upper layer. It is the same as before the file was copied, and is made
/// from the handle of the original (`ovl_check_encode_origin()` in fs/overlayfs/export.c; on 6.18 the attribute and the
/// handle have the same bytes). `upper` is the key of the copy in the upper layer, and `beside` an open directory on
/// the filesystem of the upper layer.
///
/// # Errors
/// ENODATA if the file is not a copy, ESTALE if it is gone, and other errors of getxattr(2).
pub(crate) fn handle_of_copy(
    beside: BorrowedFd<'_>,
    upper: &[u8],
    origin: Origin,
) -> io::Result<Handle> {
    let file = open_any_handle(beside, upper)?;
    let path = procdir::Path::of_fd(file.as_fd());
    let mut room = [0; KEY_MAX - FB_AT];
    let name = match origin {
        Origin::Trusted => c"trusted.overlay.origin",
        Origin::User => c"user.overlay.origin",
    };
    let len = procdir::attribute(&path, name, &mut room)?;
    key_of(&room[..len]).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The handle that has this `struct ovl_fb`; `None` if the bytes are not a whole and valid one.
fn key_of(fb: &[u8]) -> Option<Handle> {
    let mut key = [0; KEY_MAX];
    key[..TYPE_LEN].copy_from_slice(&TYPE);
    key.get_mut(FB_AT..FB_AT + fb.len())?.copy_from_slice(fb);
    let is_whole = fb.len() >= FB_LEN && usize::from(key[LEN_AT]) == fb.len();
    Handle::of(&key[..FB_AT + fb.len()]).filter(|_| is_whole && fb.starts_with(&VERSION_AND_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_of_the_upper_layer_is_wrapped_and_unwrapped() {
        // Handles seen on 6.18: of the root of an overlay, of its upper directory on ext4, and of a lower directory.
        let bytes = |text: &str| -> Vec<u8> {
            let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
            (0..text.len()).step_by(2).map(digit).collect()
        };
        let of = |text: &str| Handle::of(&bytes(text)).expect("short");
        let root = "f800000000000000fb1d0401df03b5577bb045f98cdd0089ed6855e5817e00005ed2b71a";
        let lower = "f800000000000000fb1d000100000000000000000000000000000000fdc0980003262707";
        let (root, lower) = (of(root), of(lower));
        let upper = of("01000000817e00005ed2b71a");
        let wrapping =
            Wrapping::of_root(&root, &upper).expect("the root wraps the upper directory");
        let other = of("01000000827e00005ed2b71a");
        assert_eq!(Wrapping::of_root(&root, &other), None);
        assert_eq!(Wrapping::of_root(&lower, &other), None);
        let mut room = [0; KEY_MAX];
        assert_eq!(wrapping.unwrap(root.key(), &mut room), Some(upper.key()));
        assert_eq!(wrapping.unwrap(lower.key(), &mut room), None);
        assert!(wrapping.wrap(&[1; KEY_MAX], &mut room).is_none());
    }

    #[test]
    fn only_a_whole_origin_gives_a_handle() {
        let mut fb = vec![0, 0xfb, 33, 0, 1];
        fb.resize(33, 7);
        let key = key_of(&fb).expect("valid");
        assert_eq!(
            (&key.key()[..FB_AT], &key.key()[FB_AT..]),
            (&[0xf8, 0, 0, 0, 0, 0, 0][..], &fb[..])
        );
        assert!(is_overlay(key.key()));
        assert!(key_of(&fb[..32]).is_none() && key_of(&[]).is_none());
        assert!(key_of(&[0xfb; KEY_MAX]).is_none());
    }
}
