//! The hash by which records identify objects, which are files and directories: docs/history.md, "The hash of an object".
//!
//! It is keyed: under one key an object has the same hash for as long as its filesystem gives it the same handle, and who
//! has neither the key nor hashes cannot choose two objects with the same hash. It is no cipher: from many hashes of
//! handles that are known, those of others can be computed. A history that has the hashes has the key, too.
//!
//! The hash of a handle is multilinear (D. Lemire, O. Kaser, "Strongly universal string hashing is fast", 2014): for any
//! two handles, the share of keys under which their hashes are equal is at most 2⁻⁶³. It is so quick that the engine takes
//! it for its tables, too (docs/decisions/tried.md).

use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Words of 8 bytes in the longest handle with its type, and one byte more: 4 + 128 + 1 (`MAX_HANDLE_SZ`).
const WORDS: usize = 17;

/// The hash under one key.
#[derive(Clone)]
pub struct ObjectHash {
    base: u128,
    factors: [u128; WORDS],
    filesystems: SipHasher24,
}

impl ObjectHash {
    /// The hash under that key, which should be random.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let (handles, filesystems) = key.split_at(KEY_BYTES / 2);
        let handles = sip(handles);
        let number = |at: usize| {
            let half = |which: usize| u128::from(hash(handles, (2 * at + which) as u64));
            half(0) | half(1) << 64
        };
        ObjectHash {
            base: number(0),
            factors: std::array::from_fn(|at| number(at + 1)),
            filesystems: sip(filesystems),
        }
    }

    /// The hash of a handle within its filesystem: of the type and the bytes, as in a fanotify event. What is longer
    /// than a handle can be (132 bytes) is cut off.
    #[inline]
    #[must_use]
    pub fn of_handle(&self, handle: &[u8]) -> u64 {
        let [one, two, three, ..] = self.factors;
        let split =
            handle.split_first_chunk().map(|(first, rest)| (u64::from_le_bytes(*first), rest));
        let sum = match split {
            // ext4
            Some((first, rest)) if rest.len() == 4 => {
                product(one, first).wrapping_add(product(two, last_word(rest)))
            }
            // tmpfs and xfs
            Some((first, &[a, b, c, d, e, f, g, h])) => {
                let second = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
                product(one, first).wrapping_add(product(two, second)).wrapping_add(three)
            }
            _ => self.sum(handle),
        };
        let sum = sum.wrapping_add(self.base);
        spread((sum >> 64) as u64)
    }

    /// Of any handle; without the base.
    #[inline(never)]
    fn sum(&self, handle: &[u8]) -> u128 {
        let (words, rest) = handle.as_chunks::<8>();
        let words = &words[..words.len().min(WORDS - 1)];
        let last = product(self.factors[words.len()], last_word(rest));
        self.factors.iter().zip(words).fold(last, |sum, (factor, word)| {
            sum.wrapping_add(product(*factor, u64::from_le_bytes(*word)))
        })
    }

    /// The hash of what a filesystem is known by.
    #[must_use]
    pub fn of_filesystem(&self, identity: u64) -> u64 {
        hash(self.filesystems, identity)
    }

    /// The hash of an object: what records have as `object`. Its lowest bit is 0.
    #[must_use]
    pub fn object(&self, identity: u64, handle: &[u8]) -> u64 {
        (self.of_filesystem(identity) ^ self.of_handle(handle)) & !1
    }
}

fn sip(key: &[u8]) -> SipHasher24 {
    SipHasher24::new_with_key(key.first_chunk().expect("half of a key"))
}

fn hash(mut hasher: SipHasher24, number: u64) -> u64 {
    hasher.write(&number.to_le_bytes());
    hasher.finish()
}

#[inline]
fn product(factor: u128, word: u64) -> u128 {
    factor.wrapping_mul(u128::from(word))
}

/// The word after all whole ones: up to seven bytes, a byte 1 behind them, and zeros. So no handle is another one with
/// zeros behind it.
#[inline]
fn last_word(rest: &[u8]) -> u64 {
    match rest {
        [] => 1,
        // ext4 has handles of 12 bytes.
        [a, b, c, d] => u64::from(u32::from_le_bytes([*a, *b, *c, *d])) | 1 << 32,
        _ => rest.iter().rev().fold(1, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// A bijection. Handles that follow each other give sums at equal distances, and tables want them spread.
#[inline]
fn spread(sum: u64) -> u64 {
    let product = (sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn key(first: u8) -> [u8; KEY_BYTES] {
        std::array::from_fn(|at| first.wrapping_add(u8::try_from(at).expect("32")))
    }

    /// Computed by `python/tests/test_object.py`, which has the algorithm from docs/history.md alone.
    #[test]
    fn objects_are_what_the_document_says() {
        let hash = ObjectHash::new(&key(0));
        let handle: Vec<u8> = (0..=140).collect();
        for (len, identity, object) in TABLE {
            assert_eq!(
                hash.object(identity, &handle[..len]),
                object,
                "{len} bytes on {identity:#x}"
            );
        }
    }

    #[test]
    fn what_differs_has_another_hash() {
        let hash = ObjectHash::new(&key(0));
        let mut all = HashSet::new();
        // A handle is no other one with zeros behind it, and all its bytes count.
        for len in 0..=132 {
            assert!(all.insert(hash.of_handle(&vec![0; len])), "{len} zeros");
            for at in 0..len {
                let mut handle = vec![0; len];
                handle[at] = 1;
                assert!(all.insert(hash.of_handle(&handle)), "byte {at} of {len}");
            }
        }
        let handle = [1; 12];
        assert_ne!(hash.object(1, &handle), hash.object(2, &handle), "another filesystem");
        assert_ne!(
            ObjectHash::new(&key(1)).object(1, &handle),
            hash.object(1, &handle),
            "another key"
        );
        // The second half of the key is for filesystems, the first for handles.
        let mut half = key(0);
        half[KEY_BYTES - 1] ^= 1;
        let half = ObjectHash::new(&half);
        assert_eq!(half.of_handle(&handle), hash.of_handle(&handle));
        assert_ne!(half.of_filesystem(1), hash.of_filesystem(1));
    }

    #[test]
    fn handles_that_follow_each_other_fill_a_table_evenly() {
        let hash = ObjectHash::new(&key(7));
        let mut counts = [0u32; 1 << 10];
        for inode in 0..1u32 << 17 {
            let handle = [1u32.to_le_bytes(), inode.to_le_bytes(), 9u32.to_le_bytes()].concat();
            counts[(hash.of_handle(&handle) >> 54) as usize] += 1;
        }
        // 128 each; random numbers stay within five standard deviations of 11.3.
        assert!(counts.iter().all(|count| (72..=184).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_is_too_long_is_cut_off() {
        let hash = ObjectHash::new(&key(0));
        assert_eq!(hash.of_handle(&[1; 136]), hash.of_handle(&[1; 200]));
    }

    const TABLE: [(usize, u64, u64); 7] = [
        (0, 0, 0x5f88_b45c_a664_43ea),
        (4, 1, 0x5c70_d8f9_798a_321a),
        (12, 0x0123_4567_89ab_cdef, 0xe37d_dcac_d000_2558),
        (16, 1, 0x0069_81f7_008d_2c2e),
        (24, 1, 0xbbfa_34d5_c3ea_ab8c),
        (29, u64::MAX, 0xcb35_09c5_d758_e892),
        (132, 1, 0x64dc_3dd0_a654_f070),
    ];
}
