//! Event types: one bit each, with the values of `FAN_*` in `linux/fanotify.h` (a stable ABI).
//!
//! The kernel merges pending events of one object, so a record's mask can hold several types.
//! [`in_causal_order`] splits such a mask in the only order in which the types can have happened.

/// One event type: its bit and the name users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The bit in a record's mask.
    pub bit: u32,
    /// The name in every output format and on the command line.
    pub name: &'static str,
}

/// A file was read.
pub const ACCESS: u32 = 0x0000_0001;
/// A file's content changed.
pub const MODIFY: u32 = 0x0000_0002;
/// Metadata changed: mode, owner, times, extended attributes.
pub const ATTRIB: u32 = 0x0000_0004;
/// A file that was open for writing was closed.
pub const CLOSE_WRITE: u32 = 0x0000_0008;
/// A file or directory that was open for reading was closed.
pub const CLOSE_NOWRITE: u32 = 0x0000_0010;
/// A file or directory was opened.
pub const OPEN: u32 = 0x0000_0020;
/// An entry left a directory by a rename; the path is the old one.
pub const MOVED_FROM: u32 = 0x0000_0040;
/// An entry came into a directory by a rename; the path is the new one.
pub const MOVED_TO: u32 = 0x0000_0080;
/// An entry was made: file, directory, link, device, socket.
pub const CREATE: u32 = 0x0000_0100;
/// An entry was removed.
pub const DELETE: u32 = 0x0000_0200;
/// The object itself is gone: last link and last open file.
pub const DELETE_SELF: u32 = 0x0000_0400;
/// The object itself was renamed.
pub const MOVE_SELF: u32 = 0x0000_0800;
/// A file was opened in order to be executed.
pub const OPEN_EXEC: u32 = 0x0000_1000;
/// The filesystem reported an error.
pub const FS_ERROR: u32 = 0x0000_8000;
/// An entry was renamed; old and new path in one record.
pub const RENAME: u32 = 0x1000_0000;
/// Not a type: the object is a directory.
pub const ONDIR: u32 = 0x4000_0000;

/// All types in causal order: several types in one record happened in this order.
pub const ALL: [Kind; 15] = [
    Kind { bit: CREATE, name: "CREATE" },
    Kind { bit: MOVED_FROM, name: "MOVED_FROM" },
    Kind { bit: MOVED_TO, name: "MOVED_TO" },
    Kind { bit: RENAME, name: "RENAME" },
    Kind { bit: MOVE_SELF, name: "MOVE_SELF" },
    Kind { bit: OPEN, name: "OPEN" },
    Kind { bit: OPEN_EXEC, name: "OPEN_EXEC" },
    Kind { bit: ACCESS, name: "ACCESS" },
    Kind { bit: MODIFY, name: "MODIFY" },
    Kind { bit: ATTRIB, name: "ATTRIB" },
    Kind { bit: CLOSE_NOWRITE, name: "CLOSE_NOWRITE" },
    Kind { bit: CLOSE_WRITE, name: "CLOSE_WRITE" },
    Kind { bit: DELETE, name: "DELETE" },
    Kind { bit: DELETE_SELF, name: "DELETE_SELF" },
    Kind { bit: FS_ERROR, name: "FS_ERROR" },
];

/// The types that are shown by default.
pub const DEFAULT: u32 = CREATE | DELETE | RENAME | CLOSE_WRITE | ATTRIB;

/// The bits of all types, without [`ONDIR`].
pub const EVERY: u32 = {
    let mut all = 0;
    let mut i = 0;
    while i < ALL.len() {
        all |= ALL[i].bit;
        i += 1;
    }
    all
};

/// The length of the longest name, in bytes.
pub const NAME_LEN_MAX: usize = "CLOSE_NOWRITE".len();

/// The types by the number of their bit. Numbers without a type have `bit: 0`.
const BY_BIT: [Kind; 32] = {
    let mut kinds = [Kind { bit: 0, name: "" }; 32];
    let mut i = 0;
    while i < ALL.len() {
        kinds[ALL[i].bit.trailing_zeros() as usize] = ALL[i];
        i += 1;
    }
    kinds
};

/// The types in `mask`, in causal order. Other bits are ignored.
#[inline]
pub fn in_causal_order(mask: u32) -> impl Iterator<Item = Kind> + Clone {
    let mut left = mask & EVERY;
    std::iter::from_fn(move || {
        let kind = first(left)?;
        left &= !kind.bit;
        Some(kind)
    })
}

/// The first of `types`, in causal order. Fast for a single type, which is the usual case.
#[inline]
fn first(types: u32) -> Option<Kind> {
    if types.is_power_of_two() {
        return Some(BY_BIT[types.trailing_zeros() as usize]);
    }
    if types == 0 {
        return None;
    }
    ALL.iter().find(|kind| types & kind.bit != 0).copied()
}

/// The type of that name, in any case.
#[must_use]
pub fn by_name(name: &str) -> Option<Kind> {
    ALL.into_iter().find(|kind| kind.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merged_mask_comes_apart_in_causal_order() {
        let names: Vec<_> =
            in_causal_order(DELETE | CLOSE_WRITE | ONDIR | CREATE | MODIFY | ATTRIB)
                .map(|kind| kind.name)
                .collect();
        assert_eq!(names, ["CREATE", "MODIFY", "ATTRIB", "CLOSE_WRITE", "DELETE"]);
    }

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(by_name("close_Write").map(|kind| kind.bit), Some(CLOSE_WRITE));
        assert_eq!(by_name("ONDIR"), None);
    }
}
