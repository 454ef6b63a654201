//! The one conversion to a smaller integer that is meant to lose bits. Those that cannot lose any are in
//! [`fsmon_format::number`]; a number that the kernel gives goes through `try_from`.

/// The low bits of a hash, as many as an index has, from which a table takes a remainder.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a remainder needs no more than the low bits")]
pub(crate) const fn low_bits(hash: u64) -> usize {
    hash as usize
}
