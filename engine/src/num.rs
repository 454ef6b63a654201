//! Conversions to smaller integers that lose nothing that matters: why is with each.
//!
//! A value of the kernel's that may be too large goes through `try_from` where it comes in, and never through these.

/// The constant `N`; whether it fits is checked at compile time.
#[inline]
pub(crate) const fn const_u32<const N: usize>() -> u32 {
    const { assert!(N <= u32::MAX as usize) };
    cut_u32(N)
}

/// The constant `N`; whether it fits is checked at compile time.
#[inline]
pub(crate) const fn const_u16<const N: usize>() -> u16 {
    const { assert!(N <= u16::MAX as usize) };
    cut_u16(N)
}

/// The size of `T` in bytes, for the structures that the kernel asks the size of.
pub(crate) const fn size_u32<T>() -> u32 {
    const { assert!(size_of::<T>() <= u32::MAX as usize) };
    cut_u32(size_of::<T>())
}

/// `number`, which a limit keeps below 2^32 (`limits`): an id, or an index of a table.
#[inline]
pub(crate) const fn limited_u32(number: usize) -> u32 {
    debug_assert!(number <= u32::MAX as usize);
    cut_u32(number)
}

/// `number`, which a limit keeps below 2^16: an index of a small table.
#[inline]
pub(crate) const fn limited_u16(number: usize) -> u16 {
    debug_assert!(number <= u16::MAX as usize);
    cut_u16(number)
}

/// `number`, which a limit keeps below 2^8: an index of a handful.
#[inline]
pub(crate) const fn limited_u8(number: usize) -> u8 {
    debug_assert!(number <= u8::MAX as usize);
    #[expect(clippy::cast_possible_truncation, reason = "the caller has a limit for it")]
    let cut = number as u8;
    cut
}

/// `number`, which is below the length of something in memory.
#[inline]
pub(crate) const fn index(number: u64) -> usize {
    debug_assert!(number <= usize::MAX as u64);
    low_bits(number)
}

/// The low bits of a hash, as many as an index has, from which a table takes a remainder.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a remainder needs no more than the low bits")]
pub(crate) const fn low_bits(hash: u64) -> usize {
    hash as usize
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the callers above know that it fits")]
const fn cut_u32(number: usize) -> u32 {
    number as u32
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the callers above know that it fits")]
const fn cut_u16(number: usize) -> u16 {
    number as u16
}
