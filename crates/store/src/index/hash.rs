//! The hash of the keys. docs/index.md, Hashes.

/// Bits of a hash that a posting can have at most.
pub(crate) const HASH_BITS: u32 = 44;

const PRIME: u64 = 0x0000_0100_0000_01b3;
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash of a text under way: FNV-1a of 64 bits, begun with a seed. Texts that begin alike share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(u64);

impl State {
    /// Of the empty text.
    pub(crate) fn new(seed: u64) -> Self {
        State(BASIS ^ seed)
    }

    /// Of the text with `more` behind it.
    #[must_use]
    pub(crate) fn with(self, more: &[u8]) -> Self {
        let step = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(PRIME);
        State(more.iter().fold(self.0, step))
    }

    /// The hash of the text: [`HASH_BITS`] bits, all of which depend on all of the text.
    pub(crate) fn finish(self) -> u64 {
        // The finalizer of MurmurHash3.
        let mut hash = self.0;
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^= hash >> 33;
        hash >> (u64::BITS - HASH_BITS)
    }
}

/// The hash of a text.
pub(crate) fn hash(seed: u64, text: &[u8]) -> u64 {
    State::new(seed).with(text).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_specification() {
        // FNV-1a of 64 bits, as published for these texts.
        assert_eq!(State::new(0).0, 0xcbf2_9ce4_8422_2325);
        assert_eq!(State::new(0).with(b"a").0, 0xaf63_dc4c_8601_ec8c);
        assert_eq!(State::new(0).with(b"foobar").0, 0x8594_4171_f739_67e8);
        assert_eq!(hash(0, b"Makefile"), State::new(0).with(b"Make").with(b"file").finish());
        assert_ne!(hash(0, b"Makefile"), hash(1, b"Makefile"));
        assert!(hash(7, b"x") < 1 << HASH_BITS);
    }
}
