//! Conversions between number types that cannot lose anything, where `From` does not exist.

use std::time::Duration;

macro_rules! smaller {
    ($name:ident, $to:ident, $what:literal) => {
        /// A size or an index as a smaller number. For values that a constant bounds; works in constants.
        ///
        /// # Panics
        /// `value` does not fit.
        #[inline]
        #[must_use]
        #[track_caller]
        pub const fn $name(value: usize) -> $to {
            assert!(value <= $to::MAX as usize, $what);
            #[expect(clippy::cast_possible_truncation, reason = "the assertion above rules it out")]
            let value = value as $to;
            value
        }
    };
}

smaller!(to_u8, u8, "a size or an index of less than 2^8");
smaller!(to_u16, u16, "a size or an index of less than 2^16");
smaller!(to_u32, u32, "a size or an index of less than 2^32");

/// A `u64` as an index. For values that the length of something in memory bounds; works in constants.
///
/// # Panics
/// `value` does not fit in a `usize`.
#[inline]
#[must_use]
#[track_caller]
pub const fn to_usize(value: u64) -> usize {
    assert!(value <= usize::MAX as u64, "an index of something in memory");
    #[expect(clippy::cast_possible_truncation, reason = "the assertion above rules it out")]
    let value = value as usize;
    value
}

/// Nanoseconds of `duration`; `u64::MAX` (584 years) for what is longer.
#[inline]
#[must_use]
pub fn to_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_the_same() {
        assert_eq!(to_u32(u32::MAX as usize), u32::MAX);
        assert_eq!(to_usize(u64::from(u32::MAX)), u32::MAX as usize);
        assert_eq!(to_ns(Duration::from_micros(3)), 3000);
        assert_eq!(to_ns(Duration::from_secs(u64::MAX / 2)), u64::MAX);
    }

    #[test]
    #[should_panic(expected = "less than 2^32")]
    fn what_does_not_fit_is_not_cut() {
        let _ = to_u32(1 << 32);
    }
}
