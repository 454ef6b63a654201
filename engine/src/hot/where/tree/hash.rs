//! Hashes of names, and whether two keys are the same.

use crate::hot::event::Key;

/// Whether two handles are the same. Those of 8 to 24 bytes, as nearly all have, take no call.
#[inline]
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let ends = |bytes: &[u8]| Some((*bytes.first_chunk::<8>()?, *bytes.last_chunk::<8>()?));
    match (ends(one), ends(other)) {
        (Some(these), Some(those)) if one.len() <= 16 => these == those,
        (Some(these), Some(those)) if one.len() <= 24 => {
            these == those && one[8..].first_chunk::<8>() == other[8..].first_chunk::<8>()
        }
        _ => one == other,
    }
}

/// A hash of the whole key, quick for the 12 to 24 bytes that handles and names have.
#[inline]
pub(super) fn fold(seed: u64, key: Key<'_>) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = seed ^ key.fsid ^ (key.handle.len() as u64).wrapping_mul(K);
    let (words, _) = key.handle.as_chunks::<8>();
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    mix(mix(hash ^ tail(key.handle)))
}

/// The last up to eight bytes, of which some may be in the word before: the length distinguishes those.
#[inline]
fn tail(bytes: &[u8]) -> u64 {
    if let Some(last) = bytes.last_chunk::<8>() {
        return u64::from_le_bytes(*last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last));
    }
    bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves of the product go into the hash")]
pub(super) fn mix(value: u64) -> u64 {
    let wide = u128::from(value ^ 0xa076_1d64_78bd_642f) * 0xe703_7ed1_a0b4_28db;
    (wide >> 64) as u64 ^ wide as u64
}
