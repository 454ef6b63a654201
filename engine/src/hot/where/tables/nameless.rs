//! Files without a name: made with `O_TMPFILE`, and linked later or never.
//!
//! While such a file is open, the kernel reports changes of it under the name `#` and its inode number, in the
//! directory that was given to open(2) (`d_mark_tmpfile()` in fs/dcache.c). No such entry ever exists. Once
//! linkat(2) has given the file a name, its CREATE has that name; changes through the open file still have the
//! number.

use crate::hot::containers::ways::SetCache;
use crate::limits::tables::{NAMELESS_SETS, NAMELESS_WAYS};

/// Files that were reported without a name, by the hash of the handle.
pub(crate) struct Nameless {
    /// In each set the last one comes first; 0 none.
    reported: SetCache<u64, NAMELESS_SETS, NAMELESS_WAYS>,
    any: bool,
}

impl Nameless {
    pub(crate) fn new() -> Self {
        Nameless { reported: SetCache::new(0), any: false }
    }

    /// Records that the file was reported.
    pub(crate) fn put(&mut self, object: u64) {
        if !self.has(object) {
            self.reported.put_first(set_of(object), object, |_| false);
            self.any = true;
        }
    }

    /// Whether any file was.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// Whether the file was reported.
    pub(crate) fn has(&self, object: u64) -> bool {
        object != 0 && self.reported.get(set_of(object), |known| *known == object).is_some()
    }

    /// Records that the file got a name. Returns whether it was reported before.
    pub(crate) fn take(&mut self, object: u64) -> bool {
        let found = self.reported.find(set_of(object), |known| *known == object && object != 0);
        found.map(|at| self.reported.forget(at)).is_some()
    }
}

fn set_of(object: u64) -> u64 {
    object >> 32
}

/// The inode number in the name that the kernel gives to a file without a name.
pub(crate) fn number(name: &[u8]) -> Option<u64> {
    let digits = name.strip_prefix(b"#")?;
    let is_plain = digits.first().is_some_and(|first| *first != b'0' || digits.len() == 1)
        && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_as_the_kernel_writes_them() {
        assert_eq!(number(b"#1016187"), Some(1_016_187));
        assert_eq!(number(b"#18446744073709551615"), Some(u64::MAX));
        for name in
            [&b"#"[..], b"#12a", b"12", b"#-1", b"#+1", b"#012", b"##1", b"#99999999999999999999"]
        {
            assert_eq!(number(name), None, "{name:?}");
        }
    }

    #[test]
    fn the_last_are_remembered() {
        let mut nameless = Nameless::new();
        assert!(!nameless.any() && !nameless.has(0));
        // All in one set.
        (1..=NAMELESS_WAYS as u64 + 1).for_each(|object| nameless.put(object));
        (2..=NAMELESS_WAYS as u64 + 1).for_each(|object| nameless.put(object));
        assert!(nameless.has(2) && nameless.has(NAMELESS_WAYS as u64 + 1) && !nameless.has(1));
        assert!(nameless.take(2) && !nameless.take(2) && !nameless.take(0));
        let object = |number: u64| number << 32;
        (1..=1000).for_each(|number| nameless.put(object(number)));
        assert!((1..=1000).all(|number| nameless.take(object(number))));
    }
}
