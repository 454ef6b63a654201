//! Sizes as people write them, and conditions on the size of a file: `64M`, `>=1G`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Parses a size: `100M` and the like, a number and K, M, G or T, of 1024 each. `None` if the text is none, or is zero.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.strip_suffix('B').unwrap_or(text);
    let text = text.strip_suffix('i').unwrap_or(text);
    let unit = text.chars().last()?;
    let shift: u32 = match unit {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return None,
    };
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    number.checked_shl(shift).filter(|bytes| *bytes > 0 && bytes >> shift == number)
}

/// A size as it is written: with the largest unit that leaves a whole number.
#[must_use]
pub fn text(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let unit =
        units.iter().find(|(shift, _)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// How a size is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Comparison {
    /// At least as large.
    AtLeast,
    /// At most as large.
    AtMost,
    /// Larger.
    Larger,
    /// Smaller.
    Smaller,
    /// As large.
    Equal,
}

fsmon_format::named!(Comparison {
    AtLeast = ">=",
    AtMost = "<=",
    Larger = ">",
    Smaller = "<",
    Equal = "=",
});

/// A condition on the size of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How the file's size is compared with `bytes`.
    pub comparison: Comparison,
    /// What it is compared with.
    pub bytes: u64,
}

impl Size {
    /// Whether a file of `bytes` bytes meets the condition.
    #[must_use]
    pub fn is_met(self, bytes: u64) -> bool {
        let order = bytes.cmp(&self.bytes);
        match self.comparison {
            Comparison::AtLeast => order != Ordering::Less,
            Comparison::AtMost => order != Ordering::Greater,
            Comparison::Larger => order == Ordering::Greater,
            Comparison::Smaller => order == Ordering::Less,
            Comparison::Equal => order == Ordering::Equal,
        }
    }
}

impl FromStr for Size {
    type Err = &'static str;

    /// Reads `>=1G`, `<4096` and the like: a comparison, and a size or a number of bytes.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        // `>=` comes before `>` in the list.
        let found = Comparison::ALL.iter().find_map(|comparison| {
            Some((*comparison, text.strip_prefix(comparison.name())?.trim_start()))
        });
        let size = found.and_then(|(comparison, size)| {
            let bytes = bytes(size).or_else(|| size.parse().ok())?;
            Some(Size { comparison, bytes })
        });
        size.ok_or("a condition such as \">=1G\", \"<64K\" or \"=0\"")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.comparison.name(), text(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_read_met_and_written() {
        for (text, met, written) in [
            (">=1K", [false, true, true], ">=1K"),
            ("<= 1024", [true, true, false], "<=1K"),
            (">1KiB", [false, false, true], ">1K"),
            ("<1024", [true, false, false], "<1K"),
            ("=1024", [false, true, false], "=1K"),
            (">=1023", [true, true, true], ">=1023"),
            ("=0", [false, false, false], "=0"),
        ] {
            let size: Size = text.parse().expect(text);
            assert_eq!([1023, 1024, 1025].map(|bytes| size.is_met(bytes)), met, "{text}");
            assert_eq!(size.to_string(), written);
            assert_eq!(written.parse(), Ok(size));
        }
        for text in ["", "1K", "=", ">-1", "==1", "=>1K", ">=1.5G", ">=big", "~1K"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
