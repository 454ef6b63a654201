//! Decimal numbers without the machinery of `fmt`.

const DIGITS_MAX: usize = 20;

/// Appends `number`.
#[inline]
pub fn append(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; DIGITS_MAX];
    let (mut at, mut rest) = (DIGITS_MAX, number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Fills `room` with the last digits of `number`, with leading zeros.
pub fn fill(number: u64, room: &mut [u8]) {
    let mut rest = number;
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn as_fmt_has_them() {
        for number in [0, 9, 10, 12_345, 999_999_999, u64::MAX] {
            let mut out = Vec::new();
            super::append(number, &mut out);
            assert_eq!(out, number.to_string().into_bytes());
        }
        let mut room = *b"xxxxxxxxx";
        super::fill(42, &mut room);
        assert_eq!(&room, b"000000042");
    }
}
