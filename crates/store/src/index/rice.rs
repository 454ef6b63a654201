//! Rice coding of increasing numbers: the difference to the number before, in unary above `k` bits and plain below.

/// Writes bits, the lowest of each byte first.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte yet, and how many.
    open: u64,
    count: u32,
}

impl Writer {
    /// Appends the lowest `bits` bits of `value`; at most 56.
    fn bits(&mut self, value: u64, bits: u32) {
        debug_assert!(bits <= 56 && value < 1 << bits);
        self.open |= value << self.count;
        self.count += bits;
        while self.count >= 8 {
            self.bytes.push(self.open.to_le_bytes()[0]);
            self.open >>= 8;
            self.count -= 8;
        }
    }

    /// Appends a number: `value >> k` ones, a zero, and `k` bits.
    pub(super) fn number(&mut self, value: u64, k: u32) {
        let mut ones = value >> k;
        while ones >= 32 {
            self.bits(u64::from(u32::MAX), 32);
            ones -= 32;
        }
        let ones = u32::try_from(ones).expect("below 32");
        self.bits((1 << ones) - 1, ones + 1);
        self.bits(value & ((1 << k) - 1), k);
    }

    /// The bytes, with zeros behind the last bit.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.bytes.push(self.open.to_le_bytes()[0]);
        }
        self.bytes
    }
}

/// Reads what [`Writer`] wrote, or any bytes.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    open: u64,
    count: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, open: 0, count: 0 }
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let Some((first, rest)) = self.bytes.split_first() else { return };
            self.open |= u64::from(*first) << self.count;
            self.count += 8;
            self.bytes = rest;
        }
    }

    fn take(&mut self, bits: u32) -> Option<u64> {
        if self.count < bits {
            self.fill();
        }
        if self.count < bits {
            return None;
        }
        let value = self.open & 1u64.checked_shl(bits).map_or(u64::MAX, |end| end - 1);
        self.open = self.open.checked_shr(bits).unwrap_or(0);
        self.count -= bits;
        Some(value)
    }

    /// The next number; `None` where the bytes end before it, or it is beyond 64 bits.
    pub(super) fn number(&mut self, k: u32) -> Option<u64> {
        let mut high = 0u64;
        loop {
            self.fill();
            let ones = self.open.trailing_ones().min(self.count);
            if ones < self.count {
                high = high.checked_add(ones.into())?;
                self.take(ones + 1)?;
                break;
            }
            if self.count == 0 {
                return None;
            }
            high = high.checked_add(ones.into())?;
            (self.open, self.count) = (0, 0);
        }
        let low = self.take(k)?;
        (high.leading_zeros() >= k).then_some(high << k | low)
    }
}

/// The parameter with which numbers of this mean take the fewest bits.
pub(super) fn parameter(mean: u64) -> u32 {
    // k = log2(mean · ln 2), and no more than a number can be read in one piece.
    (mean.saturating_mul(709) / 1024).max(1).ilog2().min(K_MAX)
}

/// The largest parameter.
pub(super) const K_MAX: u32 = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(
            numbers in proptest::collection::vec(0u64..1 << 20, 0..200),
            k in 0..=K_MAX,
        ) {
            let k = k.max(8);
            let mut writer = Writer::default();
            numbers.iter().for_each(|number| writer.number(*number, k));
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            for number in numbers {
                prop_assert_eq!(reader.number(k), Some(number));
            }
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200), k in 0..=K_MAX) {
            let mut reader = Reader::new(&bytes);
            // Each number takes at least one bit.
            for _ in 0..8 * bytes.len() {
                if reader.number(k).is_none() {
                    return Ok(());
                }
            }
            prop_assert_eq!(reader.number(k.max(1)), None);
        }
    }

    #[test]
    fn long_runs_of_ones_come_back() {
        let mut writer = Writer::default();
        for number in [0, 1, 31, 32, 33, 64, 1000, 0] {
            writer.number(number, 0);
        }
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        for number in [0, 1, 31, 32, 33, 64, 1000, 0] {
            assert_eq!(reader.number(0), Some(number));
        }
    }
}
